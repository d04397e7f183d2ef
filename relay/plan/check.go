package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/policy"
)

// check looks at what the parts of the plan make together.
func (c *compiler) check(self at) {
	c.checkFit()
	c.checkFallbacks(self)
	c.checkSizes(self)
	c.checkLoops()
	c.checkDefaultDomain(self)
	c.checkNotifications(self)
	c.checkHidden(self)
	for _, p := range c.out.Policies {
		a := at{c, "SenderPolicy " + c.in.Relay.Namespace + "/" + p.Name}
		for i := range p.Rules {
			c.checkRewrite(a, fmt.Sprintf("spec.rules[%d]", i), &p.Rules[i])
			c.checkIdentity(a, fmt.Sprintf("spec.rules[%d]", i), &p.Rules[i])
			c.checkReach(a, fmt.Sprintf("spec.rules[%d]", i), &p.Rules[i])
		}
	}
}

// checkFit refuses rules whose mail no upstream could ever send: every
// reachable upstream sends its own domain only (rewrite: Never), and the rule
// allows no sender of it.
func (c *compiler) checkFit() {
	for _, p := range c.out.Policies {
		for i, r := range p.Rules {
			if r.Action == policy.Reject || len(r.Senders.Allowed) == 0 {
				continue
			}
			var domains []string
			for _, name := range c.out.Ways() {
				u := c.out.Upstreams[name]
				if u == nil || u.Sender == nil || u.Sender.Rewrite != string(v1alpha1.RewriteNever) || coversDomain(r.Senders.Allowed, u.Sender.Domain) {
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

// checkRewrite refuses a rule that has senders rewritten where no upstream has
// an identity to rewrite them to; delivery sends no such message as it is.
func (c *compiler) checkRewrite(a at, field string, r *policy.Rule) {
	if r.Action == policy.Reject || !r.Senders.Rewrite || len(r.Senders.Allowed) == 0 {
		return
	}
	var without []string
	ways := c.out.Ways()
	for _, name := range ways {
		if u := c.out.Upstreams[name]; u != nil && u.Sender == nil {
			without = append(without, strconv.Quote(name))
		}
	}
	names := strings.Join(without, ", ")
	switch {
	case len(without) == 0:
	case len(without) == len(ways):
		a.errorf(field+".senders.otherwise", "Rewrite, but no upstream has a sender to rewrite to: set sender.domain of %s, or otherwise: Reject", names)
	default:
		a.warnf(field+".senders.otherwise", "Rewrite, but %s has no sender to rewrite to: what is to be rewritten does not go by it; set its sender.domain", names)
	}
}

// checkIdentity warns of an identity that no message can take.
func (c *compiler) checkIdentity(a at, field string, r *policy.Rule) {
	if r.Action == policy.Reject || r.Identity == (policy.Identity{}) {
		return
	}
	if !slices.ContainsFunc(c.out.Ways(), func(name string) bool {
		u := c.out.Upstreams[name] // nil: it is missing, which is said
		return u == nil || u.Sender != nil && (u.Sender.Rewrite != string(v1alpha1.RewriteNever) || r.Senders.Rewrite)
	}) {
		a.warnf(field+".identity", "has no effect, since no upstream has a sender that may be rewritten: set sender.domain of one, with rewrite: Always or OutsideDomain")
	}
}

func coversDomain(ps []envelope.Pattern, domain string) bool {
	return slices.ContainsFunc(ps, func(p envelope.Pattern) bool { return p.MatchDomain(domain) })
}

// checkFallbacks warns of a fallback that is never another way: every message
// has been to that upstream before.
func (c *compiler) checkFallbacks(self at) {
	for i, name := range c.out.Fallbacks {
		if slices.Contains(c.out.Fallbacks[:i], name) {
			self.warnf(fmt.Sprintf("spec.fallbackUpstreamRefs[%d]", i), "%q is a fallback already: remove one of the two", name)
			continue
		}
		if !slices.ContainsFunc(c.out.Routes, func(r Route) bool { return r.Upstream != name }) {
			self.warnf(fmt.Sprintf("spec.fallbackUpstreamRefs[%d]", i), "%q is where all mail goes already: name another upstream, or remove it", name)
		}
	}
}

// checkSizes warns of a route whose upstreams take less than the listeners do:
// scans for it are refused that another recipient could have.
func (c *compiler) checkSizes(self at) {
	var accepted int64
	for i := range c.out.Listeners {
		accepted = max(accepted, c.out.Listeners[i].AdvertisedSize)
	}
	for i, r := range c.out.Routes {
		field := fmt.Sprintf("spec.routes[%d].upstreamRef", i)
		if r.Name == "" {
			field = "spec.upstreamRef"
		}
		if n := c.out.takes(append([]string{r.Upstream}, c.out.Fallbacks...)); n > 0 && n < accepted {
			self.warnf(field, "%q and the fallbacks take messages of %d octets at most, and listeners take %d: larger scans on this way are refused; add a fallback that takes them", r.Upstream, n+headerRoom, accepted)
		}
	}
}

// checkLoops refuses an upstream that is this relay itself: mail would come
// back until it has passed too often.
func (c *compiler) checkLoops() {
	for _, name := range sortedKeys(c.out.Upstreams) {
		u := c.out.Upstreams[name]
		a := at{c, "MailUpstream " + c.in.Relay.Namespace + "/" + name}
		if u.SMTP != nil {
			c.checkLoop(a, "spec.smtp.host", u.SMTP.Host, u.SMTP.Port)
		}
		if u.MX != nil {
			for _, h := range u.MX.Hosts {
				c.checkLoop(a, "spec.mx.hosts", h, 25)
			}
		}
	}
}

func (c *compiler) checkLoop(a at, field, host string, port int) {
	if envelope.DomainKey(host) != envelope.DomainKey(c.out.Hostname) {
		return
	}
	for _, l := range c.out.Listeners {
		if l.Port == port {
			a.errorf(field, "%q port %d is listener %q of this relay: name the server that takes its mail", host, port, l.Name)
		}
	}
}

// checkNotifications warns of notifications that a provider will not take: their
// sender is not one that it lets the account send as, and then nobody hears of
// failed scans.
func (c *compiler) checkNotifications(self at) {
	b := &c.out.Delivery.Bounce
	name := b.Upstream
	if r := c.out.Route(netip.Addr{}, envelope.Address{}, b.Postmaster); name == "" && r != nil {
		name = r.Upstream
	}
	u := c.out.Upstreams[name]
	if u == nil || b.To == string(v1alpha1.BounceNone) || b.Postmaster.IsNull() && b.To != string(v1alpha1.BounceOriginalSender) {
		return
	}
	own := ""
	switch v1alpha1.UpstreamType(u.Type) {
	case v1alpha1.UpstreamSMTP, v1alpha1.UpstreamMX, v1alpha1.UpstreamMaildir: // they send from nobody (<>)
		return
	case v1alpha1.UpstreamMicrosoft365:
		if u.Graph != nil {
			own = u.Graph.Mailbox
		} else {
			own = u.SMTP.Auth.User
		}
		if strings.EqualFold(b.From.String(), own) {
			return
		}
	case v1alpha1.UpstreamSES, v1alpha1.UpstreamSendGrid, v1alpha1.UpstreamMailgun, v1alpha1.UpstreamPostmark:
		switch {
		case u.Sender != nil && envelope.DomainKey(b.From.Domain) == u.Sender.Domain:
			return
		case u.Sender != nil:
			own = u.Sender.LocalPart + "@" + u.Sender.Domain
		case c.in.Relay.Spec.Delivery.Bounce.From != nil:
			return // only the provider knows
		default:
			own = "an address that it lets the account send as"
		}
	}
	self.warnf("spec.delivery.bounce.from", "notifications leave as %s, which MailUpstream %q may not send as, so that nobody would hear of failed scans: set it to %s", b.From, name, own)
}

// checkDefaultDomain warns of a domain that completes no address, since every
// listener refuses those without one.
func (c *compiler) checkDefaultDomain(self at) {
	lenient := func(o ClientOverride) bool { return o.Lenient != nil && *o.Lenient }
	if c.out.Addresses.DefaultDomain != "" && !slices.ContainsFunc(c.out.Listeners, func(l Listener) bool {
		return l.Compat.Lenient || slices.ContainsFunc(l.Overrides, lenient)
	}) {
		self.warnf("spec.addresses.defaultDomain", "completes nothing but <postmaster>, since no listener has compatibility.commandSyntax: Lenient: set it for the devices that send addresses without a domain")
	}
}

// checkReach warns of a rule that no session can fulfil, since every listener
// keeps from it what it asks for.
func (c *compiler) checkReach(a at, field string, r *policy.Rule) {
	if len(c.out.Listeners) == 0 || r.Action == policy.Reject {
		return
	}
	noLogin := !slices.ContainsFunc(c.out.Listeners, func(l Listener) bool { return l.Auth.Mode != AuthNone })
	noTLS := !slices.ContainsFunc(c.out.Listeners, func(l Listener) bool { return l.TLS.Mode != TLSNone })
	switch {
	case noLogin && len(r.Match.Users) > 0:
		a.warnf(field+".match.users", "no listener takes logins, so nobody is matched: set authentication.mode of one to Optional or Required")
	case noLogin && r.Connection.Authenticated:
		a.warnf(field+".connection.authentication", "Required, but no listener takes logins: all that is matched is refused; set authentication.mode of one to Optional or Required")
	}
	switch {
	case noTLS && r.Connection.TLSRequired:
		a.warnf(field+".connection.tls", "Required, but no listener has TLS: all that is matched is refused; set tls.mode of one to StartTLS or Implicit")
	case noTLS && r.Connection.MinimumTLS != 0:
		a.warnf(field+".connection.minimumTLSVersion", "no listener has TLS: all that is matched is refused; set tls.mode of one to StartTLS or Implicit")
	}
}

// domain gives a domain as SMTP writes it: in ASCII.
func (c *compiler) domain(a at, field, s string) string {
	v, err := envelope.Address{Local: "x", Domain: s}.ToASCII()
	if err != nil {
		a.errorf(field, "%q: %v: write it in ASCII", s, err)
		return s
	}
	return v.Domain
}
