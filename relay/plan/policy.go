package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/envelope"
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
	for _, n := range r.Match.Networks {
		if n.Bits() == 0 {
			a.errorf(field+".match.clientNetworks", "a /0 network matches everybody: name the networks, or name users too")
		}
	}
	if len(r.Recipients.Allowed) == 0 {
		a.errorf(field+".recipients.allowed", "is required where match.users is empty: a network alone may not send to everybody")
	}
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

// checkFit refuses rules whose mail no upstream could ever send: every
// reachable upstream sends its own domain only (rewrite: Never), and the rule
// allows no sender of it.
func (c *compiler) checkFit() {
	for _, p := range c.out.Policies {
		for i, r := range p.Rules {
			if r.Action == policy.Reject || len(r.Senders.Allowed) == 0 || len(c.out.Upstreams) == 0 {
				continue
			}
			var domains []string
			for _, name := range sortedKeys(c.out.Upstreams) {
				u := c.out.Upstreams[name]
				if u.Sender == nil || u.Sender.Rewrite != string(v1alpha1.RewriteNever) || coversDomain(r.Senders.Allowed, u.Sender.Domain) {
					domains = nil
					break
				}
				domains = append(domains, u.Sender.Domain)
			}
			if domains != nil {
				at{c, "SenderPolicy " + c.in.Relay.Namespace + "/" + p.Name}.errorf(fmt.Sprintf("spec.rules[%d].senders.allowed", i),
					"no sender of it is in %s, and every upstream has sender.rewrite: Never: allow that domain, or let the upstream rewrite", strings.Join(domains, ", "))
			}
		}
	}
}

func coversDomain(ps []envelope.Pattern, domain string) bool {
	return slices.ContainsFunc(ps, func(p envelope.Pattern) bool { return p.MatchDomain(domain) })
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
