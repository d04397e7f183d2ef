package importpostfix

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// loginSecret is the Secret of the copiers' logins.
const loginSecret = "copier-logins" //nolint:gosec // a name

// sourced is a value with where it stands.
type sourced[T any] struct {
	value T
	where string
}

// listener is one port to write.
type listener struct {
	scope                 scope
	service               service
	name                  string
	port                  int
	mode                  sourced[string] // of TLS
	profile               sourced[string]
	certificate           string
	login, plaintext      bool
	mechanisms            []string
	lineEndings           sourced[string]
	strict, proxy         bool
	size                  sourced[int64]
	recipients, perClient sourced[int]
	idle                  sourced[int]
	open                  bool // somebody may send without a login
}

// rewrite is one replacement of recipients.
type rewrite struct {
	from  string
	to    []string
	where string
}

// copyRule is one list of recipients to add.
type copyRule struct {
	name    string
	senders []string
	to      []string
	where   string
}

// relaySpec is the PrinterRelay to write.
type relaySpec struct {
	hostname, defaultDomain sourced[string]
	listeners               []listener
	rewrites                []rewrite
	copies                  []copyRule
	expire, warn            sourced[int]
	retryFirst, retryMax    sourced[int]
	postmaster              sourced[string]
	main                    sourced[string] // upstream
	fallbacks               []sourced[string]
	routes                  []route
}

func (c *converter) relay() *relaySpec {
	s := c.scope()
	r := &relaySpec{}
	r.hostname = c.hostname(s)
	r.defaultDomain = c.defaultDomain(s)
	for _, v := range c.listen {
		c.listener(r, v)
	}
	if len(r.listeners) == 0 {
		c.note(Create, "master.cf", "no smtpd service", "master.cf", "no port takes mail of other machines; port 25 was written, which nobody may use", "write the listeners that copiers need")
		r.listeners = append(r.listeners, listener{scope: s, name: "smtp", port: 25, mode: sourced[string]{"StartTLS", "assumed"}})
	}
	c.delivery(r, s)
	c.copies(r, s)
	return r
}

func (c *converter) hostname(s scope) sourced[string] {
	if h := c.options.Hostname; h != "" {
		c.take("myhostname")
		return sourced[string]{h, "as given"}
	}
	h, where := c.effective(s, "myhostname")
	if !s.set("myhostname") || !plainDomain(h) {
		c.note(Create, "myhostname", h, where, "it is not set, so Postfix takes the machine's name, which is not in the folder", "write spec.hostname (or import again with --hostname): what copiers and mail servers see")
		return sourced[string]{"relay.invalid", where}
	}
	return sourced[string]{h, where}
}

// defaultDomain is what addresses without a domain get.
func (c *converter) defaultDomain(s scope) sourced[string] {
	v, where := c.effective(s, "myorigin")
	c.take("append_at_myorigin", "mydomain")
	if s.get("append_at_myorigin") == "no" {
		return sourced[string]{}
	}
	if strings.HasPrefix(v, "/") {
		_, text, err := c.find(v)
		if err != nil {
			c.note(Create, "myorigin", v, where, err.Error(), "write spec.addresses.defaultDomain, if devices send addresses without a domain")
			return sourced[string]{}
		}
		v = ""
		if l := lines(text); len(l) > 0 {
			v = strings.TrimSpace(l[0].text)
		}
	}
	if !plainDomain(v) || !s.set("myorigin") && !s.set("myhostname") {
		return sourced[string]{}
	}
	return sourced[string]{v, where}
}

// listener makes a listener of a service.
func (c *converter) listener(r *relaySpec, v service) {
	s := v.scope
	left := func(why, remedy string) { c.note(LeftOut, "master.cf", v.name+" inet", v.where(), why, remedy) }
	if host, _, ok := strings.Cut(strings.Trim(v.name, "[]"), ":"); ok && (strings.HasPrefix(host, "127.") || host == "localhost" || strings.HasPrefix(v.name, "[::1]")) && len(c.listen) > 1 {
		left("it listens on the machine itself alone: the way back of a content filter, or a program beside Postfix", "see content_filter")
		return
	}
	l := listener{scope: s, service: v, port: v.port()}
	switch {
	case l.port == 0:
		left("its port is not known by number", "add a listener with the port of /etc/services")
		return
	case l.port > 55535:
		left("listeners have ports up to 55535", "add a listener with another port")
		return
	case slices.ContainsFunc(r.listeners, func(o listener) bool { return o.port == l.port }):
		left("there is a listener with this port already: it listens at every address", "none, unless the services differ")
		return
	case len(r.listeners) == 8:
		left("a relay has at most 8 listeners", "make another PrinterRelay")
		return
	}
	l.name = dnsLabel(map[int]string{25: "smtp", 465: "submissions", 587: "submission"}[l.port], 15)
	if l.name == "mail" {
		l.name = fmt.Sprintf("port-%d", l.port)
	}
	c.listenerTLS(&l)
	c.listenerLogin(&l)
	c.listenerLimits(&l)
	c.take("smtpd_upstream_proxy_protocol", "postscreen_upstream_proxy_protocol")
	for _, name := range []string{"smtpd_upstream_proxy_protocol", "postscreen_upstream_proxy_protocol"} {
		if value := s.get(name); value != "" {
			l.proxy = true
			c.note(Create, name, value, s.where(name), "Postfix believes whoever connects about the client's address; so does what was written", "name your load balancers alone in proxyProtocol.trustedNetworks")
		}
	}
	r.listeners = append(r.listeners, l)
}

func (c *converter) listenerTLS(l *listener) {
	s := l.scope
	c.take("smtpd_tls_security_level", "smtpd_use_tls", "smtpd_enforce_tls", "smtpd_tls_wrappermode", "smtpd_tls_protocols", "smtpd_tls_mandatory_protocols",
		"smtpd_tls_cert_file", "smtpd_tls_key_file", "smtpd_tls_chain_files")
	for _, name := range []string{"smtpd_tls_eccert_file", "smtpd_tls_dcert_file"} {
		if v := s.get(name); s.set(name) && v != "" && v != "none" {
			c.note(Create, name, v, s.where(name), "a second certificate is not carried", "name its Secret in tls.certificateRefs too")
			c.take(strings.Replace(name, "cert", "key", 1))
		}
	}
	level, name := s.get("smtpd_tls_security_level"), "smtpd_tls_security_level"
	if level == "" && (s.yes("smtpd_use_tls") || s.yes("smtpd_enforce_tls")) {
		level, name = "may", "smtpd_use_tls"
	}
	switch {
	case s.yes("smtpd_tls_wrappermode"):
		l.mode = sourced[string]{"Implicit", s.where("smtpd_tls_wrappermode")}
	case level == "" || level == "none":
		l.mode = sourced[string]{"None", s.where(name)}
		return
	default:
		l.mode = sourced[string]{"StartTLS", s.where(name)}
	}
	for _, name := range []string{"smtpd_tls_mandatory_protocols", "smtpd_tls_protocols"} {
		if s.set(name) {
			l.profile = sourced[string]{profile(s.list(name)), s.where(name)}
		}
	}
	if l.profile.value == "" {
		c.note(Differs, "smtpd_tls_protocols", s.get("smtpd_tls_protocols"), s.where("smtpd_tls_protocols"), "Postfix takes what the machine's OpenSSL takes; the relay takes TLS 1.2 with forward secrecy, and newer", "for copiers that know TLS 1.0 or RSA key exchange alone: tls.profile: Legacy, best on a listener of their own")
	}
	for _, name := range []string{"smtpd_tls_chain_files", "smtpd_tls_cert_file"} {
		value := s.get(name)
		switch {
		case value == "" || value == "none":
			continue
		case strings.Contains(value, "snakeoil"):
			c.note(Differs, name, value, s.where(name), "it is a certificate that the machine made for itself; the relay makes one of its own", "none, unless devices compare it")
			return
		}
		key := cmp.Or(s.get("smtpd_tls_key_file"), value)
		if name == "smtpd_tls_chain_files" {
			key = value
		}
		l.certificate = "relay-tls"
		c.secret(secretHint{name: "relay-tls", what: "the certificate of the listeners, of " + s.where(name), command: "create secret tls relay-tls --cert=" + shell(words(value)[0]) + " --key=" + shell(words(key)[0])})
		c.note(Create, name, value, s.where(name), "certificate and key are no part of manifests", "make Secret relay-tls by the command at the top of the manifests, or use tls.issuerRef")
		return
	}
}

// profile gives the profile that takes no older TLS than Postfix does.
func profile(protocols []string) string {
	oldest := 10
	for _, p := range protocols {
		switch strings.ToLower(strings.TrimSpace(p)) {
		case "!tlsv1", ">=tlsv1.1", ">tlsv1":
			oldest = max(oldest, 11)
		case "!tlsv1.1":
			if oldest >= 11 {
				oldest = 12
			}
		case ">=tlsv1.2", "tlsv1.2":
			oldest = max(oldest, 12)
		case ">=tlsv1.3", "tlsv1.3":
			oldest = max(oldest, 13)
		}
	}
	switch {
	case slices.ContainsFunc(protocols, func(p string) bool { return strings.EqualFold(p, "!TLSv1.2") }) && oldest >= 12:
		return "Modern"
	case oldest == 13:
		return "Modern"
	case oldest >= 11: // there is no profile that begins at 1.1
		return "Intermediate"
	}
	return "Legacy"
}

func (c *converter) listenerLogin(l *listener) {
	s := l.scope
	c.take("smtpd_sasl_auth_enable", "smtpd_tls_auth_only", "smtpd_sasl_security_options", "smtpd_sasl_tls_security_options")
	if !s.yes("smtpd_sasl_auth_enable") {
		return
	}
	l.login = true
	l.plaintext = l.mode.value != "Implicit" && s.get("smtpd_tls_security_level") != "encrypt" && !s.yes("smtpd_enforce_tls") && !s.yes("smtpd_tls_auth_only")
	if slices.Contains(s.list("smtpd_sasl_tls_security_options"), "noplaintext") {
		l.mechanisms, l.plaintext = []string{"CRAMMD5"}, false
	} else if slices.Contains(s.list("smtpd_sasl_security_options"), "noplaintext") {
		l.plaintext = false
	}
	for _, name := range []string{"smtpd_sasl_security_options", "smtpd_sasl_tls_security_options"} {
		for _, w := range s.list(name) {
			if w != "noplaintext" && w != "noanonymous" {
				c.note(LeftOut, name, w, s.where(name), "of it noplaintext is carried; nobody is anonymous", "authentication.mechanisms of the listener")
			}
		}
	}
	if l.mode.value == "None" && !l.plaintext && l.mechanisms == nil {
		l.mechanisms = []string{"CRAMMD5"}
	}
	if l.plaintext {
		c.note(Differs, "smtpd_tls_auth_only", "no", s.where("smtpd_tls_auth_only"), "passwords may pass in clear, as with Postfix", "authentication.plaintext: Deny, if every device speaks TLS")
	}
	c.secret(secretHint{name: loginSecret, what: "the logins of the copiers, of " + s.where("smtpd_sasl_auth_enable"), command: "create secret generic " + loginSecret + " --from-file=users=FILE  # lines of name:password, or name:bcrypt"})
	for _, name := range []string{"smtpd_sasl_type", "smtpd_sasl_path"} {
		if s.set(name) {
			c.note(Create, name, s.get(name), s.where(name), "Postfix asks another program about logins; the relay has them in a Secret", "make Secret "+loginSecret+" by the command at the top of the manifests")
		}
	}
}

func (c *converter) listenerLimits(l *listener) {
	s := l.scope
	size, where := c.effective(s, "message_size_limit")
	if n, err := strconv.ParseInt(size, 10, 64); err == nil && n > 0 {
		l.size = sourced[int64]{n, where}
	} else {
		c.note(Differs, "message_size_limit", size, where, "there is no unlimited size: it is 40Mi", "limits.messageSize of the listener")
	}
	n, where := c.effective(s, "smtpd_recipient_limit")
	l.recipients = sourced[int]{min(max(number(n), 1), 1000), where}
	if n, where := c.effective(s, "smtpd_client_connection_count_limit"); s.set("smtpd_client_connection_count_limit") && number(n) > 0 {
		l.perClient = sourced[int]{min(number(n), 10000), where}
	}
	if v, where := c.effective(s, "smtpd_timeout"); s.set("smtpd_timeout") {
		if n, ok := seconds(v, 's'); ok {
			l.idle = sourced[int]{min(max(n, 10), 3600), where}
		} else {
			c.note(LeftOut, "smtpd_timeout", v, where, "it is no time", "limits.idleTimeoutSeconds of the listener")
		}
	}
	c.take("strict_rfc821_envelopes", "smtpd_forbid_bare_newline")
	l.strict = s.yes("strict_rfc821_envelopes")
	if s.get("smtpd_forbid_bare_newline") == "reject" {
		l.lineEndings = sourced[string]{"Reject", s.where("smtpd_forbid_bare_newline")}
	}
}

func number(s string) int {
	n, _ := strconv.Atoi(s) //nolint:errcheck // what is no number is 0
	return n
}

// seconds reads a time of Postfix's: 5d, 300s, 4h, or a number of its unit.
func seconds(s string, unit byte) (int, bool) {
	if s == "" {
		return 0, false
	}
	if last := s[len(s)-1]; last < '0' || last > '9' {
		s, unit = s[:len(s)-1], last|0x20
	}
	n, err := strconv.Atoi(s)
	factor := map[byte]int{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}[unit]
	if err != nil || factor == 0 || n < 0 || n > 1<<31/factor {
		return 0, false
	}
	return n * factor, true
}

func (c *converter) delivery(r *relaySpec, s scope) {
	time := func(name string, unit byte, least, most int) sourced[int] {
		v, where := c.effective(s, name)
		n, ok := seconds(v, unit)
		if !s.set(name) || !ok {
			return sourced[int]{}
		}
		if n < least || n > most {
			c.note(Differs, name, v, where, fmt.Sprintf("it is bounded to %d to %d seconds", least, most), "none")
		}
		return sourced[int]{min(max(n, least), most), where}
	}
	r.expire = time("maximal_queue_lifetime", 'd', 60, 2592000)
	r.warn = time("delay_warning_time", 'h', 0, 2592000)
	r.retryFirst = time("minimal_backoff_time", 's', 1, 86400)
	r.retryMax = time("maximal_backoff_time", 's', 1, 86400)
	if r.retryFirst.where != "" && r.retryFirst.value > cmp.Or(r.retryMax.value, 3600) {
		r.retryMax = sourced[int]{r.retryFirst.value, r.retryFirst.where}
	}
	if r.retryMax.where != "" && r.retryMax.value < cmp.Or(r.retryFirst.value, 30) {
		r.retryFirst = sourced[int]{r.retryMax.value, r.retryMax.where}
	}
	to, where := c.effective(s, "2bounce_notice_recipient")
	if !strings.Contains(to, "@") && r.defaultDomain.value != "" {
		to += "@" + r.defaultDomain.value
	}
	if addresses := mailAddresses(to); len(addresses) == 1 {
		r.postmaster = sourced[string]{addresses[0], where}
	} else {
		c.note(Create, "2bounce_notice_recipient", to, where, "who hears of mail that cannot be delivered is not known", "write delivery.bounce.postmaster")
	}
}

// mailAddresses gives the words of a value that are whole mail addresses.
func mailAddresses(value string) (out []string) {
	for _, w := range words(value) {
		local, domain, ok := cutAt(w)
		if ok && localPart(local) && !strings.Contains(local, "*") && plainDomain(domain) && strings.Contains(domain, ".") {
			out = append(out, w)
		}
	}
	return out
}

func (c *converter) copies(r *relaySpec, s scope) {
	if v, where := c.effective(s, "always_bcc"); v != "" {
		if to := mailAddresses(c.complete(r, v)); len(to) > 0 {
			r.copies = append(r.copies, copyRule{"always-bcc", []string{everyone}, to, where})
		} else {
			c.note(LeftOut, "always_bcc", v, where, "it is no whole mail address", "write spec.copies")
		}
	}
	c.take("sender_bcc_maps")
	used := map[string]bool{}
	for _, name := range s.list("sender_bcc_maps") {
		t := c.lookup(name)
		if t.err != nil {
			c.note(LeftOut, "sender_bcc_maps", name, s.where("sender_bcc_maps"), t.err.Error(), "write spec.copies")
		}
		for _, e := range t.entries {
			from, err := loginKey(e.key)
			if t.kind == "static" {
				from, err = everyone, nil
			}
			to := mailAddresses(c.complete(r, e.value))
			if err != nil || len(to) == 0 || len(r.copies) == 8 {
				c.note(LeftOut, "sender_bcc_maps", e.key+" "+e.value, e.where(), "it is no pattern and whole address, or there are more than 8", "write spec.copies")
				continue
			}
			r.copies = append(r.copies, copyRule{unique("sender-bcc", used), []string{from}, to, e.where()})
		}
	}
}

// complete adds the default domain to an address without one.
func (c *converter) complete(r *relaySpec, a string) string {
	if a = strings.TrimSpace(a); a != "" && !strings.ContainsAny(a, "@ ,|/\":") && r.defaultDomain.value != "" {
		return a + "@" + r.defaultDomain.value
	}
	return a
}

// secretHint is a Secret that somebody has to make.
type secretHint struct{ name, what, command string }

func (c *converter) secret(h secretHint) {
	if !slices.ContainsFunc(c.secrets, func(o secretHint) bool { return o.name == h.name }) {
		c.secrets = append(c.secrets, h)
	}
}

// shell quotes a word for a command line that a person copies.
func shell(s string) string {
	s = oneLine(s, 200)
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
