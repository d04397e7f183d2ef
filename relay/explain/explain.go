// Package explain says which rule of a plan would decide for a client, a
// sender and a recipient, and why: what `printer-relay explain`, the console
// and the kubectl plugin show.
//
// It may import relay/plan, relay/policy, relay/reply and relay/envelope; no
// client and no I/O.
package explain

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// Question is what a client would say, as a person writes it.
type Question struct {
	Client netip.Addr
	User   string // the login it authenticated as; empty: it did not
	TLS    uint16 // crypto/tls version of the connection; 0: clear text
	From   string // MAIL FROM, with or without angle brackets
	To     string // RCPT TO; empty: only MAIL is asked about
}

// Answer is what one relay would do.
type Answer struct {
	Relay      string        `json:"relay"`            // namespace/name
	Hidden     bool          `json:"hidden,omitempty"` // the client's address is not its own: no network matches it
	Steps      []policy.Step `json:"steps"`
	Action     policy.Action `json:"action"`            // of the message at MAIL
	Rule       string        `json:"rule,omitempty"`    // policy/rule that decided; empty: none did
	Refusal    string        `json:"refusal,omitempty"` // the reply to MAIL, where it is refused
	IntakeHeld bool          `json:"intakeHeld,omitempty"`
	Hold       string        `json:"hold,omitempty"` // of the PrinterRelay, that keeps it; empty: none does
	Recipients []Recipient   `json:"recipients,omitempty"`
	DryRun     []DryRun      `json:"dryRun,omitempty"` // of each policy in DryRun whose rule matches
}

// DryRun is what would become of the message if a policy in DryRun were enforced,
// beside what becomes of it.
type DryRun struct {
	Rule  string `json:"rule"` // policy/rule
	Would string `json:"would"`
	Now   string `json:"now"`
}

// Recipient is what would become of one address in the place of the recipient.
type Recipient struct {
	Address  string `json:"address"`
	Refusal  string `json:"refusal,omitempty"` // the reply to RCPT, where it is refused
	Upstream string `json:"upstream,omitempty"`
	Route    string `json:"route,omitempty"` // empty: the relay's upstreamRef
	// Suspended: the upstream is. A fallback carries the mail, or it waits.
	Suspended bool `json:"suspended,omitempty"`
}

// FieldError is a part of a Question that cannot be read.
type FieldError struct {
	Field string // client, from or to
	Value string
	Err   error
}

func (e *FieldError) Error() string { return fmt.Sprintf("%s %q: %v", e.Field, e.Value, e.Err) }

func (e *FieldError) Unwrap() error { return e.Err }

var errNoAddress = errors.New("want an address")

// Check says what of q cannot be read by any relay; nil: nothing.
func (q *Question) Check() error {
	if !q.Client.IsValid() {
		return &FieldError{"client", "", errors.New("want an IP address")}
	}
	if _, err := given(bare(q.From), "any.invalid"); err != nil {
		return &FieldError{"from", bare(q.From), err}
	}
	if a, err := given(bare(q.To), "any.invalid"); q.To != "" && (err != nil || a.IsNull()) {
		return &FieldError{"to", q.To, errNoAddress}
	}
	return nil
}

// Ask gives what the relay of p would answer. The error is a *FieldError.
func Ask(p *plan.Plan, q Question) (*Answer, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	from, err := given(bare(q.From), p.Addresses.DefaultDomain)
	if err != nil {
		return nil, &FieldError{"from", bare(q.From), err}
	}
	who := policy.Client{Addr: q.Client.Unmap(), User: q.User, TLSVersion: q.TLS}
	who.Hidden = p.HiddenClients.Hides(who.Addr)
	d := p.Policies.AtMail(who, from)
	out := &Answer{Relay: p.Namespace + "/" + p.Name, Hidden: who.Hidden, Steps: d.Steps, Action: d.Action, IntakeHeld: p.Intake == plan.IntakeHold}
	if h := plan.FirstHold(p.Holds, who, from); h != nil {
		out.Hold = h.Name
	}
	if d.Rule != nil {
		out.Rule = d.Rule.Policy + "/" + d.Rule.Name
	}
	var to []envelope.Address
	if q.To != "" {
		a, err := given(bare(q.To), p.Addresses.DefaultDomain)
		if err != nil {
			return nil, &FieldError{"to", q.To, err}
		}
		to = p.RewriteRecipient(a)
	}
	now := verdict(p, &d, who, from, to)
	for i := range d.DryRun {
		r := d.DryRun[i].Rule
		out.DryRun = append(out.DryRun, DryRun{r.Policy + "/" + r.Name, verdict(p, &d.DryRun[i], who, from, to), now})
	}
	if r := atMail(p, d, from); r != nil {
		out.Action, out.Refusal = policy.Reject, r.String()
		return out, nil //nolint:nilerr // a refusal is the answer
	}
	for _, a := range to {
		out.Recipients = append(out.Recipients, recipient(p, d.Rule, who, from, a))
	}
	return out, nil
}

// verdict is what becomes of a message by a decision.
func verdict(p *plan.Plan, d *policy.Decision, who policy.Client, from envelope.Address, to []envelope.Address) string {
	if r := atMail(p, *d, from); r != nil {
		return "refused: " + r.String()
	}
	for _, a := range to {
		if r := d.Rule.CheckRecipient(a, 0, 1); r != nil {
			return "refused: " + r.String()
		}
	}
	if d.Action == policy.Hold || p.Intake == plan.IntakeHold || plan.FirstHold(p.Holds, who, from) != nil {
		return "accepted and held"
	}
	return "accepted"
}

func recipient(p *plan.Plan, rule *policy.Rule, who policy.Client, from, to envelope.Address) Recipient {
	out := Recipient{Address: to.String()}
	if r := rule.CheckRecipient(to, 0, 1); r != nil {
		out.Refusal = r.String()
		return out
	}
	if who.Hidden {
		who.Addr = netip.Addr{}
	}
	if r := p.Route(who.Addr, from, to); r != nil {
		out.Upstream, out.Route = r.Upstream, r.Name
		u := p.Upstreams[r.Upstream]
		out.Suspended = u != nil && u.Suspend
	}
	return out
}

func bare(s string) string { return strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">") }

// given reads an address as a lenient listener does: one without a domain has
// the default one.
func given(s, defaultDomain string) (envelope.Address, error) {
	a, err := envelope.ParseAddress(s)
	if errors.Is(err, envelope.ErrNoDomain) && defaultDomain != "" {
		a.Domain, err = defaultDomain, nil
	}
	return a, err
}

// atMail is the relay's own refusal, beside that of the policies.
func atMail(p *plan.Plan, d policy.Decision, from envelope.Address) *reply.Reply {
	if p.Intake == plan.IntakeRefuse {
		return reply.IntakeRefused()
	}
	if d.Reply == nil && !d.Force {
		if domain, ok := p.SendsAs(from); !ok {
			return reply.SenderDomain(domain)
		}
	}
	return d.Reply
}

// WriteText writes the answer for people.
func (a *Answer) WriteText(out io.Writer) {
	fmt.Fprintf(out, "PrinterRelay %s\n", a.Relay)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, s := range a.Steps {
		fmt.Fprintf(w, "  %s/%s\t%s\t%s\n", s.Policy, s.Rule, Verdict(s), s.Why)
	}
	w.Flush() //nolint:errcheck // a terminal
	defer a.writeDryRun(out)
	if a.Refusal != "" {
		fmt.Fprintf(out, "  MAIL: refused: %s\n", a.Refusal)
		return
	}
	held := ""
	switch {
	case a.Hold != "":
		held = ", and held: hold " + a.Hold
	case a.IntakeHeld:
		held = ", and held: the relay's intake is Hold"
	}
	fmt.Fprintf(out, "  MAIL: %s by %s%s\n", a.Action, a.Rule, held)
	for _, r := range a.Recipients {
		if r.Refusal != "" {
			fmt.Fprintf(out, "  RCPT <%s>: refused: %s\n", r.Address, r.Refusal)
			continue
		}
		suspended := ""
		if r.Suspended {
			suspended = ", which is suspended: a fallback carries it, or it waits"
		}
		fmt.Fprintf(out, "  RCPT <%s>: accepted, goes to upstream %s%s\n", r.Address, r.Upstream, suspended)
	}
}

func (a *Answer) writeDryRun(out io.Writer) {
	for _, d := range a.DryRun {
		if d.Would == d.Now {
			fmt.Fprintf(out, "  dry run %s: changes nothing: %s\n", d.Rule, d.Now)
			continue
		}
		fmt.Fprintf(out, "  dry run %s: would be %s; now %s\n", d.Rule, d.Would, d.Now)
	}
}

// Verdict says in words what a rule did.
func Verdict(s policy.Step) string {
	verdict := "passes on"
	if s.Match {
		verdict = "decides"
	}
	if s.DryRun {
		verdict += " (dry run)"
	}
	return verdict
}
