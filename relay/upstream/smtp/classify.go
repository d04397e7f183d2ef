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

// classify says what a refusal means. The enhanced code (RFC 3463) decides
// where there is one: X.1 and X.2 speak of a mailbox, X.3 and X.4 of the system
// or the way to it, X.6 of the content, X.7 of permission. Where there is none
// the step decides.
func classify(at step, r Reply) upstream.Outcome {
	o := upstream.Outcome{Kind: upstream.Deferred, Code: r.Code, Enhanced: r.Enhanced, Text: r.Text}
	if r.Code/100 == 5 {
		o.Kind = upstream.Failed
	}
	_, rest, _ := strings.Cut(r.Enhanced, ".")
	subject, detail, _ := strings.Cut(rest, ".")
	switch {
	case r.Code == 421 || r.Code == 454 || r.Code == 530 || r.Code == 534 || r.Code == 535 || r.Code == 538:
		o.Scope = upstream.ScopeUpstream
	case r.Code == 552 && at != stepRcpt || rest == "3.4":
		o.Scope = upstream.ScopeMessage
	case at == stepRcpt && (subject == "1" || subject == "2"):
		o.Scope = upstream.ScopeRecipient
	case rest == "7.0" && at != stepEnd && at != stepRcpt, rest == "7.3", rest == "7.8", rest == "7.9", rest == "7.11", len(detail) > 1 && subject == "7" && vendorAuth(detail):
		o.Scope = upstream.ScopeUpstream
	case subject == "3" || subject == "4" && at != stepRcpt:
		o.Scope = upstream.ScopeUpstream
	case at == stepRcpt:
		o.Scope = upstream.ScopeRecipient
	case at == stepMail:
		// Who may send here is between the upstream and us: the device has no part in it.
		o.Scope = upstream.ScopeUpstream
	case at == stepData:
		o.Scope = upstream.ScopeUpstream
	default:
		o.Scope = upstream.ScopeMessage
	}
	if o.Scope == upstream.ScopeMessage && o.Kind == upstream.Deferred {
		o.Scope = upstream.ScopeRecipient // 4yz at the end: the same again later, as with greylisting
	}
	return o
}

// vendorAuth tells Exchange Online's X.7.n codes that speak of the client's
// own permission: 5.7.3 and 5.7.57 not authenticated, 5.7.30 Basic
// authentication is gone, 5.7.60 send-as, 5.7.64 and 5.7.68 connectors,
// 5.7.139 disabled by policy.
func vendorAuth(detail string) bool {
	switch detail {
	case "30", "57", "60", "64", "68", "139":
		return true
	}
	return false
}
