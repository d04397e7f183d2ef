package importpostfix

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// upstream is a MailUpstream to write.
type upstream struct {
	name, where  string
	host         string // empty: by MX
	port         int
	tls          sourced[string] // StartTLS, Implicit, Opportunistic, None; of MX: Verified, Opportunistic
	login        string          // Secret
	ca           string          // Secret
	certificate  string          // Secret
	heloName     sourced[string]
	suspended    string // why
	connections  sourced[int]
	perMinute    sourced[int]
	sender       *identity
	dkim         *signing
	loginComment string
}

// identity is as whom an upstream sends.
type identity struct{ domain, localPart, rewrite, where string }

// route is a route to write.
type route struct {
	domains, senders []string
	upstream, where  string
}

// nowhere is the upstream of what Postfix does not send on.
const nowhere = "nowhere"

// upstreams makes them, and the routes of r.
func (c *converter) upstreams(r *relaySpec) []*upstream {
	s := c.scope()
	c.take("relayhost", "default_transport", "transport_maps", "sender_dependent_relayhost_maps", "smtp_fallback_relay", "fallback_relay", "smtp_tcp_port")
	hops, where := s.list("relayhost"), s.where("relayhost")
	transport, hop, _ := strings.Cut(s.get("default_transport"), ":")
	if hop != "" {
		hops, where = words(hop), s.where("default_transport")
	}
	if len(hops) == 0 {
		hops = []string{""}
	}
	r.main = sourced[string]{c.way(transport, hops[0], "", where), where}
	for _, h := range hops[1:] {
		r.fallbacks = append(r.fallbacks, sourced[string]{c.way(transport, h, "", where), where})
	}
	for _, h := range s.list("smtp_fallback_relay") {
		at := s.where("smtp_fallback_relay")
		if s.set("fallback_relay") {
			at = s.where("fallback_relay")
		}
		r.fallbacks = append(r.fallbacks, sourced[string]{c.way(transport, h, "", at), at})
	}
	r.fallbacks = slices.DeleteFunc(r.fallbacks, func(f sourced[string]) bool { return f.value == r.main.value })
	if len(r.fallbacks) > 8 {
		r.fallbacks = r.fallbacks[:8]
	}
	c.transports(r, s)
	c.bySenders(r, s, transport, hops[0])
	c.local(s)
	if len(r.routes) > 32 {
		c.note(Decide, "transport_maps", fmt.Sprintf("%d routes", len(r.routes)), s.where("transport_maps"), "a relay has at most 32 routes; the rest goes by the first upstream", "make patterns of them, or another PrinterRelay")
		r.routes = r.routes[:32]
	}
	out := make([]*upstream, 0, len(c.order))
	for _, name := range c.order {
		out = append(out, c.upstream[name])
	}
	c.addresses(r, s, out)
	c.dkim(s, out)
	return out
}

// way gives the name of the upstream for a transport and its next hop; sender is
// whose password is used, where it depends on him.
func (c *converter) way(transport, hop, sender, where string) string {
	s, command := c.transportScope(transport)
	if command != "smtp" {
		return c.noWay(transport+":"+hop, where)
	}
	u := &upstream{where: where}
	c.hop(u, s, hop, where)
	level := c.level(s, hop)
	u.tls = c.upstreamTLS(u, s, level)
	c.credentials(u, s, hop, sender)
	c.limits(u, s, transport)
	name := "direct"
	if u.host != "" {
		name = dnsLabel(u.host, 40)
	}
	for i := 1; ; i++ {
		u.name = name
		if i > 1 {
			u.name = fmt.Sprintf("%s-%d", name, i)
		}
		old := c.upstream[u.name]
		if old == nil {
			break
		}
		if same(old, u) {
			return old.name
		}
	}
	c.upstream[u.name] = u
	c.order = append(c.order, u.name)
	if u.login != "" { // one Secret an upstream
		u.login = u.name + "-login"
		c.secret(secretHint{name: u.login, what: "the login at " + u.host + u.loginComment, command: "create secret generic " + u.login + " --from-literal=username=USER --from-literal=password=PASSWORD"})
	}
	return u.name
}

func same(a, b *upstream) bool {
	return a.host == b.host && a.port == b.port && a.tls.value == b.tls.value && (a.login != "") == (b.login != "") && a.loginComment == b.loginComment &&
		a.connections.value == b.connections.value && a.perMinute.value == b.perMinute.value && a.suspended == b.suspended
}

// transportScope finds what a transport of master.cf is, with its -o.
func (c *converter) transportScope(transport string) (scope, string) {
	if transport == "" {
		transport = "smtp"
	}
	for _, s := range c.services {
		if s.name == transport && s.kind == "unix" {
			return s.scope, s.command
		}
	}
	if transport == "smtp" || transport == "relay" {
		return c.scope(), "smtp"
	}
	return c.scope(), transport
}

// noWay gives the upstream of mail that Postfix does not send on by SMTP: it is
// kept, and goes back when it expires.
func (c *converter) noWay(what, where string) string {
	c.note(Decide, "transport", what, where, "the relay has no such transport: mail for it waits in the queue, at an upstream that is suspended", "give the route another upstream")
	if c.upstream[nowhere] == nil {
		c.upstream[nowhere] = &upstream{name: nowhere, where: where, suspended: what}
		c.order = append(c.order, nowhere)
	}
	return nowhere
}

// hop reads [host]:port, host:port or host.
func (c *converter) hop(u *upstream, s scope, hop, where string) {
	u.port = 25
	if p := portNumber(s.get("smtp_tcp_port")); p > 0 {
		u.port = p
	}
	if hop == "" {
		return
	}
	var host, port string
	bracketed := strings.HasPrefix(hop, "[")
	if end := strings.IndexByte(hop, ']'); bracketed && end > 0 {
		host, port = hop[1:end], strings.TrimPrefix(hop[end+1:], ":")
		host = strings.TrimPrefix(strings.ToLower(host), "ipv6:")
	} else {
		host, port, _ = strings.Cut(hop, ":")
	}
	if p := portNumber(port); p > 0 {
		u.port = p
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.Trim(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != "" {
		c.note(Decide, "relayhost", hop, where, "it is no name of a host", "write smtp.host")
		host = "unknown.invalid"
	}
	u.host = strings.ToLower(host)
	if !bracketed {
		c.note(Differs, "relayhost", hop, where, "without [ ] Postfix asks DNS for the MX of "+host+"; the relay connects to that very name", "if it has MX records, write one of those in smtp.host")
	}
}

func portNumber(s string) int {
	if n, ok := map[string]int{"smtp": 25, "submission": 587, "smtps": 465, "submissions": 465}[s]; ok {
		return n
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 {
		return 0
	}
	return n
}

// level is the TLS security level for a next hop.
func (c *converter) level(s scope, hop string) sourced[string] {
	c.take("smtp_tls_policy_maps", "smtp_tls_security_level", "smtp_use_tls", "smtp_enforce_tls", "smtp_tls_wrappermode")
	for _, name := range s.list("smtp_tls_policy_maps") {
		t := c.lookup(name)
		if t.err != nil {
			c.note(Differs, "smtp_tls_policy_maps", name, s.where("smtp_tls_policy_maps"), t.err.Error()+"; what it says of TLS is not carried", "set tls.mode of the MailUpstreams")
			continue
		}
		for _, e := range t.entries {
			if e.key == strings.ToLower(hop) || t.kind == "static" {
				fields := words(e.value)
				if len(fields) == 0 {
					continue
				}
				if len(fields) > 1 {
					c.note(Differs, "smtp_tls_policy_maps", e.key+" "+e.value, e.where(), "of it the level is carried", "see the fields of smtp.tls")
				}
				return sourced[string]{fields[0], e.where()}
			}
			if c.usedHop(e.key) {
				continue
			}
			c.note(LeftOut, "smtp_tls_policy_maps", e.key+" "+e.value, e.where(), "it is about single destinations, of which no upstream is one", "security: Verified of an upstream of type MX holds for all")
		}
	}
	switch {
	case s.get("smtp_tls_security_level") != "":
		return sourced[string]{s.get("smtp_tls_security_level"), s.where("smtp_tls_security_level")}
	case s.yes("smtp_enforce_tls"):
		return sourced[string]{"encrypt", s.where("smtp_enforce_tls")}
	case s.yes("smtp_use_tls"):
		return sourced[string]{"may", s.where("smtp_use_tls")}
	}
	return sourced[string]{"none", s.where("smtp_tls_security_level")}
}

// usedHop tells whether some setting names the next hop.
func (c *converter) usedHop(key string) bool {
	for _, name := range []string{"relayhost", "default_transport", "smtp_fallback_relay"} {
		for _, w := range c.scope().list(name) {
			if strings.Contains(strings.ToLower(w), key) {
				return true
			}
		}
	}
	for _, name := range append(c.scope().list("transport_maps"), c.scope().list("sender_dependent_relayhost_maps")...) {
		for _, e := range c.lookup(name).entries {
			if strings.Contains(strings.ToLower(e.value), key) {
				return true
			}
		}
	}
	return false
}

func (c *converter) upstreamTLS(u *upstream, s scope, level sourced[string]) sourced[string] {
	if u.host == "" {
		c.take("smtp_helo_name")
		if s.set("smtp_helo_name") && plainDomain(s.get("smtp_helo_name")) {
			u.heloName = sourced[string]{s.get("smtp_helo_name"), s.where("smtp_helo_name")}
		}
		if level.value == "none" || level.value == "may" {
			return sourced[string]{"Opportunistic", level.where}
		}
		if level.value == "encrypt" {
			c.note(Differs, "smtp_tls_security_level", level.value, level.where, "an upstream of type MX that encrypts also verifies", "security: Opportunistic verifies nothing")
		}
		return sourced[string]{"Verified", level.where}
	}
	if s.yes("smtp_tls_wrappermode") {
		return sourced[string]{"Implicit", s.where("smtp_tls_wrappermode")}
	}
	switch level.value {
	case "none":
		return sourced[string]{"None", level.where}
	case "may":
		return sourced[string]{"Opportunistic", level.where}
	case "encrypt":
		c.note(Differs, "smtp_tls_security_level", level.value, level.where, "Postfix encrypts and believes any certificate; the relay verifies it", "where "+u.host+" has a certificate of your own authority: smtp.tls.caSecretRef")
	case "fingerprint", "dane", "dane-only":
		c.note(Differs, "smtp_tls_security_level", level.value, level.where, "a smarthost's certificate is verified by authorities", "smtp.tls.caSecretRef, if they are not public ones")
	}
	return sourced[string]{"StartTLS", level.where}
}

// credentials tells with which login and certificates an upstream is used.
func (c *converter) credentials(u *upstream, s scope, hop, sender string) {
	c.take("smtp_sasl_auth_enable", "smtp_sasl_password_maps", "smtp_sender_dependent_authentication")
	if u.host != "" {
		c.take("smtp_tls_CAfile", "smtp_tls_cert_file")
	}
	if ca := s.get("smtp_tls_CAfile"); ca != "" && u.host != "" && u.tls.value != "None" && u.tls.value != "Opportunistic" && !strings.HasPrefix(ca, "/etc/ssl/certs/ca-") && !strings.HasPrefix(ca, "/etc/pki/tls/certs/ca-bundle") {
		u.ca = "smarthost-ca"
		c.secret(secretHint{name: u.ca, what: "the authorities of " + s.where("smtp_tls_CAfile"), command: "create secret generic " + u.ca + " --from-file=ca.crt=" + shell(ca)})
	}
	if cert := s.get("smtp_tls_cert_file"); cert != "" && cert != "none" && u.host != "" && (u.tls.value == "StartTLS" || u.tls.value == "Implicit") {
		u.certificate = "smarthost-client-tls"
		c.take("smtp_tls_key_file")
		key := s.get("smtp_tls_key_file")
		c.secret(secretHint{name: u.certificate, what: "the client's certificate of " + s.where("smtp_tls_cert_file"), command: "create secret tls " + u.certificate + " --cert=" + shell(cert) + " --key=" + shell(key)})
	}
	if !s.yes("smtp_sasl_auth_enable") || u.host == "" {
		return
	}
	found, at := false, ""
	for _, name := range s.list("smtp_sasl_password_maps") {
		t := c.lookup(name)
		if t.err != nil {
			c.note(Create, "smtp_sasl_password_maps", "", s.where("smtp_sasl_password_maps"), t.err.Error()+"; that "+u.host+" has a password is assumed", "make the Secret, or remove authentication")
			found = true
			continue
		}
		for _, e := range t.entries {
			if t.kind == "static" || sender != "" && e.key == sender || sender == "" && (e.key == strings.ToLower(hop) || e.key == u.host) {
				found, at = true, ", of "+e.where()
			}
		}
	}
	if !found {
		return
	}
	if t := u.tls.value; t == "None" || t == "Opportunistic" {
		c.note(Differs, "smtp_tls_security_level", t, u.tls.where, "a password is sent in verified TLS alone", "none: "+u.host+" needs STARTTLS and a certificate that can be verified")
		u.tls.value = "StartTLS"
	}
	u.login, u.loginComment = "login", at
	c.note(Create, "smtp_sasl_password_maps", "", s.where("smtp_sasl_password_maps"), "passwords are no part of manifests", "make the Secrets by the commands at the top of the manifests")
}

func (c *converter) limits(u *upstream, s scope, transport string) {
	prefix := transport
	if prefix == "" {
		prefix = "smtp"
	}
	for _, name := range []string{prefix + "_destination_concurrency_limit", "default_destination_concurrency_limit"} {
		if n := number(s.get(name)); s.set(name) && n > 0 {
			u.connections = sourced[int]{min(n, 1000), s.where(name)}
			c.take(name)
			break
		}
	}
	for _, name := range []string{prefix + "_destination_rate_delay", "default_destination_rate_delay"} {
		if n, ok := seconds(s.get(name), 's'); s.set(name) && ok && n > 0 {
			u.perMinute = sourced[int]{max(1, 60/n), s.where(name)}
			u.connections = sourced[int]{1, s.where(name)}
			c.take(name)
			break
		}
	}
}
