// Package suggest turns what a relay has seen of devices into a SenderPolicy for a
// person to review: devices of one network that behave alike become a rule that lets
// in what was seen of them, and nothing wider. It is pure: what it gives is YAML, with
// comments that say what each rule was seen from.
//
// It may import relay/inventory and relay/envelope.
package suggest

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/inventory"
)

// Bounds of what is proposed: those of the kinds, and how far addresses and senders
// are put together.
const (
	maxRules      = 64 // of a policy
	maxNetworks   = 64 // of a rule
	maxSenders    = 64
	maxRecipients = 128

	widestIPv4 = 24 // networks that are seen whole are written as one, up to this size
	widestIPv6 = 48

	listedSenders = 8 // of one domain; more become *@domain
)

// Options are what an administrator may say.
type Options struct {
	Name       string   // of the SenderPolicy; empty: suggested
	Namespace  string   // empty: none is written
	Enforce    bool     // else enforcement: DryRun
	Recipients []string // patterns, for devices of which nobody saw where they send
	Public     bool     // propose rules for public addresses that were only refused, too
	Relay      string   // namespace/name that was asked; empty: not said
	Now        time.Time
}

// Result is what came of it.
type Result struct {
	YAML     string // one SenderPolicy or several; comments alone where Rules is 0
	Policies []string
	Rules    int
	Warnings int // that stand in comments
	LeftOut  int // devices of which no rule could be made
}

// Of proposes rules for devices.
func Of(copiers []inventory.Copier, o Options) (Result, error) {
	for _, r := range o.Recipients {
		if _, err := envelope.ParsePattern(r); err != nil || r == "*" || strings.HasSuffix(r, "@*") {
			return Result{}, fmt.Errorf("recipients %q: want a pattern with a domain, such as *@corp.example", r)
		}
	}
	groups, ours := map[string]*group{}, map[string]bool{}
	for i := range copiers { // what some device could send to already is no news
		for _, to := range copiers[i].Recipients {
			if to.Accepted > 0 {
				ours[envelope.DomainKey(to.Value)] = true
			}
		}
	}
	var out []left
	for i := range copiers {
		c := &copiers[i]
		b, why := behaviourOf(c, &o)
		if why != "" {
			out = append(out, left{c, why})
			continue
		}
		g := groups[b.key()]
		if g == nil {
			g = &group{behaviour: b, ours: ours}
			groups[b.key()] = g
		}
		g.devices = append(g.devices, c)
	}
	var rules []*rule
	for _, key := range slices.SortedFunc(maps.Keys(groups), compareGroups(groups)) {
		rules = append(rules, groups[key].rules(&o)...)
	}
	unique(rules)
	return write(rules, out, len(copiers), &o), nil
}

func compareGroups(m map[string]*group) func(a, b string) int {
	return func(a, b string) int {
		if c := m[a].network.Addr().Compare(m[b].network.Addr()); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	}
}

// left is a device of which no rule was made.
type left struct {
	copier *inventory.Copier
	why    string
}

// behaviour is what devices of one rule have in common.
type behaviour struct {
	network    netip.Prefix // that they are in; zero: their addresses are hidden
	user       bool         // they log in
	tls        string       // the oldest version to ask for; empty: clear text
	domains    string       // of their senders, sorted
	recipients string       // domains, sorted
	guessed    bool         // nobody saw the recipients: the administrator gave them
}

func (b behaviour) key() string { return fmt.Sprintf("%v", b) }

// behaviourOf says how a device behaves, or why there is no rule for it.
func behaviourOf(c *inventory.Copier, o *Options) (b behaviour, why string) {
	device, err := netip.ParsePrefix(c.Device)
	if err != nil {
		a, err := netip.ParseAddr(c.Device)
		if err != nil {
			return b, "its address cannot be read"
		}
		device = netip.PrefixFrom(a, a.BitLen())
	}
	b.user = c.Auth.OK && c.Auth.User != ""
	switch a := device.Addr(); {
	case c.Hidden && !b.user:
		return b, "its address is a node's or load balancer's, which hides who comes from it: give it a login"
	case c.Hidden:
	case !o.Public && c.Accepted == 0 && !c.Known && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast():
		return b, "it is a stranger with a public address (--public proposes a rule for it)"
	default:
		bits := 24
		if a.Is6() {
			bits = 48
		}
		b.network, _ = a.Prefix(bits) //nolint:errcheck // it has as many
	}
	domains, null := senderDomains(c)
	switch {
	case len(domains) == 0 && null:
		return b, "it sends as <> (the null sender) only, which no pattern names"
	case len(domains) == 0 && c.TLS.Failed != "":
		return b, "it got no further than TLS: " + c.TLS.Failed
	case len(domains) == 0:
		return b, "it never got as far as a sender that a rule could name" + because(c)
	}
	b.domains = strings.Join(domains, " ")
	recipients := domainsOf(c.Recipients)
	if b.recipients = strings.Join(recipients, " "); b.recipients == "" {
		if len(o.Recipients) == 0 {
			return b, "nobody saw where it sends, since it was refused before it could say so: --recipients '*@YOUR.DOMAIN' proposes a rule" + because(c)
		}
		b.guessed = true
	}
	switch c.TLS.Version {
	case "1.3":
		b.tls = "1.2" // TLS libraries of devices go back by an update
	default:
		b.tls = c.TLS.Version
	}
	return b, ""
}

func because(c *inventory.Copier) string {
	if r := c.LastRefusal; r != nil {
		return " (" + cmp.Or(r.Reply, r.Kind) + ")"
	}
	return ""
}

// senderDomains are the domains of the senders that a pattern can name, sorted; null
// tells that the null sender was among them.
func senderDomains(c *inventory.Copier) (domains []string, null bool) {
	for i := range c.Senders {
		v := c.Senders[i].Value
		null = null || v == ""
		if a, ok := sender(v); ok {
			domains = append(domains, envelope.DomainKey(a.Domain))
		}
	}
	slices.Sort(domains)
	return slices.Compact(domains), null
}

// sender reads an address that stands for itself as a pattern: a * in it would stand
// for anything.
func sender(v string) (envelope.Address, bool) {
	a, err := envelope.ParseAddress(v)
	if err != nil || a.IsNull() || strings.ContainsAny(v, "*\"[]\\") {
		return a, false
	}
	_, err = envelope.ParsePattern(v)
	return a, err == nil
}

// domainsOf are recipient domains that a pattern can name.
func domainsOf(l []inventory.Counted) (out []string) {
	for i := range l {
		if _, ok := sender("x@" + l[i].Value); ok {
			out = append(out, envelope.DomainKey(l[i].Value))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
