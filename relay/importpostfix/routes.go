package importpostfix

import (
	"slices"
	"sort"
	"strings"
)

// transports makes routes of transport_maps.
func (c *converter) transports(r *relaySpec, s scope) {
	parents := slices.Contains(s.list("parent_domain_matches_subdomains"), "transport_maps")
	type found struct {
		pattern string
		entry   entry
	}
	var all []found
	seen := map[string]bool{}
	for _, name := range s.list("transport_maps") {
		t := c.lookup(name)
		if t.err != nil {
			c.note(Decide, "transport_maps", name, s.where("transport_maps"), t.err.Error()+"; the mail that it sends elsewhere goes by "+r.main.value, "write spec.routes")
			continue
		}
		for _, e := range t.entries {
			var keys []string
			switch {
			case e.key == "*" || t.kind == "static":
				keys = []string{everyone}
			case strings.HasPrefix(e.key, ".") && plainDomain(e.key[1:]):
				keys = []string{"*" + e.key}
			case plainDomain(e.key) && parents:
				keys = []string{e.key, "*." + e.key}
			case plainDomain(e.key):
				keys = []string{e.key}
			default:
				c.note(Decide, "transport_maps", e.key+" "+e.value, e.where(), "routes are by domains, not by single recipients; this one goes the way of its domain", "addresses.recipients can give it another domain")
			}
			for _, k := range keys {
				if !seen[k] { // the first table that has it counts
					seen[k] = true
					all = append(all, found{k, e})
				}
			}
		}
	}
	sort.SliceStable(all, func(i, j int) bool {
		return special("*@"+all[i].pattern) > special("*@"+all[j].pattern) && all[i].pattern != everyone
	})
	for _, f := range all {
		transport, hop, _ := strings.Cut(f.entry.value, ":")
		hop, _ = cutSpace(hop)
		name := r.main.value
		switch {
		case transport == "" && hop == "": // as if it were not there
		case transport == "error" || transport == "retry" || transport == "discard":
			name = c.noWay(f.entry.value, f.entry.where())
		default:
			name = c.way(transport, hop, "", f.entry.where())
		}
		if f.pattern == everyone {
			r.main = sourced[string]{name, f.entry.where()}
			c.overrides(s)
			continue
		}
		if n := len(r.routes); n > 0 && r.routes[n-1].upstream == name && len(r.routes[n-1].domains) < 64 {
			r.routes[n-1].domains = append(r.routes[n-1].domains, f.pattern)
			continue
		}
		r.routes = append(r.routes, route{domains: []string{f.pattern}, upstream: name, where: f.entry.where()})
	}
}

// overrides says that what sends by sender has no effect beside a * in transport_maps.
func (c *converter) overrides(s scope) {
	if s.set("sender_dependent_relayhost_maps") {
		c.note(LeftOut, "sender_dependent_relayhost_maps", s.get("sender_dependent_relayhost_maps"), s.where("sender_dependent_relayhost_maps"), "transport_maps has an entry for all mail, so it has no effect", "none")
	}
}

// bySenders makes routes of what depends on the sender: relay hosts and passwords.
func (c *converter) bySenders(r *relaySpec, s scope, transport, main string) {
	for _, f := range c.findings {
		if f.Parameter == "sender_dependent_relayhost_maps" {
			return
		}
	}
	hops, at := map[string]string{}, map[string]string{}
	for _, name := range s.list("sender_dependent_relayhost_maps") {
		t := c.lookup(name)
		if t.err != nil {
			c.note(Decide, "sender_dependent_relayhost_maps", name, s.where("sender_dependent_relayhost_maps"), t.err.Error()+"; this mail goes by "+r.main.value, "write spec.routes")
			continue
		}
		for _, e := range t.entries {
			k, err := loginKey(e.key)
			if t.kind == "static" {
				k, err = everyone, nil
			}
			if err != nil {
				c.note(Decide, "sender_dependent_relayhost_maps", e.key, e.where(), "there is no pattern for it; this mail goes by "+r.main.value, "write spec.routes")
				continue
			}
			if _, ok := hops[k]; !ok && !strings.EqualFold(e.value, "DUNNO") {
				hops[k], at[k] = e.value, e.where()
			}
		}
	}
	if s.yes("smtp_sender_dependent_authentication") {
		for _, name := range s.list("smtp_sasl_password_maps") {
			for _, e := range c.lookup(name).entries {
				if k, err := loginKey(e.key); err == nil && strings.Contains(e.key, "@") && at[k] == "" {
					hops[k], at[k] = main, e.where()
				}
			}
		}
	}
	keys := sortedKeys(hops)
	sort.SliceStable(keys, func(i, j int) bool { return special(keys[i]) > special(keys[j]) })
	for _, k := range keys {
		sender := ""
		if s.yes("smtp_sender_dependent_authentication") && c.hasPassword(s, k) {
			sender = strings.TrimPrefix(k, "*")
		}
		name := c.way(transport, hops[k], sender, at[k])
		if k == everyone {
			r.main = sourced[string]{name, at[k]}
			continue
		}
		r.routes = append(r.routes, route{senders: []string{k}, upstream: name, where: at[k]})
	}
}

func (c *converter) hasPassword(s scope, pattern string) bool {
	for _, name := range s.list("smtp_sasl_password_maps") {
		for _, e := range c.lookup(name).entries {
			if k, err := loginKey(e.key); err == nil && k == pattern {
				return true
			}
		}
	}
	return false
}

// local says what becomes of mail that Postfix delivers itself.
func (c *converter) local(s scope) {
	for _, name := range []string{"mydestination", "virtual_mailbox_domains"} {
		c.take(name)
		if d := c.domains(s, name); len(d) > 0 && s.set(name) {
			c.note(Differs, name, strings.Join(d, ", "), s.where(name), "Postfix has the mailboxes of these domains; the relay has none, and sends such mail on like any other", "a route of these domains to the server that has the mailboxes")
		}
	}
}
