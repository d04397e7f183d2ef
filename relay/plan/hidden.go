package plan

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/policy"
)

// HiddenClients are the addresses that a client can come from without its being
// known who it is: those of a cluster's nodes, behind which a Service may hide
// whoever connects, and of its Pods, which anybody there can have next. A client
// with one is in no network.
type HiddenClients struct {
	All      bool           `json:"all,omitempty"`      // each client's address is another's
	Networks []netip.Prefix `json:"networks,omitempty"` // sorted; none is within another
}

// Hides tells whether a is not the client's own. With All that holds for an
// address in a PROXY header too: nobody knows who sent that.
func (h *HiddenClients) Hides(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return h.All || a.IsValid() && h.covers(netip.PrefixFrom(a, a.BitLen()))
}

// covers tells whether n is within one of the networks.
func (h *HiddenClients) covers(n netip.Prefix) bool {
	i := h.from(n)
	within := func(i int) bool {
		return i >= 0 && i < len(h.Networks) && h.Networks[i].Bits() <= n.Bits() && h.Networks[i].Contains(n.Addr())
	}
	return within(i) || within(i-1)
}

// from is the first of the networks that does not begin before n.
func (h *HiddenClients) from(n netip.Prefix) int {
	i, _ := slices.BinarySearchFunc(h.Networks, n.Addr(), func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	return i
}

// among gives what of the networks lies in the named ones: elsewhere it makes no
// difference whether a client is known.
func (h *HiddenClients) among(named []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, n := range named {
		if h.covers(n) {
			out = append(out, n)
			continue
		}
		for i := h.from(n); i < len(h.Networks) && n.Contains(h.Networks[i].Addr()); i++ {
			out = append(out, h.Networks[i])
		}
	}
	return Networks(out)
}

// Networks are the same addresses in as few networks as can be, sorted.
func Networks(in []netip.Prefix) []netip.Prefix {
	in = slices.Clone(in)
	slices.SortFunc(in, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	var out []netip.Prefix
	for _, n := range in {
		if k := len(out); k > 0 && out[k-1].Contains(n.Addr()) {
			continue
		}
		for k := len(out); k > 0 && out[k-1].Bits() == n.Bits() && n.Bits() > 0; k = len(out) {
			both := netip.PrefixFrom(n.Addr(), n.Bits()-1).Masked()
			if both.Addr() != out[k-1].Addr() { // the other half of another network
				break
			}
			out, n = out[:k-1], both
		}
		out = append(out, n)
	}
	return out
}

// hiddenAll in the annotation stands for every address.
const hiddenAll = "all"

// WithHidden is r as it is in a cluster that hides those clients. Compile reads it
// in an annotation, which holds what of h matters to r: the part that r or its
// policies, by name, name a network of. So r is the same while nodes come and go
// that it has nothing to do with. What the annotation says already stays.
func WithHidden(r *v1alpha1.PrinterRelay, h HiddenClients, policies map[string]*v1alpha1.SenderPolicy) *v1alpha1.PrinterRelay {
	own := r.Annotations[v1alpha1.AnnotationHiddenClients]
	var all []string
	if own != "" {
		all = append(all, own)
	}
	if h.All {
		all = []string{hiddenAll}
	} else {
		for _, n := range h.among(named(r, policies)) {
			if n.IsSingleIP() {
				all = append(all, n.Addr().String())
				continue
			}
			all = append(all, n.String())
		}
	}
	text := strings.Join(all, ",")
	if text == own {
		return r
	}
	out := *r
	out.Annotations = maps.Clone(r.Annotations)
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	out.Annotations[v1alpha1.AnnotationHiddenClients] = text
	return &out
}

// named are the networks that something depends on: of rules, routes, holds, overrides
// and trusted load balancers. One that is malformed is Compile's to report.
func named(r *v1alpha1.PrinterRelay, policies map[string]*v1alpha1.SenderPolicy) []netip.Prefix {
	var out []netip.Prefix
	add := func(in []v1alpha1.CIDR) {
		for _, s := range in {
			if n, err := network(string(s)); err == nil {
				out = append(out, n)
			}
		}
	}
	for i := range r.Spec.Routes {
		add(r.Spec.Routes[i].ClientNetworks)
	}
	for i := range r.Spec.Holds {
		add(r.Spec.Holds[i].ClientNetworks)
	}
	ahead, _ := aheadOf(r) //nolint:errcheck // Compile's to report, too
	for i := range ahead {
		out = append(out, ahead[i].Networks...)
	}
	for i := range r.Spec.Listeners {
		l := &r.Spec.Listeners[i]
		add(l.ProxyProtocol.TrustedNetworks)
		for k := range l.ClientOverrides {
			add(l.ClientOverrides[k].ClientNetworks)
		}
	}
	for _, ref := range r.Spec.SenderPolicyRefs {
		if p := policies[ref.Name]; p != nil {
			for i := range p.Spec.Rules {
				add(p.Spec.Rules[i].Match.ClientNetworks)
			}
		}
	}
	return out
}

// NamesNetworks tells whether something depends on where a client is.
func (p *Plan) NamesNetworks() bool {
	return slices.ContainsFunc(p.Policies, func(s policy.Policy) bool {
		return slices.ContainsFunc(s.Rules, func(r policy.Rule) bool { return len(r.Match.Networks) > 0 })
	}) || slices.ContainsFunc(p.Routes, func(r Route) bool { return len(r.Networks) > 0 }) ||
		slices.ContainsFunc(p.Holds, func(h Hold) bool { return len(h.Networks) > 0 }) ||
		slices.ContainsFunc(p.Listeners, func(l Listener) bool { return len(l.Overrides) > 0 })
}

// network reads one, without bits behind its mask, as clients are compared:
// unmapped.
func network(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, err
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// hidden reads the annotation.
func (c *compiler) hidden(self at) {
	text := c.in.Relay.Annotations[v1alpha1.AnnotationHiddenClients]
	if text == "" {
		return
	}
	var out []netip.Prefix
	for s := range strings.SplitSeq(text, ",") {
		s = strings.TrimSpace(s)
		if s == hiddenAll {
			c.out.HiddenClients = HiddenClients{All: true}
			return
		}
		n, err := network(s)
		if a, aerr := netip.ParseAddr(s); aerr == nil {
			a = a.Unmap().WithZone("")
			n, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			self.errorf("metadata.annotations["+v1alpha1.AnnotationHiddenClients+"]", "%q is neither a network nor an address nor %s: write it as 10.244.0.0/16, several with commas between", s, hiddenAll)
			continue
		}
		out = append(out, n)
	}
	c.out.HiddenClients.Networks = Networks(out)
}

// showAddresses is how each client's own address can be had.
const showAddresses = "set spec.service.externalTrafficPolicy: Local of the PrinterRelay"

// checkHidden warns of what cannot be so, since clients are hidden.
func (c *compiler) checkHidden(self at) {
	h := &c.out.HiddenClients
	if !h.All && len(h.Networks) == 0 {
		return
	}
	for i := range c.out.Listeners {
		field := fmt.Sprintf("spec.listeners[%d].proxyProtocol.trustedNetworks", i)
		switch trusted := c.out.Listeners[i].ProxyNetworks; {
		case len(trusted) == 0:
		case h.All:
			self.warnf(field, "the clients that PROXY headers name are in no network, since every client's address is hidden, and so who sends the header: "+showAddresses)
		case len(h.among(trusted)) > 0:
			self.warnf(field, "hold addresses of the cluster's own nodes or Pods: whoever connects from one may say to be any client; name the load balancer's own addresses")
		}
	}
	for _, p := range c.out.Policies {
		a := at{c, "SenderPolicy " + c.in.Relay.Namespace + "/" + p.Name}
		for i := range p.Rules {
			c.checkHiddenRule(a, fmt.Sprintf("spec.rules[%d].match.clientNetworks", i), &p.Rules[i])
		}
	}
}

func (c *compiler) checkHiddenRule(a at, field string, r *policy.Rule) {
	h := &c.out.HiddenClients
	unknown := func(n netip.Prefix) bool { return !h.covers(n) }
	switch {
	case len(r.Match.Networks) == 0:
	case h.All && r.Action == policy.Reject:
		a.warnf(field, "every client's address is hidden and may be in them, so that all are rejected: "+showAddresses+", or remove the rule")
	case h.All:
		a.warnf(field, "match nobody, since every client's address is hidden: "+showAddresses+", or let the devices log in and name them in match.users alone")
	case r.Action != policy.Reject && !slices.ContainsFunc(r.Match.Networks, unknown):
		a.warnf(field, "match nobody, since they hold only addresses of the cluster's own nodes and Pods: let who sends from there log in, and name them in match.users alone")
	}
}
