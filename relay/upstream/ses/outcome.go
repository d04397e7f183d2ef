package ses

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// What an error code speaks of, beside those that refusal looks at more closely.
// Codes are those of the API reference: SendEmail, and "Common errors".
var (
	throttled = []string{"TooManyRequestsException", "ThrottlingException", "Throttling", "LimitExceededException", "RequestLimitExceeded", "RequestThrottled"}

	// disowned are credentials that AWS does not know or no longer takes: others
	// have to be had.
	disowned = []string{"ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"}

	// ours are troubles of the account, its settings and our credential: nothing
	// bounces for them.
	ours = slices.Concat(disowned, []string{
		"SendingPausedException", "AccountSuspendedException", "MailFromDomainNotVerifiedException", "NotFoundException", "ConflictException",
		"AccessDeniedException", "AccessDenied", "NotAuthorized", "OptInRequired", "UnauthorizedException",
		"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
		"RequestExpired", "RequestTimeTooSkewed", "ConfigurationSetDoesNotExist", "ConfigurationSetDoesNotExistException",
	})
)

// denied is what a narrow IAM policy (ses:FromAddress, ses:Recipients) says of a
// message that is not within it, and the lack of any policy of all of them. Where SES
// has accepted another one recently, it is this one: it waits, and stops nobody's
// mail.
var denied = []string{"AccessDeniedException", "AccessDenied"}

const recently = time.Minute

// dailyPause is how long nothing is tried after "Daily message quota exceeded":
// the quota is of the last 24 hours, so it comes back little by little. "Up to 10
// minutes" is what the Developer Guide says.
const dailyPause = 10 * time.Minute

// refusal is the outcome of a call that gave no message ID; blame is not nil if
// SES named recipients that it is about.
func (d *attempt) refusal(ctx context.Context, x *exchange, err error, batch []int) (upstream.Outcome, *blame) {
	switch {
	case x.source != nil:
		return d.t.from(unreadable(x.source)), nil
	case x.lost != nil:
		return httpapi.Lost(x.lost), nil
	case x.status/100 == 2: // it may have been SES, and then it took the message
		return d.t.from(upstream.Outcome{Kind: upstream.Unknown, Scope: upstream.ScopeUpstream, Code: x.status, Text: "the reply is not one of SES, and names no message"}), nil
	case x.status == 0 && ctx.Err() != nil:
		return d.t.from(upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: "stopped before it was sent"}), nil
	case x.status == 0:
		return d.t.from(upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: "the request cannot be made: " + words(err.Error(), d.cred)}), nil
	}
	code, said := said(err, d.cred)
	o := httpapi.Refusal(&httpapi.Response{Status: x.status, Header: http.Header{}, Remote: d.t.http.Host()}, join(code, said))
	low := strings.ToLower(said)
	switch {
	case slices.Contains(throttled, code), containsAny(low, "sending rate exceeded", "message quota exceeded"):
		o.Kind, o.Scope, o.RetryIn = upstream.Deferred, upstream.ScopeUpstream, time.Second
		if strings.Contains(low, "quota") {
			o.RetryIn = dailyPause
		}
		d.t.account.tooFast()
	case slices.Contains(disowned, code):
		d.t.credentials.drop()
		o.Kind, o.Scope = upstream.Deferred, upstream.ScopeUpstream
	case slices.Contains(denied, code) && time.Since(time.Unix(0, d.t.took.Load())) < recently:
		o.Kind, o.Scope = upstream.Deferred, upstream.ScopeMessage
	case slices.Contains(ours, code):
		o.Kind, o.Scope = upstream.Failed, upstream.ScopeUpstream
	case strings.Contains(low, "not verified"):
		return d.unverified(o, said, batch)
	case containsAny(low, "configuration set", "emailtags", "sending suspended", "account is paused", "sending paused"):
		o.Kind, o.Scope = upstream.Failed, upstream.ScopeUpstream
	case code == "MessageRejected":
		o.Kind, o.Scope = upstream.Failed, upstream.ScopeMessage
	case x.status == http.StatusBadRequest:
		return o, d.invalid(o, said, batch)
	}
	return o, nil
}

// unverified is the outcome of "Email address is not verified. The following
// identities failed the check in region X: a, b". A sender among them is the
// account's trouble where it is of the upstream's domain; one of a device's own is
// that message's, and the next may be verified. Recipients are there while the account is in the sandbox:
// another upstream can carry their mail, and once the account is out of it SES
// can, so they wait; they are no sign that SES does not work.
func (d *attempt) unverified(o upstream.Outcome, said string, batch []int) (upstream.Outcome, *blame) {
	recipients := d.named(said, batch)
	o.Kind, o.Scope = upstream.Failed, upstream.ScopeUpstream
	if len(recipients) == 0 || d.namesOthers(said, recipients) {
		if !d.ours() {
			o.Kind, o.Scope = upstream.Deferred, upstream.ScopeMessage
		}
		return o, nil
	}
	theirs := o
	theirs.Kind, theirs.Scope = upstream.Deferred, upstream.ScopeMessage
	theirs.Text = reply.Line(o.Text+" (the account is in the SES sandbox: request production access, or verify the recipient)", 512)
	return o, &blame{recipients, theirs}
}

// ours tells whether the message leaves from the upstream's own domain.
func (d *attempt) ours() bool {
	a, err := d.m.Sender.ToASCII()
	return err == nil && a.Domain != "" && strings.EqualFold(a.Domain, d.t.c.Domain)
}

// invalid takes out recipients whose address SES does not like.
func (d *attempt) invalid(o upstream.Outcome, said string, batch []int) *blame {
	recipients := d.named(said, batch)
	if len(recipients) == 0 {
		return nil
	}
	o.Kind, o.Scope = upstream.Failed, upstream.ScopeRecipient
	return &blame{recipients, o}
}

func containsAny(s string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
}

// named gives the recipients of batch whose address is in what SES said.
func (d *attempt) named(said string, batch []int) []string {
	words := mentioned(said)
	var out []string
	for _, i := range batch {
		if words[strings.ToLower(d.to[i])] {
			out = append(out, d.to[i])
		}
	}
	return out
}

// namesOthers tells whether SES named an identity that is none of these
// recipients: a sender.
func (d *attempt) namesOthers(said string, recipients []string) bool {
	words := mentioned(said)
	for _, r := range recipients {
		delete(words, strings.ToLower(r))
	}
	for w := range words {
		if strings.Contains(w, "@") || strings.HasPrefix(w, "arn:") {
			return true
		}
	}
	return false
}

// mentioned gives the words of a text, without the signs around them, in lower case.
func mentioned(text string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return r <= ' ' || strings.ContainsRune(`,;<>"()[]`, r) }) {
		out[strings.Trim(w, ".:'`")] = true
	}
	return out
}

// said gives the code and the words of an error of the API.
func said(err error, cred aws.Credentials) (code, text string) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return "", ""
	}
	code = api.ErrorCode()
	if code == "UnknownError" { // the SDK's word for a reply that is not of AWS
		code = ""
	}
	text = api.ErrorMessage()
	if text == code || text == "UnknownError" {
		text = ""
	}
	return words(code, cred), words(text, cred)
}

func join(code, text string) string {
	if code == "" || text == "" {
		return code + text
	}
	return code + ": " + text
}

// words makes what AWS says fit for a log: where a signature does not match it
// goes on with the whole request, and with the session token in it.
func words(s string, cred aws.Credentials) string {
	s, _, _ = strings.Cut(s, "The Canonical String")
	for _, secret := range []string{cred.SecretAccessKey, cred.SessionToken, cred.AccessKeyID} {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "(hidden)")
		}
	}
	return reply.Line(s, 480)
}
