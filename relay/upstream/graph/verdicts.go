package graph

import "github.com/printerrelay/printer-relay/relay/upstream"

type verdict struct {
	kind  upstream.Kind
	scope upstream.Scope
}

// codeNot202 stands for a success that is none; see accepted.
const codeNot202 = "not 202"

// verdicts are what Graph's and Exchange's own codes mean where the HTTP status
// alone says something else, or too little. The scope decides who suffers: Upstream
// is for what every other message would meet too, Message for this one.
var verdicts = map[string]verdict{
	// Who we are, and what we may.
	"InvalidAuthenticationToken":         {upstream.Failed, upstream.ScopeUpstream},
	"ErrorAccessDenied":                  {upstream.Failed, upstream.ScopeUpstream},
	"AccessDenied":                       {upstream.Failed, upstream.ScopeUpstream},
	"Authorization_RequestDenied":        {upstream.Failed, upstream.ScopeUpstream},
	"ErrorMailboxNotEnabledForRESTAPI":   {upstream.Failed, upstream.ScopeUpstream},
	"MailboxNotEnabledForRESTAPI":        {upstream.Failed, upstream.ScopeUpstream},
	"MailboxNotHostedInExchangeOnline":   {upstream.Failed, upstream.ScopeUpstream},
	"MailboxNotSupportedForRESTAPI":      {upstream.Failed, upstream.ScopeUpstream},
	"ErrorNonExistentMailbox":            {upstream.Failed, upstream.ScopeUpstream},
	"ErrorInvalidUser":                   {upstream.Failed, upstream.ScopeUpstream},
	"ResourceNotFound":                   {upstream.Failed, upstream.ScopeUpstream},
	"Request_ResourceNotFound":           {upstream.Failed, upstream.ScopeUpstream},
	"ErrorAccountSuspend":                {upstream.Failed, upstream.ScopeUpstream},
	"ErrorAccountSuspendShowTierUpgrade": {upstream.Failed, upstream.ScopeUpstream},

	// Too much for now, or something is broken at their side.
	"ApplicationThrottled":              {upstream.Deferred, upstream.ScopeUpstream},
	"TooManyRequests":                   {upstream.Deferred, upstream.ScopeUpstream},
	"ErrorTooManyObjectsOpened":         {upstream.Deferred, upstream.ScopeUpstream},
	"ErrorExceededMessageLimit":         {upstream.Deferred, upstream.ScopeUpstream}, // of the day
	"ErrorMessageSubmissionBlocked":     {upstream.Deferred, upstream.ScopeUpstream},
	"ErrorQuotaExceeded":                {upstream.Deferred, upstream.ScopeUpstream}, // the mailbox is full: it keeps what it sent
	"ErrorServerBusy":                   {upstream.Deferred, upstream.ScopeUpstream},
	"ErrorMailboxMoveInProgress":        {upstream.Deferred, upstream.ScopeUpstream},
	"ErrorMailboxStoreUnavailable":      {upstream.Deferred, upstream.ScopeUpstream},
	"ErrorInternalServerTransientError": {upstream.Deferred, upstream.ScopeUpstream},
	"ErrorConnectionFailed":             {upstream.Deferred, upstream.ScopeUpstream},
	"ErrorMailboxFailover":              {upstream.Deferred, upstream.ScopeUpstream},

	// This message. A sender is the message's own: the next one's may be right, so a
	// device with a wrong one must not stop the others.
	"ErrorSendAsDenied":                   {upstream.Failed, upstream.ScopeMessage},
	"ErrorMimeContentInvalidBase64String": {upstream.Failed, upstream.ScopeMessage},
	"ErrorMimeContentInvalid":             {upstream.Failed, upstream.ScopeMessage},
	"ErrorMimeContentConversionFailed":    {upstream.Failed, upstream.ScopeMessage},
	"ErrorContentConversionFailed":        {upstream.Failed, upstream.ScopeMessage},
	"ErrorMessageSizeExceeded":            {upstream.Failed, upstream.ScopeMessage},
	"ErrorAttachmentSizeLimitExceeded":    {upstream.Failed, upstream.ScopeMessage},
	"RequestEntityTooLarge":               {upstream.Failed, upstream.ScopeMessage},
	"ErrorTooManyRecipients":              {upstream.Failed, upstream.ScopeMessage},
	codeNot202:                            {upstream.Failed, upstream.ScopeMessage},

	// One of its recipients; offer finds out which.
	"ErrorInvalidRecipients": {upstream.Failed, upstream.ScopeRecipient},
}

// tooLarge are the codes after which a draft may still be possible: that sendMail
// does not take a message says nothing of upload sessions.
var tooLarge = map[string]bool{
	"RequestEntityTooLarge": true, "ErrorMessageSizeExceeded": true, codeNot202: true,
}
