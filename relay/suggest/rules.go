package suggest

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/inventory"
)

// group is what becomes a rule, or several where one has no room.
type group struct {
	behaviour
	devices []*inventory.Copier
	ours    map[string]bool // recipient domains that scans of any device were accepted for
}

// rule is one rule of what is proposed.
type rule struct {
	name       string
	networks   []string
	users      []string
	tls        string
	senders    []string
	recipients []string
	perMinute  int
	perDay     int
	seen       []string // comments
	warnings   []string
}

// rules of a group, as many as it takes.
func (g *group) rules(o *Options) []*rule {
	slices.SortFunc(g.devices, func(a, b *inventory.Copier) int {
		return cmp.Or(address(a).Compare(address(b)), strings.Compare(a.Device, b.Device))
	})
	networks := g.networks()
	var out []*rule
	for {
		n := min(len(networks), maxNetworks)
		out = append(out, g.rule(o, networks[:n]))
		if networks = networks[n:]; len(networks) == 0 {
			return out
		}
	}
}

func address(c *inventory.Copier) netip.Addr {
	if p, err := netip.ParsePrefix(c.Device); err == nil {
		return p.Addr()
	}
	a, _ := netip.ParseAddr(c.Device) //nolint:errcheck // behaviourOf read it
	return a
}

// networks are those of the devices, and no other addresses.
func (g *group) networks() []netip.Prefix {
	if !g.network.IsValid() {
		return nil
	}
	var all []netip.Prefix
	for _, c := range g.devices {
		p, err := netip.ParsePrefix(c.Device)
		if err != nil {
			p = netip.PrefixFrom(address(c), address(c).BitLen())
		}
		all = append(all, p)
	}
	return whole(all)
}

// whole puts halves together of which both are there, up to the widest network.
func whole(all []netip.Prefix) []netip.Prefix {
	for again := true; again; {
		again = false
		slices.SortFunc(all, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), b.Bits()-a.Bits()) })
		all = slices.Compact(all)
		for i := 0; i+1 < len(all); i++ {
			a, b := all[i], all[i+1]
			widest := widestIPv4
			if a.Addr().Is6() {
				widest = widestIPv6
			}
			if a.Bits() != b.Bits() || a.Bits() <= widest {
				continue
			}
			both := netip.PrefixFrom(a.Addr(), a.Bits()-1).Masked()
			if both.Addr() == a.Addr() && both.Contains(b.Addr()) {
				all = slices.Replace(all, i, i+2, both)
				again = true
			}
		}
	}
	return all
}

func (g *group) rule(o *Options, networks []netip.Prefix) *rule {
	r := &rule{tls: g.tls, perMinute: 10, perDay: 100}
	for _, n := range networks {
		r.networks = append(r.networks, n.String())
	}
	var devices []*inventory.Copier
	for _, c := range g.devices {
		if len(networks) == 0 || slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(address(c)) }) {
			devices = append(devices, c)
		}
	}
	external, null, odd := map[string]bool{}, false, 0
	senders := map[string][]string{}
	for _, c := range devices {
		if g.user {
			r.users = append(r.users, c.Auth.User)
		}
		for i := range c.Senders {
			a, ok := sender(c.Senders[i].Value)
			switch {
			case c.Senders[i].Value == "":
				null = true
			case !ok:
				odd++
			default:
				d := envelope.DomainKey(a.Domain)
				senders[d] = append(senders[d], strings.ToLower(a.Local)+"@"+d)
			}
		}
		for _, d := range domainsOf(c.Recipients) {
			if !g.ours[d] && !within(d, g.domains) {
				external[d] = true
			}
		}
		r.perMinute, r.perDay = max(r.perMinute, 2*c.Peak.MessagesPerMinute), max(r.perDay, 2*c.Peak.RecipientsPerDay)
	}
	slices.Sort(r.users)
	r.users = slices.Compact(r.users)
	r.name = g.name()
	r.from(senders)
	r.to(g, o)
	r.seen = append(r.seen, g.seen(devices)...)
	for _, d := range slices.Sorted(maps.Keys(external)) {
		r.warn("recipient domain %s is none of the senders', and no scan to it was accepted yet of any device: is it meant to get scans?", quote(d))
	}
	if null {
		r.warn("the null sender <> was seen too, which no pattern names and this rule refuses: it is for bounces, and no copier needs it")
	}
	if odd > 0 {
		r.warn("%d senders were seen that no pattern can name; this rule refuses them", odd)
	}
	if g.tls == "" && g.user {
		r.warn("these devices log in in clear text: whoever listens has their password")
	}
	return r
}

// within tells whether a domain is one of a list, below one of it, or above.
func within(d, list string) bool {
	for s := range strings.FieldsSeq(list) {
		if d == s || strings.HasSuffix(d, "."+s) || strings.HasSuffix(s, "."+d) && strings.Contains(d, ".") {
			return true
		}
	}
	return false
}

func (r *rule) warn(format string, a ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, a...))
}

// from sets the senders: each that was seen, or the domain where there are many.
func (r *rule) from(senders map[string][]string) {
	for _, d := range slices.Sorted(maps.Keys(senders)) {
		l := senders[d]
		slices.Sort(l)
		if l = slices.Compact(l); len(l) <= listedSenders {
			r.senders = append(r.senders, l...)
			continue
		}
		r.senders = append(r.senders, "*@"+d)
		r.seen = append(r.seen, fmt.Sprintf("%d senders of %s were seen, so all of it is allowed", len(l), d))
	}
	if n := len(r.senders); n > maxSenders {
		r.senders = r.senders[:maxSenders]
		r.warn("%d more senders were seen; a rule has room for %d", n-maxSenders, maxSenders)
	}
}

func (r *rule) to(g *group, o *Options) {
	if g.guessed {
		r.recipients = o.Recipients
		r.warn("nobody saw where these devices send: the recipients are those of --recipients")
		return
	}
	for d := range strings.FieldsSeq(g.recipients) {
		r.recipients = append(r.recipients, "*@"+d)
	}
	r.recipients = r.recipients[:min(len(r.recipients), maxRecipients)]
}

// name of a rule, for logs and replies.
func (g *group) name() string {
	at := "hidden"
	if g.network.IsValid() {
		at = strings.Trim(strings.NewReplacer(".", "-", ":", "-").Replace(g.network.Addr().String()), "-")
		at = "net-" + strings.ReplaceAll(strings.TrimSuffix(at, "-0"), "--", "-")
	}
	if g.user {
		at += "-login"
	}
	if g.tls == "" {
		return at + "-clear"
	}
	return at + "-tls" + strings.ReplaceAll(g.tls, ".", "")
}

// unique numbers rules of one name.
func unique(rules []*rule) {
	seen := map[string]int{}
	for _, r := range rules {
		seen[r.name]++
		if n := seen[r.name]; n > 1 {
			r.name += "-n" + strconv.Itoa(n)
		}
	}
}

const namedDevices = 5 // in a comment

// seen says of which devices a rule was made.
func (g *group) seen(devices []*inventory.Copier) []string {
	var accepted, refused uint64
	var names, codes []string
	first, last := devices[0].First, devices[0].Last
	for _, c := range devices {
		accepted += c.Accepted
		refused += c.Refused
		if c.First.Before(first) {
			first = c.First
		}
		if c.Last.After(last) {
			last = c.Last
		}
		if len(names) < namedDevices {
			names = append(names, c.Device+" "+quote(cmp.Or(c.Name(), "no name")))
		}
		if r := c.LastRefusal; r != nil {
			codes = append(codes, cmp.Or(r.Code, r.Kind))
		}
	}
	slices.Sort(codes)
	if more := len(devices) - len(names); more > 0 {
		names = append(names, strconv.Itoa(more)+" more")
	}
	text := fmt.Sprintf("seen from %s to %s: %d scans accepted, %d refusals", first.UTC().Format(time.DateOnly), last.UTC().Format(time.DateOnly), accepted, refused)
	if codes = slices.Compact(codes); len(codes) > 0 {
		text += ", the last by " + strings.Join(codes[:min(len(codes), namedDevices)], ", ")
	}
	word := "devices"
	if len(devices) == 1 {
		word = "device"
	}
	return []string{fmt.Sprintf("%d %s: %s", len(devices), word, strings.Join(names, ", ")), text}
}

// quote makes what a device says one word of a comment.
func quote(s string) string { return strconv.QuoteToASCII(s[:min(len(s), 64)]) }
