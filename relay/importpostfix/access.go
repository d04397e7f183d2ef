package importpostfix

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// byClient looks a network up, as check_client_access does.
func (j *judge) byClient(w *walk, who client, list, name string) {
	t := j.c.lookup(name)
	if t.err == nil && !j.c.gathered[name] {
		t.err = errHidden
	}
	if t.err != nil {
		j.blocked(w, list, "check_client_access "+name+": "+t.err.Error())
		return
	}
	best, bits := entry{}, -1
	for _, e := range t.entries {
		switch t.kind {
		case "static":
			best, bits = e, 0
		case "cidr":
			if bits < 0 && who.network.IsValid() && within(who.network, e.network) != e.not {
				best, bits = e, 0
			}
			if bits < 0 && !who.network.IsValid() && (e.not || e.network.Bits() == 0) {
				best, bits = e, 0
			}
		default:
			p, ok := networkKey(e.key)
			if !ok {
				j.hostname(w, list, name, e)
				continue
			}
			if within(who.network, p) && p.Bits() > bits {
				best, bits = e, p.Bits()
			}
		}
	}
	if bits >= 0 && !w.done() {
		j.act(w, who, list, best, nil)
	}
}

// hostname is a key that only reverse DNS could find.
func (j *judge) hostname(w *walk, list, name string, e entry) {
	if action, _ := cutSpace(strings.ToUpper(e.value)); action == "OK" || action == "RELAY" || action == "DUNNO" || digits(action) && action[0] != '4' && action[0] != '5' {
		j.c.note(LeftOut, list, e.key+" "+e.value, e.where(), "the relay does not know clients by names in DNS, so this lets nobody in", "name its address in match.clientNetworks")
		return
	}
	j.blocked(w, list, "check_client_access "+name+" refuses "+e.key+" by its name in DNS, which the relay does not look up")
}

func within(p, in netip.Prefix) bool {
	return p.IsValid() && in.Bits() <= p.Bits() && in.Contains(p.Addr())
}

// addressKeys gives the patterns that a key of an access table stands for.
func (c *converter) addressKeys(key string) (out []string, ok bool) {
	switch {
	case strings.Contains(key, "@"):
		local, domain, _ := cutAt(key)
		if !plainDomain(domain) || !localPart(local) || strings.Contains(local, "*") {
			return nil, false
		}
		return []string{key}, true
	case strings.HasPrefix(key, "."):
		if slices.Contains(c.scope().list("parent_domain_matches_subdomains"), "smtpd_access_maps") || !plainDomain(key[1:]) {
			return nil, false
		}
		return []string{"*@*" + key}, true
	case plainDomain(key):
		if slices.Contains(c.scope().list("parent_domain_matches_subdomains"), "smtpd_access_maps") {
			return []string{"*@" + key, "*@*." + key}, true
		}
		return []string{"*@" + key}, true
	}
	return nil, false
}

// plainDomain tells a domain of letters, digits, hyphens and underscores.
func plainDomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if !wordByte(label[i]) && label[i] != '-' {
				return false
			}
		}
	}
	return true
}

// byAddress gives the entries of an access table with their patterns, the most
// special first, as Postfix looks them up.
func (j *judge) byAddress(w *walk, list, what, name string) (entries []entry, keys [][]string) {
	t := j.c.lookup(name)
	if t.err == nil && t.kind == "cidr" {
		t.err = errNotAddress
	}
	if t.err != nil {
		j.blocked(w, list, what+" "+name+": "+t.err.Error())
		return nil, nil
	}
	for _, e := range t.entries {
		p := []string{everyone}
		if t.kind != "static" {
			var ok bool
			if p, ok = j.c.addressKeys(e.key); !ok {
				j.unreadable(w, list, what+" "+name, e)
				continue
			}
		}
		entries, keys = append(entries, e), append(keys, p)
	}
	order := make([]int, len(entries))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return special(keys[order[a]][0]) > special(keys[order[b]][0]) })
	sortedEntries, sortedKeys := make([]entry, len(order)), make([][]string, len(order))
	for i, o := range order {
		sortedEntries[i], sortedKeys[i] = entries[o], keys[o]
	}
	return sortedEntries, sortedKeys
}

// special orders patterns: an address, then domains, the longer first, then all.
func special(p string) int {
	local, domain, ok := cutAt(p)
	switch {
	case !ok:
		return 0
	case local != "*":
		return 1 << 20
	case strings.HasPrefix(domain, "*."):
		return 2*strings.Count(domain, ".") - 1
	}
	return 2*strings.Count(domain, ".") + 2
}

// unreadable is a key that no pattern can say: user@, <> or what is malformed.
func (j *judge) unreadable(w *walk, list, what string, e entry) {
	action, _ := cutSpace(strings.ToUpper(e.value))
	if refuses := action == "REJECT" || action == "DISCARD" || digits(action) && (action[0] == '4' || action[0] == '5'); e.key == j.scope.get("smtpd_null_access_lookup_key") && refuses {
		j.c.noNull = true
		return
	}
	if e.key == j.scope.get("smtpd_null_access_lookup_key") || action == "OK" || action == "RELAY" || action == "DUNNO" {
		j.c.note(LeftOut, list, e.key+" "+e.value, e.where(), "there is no pattern for it", "write the whole address")
		return
	}
	j.blocked(w, list, what+": there is no pattern for "+e.key)
}

func (j *judge) bySender(w *walk, who client, list, name string) {
	if !j.c.gathered[name] {
		j.blocked(w, list, "check_sender_access "+name+": "+errHidden.Error())
		return
	}
	entries, keys := j.byAddress(w, list, "check_sender_access", name)
	for i, e := range entries {
		if slices.ContainsFunc(keys[i], func(k string) bool { return k == everyone || who.sender != "" && covers(k, who.sender) }) {
			j.act(w, who, list, e, nil)
			return
		}
	}
}

func (j *judge) byRecipient(w *walk, who client, list, name string) {
	entries, keys := j.byAddress(w, list, "check_recipient_access", name)
	for i, e := range entries {
		if action, _ := cutSpace(strings.ToUpper(e.value)); action == "DUNNO" { // a less special key does not count for it
			if !slices.ContainsFunc(keys[i+1:], func(k []string) bool { return len(both(k, keys[i])) > 0 }) {
				continue
			}
			j.c.note(Decide, list, e.key+" DUNNO", e.where(), "an exception of recipients cannot be carried; they are refused", "write a rule with recipients.allowed")
			w.rest = w.rest.without(keys[i])
			continue
		}
		j.act(w, who, list, e, keys[i])
	}
}

func (j *judge) byUser(w *walk, who client, list, name string) {
	t := j.c.lookup(name)
	if t.err != nil {
		j.blocked(w, list, "check_sasl_access "+name+": "+t.err.Error())
		return
	}
	if !who.login {
		return
	}
	for _, e := range t.entries {
		if t.kind == "static" || e.key == strings.ToLower(who.user) {
			j.act(w, who, list, e, nil)
			return
		}
	}
}

// logins compares MAIL FROM with the logins that own it.
func (j *judge) logins(w *walk, who client, list, word string) {
	owners, owned, err := j.c.owners(j.scope, who.sender)
	if err != nil {
		j.blocked(w, list, word+": "+err.Error())
		return
	}
	if owned && who.login && slices.ContainsFunc(owners, func(u string) bool { return strings.EqualFold(u, who.user) }) {
		return
	}
	switch {
	case !who.login && word == "reject_authenticated_sender_login_mismatch",
		!who.login && !owned,
		who.login && word == "reject_unauthenticated_sender_login_mismatch",
		who.login && word == "reject_known_sender_login_mismatch" && !owned:
		return
	}
	w.stop()
}

// owners gives the logins that own a sender: of the first of smtpd_sender_login_maps
// that names it, by its most special key.
func (c *converter) owners(s scope, sender string) (owners []string, owned bool, err error) {
	c.take("smtpd_sender_login_maps")
	for _, name := range s.list("smtpd_sender_login_maps") {
		t := c.lookup(name)
		if t.err == nil && t.kind == "cidr" {
			t.err = errNotAddress
		}
		if t.err != nil {
			return nil, false, fmt.Errorf("%s: %w", name, t.err)
		}
		best, value := -1, ""
		for _, e := range t.entries {
			k := everyone
			if t.kind != "static" {
				if k, err = loginKey(e.key); err != nil {
					return nil, false, fmt.Errorf("%s: %w", e.where(), err)
				}
			}
			if (k == everyone || sender != "" && covers(k, sender)) && special(k) > best {
				best, value = special(k), e.value
			}
		}
		if best >= 0 {
			return words(value), true, nil
		}
	}
	return nil, false, nil
}

// loginKey is a key of smtpd_sender_login_maps as a pattern: user@domain or @domain.
func loginKey(key string) (string, error) {
	local, domain, ok := cutAt(key)
	if !ok || !plainDomain(domain) || local != "" && !localPart(local) || strings.Contains(local, "*") {
		return "", fmt.Errorf("there is no pattern for %q", key)
	}
	if local == "" {
		local = "*"
	}
	return local + "@" + domain, nil
}
