package importpostfix

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// placeholder is a login that nobody has.
const placeholder = "change-me"

// outcome is what a class of clients may do.
type outcome struct {
	to        []string // recipients; none: it is refused
	tls, hold bool
}

func (o outcome) key() string { return fmt.Sprint(o.to, o.tls, o.hold) }

// row is the outcome of a client by its sender; "" is every other sender.
type row map[string]outcome

// rule is one rule to write.
type rule struct {
	name, comment   string
	networks, users []string
	senders         []string // match.senders
	reject, hold    bool
	allowed         []string // senders.allowed
	to              []string
	tls             bool
	perMinute       int
}

// ruler makes rules of what the services decide.
type ruler struct {
	c       *converter
	judges  []*judge
	senders []string // the most special first
	rules   []rule
	names   map[string]bool
}

// policies makes the rules of all SenderPolicies. Those of smaller networks come
// first, as the first rule that matches decides.
func (c *converter) policies(r *relaySpec) []rule {
	c.take(lists...)
	c.take("parent_domain_matches_subdomains")
	x := &ruler{c: c, names: map[string]bool{}}
	scopes := make([]scope, 0, len(r.listeners))
	for i := range r.listeners {
		l := &r.listeners[i]
		scopes = append(scopes, l.scope)
		x.judges = append(x.judges, &judge{c: c, scope: l.scope, ours: c.mynetworks(l.scope), domain: c.destinations(l.scope), listener: l})
	}
	nets, senders, users := c.gather(scopes)
	logins := false
	for _, j := range x.judges {
		for _, n := range j.ours {
			nets = append(nets, n.prefix)
		}
		logins = logins || j.scope.yes("smtpd_sasl_auth_enable")
	}
	users = append(users, c.options.Users...)
	slices.Sort(users)
	users = slices.Compact(users)
	if logins && len(users) == 0 {
		c.note(Create, "smtpd_sasl_auth_enable", "yes", scopes[0].where("smtpd_sasl_auth_enable"), "the logins are not in Postfix's files, and a rule names them one by one; the rule for them names "+placeholder,
			"put the logins in the place of "+placeholder+" (or import again with --users A,B), and their passwords into Secret "+loginSecret)
		users = []string{placeholder}
	}
	if !logins {
		users = nil
	}
	x.senders = tidySpecial(senders)
	x.make(c.prefixes(nets, scopes), users)
	for _, j := range x.judges {
		j.listener.open = j.openTo
	}
	if c.noNull {
		for i := range x.rules {
			if len(x.rules[i].allowed) == 0 && !x.rules[i].reject {
				x.rules[i].allowed = []string{everyone}
			}
		}
	}
	return x.rules
}

func tidySpecial(list []string) []string {
	slices.Sort(list)
	list = slices.DeleteFunc(slices.Compact(list), func(s string) bool { return s == everyone })
	sort.SliceStable(list, func(i, j int) bool { return special(list[i]) > special(list[j]) })
	return list
}

// prefixes gives the networks to tell apart, the smallest first.
func (c *converter) prefixes(nets []netip.Prefix, scopes []scope) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range nets {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, netip.PrefixFrom(p.Addr().WithZone(""), p.Bits()).Masked())
	}
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.Bits() != b.Bits() {
			return a.Bits() > b.Bits()
		}
		return a.Addr().Less(b.Addr())
	})
	out = slices.Compact(out)
	s := scopes[0]
	local := func(w string) bool {
		return slices.Contains([]string{"loopback-only", "localhost", "127.0.0.1", "::1", "[::1]"}, strings.ToLower(w))
	}
	if list := s.list("inet_interfaces"); len(list) > 0 && !slices.ContainsFunc(list, func(w string) bool { return !local(w) }) {
		c.note(Differs, "inet_interfaces", s.get("inet_interfaces"), s.where("inet_interfaces"), "Postfix takes mail of its own machine alone, so other networks of mynetworks are left out", "name the copiers' networks in match.clientNetworks")
		out = slices.DeleteFunc(out, func(p netip.Prefix) bool { return !p.Addr().IsLoopback() })
	}
	return out
}

// look evaluates a client for every sender, over all services together.
func (x *ruler) look(who client) row {
	out := row{}
	for _, s := range append([]string{""}, x.senders...) {
		who.sender = s
		o := outcome{tls: true}
		for _, j := range x.judges {
			parts := j.allowed(who)
			to, lost := patterns(parts)
			if len(lost) > 0 {
				x.c.note(Decide, "smtpd_recipient_restrictions", strings.Join(lost, ", "), j.scope.where("smtpd_recipient_restrictions"),
					"a rule names the recipients that are allowed and has no exceptions from them: these are refused, with the exceptions that Postfix makes", "name the recipients in recipients.allowed")
			}
			if len(to) == 0 {
				continue
			}
			if !who.login && who.network.IsValid() {
				j.openTo = true
			}
			o.to = append(o.to, to...)
			for _, p := range parts {
				o.hold = o.hold || p.hold
			}
			o.tls = o.tls && slices.ContainsFunc(parts, func(p part) bool { return p.tls })
		}
		o.to = tidy(o.to)
		if len(o.to) == 0 {
			o = outcome{}
		}
		out[s] = o
	}
	return out
}

func (r row) key() string {
	var b strings.Builder
	for _, k := range sortedKeys(r) {
		fmt.Fprintf(&b, "%s=%s;", k, r[k].key())
	}
	return b.String()
}

func (r row) empty() bool {
	for _, o := range r {
		if len(o.to) > 0 {
			return false
		}
	}
	return true
}

// group is some networks that are treated alike.
type group struct {
	networks []netip.Prefix
	open     row            // without a login
	login    map[string]row // by user
	shadowed bool           // a larger network says otherwise
}

func (g group) key() string {
	var b strings.Builder
	b.WriteString(g.open.key())
	for _, u := range sortedKeys(g.login) {
		b.WriteString("|" + u + ":" + g.login[u].key())
	}
	return b.String()
}

func (x *ruler) make(prefixes []netip.Prefix, users []string) {
	at := func(p netip.Prefix) group {
		g := group{networks: []netip.Prefix{p}, open: x.look(client{network: p}), login: map[string]row{}}
		for _, u := range users {
			who := client{network: p, login: true, user: u}
			if u == placeholder {
				who.user = ""
			}
			g.login[u] = x.look(who)
		}
		return g
	}
	world := at(netip.Prefix{})
	x.strangers(world.open)
	all := make([]group, len(prefixes))
	for i, p := range prefixes {
		all[i] = at(p)
	}
	var groups []group
	for i, g := range all {
		outer := -1
		for k := i + 1; k < len(all) && outer < 0; k++ {
			if within(prefixes[i], prefixes[k]) {
				outer = k
			}
		}
		if outer >= 0 && all[outer].key() == g.key() {
			continue
		}
		g.shadowed = outer >= 0
		if outer < 0 && g.key() == world.key() {
			continue // a stranger like any other
		}
		groups = join(groups, g)
	}
	if x.everybody(groups) {
		groups = nil
	}
	for _, g := range groups {
		x.network(g, world, users)
	}
	x.logins(nil, users, func(u string) row { return world.login[u] }, false)
}

// join puts g to the group that is treated alike, if nothing between them is of
// the same network.
func join(groups []group, g group) []group {
	for i := len(groups) - 1; i >= 0; i-- {
		if groups[i].key() == g.key() && groups[i].shadowed == g.shadowed {
			groups[i].networks = append(groups[i].networks, g.networks...)
			return groups
		}
		if slices.ContainsFunc(groups[i].networks, func(p netip.Prefix) bool { return p.Overlaps(g.networks[0]) }) {
			break
		}
	}
	return append(groups, g)
}

// strangers looks at what everybody may do who is in no network that is named.
func (x *ruler) strangers(r row) {
	var to []string
	for _, o := range r {
		to = append(to, o.to...)
	}
	where := x.judges[0].scope.where("smtpd_recipient_restrictions")
	switch to = tidy(to); {
	case len(to) == 0:
	case slices.Contains(to, everyone):
		x.c.note(Open, "smtpd_recipient_restrictions", x.judges[0].scope.get("smtpd_recipient_restrictions"), where, "Postfix relays for everybody: it is an open relay, which is not carried", "name the copiers in match.clientNetworks or match.users")
	default:
		x.c.note(LeftOut, "mydestination, relay_domains", strings.Join(to, ", "), where, "Postfix takes mail to these domains from everybody; the relay takes mail only of clients that a rule names", "let the mail server of these domains take mail from outside")
	}
}

// everybody tells whether the networks of rules together hold every address.
func (x *ruler) everybody(groups []group) bool {
	var nets []netip.Prefix
	for _, g := range groups {
		if !g.open.empty() {
			nets = append(nets, g.networks...)
		}
	}
	if !cover(nets, netip.PrefixFrom(netip.IPv4Unspecified(), 0)) && !cover(nets, netip.PrefixFrom(netip.IPv6Unspecified(), 0)) {
		return false
	}
	s := x.judges[0].scope
	x.c.note(Open, "mynetworks", s.get("mynetworks"), s.where("mynetworks"), "the networks hold every address: Postfix relays for everybody, which is not carried", "name the copiers' networks in match.clientNetworks")
	return true
}

// cover tells whether networks together hold all of p.
func cover(networks []netip.Prefix, p netip.Prefix) bool {
	some := false
	for _, n := range networks {
		if n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
			return true
		}
		some = some || n.Overlaps(p)
	}
	if !some {
		return false
	}
	b := p.Addr().AsSlice()
	b[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	upper, _ := netip.AddrFromSlice(b)
	return cover(networks, netip.PrefixFrom(p.Addr(), p.Bits()+1)) && cover(networks, netip.PrefixFrom(upper, p.Bits()+1))
}

// network writes the rules of some networks: first for who logs in there and is
// treated otherwise than without, or than elsewhere.
func (x *ruler) network(g, world group, users []string) {
	nets := make([]string, len(g.networks))
	for i, p := range g.networks {
		nets[i] = p.String()
	}
	refuse := g.open.empty() && g.shadowed
	written := !g.open.empty() || refuse
	var special []string
	for _, u := range users {
		differs := g.login[u].key() != world.login[u].key()
		if written {
			differs = g.login[u].key() != g.open.key()
		}
		if differs {
			special = append(special, u)
		}
	}
	x.logins(nets, special, func(u string) row { return g.login[u] }, true)
	x.row(rule{name: "networks", networks: nets, comment: x.c.scope().where("mynetworks")}, g.open, refuse)
}

// logins writes the rules of users, those together that are treated alike.
func (x *ruler) logins(nets, users []string, of func(string) row, refuse bool) {
	byKey := map[string][]string{}
	for _, u := range users {
		k := of(u).key()
		byKey[k] = append(byKey[k], u)
	}
	for _, k := range sortedKeys(byKey) {
		list := byKey[k]
		name := "logins"
		if len(list) == 1 && list[0] != placeholder {
			name = "login-" + dnsLabel(list[0], 40)
		}
		r := rule{name: name, networks: nets, users: list, comment: "logins may send from everywhere, as with Postfix: name their networks too"}
		if nets != nil {
			r.comment = ""
		}
		r.perMinute = x.c.messageRate(x.judges[0].scope)
		x.row(r, of(list[0]), refuse)
	}
}

// row writes the rules of one client: by sender where that makes a difference.
func (x *ruler) row(r rule, out row, refuse bool) {
	base := out[""]
	var names []string
	for i, s := range x.senders {
		wider := base
		for _, t := range x.senders[i+1:] {
			if covers(t, s) {
				wider = out[t]
				break
			}
		}
		if out[s].key() != wider.key() {
			names = append(names, s)
		}
	}
	same := len(names) > 0 && len(names) <= 64 && len(base.to) == 0
	for _, s := range names {
		same = same && out[s].key() == out[names[0]].key()
	}
	switch {
	case same: // a list of the senders that are allowed
		r.allowed = names
		x.add(r, out[names[0]])
		return
	case len(names) > 0:
		for len(names) > 0 {
			n := 1
			for n < len(names) && n < 64 && out[names[n]].key() == out[names[0]].key() {
				n++
			}
			some := r
			some.name += "-senders"
			some.senders = names[:n]
			x.add(some, out[names[0]])
			names = names[n:]
		}
		refuse = true
	}
	if len(base.to) > 0 || refuse {
		x.add(r, base)
	}
}

// add writes a rule, in pieces where lists would be too long.
func (x *ruler) add(r rule, o outcome) {
	r.to, r.tls, r.hold, r.reject = o.to, o.tls, o.hold, len(o.to) == 0
	if len(r.to) > 128 {
		x.c.note(Decide, "smtpd_recipient_restrictions", fmt.Sprintf("%d recipients", len(r.to)), x.judges[0].scope.where("smtpd_recipient_restrictions"), "a rule names at most 128 recipients; they are refused", "use patterns such as *@corp.example")
		r.to, r.reject = nil, true
	}
	if r.reject {
		r.to, r.allowed, r.perMinute, r.tls, r.hold = nil, nil, 0, false, false
		r.name = "refuse-" + r.name
	}
	base := r.name
	for _, nets := range pieces(r.networks, 64) {
		for _, users := range pieces(r.users, 256) {
			r.networks, r.users, r.name = nets, users, unique(base, x.names)
			x.rules = append(x.rules, r)
		}
	}
}

func pieces(list []string, n int) [][]string {
	if len(list) <= n {
		return [][]string{list}
	}
	return slices.Collect(slices.Chunk(list, n))
}
