package importpostfix

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// addresses carries what rewrites recipients and senders.
func (c *converter) addresses(r *relaySpec, s scope, ups []*upstream) {
	c.recipients(r, s)
	var senders []string // tables of senders
	for _, name := range []string{"sender_canonical_maps", "canonical_maps", "smtp_generic_maps"} {
		c.take(name)
		if len(s.list(name)) > 0 {
			senders = append(senders, name)
		}
	}
	for _, name := range senders {
		c.identity(r, s, name, ups)
	}
}

// recipients makes addresses.recipients of the tables that rewrite recipients.
func (c *converter) recipients(r *relaySpec, s scope) {
	to, where := map[string][]string{}, map[string]string{}
	for _, name := range []string{"recipient_canonical_maps", "canonical_maps", "virtual_alias_maps", "virtual_maps"} {
		c.take(name)
		if name == "virtual_maps" && !s.set(name) || name == "virtual_alias_maps" && !s.set(name) {
			continue
		}
		for _, t := range s.list(name) {
			table := c.lookup(t)
			if table.err != nil {
				c.note(LeftOut, name, t, s.where(name), table.err.Error(), "write addresses.recipients")
				continue
			}
			for _, e := range table.entries {
				if plainDomain(e.key) && strings.Contains(e.key, ".") && name != "canonical_maps" && name != "recipient_canonical_maps" && (e.value == "" || !strings.Contains(e.value, "@")) {
					continue // the name of a virtual alias domain
				}
				from, err := loginKey(c.complete(r, e.key))
				targets, ok := c.targets(r, e.value)
				if err != nil || !ok || table.kind == "static" {
					c.note(LeftOut, name, e.key+" "+e.value, e.where(), "it is no pattern with at most 16 addresses", "write addresses.recipients")
					continue
				}
				if _, there := to[from]; !there {
					to[from], where[from] = targets, e.where()
				}
			}
		}
	}
	keys := sortedKeys(to)
	sort.SliceStable(keys, func(i, j int) bool { return special(keys[i]) > special(keys[j]) })
	for _, k := range keys {
		targets, ok := followed(to, k)
		if !ok || len(r.rewrites) == 64 {
			c.note(LeftOut, "virtual_alias_maps", k, where[k], "there are more than 64 rewrites, or 16 targets of one", "write addresses.recipients with patterns, or rewrite behind the relay")
			continue
		}
		r.rewrites = append(r.rewrites, rewrite{k, targets, where[k]})
	}
}

// targets reads the right side: addresses, or @domain for the same local part.
func (c *converter) targets(r *relaySpec, value string) ([]string, bool) {
	var out []string
	for _, w := range words(value) {
		if domain, ok := strings.CutPrefix(w, "@"); ok && plainDomain(domain) {
			out = append(out, "*@"+strings.ToLower(domain))
			continue
		}
		a := mailAddresses(c.complete(r, w))
		if len(a) != 1 {
			return nil, false
		}
		out = append(out, a[0])
	}
	return out, len(out) > 0 && len(out) <= 16
}

// followed gives the targets of a key, those that are keys themselves replaced:
// Postfix goes on until none is, the relay rewrites once.
func followed(to map[string][]string, key string) ([]string, bool) {
	out, done := []string{}, map[string]bool{key: true}
	queue := slices.Clone(to[key])
	for len(queue) > 0 {
		a := queue[0]
		queue = queue[1:]
		k := strings.ToLower(a)
		if next, ok := to[k]; ok && !done[k] {
			done[k] = true
			queue = append(queue, next...)
			continue
		}
		if _, domain, ok := cutAt(k); ok && !strings.HasPrefix(k, "*") && !done["*@"+domain] && !done[k] {
			if next, ok := to["*@"+domain]; ok && !slices.Contains(to[key], "*@"+domain) && key != "*@"+domain {
				local, _, _ := cutAt(a)
				for _, n := range next {
					queue = append(queue, strings.Replace(n, "*", local, 1))
				}
				done[k], done["*@"+domain] = true, true
				continue
			}
		}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
		if len(out) > 16 {
			return nil, false
		}
	}
	return out, len(out) > 0
}

// checkRewrites drops rewrites that would bring mail to where a rule does not let
// its sender write: Postfix looks at the recipient as the client gave it.
func (c *converter) checkRewrites(r *relaySpec, rules []rule) {
	r.rewrites = slices.DeleteFunc(r.rewrites, func(w rewrite) bool {
		for _, rule := range rules {
			if rule.reject || slices.ContainsFunc(rule.to, func(p string) bool { return covers(p, w.from) }) || len(both(rule.to, w.to)) == 0 {
				continue
			}
			c.note(Decide, "virtual_alias_maps", w.from+" "+strings.Join(w.to, " "), w.where, "rule "+rule.name+" does not allow the address before it is rewritten, and the relay looks at it afterwards", "write addresses.recipients, and recipients.allowed of the rule")
			return true
		}
		return false
	})
}

// identity makes the sender of the upstreams of a table that gives all senders, or
// some of them, one address.
func (c *converter) identity(r *relaySpec, s scope, name string, ups []*upstream) {
	remedy := "set sender of the MailUpstreams: domain, localPart and rewrite; identity.localPart of a rule for single devices"
	target, where, all := "", s.where(name), false
	for _, t := range s.list(name) {
		table := c.lookup(t)
		if table.err != nil {
			c.note(LeftOut, name, t, where, table.err.Error(), remedy)
			return
		}
		for _, e := range table.entries {
			to := mailAddresses(c.complete(r, e.value))
			if name == "canonical_maps" && table.kind != "static" && strings.Contains(e.key, "@") && !all {
				continue // mostly recipients; below
			}
			if len(to) != 1 || target != "" && !strings.EqualFold(to[0], target) {
				c.note(LeftOut, name, e.key+" "+e.value, e.where(), "an upstream has one sender for all that it rewrites", remedy)
				return
			}
			target, where, all = to[0], e.where(), all || table.kind == "static"
		}
	}
	if target == "" {
		if len(s.list(name)) > 0 {
			c.note(LeftOut, name, s.get(name), s.where(name), "it says of single senders as whom they write", remedy)
		}
		return
	}
	local, domain, _ := cutAt(target)
	id := &identity{strings.ToLower(domain), local, "OutsideDomain", where}
	if all {
		id.rewrite = "Always"
	} else {
		c.note(Differs, name, target, where, "every sender outside "+id.domain+" leaves as "+target+", not only those of the table", remedy)
	}
	if !localPart(local) {
		c.note(LeftOut, name, target, where, "its local part is no plain one", remedy)
		return
	}
	for _, u := range ups {
		if u.suspended == "" {
			u.sender = id
		}
	}
}

func localPart(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '.' || strings.HasSuffix(s, ".") || strings.Contains(s, "..") {
		return false
	}
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+/=?^_{|}~-.") == ""
}

// signing is the DKIM of upstreams.
type signing struct{ domain, selector, secret, where string }

// dkim reads OpenDKIM's files, where they lie beside main.cf.
func (c *converter) dkim(s scope, ups []*upstream) {
	milters := append(s.list("smtpd_milters"), s.list("non_smtpd_milters")...)
	text, err := c.read("opendkim.conf")
	signs := err == nil
	for _, name := range []string{"smtpd_milters", "non_smtpd_milters"} {
		for _, m := range s.list(name) {
			if strings.Contains(m, ":8891") || strings.Contains(m, "opendkim") {
				c.take(name)
				if !signs {
					c.note(LeftOut, name, m, s.where(name), "it looks like OpenDKIM, whose files are not in the folder", "copy opendkim.conf, KeyTable and SigningTable beside main.cf and import again; or set dkim of the MailUpstreams")
				}
				continue
			}
			c.note(Weaker, name, m, s.where(name), "the relay runs no milters", "content.attachmentTypes of rules bounds what may be attached; filter behind the relay")
		}
	}
	if !signs || len(milters) == 0 {
		return
	}
	var found []signing
	set := map[string]string{}
	for _, l := range lines(text) {
		k, v := cutSpace(strings.TrimSpace(l.text))
		set[strings.ToLower(k)] = v
	}
	if set["domain"] != "" && set["selector"] != "" {
		found = append(found, signing{strings.ToLower(set["domain"]), set["selector"], set["keyfile"], "opendkim.conf"})
	}
	if name := set["keytable"]; name != "" {
		file, text, err := c.find(bare(name))
		if err != nil {
			c.note(LeftOut, "smtpd_milters", "KeyTable "+name, "opendkim.conf", err.Error(), "set dkim of the MailUpstreams")
		}
		for _, l := range lines(text) {
			_, v := cutSpace(l.text)
			if f := strings.SplitN(v, ":", 3); len(f) == 3 {
				found = append(found, signing{strings.ToLower(f[0]), f[1], strings.TrimSpace(f[2]), fmt.Sprintf("%s:%d", file, l.number)})
			}
		}
	}
	for _, f := range found {
		c.sign(f, ups, len(found) == 1)
	}
}

// bare is the name of one of OpenDKIM's files without its type: refile:/etc/x.
func bare(name string) string {
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		return name[i+1:]
	}
	return name
}

func (c *converter) sign(f signing, ups []*upstream, only bool) {
	if !plainDomain(f.domain) || f.selector == "" || len(f.selector) > 55 || strings.Trim(f.selector, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-") != "" || strings.Trim(f.selector, ".-") != f.selector {
		c.note(LeftOut, "smtpd_milters", f.domain+" "+f.selector, f.where, "domain or selector is no plain one", "set dkim of the MailUpstreams")
		return
	}
	done := false
	for _, u := range ups {
		if u.suspended != "" || u.dkim != nil || u.sender != nil && u.sender.domain != f.domain || u.sender == nil && !only {
			continue
		}
		if u.sender == nil {
			u.sender = &identity{f.domain, "scans", "OutsideDomain", f.where}
			c.note(Differs, "smtpd_milters", f.domain, f.where, "what an upstream signs it sends as its sender.domain: other senders leave as scans@"+f.domain, "sender of the MailUpstream")
		}
		k := f
		k.secret = "dkim-" + dnsLabel(f.domain, 40)
		u.dkim, done = &k, true
		c.secret(secretHint{name: k.secret, what: "the key of " + f.where, command: "create secret generic " + k.secret + " --from-file=rsa.pem=" + shell(f.secret)})
	}
	if !done {
		c.note(LeftOut, "smtpd_milters", f.domain+" "+f.selector, f.where, "an upstream signs as one domain", "a MailUpstream with sender.domain "+f.domain+" and dkim, and a route to it")
		return
	}
	c.note(Create, "smtpd_milters", f.domain+" "+f.selector, f.where, "private keys are no part of manifests", "make Secret dkim-"+dnsLabel(f.domain, 40)+" by the command at the top of the manifests")
}
