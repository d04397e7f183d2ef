package policy

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// Step is one line of an explanation: what was looked at and why it did or did
// not decide.
type Step struct {
	Policy string `json:"policy"`
	Rule   string `json:"rule"`
	Match  bool   `json:"match"`
	DryRun bool   `json:"dryRun,omitempty"`
	Why    string `json:"why"`
}

// Decision is what a Set says of one MAIL command. Reply is nil where the
// message may go on; Rule is nil where no rule matched.
type Decision struct {
	Action  Action
	Rule    *Rule
	Reply   *reply.Reply
	Covered bool // Rule's allowed senders name the sender: it may hear of a failure
	Force   bool // the sender is not allowed and is rewritten
	Hidden  bool // no rule matched, and one on networks could have, were the client's address known
	Steps   []Step
	DryRun  []Decision // what policies in DryRun would have decided, without Steps
}

// AtMail decides for a client that says MAIL FROM:<from>. The first rule that
// matches is fixed for the whole message. Nothing matched is a refusal: with
// 530 where a login could have helped, else with 550.
func (s Set) AtMail(c Client, from envelope.Address) Decision {
	var d Decision
	loginHelps := false
	for i := range s {
		p := &s[i]
		for k := range p.Rules {
			r := &p.Rules[k]
			why, ok := r.matches(c, from)
			d.Steps = append(d.Steps, Step{Policy: p.Name, Rule: r.Name, Match: ok, DryRun: p.DryRun, Why: why})
			if !ok {
				if !p.DryRun && r.Action != Reject {
					loginHelps = loginHelps || c.User == "" && r.withLogin(c, from)
					d.Hidden = d.Hidden || r.withAddress(c, from)
				}
				continue
			}
			v := r.decide(c, from)
			if p.DryRun {
				d.DryRun = append(d.DryRun, v)
				break
			}
			v.Steps, v.DryRun = d.Steps, d.DryRun
			return v
		}
	}
	d.Action = Reject
	d.Reply = NoRule(c, d.Hidden)
	if loginHelps {
		d.Reply = reply.AuthRequired()
	}
	return d
}

// Names tells whether some rule could let a client in for its address: mail is
// expected from there.
func (s Set) Names(client netip.Addr) bool {
	c := Client{Addr: client}
	for i := range s {
		p := &s[i]
		if p.DryRun {
			continue
		}
		for k := range p.Rules {
			r := &p.Rules[k]
			if _, ok := holds(r.Match.Networks, c); !ok {
				continue
			}
			if r.Action != Reject {
				return true
			}
			if len(r.Match.Users) == 0 && len(r.Match.Senders) == 0 {
				return false // nothing behind it is asked
			}
		}
	}
	return false
}

// NoRule is the refusal of a client that no rule matches; hidden says that one
// could have, were its address known.
func NoRule(c Client, hidden bool) *reply.Reply {
	if hidden {
		return reply.AddressHidden()
	}
	return reply.NoRule(c.Addr.Unmap().String())
}

// matches tells whether the rule holds, and in either case why. Who a client
// with a hidden address is, nobody knows: no network lets it in, and it may be
// the one that a network is to keep out.
func (r *Rule) matches(c Client, from envelope.Address) (string, bool) {
	m := &r.Match
	var why []string
	if len(m.Networks) > 0 {
		n, ok := holds(m.Networks, c)
		switch {
		case ok:
			why = append(why, "network "+n.String())
		case c.Hidden && r.Action == Reject:
			why = append(why, "the client's address is hidden, so it may be in its networks")
		case c.Hidden:
			return "the client's address is hidden: rules on networks let nobody in", false
		default:
			return fmt.Sprintf("%s is in none of its networks", c.Addr.Unmap()), false
		}
	}
	if len(m.Users) > 0 {
		if c.User == "" {
			return "the client did not authenticate", false
		}
		if !slices.Contains(m.Users, c.User) {
			return fmt.Sprintf("user %q is none of its users", c.User), false
		}
		why = append(why, fmt.Sprintf("user %q", c.User))
	}
	if len(why) == 0 {
		return "the rule names neither networks nor users: it matches nobody", false // the kinds refuse it; fail closed
	}
	if len(m.Senders) > 0 {
		if !envelope.MatchAny(m.Senders, from) {
			return fmt.Sprintf("sender <%s> fits none of its senders", from), false
		}
		why = append(why, "sender")
	}
	return strings.Join(why, ", "), true
}

// withLogin tells whether the rule would hold if the client authenticated as one
// of its users.
func (r *Rule) withLogin(c Client, from envelope.Address) bool {
	if len(r.Match.Users) == 0 {
		return false
	}
	c.User = r.Match.Users[0]
	_, ok := r.matches(c, from)
	return ok
}

// withAddress tells whether the rule would hold if a hidden client turned out to
// be in one of its networks.
func (r *Rule) withAddress(c Client, from envelope.Address) bool {
	if !c.Hidden || len(r.Match.Networks) == 0 {
		return false
	}
	c.Hidden, c.Addr = false, r.Match.Networks[0].Addr()
	_, ok := r.matches(c, from)
	return ok
}

func holds(networks []netip.Prefix, c Client) (netip.Prefix, bool) {
	if c.Hidden || !c.Addr.IsValid() {
		return netip.Prefix{}, false
	}
	a := c.Addr.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(a) {
			return n, true
		}
	}
	return netip.Prefix{}, false
}

func (r *Rule) decide(c Client, from envelope.Address) Decision {
	d := Decision{Action: r.Action, Rule: r}
	if r.Action == Reject {
		d.Reply = reply.RuleRejects(r.Name)
		return d
	}
	if d.Reply = r.Connection.check(c); d.Reply != nil {
		d.Action = Reject
		return d
	}
	d.Covered = len(r.Senders.Allowed) > 0 && envelope.MatchAny(r.Senders.Allowed, from)
	if !r.Senders.allows(from) {
		if !r.Senders.Rewrite {
			d.Action, d.Reply = Reject, reply.SenderRefused(shown(from))
			return d
		}
		d.Force = true
	}
	return d
}

// shown is an address as a refusal names it.
func shown(a envelope.Address) string {
	if a.IsNull() {
		return "<>"
	}
	return a.String()
}

func (k Connection) check(c Client) *reply.Reply {
	switch {
	case k.TLSRequired && c.TLSVersion == 0:
		return reply.TLSRequired()
	case k.MinimumTLS != 0 && c.TLSVersion == 0:
		return reply.TLSRequired()
	case c.TLSVersion < k.MinimumTLS:
		return reply.TLSTooOld(strings.TrimPrefix(tls.VersionName(k.MinimumTLS), "TLS "))
	case k.Authenticated && c.User == "":
		return reply.AuthRequired()
	}
	return nil
}

// allows tells whether the list lets a send. An empty list allows every
// sender, the null one too; a list allows what it names, and no pattern names
// the null sender.
func (s Senders) allows(a envelope.Address) bool {
	return len(s.Allowed) == 0 || envelope.MatchAny(s.Allowed, a)
}

// CheckHeader looks at every From: and Sender: address of a message that the
// rule let in. force says that the sender is to be replaced by the upstream's
// identity (otherwise: Rewrite); a Reply refuses the message.
func (r *Rule) CheckHeader(addresses []envelope.Address) (force bool, refusal *reply.Reply) {
	if r.Senders.EnvelopeOnly || len(r.Senders.Allowed) == 0 {
		return false, nil
	}
	for _, a := range addresses {
		if !r.Senders.allows(a) {
			if r.Senders.Rewrite {
				return true, nil
			}
			return false, reply.HeaderSender(shown(a))
		}
	}
	return false, nil
}

// CheckRecipient decides for one RCPT command; have is the number of
// recipients accepted so far, listener the listener's own limit.
func (r *Rule) CheckRecipient(to envelope.Address, have, listener int) *reply.Reply {
	if relayShape(to) {
		return reply.RecipientRefused(to.String())
	}
	if len(r.Recipients.Allowed) > 0 && !envelope.MatchAny(r.Recipients.Allowed, to) {
		return reply.RecipientRefused(to.String())
	}
	limit := listener
	if r.Recipients.Maximum > 0 {
		limit = min(limit, r.Recipients.Maximum)
	}
	if have >= limit {
		return reply.TooManyRecipients(limit)
	}
	return nil
}

// relayShape tells addresses that some mail systems route by their local part
// (RFC 5321 3.6.1, and the % and ! of older practice): with them a domain that is
// allowed could carry mail to one that is not.
func relayShape(a envelope.Address) bool {
	return a.IsNull() || strings.ContainsAny(a.Local, "@%!") || strings.HasPrefix(a.Domain, "[")
}

// SizeLimit is the octets that a message of this rule may have on a listener
// with the given limit.
func (r *Rule) SizeLimit(listener int64) int64 {
	if r.MessageSize > 0 {
		return min(listener, r.MessageSize)
	}
	return listener
}
