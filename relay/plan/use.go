package plan

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// Route gives the upstream for one recipient: of the first route that matches.
func (p *Plan) Route(client netip.Addr, sender, to envelope.Address) *Route {
	for i := range p.Routes {
		if p.Routes[i].Matches(client, sender, to) {
			return &p.Routes[i]
		}
	}
	return nil // no plan from Compile ends without a route that matches all
}

// Takes gives the octets of the largest message that some upstream on a
// recipient's way takes, less what headers may add; 0: no limit is known.
func (p *Plan) Takes(client netip.Addr, sender, to envelope.Address) int64 {
	r := p.Route(client, sender, to)
	if r == nil {
		return 0
	}
	return p.takes(append([]string{r.Upstream}, p.Fallbacks...))
}

// takes is Takes of the upstreams named.
func (p *Plan) takes(names []string) int64 {
	var largest int64
	for _, name := range names {
		u := p.Upstreams[name]
		if u == nil || u.MessageSize == 0 {
			return 0
		}
		largest = max(largest, u.MessageSize)
	}
	return max(largest-headerRoom, 1)
}

// Ways are the upstreams that a copier's message can go by, sorted: those of
// routes and fallbacks.
func (p *Plan) Ways() []string {
	all := slices.Clone(p.Fallbacks)
	for i := range p.Routes {
		all = append(all, p.Routes[i].Upstream)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// SendsAs tells whether some upstream can send a message of the sender;
// otherwise it names a domain that could be sent as (sender.rewrite: Never).
func (p *Plan) SendsAs(sender envelope.Address) (domain string, ok bool) {
	for _, name := range p.Ways() {
		if domain, ok = p.Upstreams[name].SendsAs(sender); ok {
			return "", true
		}
	}
	return domain, false
}

// SendsAs tells whether the upstream can send a message of the sender; otherwise
// it names the domain that it could send as. Of one that is not there nothing is known.
func (u *Upstream) SendsAs(sender envelope.Address) (domain string, ok bool) {
	if u == nil || u.Sender == nil || u.Sender.Rewrite != "Never" || sender.IsNull() || envelope.DomainKey(sender.Domain) == u.Sender.Domain {
		return "", true
	}
	return u.Sender.Domain, false
}

// Matches tells whether a recipient goes this way.
func (r *Route) Matches(client netip.Addr, sender, to envelope.Address) bool {
	return (len(r.RecipientDomains) == 0 || matchDomain(r.RecipientDomains, to.Domain)) &&
		(len(r.Networks) == 0 || containsAddr(r.Networks, client)) &&
		(len(r.Senders) == 0 || envelope.MatchAny(r.Senders, sender))
}

func matchDomain(domains []string, d string) bool {
	k := envelope.DomainKey(d)
	for _, want := range domains {
		if suffix, ok := strings.CutPrefix(want, "*"); ok {
			if len(k) > len(suffix) && strings.HasSuffix(k, suffix) {
				return true
			}
		} else if k == want {
			return true
		}
	}
	return false
}

func containsAddr(networks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// RewriteRecipient gives the recipients in the place of to: those of the first
// rewrite that matches, or to itself. Rewrites do not chain, so they cannot loop.
func (p *Plan) RewriteRecipient(to envelope.Address) []envelope.Address {
	for _, r := range p.Addresses.Recipients {
		star, ok := r.From.Capture(to)
		if !ok {
			continue
		}
		var out []envelope.Address
		for _, t := range r.To {
			a, err := t.Expand(star)
			if err != nil {
				continue // longer than an address may be; the rest still goes
			}
			out = append(out, a)
		}
		if len(out) > 0 {
			return out
		}
	}
	return []envelope.Address{to}
}

// CopiesFor gives the recipients that the relay adds for a sender.
func (p *Plan) CopiesFor(sender envelope.Address) []envelope.Address {
	var out []envelope.Address
	for _, c := range p.Copies {
		if envelope.MatchAny(c.Senders, sender) {
			out = append(out, c.To...)
		}
	}
	return out
}

// Override gives the first override of l whose networks hold the client; nil
// if there is none.
func (l *Listener) Override(client netip.Addr) *ClientOverride {
	for i := range l.Overrides {
		if containsAddr(l.Overrides[i].Networks, client) {
			return &l.Overrides[i]
		}
	}
	return nil
}
