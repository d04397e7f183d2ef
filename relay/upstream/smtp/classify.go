package smtp

import (
	"strings"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// step is where in a transaction a reply came.
type step uint8

const (
	stepMail step = iota
	stepRcpt
	stepData // the reply to DATA itself
	stepEnd  // the reply to the final dot
)

// String is the step as a person reads it.
func (s step) String() string {
	return [...]string{"MAIL", "RCPT", "DATA", "final dot"}[s]
}

// classify says what a reply means that is no success: whether it is for ever,
// and what it speaks of.
//
// The scope decides who suffers. Upstream opens the circuit breaker, so it is
// for what every other message would meet too: credentials, quota, the server's
// own trouble. Message sends this one elsewhere, or fails it where nobody else
// is left. Recipient is about one mailbox.
func classify(at step, r Reply) upstream.Outcome {
	o := upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Code: r.Code, Enhanced: r.Enhanced, Text: r.Text}
	switch r.Code / 100 {
	case 4:
	case 5:
		o.Kind = upstream.Failed
	default: // it does not follow the protocol
		return o
	}
	if o.Scope = scope(at, r.Code, r.Enhanced); spent(r) {
		o.Scope = upstream.ScopeUpstream
	}
	if o.Scope == upstream.ScopeMessage && o.Kind == upstream.Deferred {
		// Greylisting at the end of DATA, a sender's domain that does not resolve
		// now: the same server may take the same message later.
		o.Scope = upstream.ScopeRecipient
	}
	if o.Scope == upstream.ScopeMessage && unverified(r) {
		o.Kind = upstream.Deferred
	}
	return o
}

// unverified tells that a provider does not know the sender yet (SES, SendGrid,
// Postmark). Once somebody has verified it the message passes, so it waits, or goes
// by another upstream. It stops no other: the sender may be one device's own.
func unverified(r Reply) bool {
	text := strings.ToLower(r.Text)
	for _, s := range []string{"email address is not verified", "verified sender identity", "not a sender signature on your account"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// scope goes by the reply code where that is certain, then by the enhanced
// code's subject and detail (RFC 3463 3), then by the step.
func scope(at step, code int, enhanced string) upstream.Scope {
	_, rest, _ := strings.Cut(enhanced, ".")
	subject, _, _ := strings.Cut(rest, ".")
	switch {
	case ownTrouble[code]:
		return upstream.ScopeUpstream
	case rest == "3.4" || code == 552 && subject != "2" && at != stepRcpt: // larger than it takes
		return upstream.ScopeMessage
	case credentials[rest], banned(rest), rest == "7.0" && at == stepMail:
		return upstream.ScopeUpstream
	case subject == "3": // its disk, its configuration
		return upstream.ScopeUpstream
	case rest == "4.6" && at == stepEnd: // this message goes round in a loop
		return upstream.ScopeMessage
	case subject == "6" && at != stepRcpt: // content and conversion
		return upstream.ScopeMessage
	}
	switch at {
	case stepRcpt:
		return upstream.ScopeRecipient // also X.4: the way to the recipient's system
	case stepMail:
		return senderScope(code, subject)
	case stepData:
		return upstream.ScopeUpstream // it has seen no content yet
	}
	if subject == "4" {
		return upstream.ScopeUpstream
	}
	return upstream.ScopeMessage
}

// senderScope is the scope of a refusal of MAIL that is not about credentials.
// A sender is the message's own: the server may take the next one's, so a
// device with a wrong sender must not stop the others. What speaks of a system,
// a way, the protocol, or of a rate (450 4.7.1) is the upstream's.
func senderScope(code int, subject string) upstream.Scope {
	switch subject {
	case "1", "2":
		return upstream.ScopeMessage
	case "", "7":
		if code/100 == 5 {
			return upstream.ScopeMessage
		}
	}
	return upstream.ScopeUpstream
}

// ownTrouble are the codes that never speak of the message: closing, TLS, AUTH
// (RFC 5321 4.2.2, RFC 3207, RFC 4954 6), and commands that it does not know.
var ownTrouble = map[int]bool{
	421: true, 432: true, 454: true, 500: true, 502: true, 503: true,
	530: true, 534: true, 535: true, 538: true, 555: true,
}

// credentials are the details of X.7 that speak of our permission to use the
// server: those of RFC 4954 6 and RFC 5248, and Exchange Online's (no
// authentication, Basic authentication gone, connector, direct send, disabled by
// policy; a tenant or an address that is blocked).
var credentials = map[string]bool{
	"7.3": true, "7.8": true, "7.9": true, "7.10": true, "7.11": true, "7.12": true, "7.13": true, "7.14": true,
	"7.30": true, "7.57": true, "7.64": true, "7.68": true, "7.139": true, "7.705": true, "7.708": true, "7.750": true,
}

// banned tells the details by which Exchange Online says that it takes nothing from
// our address (5.7.606 to 5.7.649, "Access denied, banned sending IP").
func banned(rest string) bool { return len(rest) == 5 && rest >= "7.606" && rest <= "7.649" }

// spent tells that Exchange Online lets the account or the tenant send no more: the
// day's recipients are used up (5.1.90, 5.7.232, 5.7.233), or it is blocked for what
// it sent (5.1.8). That ends, or a person ends it.
func spent(r Reply) bool {
	switch r.Enhanced {
	case "5.1.90", "5.7.232", "5.7.233":
		return true
	case "5.1.8":
		return strings.Contains(strings.ToLower(r.Text), "bad outbound sender")
	}
	return false
}
