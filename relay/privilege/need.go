// Package privilege works out what an upstream's credential has to be allowed, from
// the plans that send by it, and writes it as the vendor wants it: an IAM policy, an
// Exchange role assignment, a sending key.
//
// It is pure. It may import relay/plan, relay/policy and relay/envelope.
package privilege

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
)

// Need is what the relays of a namespace do by one upstream. Nothing that a policy
// allows is left out; where rules overlap it may be a little more.
type Need struct {
	Relays     []string `json:"relays"`               // namespace/name
	Senders    []string `json:"senders"`              // patterns of From and MAIL FROM as they leave: "*@copier.example"; "*": any
	Recipients []string `json:"recipients,omitempty"` // patterns; empty: any
	Notes      []string `json:"notes,omitempty"`

	senders, recipients patterns
}

// way is one path to an upstream: of a route, or as a fallback, which takes all.
type way struct {
	senders    patterns
	recipients patterns
}

// NeedOf gives what the plans, which are of one namespace, do by an upstream; false:
// no relay sends by it.
func NeedOf(plans []*plan.Plan, name string) (*Need, bool) {
	n := &Need{}
	for _, p := range plans {
		u := p.Upstreams[name]
		if u == nil {
			continue
		}
		n.Relays = append(n.Relays, p.Namespace+"/"+p.Name)
		for _, w := range waysTo(p, name) {
			n.scans(p, u, w)
		}
		n.notices(p, name)
	}
	n.senders, n.recipients = n.senders.compact(), n.recipients.compact()
	n.Senders = n.senders.strings()
	if !n.recipients.any() {
		n.Recipients = n.recipients.strings()
	}
	n.Notes = slices.Compact(n.Notes)
	return n, len(n.Relays) > 0
}

func waysTo(p *plan.Plan, name string) []way {
	all := way{patterns{everything}, patterns{everything}}
	if slices.Contains(p.Fallbacks, name) {
		return []way{all}
	}
	var out []way
	for i := range p.Routes {
		r := &p.Routes[i]
		if r.Upstream != name {
			continue
		}
		w := way{parse(r.Senders), nil}
		for _, d := range r.RecipientDomains {
			w.recipients = append(w.recipients, pattern{"*", d})
		}
		if len(w.recipients) == 0 {
			w.recipients = all.recipients
		}
		out = append(out, w)
	}
	return out
}

// scans adds what policies let pass on one way.
func (n *Need) scans(p *plan.Plan, u *plan.Upstream, w way) {
	for _, pol := range p.Policies {
		if pol.DryRun {
			n.Notes = append(n.Notes, fmt.Sprintf("SenderPolicy %s/%s decides nothing yet (DryRun): its rules are not in here", p.Namespace, pol.Name))
			continue
		}
		for i := range pol.Rules {
			r := &pol.Rules[i]
			if r.Action == policy.Reject {
				continue
			}
			recipients := reached(p, parse(r.Recipients.Allowed)).cut(w.recipients)
			came := senders(r).cut(w.senders)
			if len(recipients) == 0 || len(came) == 0 {
				continue
			}
			n.senders = append(n.senders, leaves(u, r, came)...)
			n.recipients = append(n.recipients, recipients...)
		}
	}
	for _, c := range p.Copies {
		n.recipients = append(n.recipients, addresses(c.To).cut(w.recipients)...)
	}
}

// senders are those that a rule lets pass, as they came. What is rewritten because
// it is not allowed came from anybody.
func senders(r *policy.Rule) patterns {
	allowed := parse(r.Senders.Allowed)
	if r.Senders.Rewrite {
		allowed = patterns{everything}
	}
	if len(r.Match.Senders) > 0 {
		allowed = allowed.cut(parse(r.Match.Senders))
	}
	return allowed
}

// leaves are the senders as they leave by an upstream (delivery's identity).
func leaves(u *plan.Upstream, r *policy.Rule, came patterns) patterns {
	if u.Sender == nil {
		return came
	}
	own := pattern{"*", u.Sender.Domain}
	local := r.Identity.LocalPart
	if local == "" {
		local = u.Sender.LocalPart
	}
	written := patterns{{local, u.Sender.Domain}}
	never := u.Sender.Rewrite == "Never"
	if !never && (u.Sender.Rewrite == "Always" || r.Identity != (policy.Identity{})) {
		return written
	}
	stays := came.cut(patterns{own})
	switch {
	case r.Senders.Rewrite: // what the rule does not allow is rewritten, whatever the upstream says
		return append(parse(r.Senders.Allowed).cut(patterns{own}), written...)
	case !never && slices.ContainsFunc(came, func(p pattern) bool { return !covers(own, p) }):
		return append(stays, written...)
	}
	return stays
}

// reached are recipients after the rewrites of addresses.
func reached(p *plan.Plan, allowed patterns) patterns {
	for _, r := range p.Addresses.Recipients {
		for _, t := range r.To { // what a star stands for is not known here
			allowed = append(allowed, parseOne(t.String()))
		}
	}
	return allowed
}

// notices adds the relay's own mail about scans that failed.
func (n *Need) notices(p *plan.Plan, name string) {
	b := p.Delivery.Bounce
	if b.To == "None" || b.Upstream != name && (b.Upstream != "" || !slices.Contains(p.Ways(), name)) {
		return
	}
	if !b.From.IsNull() {
		n.senders = append(n.senders, addresses([]envelope.Address{b.From})...)
	}
	if !b.Postmaster.IsNull() && (b.Upstream == name || takes(p, name, b)) {
		n.recipients = append(n.recipients, addresses([]envelope.Address{b.Postmaster})...)
	}
	if b.To == "OriginalSender" {
		for _, pol := range p.Policies {
			for i := range pol.Rules {
				if r := &pol.Rules[i]; r.Action != policy.Reject {
					n.recipients = append(n.recipients, parse(r.Senders.Allowed)...)
				}
			}
		}
	}
}

// takes tells whether a notice to the postmaster goes by the upstream.
func takes(p *plan.Plan, name string, b plan.Bounce) bool {
	if slices.Contains(p.Fallbacks, name) {
		return true
	}
	r := p.Route(netip.Addr{}, b.From, b.Postmaster)
	return r != nil && r.Upstream == name
}
