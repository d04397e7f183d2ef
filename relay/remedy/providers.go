package remedy

// Where the words of the providers are documented.
const (
	sesErrors       = "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html"
	sesQuota        = "https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html"
	sesSMTP         = "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html"
	sesSend         = "https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html"
	awsErrors       = "https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html"
	sendGridErrors  = "https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/errors"
	sendGridSender  = "https://www.twilio.com/docs/sendgrid/for-developers/sending-email/sender-identity"
	sendGridSMTP    = "https://www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys"
	mailgunErrors   = "https://documentation.mailgun.com/docs/mailgun/api-reference/mg-errors"
	mailgunSandbox  = "https://help.mailgun.com/hc/en-us/articles/217531258-Authorized-Recipients"
	mailgunRegions  = "https://documentation.mailgun.com/docs/mailgun/api-reference/mg-regions"
	postmarkErrors  = "https://postmarkapp.com/developer/api/overview#error-codes"
	gmailErrors     = "https://support.google.com/a/answer/3726730"
	gmailSenders    = "https://support.google.com/mail/answer/81126"
	gmailRelay      = "https://support.google.com/a/answer/6140680"
	spamhausPBL     = "https://www.spamhaus.org/blocklists/policy-blocklist/"
	spamhausBlocked = "https://www.spamhaus.org/faqs/general-questions/"
)

// ses are Amazon SES' errors, by its API and by SMTP.
var ses = []row{
	{
		says:   []string{"Maximum sending rate exceeded"},
		Advice: Advice{"SES takes no more messages a second from this account", "nothing, it is tried again; set limits.messagesPerMinute below the account's send rate, or ask AWS for more", false},
		source: sesQuota,
	},
	{
		says:   []string{"Daily message quota exceeded", "Daily sending quota exceeded"},
		Advice: Advice{"the account has sent what it may in 24 hours", "it goes on as the 24 hours pass; ask AWS for a higher quota (in the sandbox it is 200), or add a fallback upstream", false},
		source: sesQuota,
	},
	{
		says:   []string{"Email address is not verified", "Email address not verified"},
		Advice: Advice{"the sender's domain is not verified in this region, or the account is in the sandbox, where recipients must be verified too", "verify sender.domain in SES in ses.region; leave the sandbox by requesting production access", false},
		source: sesErrors,
	},
	{
		says:   []string{"SendingPausedException", "Sending is paused", "Account is paused", "sending paused"},
		Advice: Advice{"AWS or somebody of yours has paused sending for the account or the configuration set", "see the SES console's reputation page; resume it (put-account-sending-attributes, put-configuration-set-sending-options)", true},
		source: sesErrors,
	},
	{
		says:   []string{"AccountSuspendedException", "account has been suspended"},
		Advice: Advice{"AWS has shut the account's sending down", "answer the case that AWS opened; meanwhile use a fallback upstream", true},
		source: sesSend,
	},
	{
		says:   []string{"MailFromDomainNotVerified", "MailFromDomainNotVerifiedException"},
		Advice: Advice{"the custom MAIL FROM domain's MX record is missing, and the identity is set to reject then", "publish the MX and SPF records of the MAIL FROM domain: `printer-relay dns` shows them", true},
		source: sesSend,
	},
	{
		says:   []string{"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature"},
		Advice: Advice{"the secret access key does not belong to the access key, or the machine's clock is wrong", "correct accessKeyID and secretAccessKey in the Secret (SMTP passwords are not secret access keys), and check the clock", true},
		source: awsErrors,
	},
	{
		says:   []string{"Signature expired", "RequestExpired", "Signature not yet current"},
		Advice: Advice{"the machine's clock is wrong", "set the node's clock: it must agree with AWS' within five minutes", true},
		source: awsErrors,
	},
	{
		says:   []string{"ExpiredToken", "ExpiredTokenException", "security token included in the request is expired"},
		Advice: Advice{"the temporary credential has expired", "put a new sessionToken with its keys into the Secret, or better use credentials.type: Ambient (IRSA, Pod Identity), which renews itself", true},
		source: awsErrors,
	},
	{
		says:   []string{"InvalidClientTokenId", "UnrecognizedClientException", "security token included in the request is invalid"},
		Advice: Advice{"AWS knows no such access key", "correct accessKeyID in the Secret; a key that was deleted or deactivated must be made anew", true},
		source: awsErrors,
	},
	{
		types: []string{"SES"}, says: []string{"is not authorized to perform", "AccessDeniedException", "AccessDenied"},
		Advice: Advice{"the IAM policy does not let this credential send so", "grant ses:SendEmail for the identity and the configuration set, with the sender that mail leaves as: `printer-relay least-privilege` shows the policy", true},
		source: awsErrors,
	},
	{
		says:   []string{"is not authorized to perform*SendRawEmail", "is not authorized to perform*SendEmail"},
		Advice: Advice{"the IAM policy does not let this credential send so", "grant ses:SendRawEmail for the identity, with the sender that mail leaves as", true},
		source: sesSMTP,
	},
	{
		says:   []string{"ConfigurationSetDoesNotExist", "Configuration set * does not exist"},
		Advice: Advice{"there is no such configuration set in this region", "correct ses.configurationSet or ses.region", true},
		source: sesSend,
	},
	{
		says:   []string{"Authentication Credentials Invalid"},
		Advice: Advice{"SES did not take the SMTP credential", "use the SMTP user name and password made in the SES console of the same region; an access key is none", true},
		source: sesSMTP,
	},
	{
		types: []string{"SES"}, says: []string{"no EC2 IMDS role found", "failed to refresh cached credentials", "get credentials"},
		Advice: Advice{"no AWS credential is to be had from the surroundings", "give the Pod's ServiceAccount a role (IRSA or Pod Identity; spec.pod.serviceAccountName), or use credentials.type: Secret", true},
		source: "https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html",
	},
}

// sendGrid are Twilio SendGrid's errors.
var sendGrid = []row{
	{
		says:   []string{"does not match a verified Sender Identity"},
		Advice: Advice{"the address in From is of no domain or sender that is verified with SendGrid", "verify sender.domain there (Sender Authentication), and set sender so that mail leaves from it", false},
		source: sendGridSender,
	},
	{
		says:   []string{"authorization grant is invalid, expired, or revoked"},
		Advice: Advice{"SendGrid does not take the API key", "put an API key that is there into key apiKey of the Secret (as SMTP user name it is always `apikey`); with the EU region, an EU key and endpoint", true},
		source: sendGridErrors,
	},
	{
		says:   []string{"Maximum credits exceeded"},
		Advice: Advice{"the plan's messages are used up", "wait for the next period, or change the plan at SendGrid; a fallback upstream carries the mail meanwhile", true},
		source: sendGridErrors,
	},
	{
		types: []string{"SendGrid"}, says: []string{"does not take the API key"},
		Advice: Advice{"SendGrid does not take the API key", "put an API key that is there into key apiKey of the Secret; with the EU region, an EU key and endpoint", true},
		source: sendGridErrors + "; relay/upstream/sendgrid",
	},
	{
		types: []string{"SendGrid"}, codes: []int{401},
		Advice: Advice{"SendGrid does not take the API key", "put an API key that is there into key apiKey of the Secret; with the EU region, an EU key and endpoint", true},
		source: sendGridErrors,
	},
	{
		types: []string{"SendGrid"}, codes: []int{403},
		Advice: Advice{"the API key may not send", "make a key with the permission Mail Send; with an IP access list, let the cluster's egress address in", true},
		source: sendGridErrors,
	},
	{
		types: []string{"SendGrid"}, codes: []int{413},
		Advice: Advice{"the scan is larger than the 30 MB that SendGrid takes", "scan with a lower resolution, or name a fallback upstream that takes more", false},
		source: sendGridErrors,
	},
	{
		types: []string{"SendGrid"}, codes: []int{535},
		Advice: Advice{"SendGrid does not take the API key", "put an API key with the permission Mail Send into key apiKey of the Secret", true},
		source: sendGridSMTP,
	},
}

// mailgun are Mailgun's errors.
var mailgun = []row{
	{
		types: []string{"Mailgun"}, codes: []int{401},
		Advice: Advice{"Mailgun does not take the key", "put a sending key of the domain into key apiKey of the Secret; a domain in the EU needs endpoint: https://api.eu.mailgun.net", true},
		source: mailgunErrors,
	},
	{
		types: []string{"Mailgun"}, says: []string{"Domain not found"},
		Advice: Advice{"Mailgun knows no such domain in this region", "correct mailgun.domain; a domain in the EU needs endpoint: https://api.eu.mailgun.net", true},
		source: mailgunRegions,
	},
	{
		types: []string{"Mailgun"}, codes: []int{404},
		Advice: Advice{"Mailgun knows no such domain in this region", "correct mailgun.domain; a domain in the EU needs endpoint: https://api.eu.mailgun.net", true},
		source: mailgunRegions,
	},
	{
		says:   []string{"Sandbox subdomains are for test purposes only", "Free accounts are for test purposes only", "add the address to authorized recipients"},
		Advice: Advice{"a sandbox domain sends only to recipients that are authorised", "use a domain of your own, or authorise the recipient in Mailgun", false},
		source: mailgunSandbox,
	},
	{
		says:   []string{"domain is unverified and requires DNS configuration", "is not allowed to send"},
		Advice: Advice{"Mailgun does not let the domain send", "publish the domain's records (`printer-relay dns`) and have Mailgun verify them; if it is disabled, ask Mailgun's support", true},
		source: mailgunErrors,
	},
	{
		types: []string{"Mailgun"}, codes: []int{413},
		Advice: Advice{"the scan is larger than the 25 MB that Mailgun takes", "scan with a lower resolution, or name a fallback upstream that takes more", false},
		source: mailgunErrors,
	},
	{
		types: []string{"Mailgun"}, codes: []int{535},
		Advice: Advice{"Mailgun does not take the SMTP login", "put an SMTP user of the domain (name@domain) and its password into the Secret; a domain in the EU needs host smtp.eu.mailgun.org", true},
		source: mailgunRegions,
	},
}

// postmark are Postmark's error codes: its HTTP status is 422 for nearly all.
var postmark = []row{
	{
		types: []string{"Postmark"}, says: []string{"ErrorCode 10", "error 10", "X-Postmark-Server-Token request header was invalid", "API tokens were supplied", "Bad or missing API token", "Bad or missing Server API token", "does not take the server token"},
		Advice: Advice{"Postmark does not take the token", "put the server's API token (not the account's) into key apiKey of the Secret", true},
		source: postmarkErrors,
	},
	{
		types: []string{"Postmark"}, codes: []int{401},
		Advice: Advice{"Postmark does not take the token", "put the server's API token (not the account's) into key apiKey of the Secret", true},
		source: postmarkErrors,
	},
	{
		types: []string{"Postmark"}, codes: []int{535},
		Advice: Advice{"Postmark does not take the token", "put the server's API token (not the account's) into key apiKey of the Secret, and see that SMTP is enabled for the stream", true},
		source: postmarkErrors,
	},
	{
		types: []string{"Postmark"}, says: []string{"ErrorCode 300", "error 300", "Invalid email request"},
		Advice: Advice{"Postmark cannot take a message that is made so", "see the words behind the code: an address that it thinks illegal, or more than 50 recipients", false},
		source: postmarkErrors,
	},
	{
		says:   []string{"is not a Sender Signature on your account", "Sender Signature not found", "Sender signature not confirmed"},
		Advice: Advice{"the address in From is of no domain or sender that is confirmed with Postmark", "confirm sender.domain there, and set sender so that mail leaves from it", false},
		source: postmarkErrors,
	},
	{
		types: []string{"Postmark"}, says: []string{"ErrorCode 400", "error 400", "ErrorCode 401", "error 401"},
		Advice: Advice{"the address in From is of no domain or sender that is confirmed with Postmark", "confirm sender.domain there, and set sender so that mail leaves from it", false},
		source: postmarkErrors,
	},
	{
		types: []string{"Postmark"}, says: []string{"ErrorCode 405", "error 405", "run out of credits", "Not allowed to send"},
		Advice: Advice{"the account's messages are used up", "buy more at Postmark, or wait for the next period; a fallback upstream carries the mail meanwhile", true},
		source: postmarkErrors,
	},
	{
		types: []string{"Postmark"}, says: []string{"ErrorCode 406", "error 406", "marked as inactive", "Inactive recipient", "InactiveRecipient"},
		Advice: Advice{"Postmark no longer sends to this recipient: mail to it bounced, or was called spam", "check the address; if it is right, reactivate it under Suppressions of the message stream", false},
		source: postmarkErrors,
	},
	{
		types: []string{"Postmark"}, says: []string{"ErrorCode 411", "error 411", "Forbidden attachment type", "forbidden file type"},
		Advice: Advice{"Postmark does not take attachments of this type", "have the device scan to PDF, or name a fallback upstream", false},
		source: postmarkErrors,
	},
	{
		types: []string{"Postmark"}, says: []string{"ErrorCode 412", "error 412", "account is pending approval", "Account is Pending"},
		Advice: Advice{"the account waits for Postmark's approval, and sends only to its own domain until then", "ask Postmark for the approval", false},
		source: postmarkErrors,
	},
	{
		types: []string{"Postmark"}, says: []string{"ErrorCode 413", "error 413", "Account May Not Send"},
		Advice: Advice{"Postmark has stopped the account", "ask Postmark's support; meanwhile use a fallback upstream", true},
		source: postmarkErrors,
	},
	{
		types: []string{"Postmark"}, codes: []int{429},
		Advice: Advice{"Postmark takes no more requests for a while", "nothing, it is tried again more slowly; lower limits.messagesPerMinute if it stays so", false},
		source: postmarkErrors,
	},
	{
		types: []string{"Postmark"}, codes: []int{413},
		Advice: Advice{"the scan is larger than the 10 MB that Postmark takes", "scan with a lower resolution, or name a fallback upstream that takes more", false},
		source: postmarkErrors,
	},
}

// google are the replies of Gmail's servers, those of recipients and the relay of
// Google Workspace.
var google = []row{
	{
		enhanced: []string{"7.26"},
		Advice:   Advice{"Gmail wants SPF or DKIM of the sender's domain", "publish both for sender.domain: `printer-relay dns` shows the records", false},
		source:   gmailSenders,
	},
	{
		enhanced: []string{"7.28"},
		Advice:   Advice{"Gmail slows mail from this address or domain down", "nothing, it is tried again; send less at once, and by a provider if the address has no good name", false},
		source:   gmailErrors,
	},
	{
		says:   []string{"unusual rate of unsolicited mail"},
		Advice: Advice{"Gmail slows mail from this address or domain down", "nothing, it is tried again; send less at once, and by a provider if the address has no good name", false},
		source: gmailErrors,
	},
	{
		codes: []int{421}, enhanced: []string{"7.0"},
		Advice: Advice{"the server takes nothing from this address for a while", "nothing, it is tried again; if it stays so, send by a provider or with a login", false},
		source: gmailErrors,
	},
	{
		says:   []string{"Invalid credentials for relay", "registered in your Workspace SMTP Relay service"},
		Advice: Advice{"the relay's address is not registered with the SMTP relay service of Google Workspace", "add the cluster's public egress address in the Google Admin console (Gmail, Routing, SMTP relay service), or log in", true},
		source: gmailRelay,
	},
	{
		says:   []string{"Username and Password not accepted"},
		Advice: Advice{"Google did not take the login", "use an app password (with 2-Step Verification), or the SMTP relay service of Google Workspace", true},
		source: gmailErrors,
	},
	{
		says:   []string{"Application-specific password required"},
		Advice: Advice{"Google wants an app password", "make one for the account and put it into the Secret, or use the SMTP relay service of Google Workspace", true},
		source: gmailErrors,
	},
}

// reputation are refusals for the name that an address has.
var reputation = []row{
	{
		says:   []string{"PBL", "dynamic IP", "dynamically assigned", "residential"},
		Advice: Advice{"the address that mail comes from is one of those that no mail server should have (dynamic, residential)", "send by a provider or a smarthost with a login: direct delivery needs a fixed address with a name", true},
		source: spamhausPBL,
	},
	{
		says:   []string{"spamhaus", "barracudacentral", "spamcop", "blocked using", "listed at", "blacklisted", "blocklisted", "block list", "DNSBL", "RBL"},
		Advice: Advice{"the address that mail comes from is on a block list", "look it up at the list that the server names and ask for its removal, or send by a provider", true},
		source: spamhausBlocked,
	},
}
