package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/policy"
)

func (c *compiler) policies(self at) {
	for i, ref := range c.in.Relay.Spec.SenderPolicyRefs {
		p := c.in.Policies[ref.Name]
		if p == nil {
			self.missing(fmt.Sprintf("spec.senderPolicyRefs[%d]", i), "SenderPolicy", ref.Name)
			continue
		}
		a := at{c, "SenderPolicy " + p.Namespace + "/" + p.Name}
		out := policy.Policy{Name: p.Name, DryRun: p.Spec.Enforcement == v1alpha1.EnforcementDryRun}
		for k := range p.Spec.Rules {
			out.Rules = append(out.Rules, c.rule(a, fmt.Sprintf("spec.rules[%d]", k), p.Name, &p.Spec.Rules[k]))
		}
		c.out.Policies = append(c.out.Policies, out)
	}
}

func (c *compiler) rule(a at, field, policyName string, r *v1alpha1.Rule) policy.Rule {
	out := policy.Rule{
		Policy: policyName, Name: r.Name, Action: policy.Action(r.Action),
		Match: policy.Match{
			Networks: c.networks(a, field+".match.clientNetworks", r.Match.ClientNetworks),
			Users:    slices.Clone(r.Match.Users),
			Senders:  c.patterns(a, field+".match.senders", r.Match.Senders),
		},
		Connection: policy.Connection{
			TLSRequired:   r.Connection.TLS == v1alpha1.RequirementRequired,
			MinimumTLS:    tlsVersions[r.Connection.MinimumTLSVersion],
			Authenticated: r.Connection.Authentication == v1alpha1.RequirementRequired,
		},
		Senders: policy.Senders{
			Allowed:      c.patterns(a, field+".senders.allowed", r.Senders.Allowed),
			EnvelopeOnly: r.Senders.Check == v1alpha1.CheckEnvelope,
			Rewrite:      r.Senders.Otherwise == v1alpha1.OtherwiseRewrite,
		},
		Identity:    policy.Identity{LocalPart: r.Identity.LocalPart, DisplayName: r.Identity.DisplayName},
		Recipients:  policy.Recipients{Allowed: c.patterns(a, field+".recipients.allowed", r.Recipients.Allowed)},
		MessageSize: c.size(a, field+".content.messageSize", r.Content.MessageSize, 0),
	}
	if out.Action == "" {
		out.Action = policy.Allow
	}
	if m := r.Recipients.Maximum; m != nil {
		out.Recipients.Maximum = int(*m)
	}
	for _, t := range r.Content.AttachmentTypes {
		out.Attachments = append(out.Attachments, strings.ToLower(t))
	}
	c.failClosed(a, field, &out)
	out.Rate = rate(r.RateLimit)
	return out
}

// failClosed repeats the rules of the schema that keep a relay from being
// open: a plan must not depend on who validated the manifests.
func (c *compiler) failClosed(a at, field string, r *policy.Rule) {
	if len(r.Match.Networks) == 0 && len(r.Match.Users) == 0 {
		a.errorf(field+".match", "clientNetworks or users is required: an empty match would be an open relay")
	}
	if len(r.Match.Users) > 0 || r.Action == policy.Reject {
		return
	}
	if everybody(r.Match.Networks) {
		a.errorf(field+".match.clientNetworks", "together they hold every address: name the networks of the copiers, or name users too")
	}
	if len(r.Recipients.Allowed) == 0 {
		a.errorf(field+".recipients.allowed", "is required where match.users is empty: a network alone may not send to everybody")
	}
}

// everybody tells whether networks hold every address of IPv4 or of IPv6, be it
// by a /0 or by its two halves.
func everybody(networks []netip.Prefix) bool {
	return cover(networks, netip.PrefixFrom(netip.IPv4Unspecified(), 0)) || cover(networks, netip.PrefixFrom(netip.IPv6Unspecified(), 0))
}

// cover tells whether networks together hold all of p.
func cover(networks []netip.Prefix, p netip.Prefix) bool {
	var in []netip.Prefix
	for _, n := range networks {
		if n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
			return true
		}
		if n.Overlaps(p) {
			in = append(in, n)
		}
	}
	if len(in) == 0 {
		return false
	}
	b := p.Addr().AsSlice()
	b[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	upper, _ := netip.AddrFromSlice(b)
	return cover(in, netip.PrefixFrom(p.Addr(), p.Bits()+1)) && cover(in, netip.PrefixFrom(upper, p.Bits()+1))
}

func rate(r *v1alpha1.RateLimit) *policy.Rate {
	if r == nil {
		return nil
	}
	out := &policy.Rate{Per: policy.PerClient, Exceeded: policy.Pace}
	if r.MessagesPerMinute != nil {
		out.MessagesPerMinute = int(*r.MessagesPerMinute)
	}
	if r.RecipientsPerDay != nil {
		out.RecipientsPerDay = int(*r.RecipientsPerDay)
	}
	if r.Per != "" {
		out.Per = policy.Per(r.Per)
	}
	if r.Exceeded != "" {
		out.Exceeded = policy.Exceeded(r.Exceeded)
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
