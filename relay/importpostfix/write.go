package importpostfix

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// object is a YAML mapping on its way.
type object struct{ node *yaml.Node }

func newObject() *object { return &object{&yaml.Node{Kind: yaml.MappingNode}} }

func scalar(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// set adds a field; comment says where its value comes from.
func (o *object) set(key string, value any, comment string) *object {
	k, v := scalar(key), &yaml.Node{}
	switch x := value.(type) {
	case string:
		v = scalar(x)
	case int:
		v = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(x)}
	case bool:
		v = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(x)}
	case []string:
		v = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, s := range x {
			v.Content = append(v.Content, scalar(s))
		}
	case []*object:
		v = &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range x {
			v.Content = append(v.Content, e.node)
		}
	case *object:
		v = x.node
	}
	if comment = oneLine(comment, 300); comment != "" {
		if v.Kind == yaml.ScalarNode || v.Style == yaml.FlowStyle {
			v.LineComment = "# " + comment
		} else {
			k.HeadComment = "# " + comment
		}
	}
	o.node.Content = append(o.node.Content, k, v)
	return o
}

// flow writes the object in one line.
func (o *object) flow() *object { o.node.Style = yaml.FlowStyle; return o }

func ref(name string) *object { return newObject().set("name", name, "").flow() }

func (c *converter) head(kind, name string, spec *object) *object {
	meta := newObject().set("name", name, "")
	if c.options.Namespace != "" {
		meta.set("namespace", c.options.Namespace, "")
	}
	return newObject().set("apiVersion", "printerrelay.dev/v1alpha1", "").set("kind", kind, "").set("metadata", meta.flow(), "").set("spec", spec, "")
}

// maxRules is how many rules a policy has.
const maxRules = 64

// write makes the manifests.
func (c *converter) write(r *relaySpec, ups []*upstream, rules []rule) ([]byte, error) {
	var policies []*object
	var names []string
	if len(rules) == 0 {
		rules = []rule{{name: "nobody", comment: "nothing could be carried that lets somebody send: write rules", networks: []string{"127.0.0.1/32"}, reject: true}}
	}
	for i, part := range slices.Collect(slices.Chunk(rules, maxRules)) {
		name := c.options.Name
		if i > 0 {
			name = fmt.Sprintf("%s-%d", name, i+1)
		}
		var list []*object
		for _, x := range part {
			list = append(list, x.object())
		}
		names = append(names, name)
		policies = append(policies, c.head("SenderPolicy", name, newObject().set("rules", list, "")))
	}
	if len(names) > 16 {
		return nil, fmt.Errorf("the restrictions of Postfix need %d rules, and a relay has at most %d: write patterns for what is named one by one", len(rules), 16*maxRules)
	}
	objects := []*object{c.head("PrinterRelay", c.options.Name, r.object(names))}
	for _, u := range ups {
		objects = append(objects, c.head("MailUpstream", u.name, u.object()))
	}
	var out bytes.Buffer
	out.WriteString(c.preamble())
	for _, o := range append(objects, policies...) {
		out.WriteString("---\n")
		e := yaml.NewEncoder(&out)
		e.SetIndent(2)
		if err := e.Encode(o.node); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// preamble is what to do first, and what was not carried.
func (c *converter) preamble() string {
	var b strings.Builder
	b.WriteString("# Made of a Postfix configuration by printer-relay import postfix.\n# Comments name where each value comes from. Look at it, then: printer-relay validate -f DIR\n")
	if len(c.secrets) > 0 {
		b.WriteString("#\n# Secrets to make first (no password is in this file):\n")
		ns := ""
		if c.options.Namespace != "" {
			ns = " --namespace " + c.options.Namespace
		}
		for _, s := range c.secrets {
			fmt.Fprintf(&b, "#   kubectl%s %s\n#     %s\n", ns, oneLine(s.command, 500), oneLine(s.what, 300))
		}
	}
	level := Level("-")
	for _, f := range c.findings {
		if f.Level == NoNeed {
			continue
		}
		if f.Level != level {
			level = f.Level
			fmt.Fprintf(&b, "#\n# %s:\n", heading[level])
		}
		fmt.Fprintf(&b, "#   %s %s = %s\n#     %s\n", f.Where, f.Parameter, f.Value, f.Why)
		if f.Remedy != "" && f.Remedy != "none" {
			fmt.Fprintf(&b, "#     %s\n", f.Remedy)
		}
	}
	return b.String()
}

var heading = map[Level]string{
	Open:    "OPEN: Postfix lets everybody send; this was not carried",
	Weaker:  "WEAKER: Postfix checks what the relay does not",
	Decide:  "DECIDE: refused until you write a rule or a route",
	Create:  "CREATE: what only you have",
	Differs: "DIFFERS: it works otherwise from now on",
	LeftOut: "LEFT OUT: there is no counterpart",
	NoNeed:  "NO NEED: how Postfix itself runs",
}

func (x rule) object() *object {
	o := newObject().set("name", x.name, x.comment)
	match := newObject()
	if len(x.networks) > 0 {
		match.set("clientNetworks", x.networks, "")
	}
	if len(x.users) > 0 {
		match.set("users", x.users, "")
	}
	if len(x.senders) > 0 {
		match.set("senders", x.senders, "")
	}
	o.set("match", match.flow(), "")
	switch {
	case x.reject:
		return o.set("action", "Reject", "")
	case x.hold:
		o.set("action", "Hold", "")
	default:
		o.set("action", "Allow", "")
	}
	if x.tls {
		o.set("connection", newObject().set("tls", "Required", "").flow(), "")
	}
	if len(x.allowed) > 0 {
		o.set("senders", newObject().set("allowed", x.allowed, "").flow(), "From: and Sender: are checked too; Postfix looks at MAIL FROM alone (check: Envelope)")
	}
	comment := ""
	if slices.Equal(x.to, []string{everyone}) {
		comment = "to everybody, as with Postfix: better your own domains"
	}
	o.set("recipients", newObject().set("allowed", x.to, "").flow(), comment)
	if x.perMinute > 0 {
		o.set("rateLimit", newObject().set("messagesPerMinute", x.perMinute, "").set("per", "Client", "").flow(), "smtpd_client_message_rate_limit")
	}
	return o
}

func (l *listener) object() *object {
	o := newObject().set("name", l.name, l.service.where()).set("port", l.port, "")
	tls := newObject().set("mode", l.mode.value, "")
	comment := l.mode.where
	if l.profile.value != "" && l.mode.value != "None" {
		tls.set("profile", l.profile.value, "")
		comment += ", " + l.profile.where
	}
	if l.certificate != "" {
		tls.set("certificateRefs", []*object{ref(l.certificate)}, "")
	}
	o.set("tls", tls.flow(), comment)
	if l.login {
		mode := "Optional"
		if !l.open {
			mode = "Required"
		}
		auth := newObject().set("mode", mode, "")
		if l.mechanisms != nil {
			auth.set("mechanisms", l.mechanisms, "")
		}
		if l.plaintext {
			auth.set("plaintext", "Allow", "")
		}
		o.set("authentication", auth.set("secretRef", ref(loginSecret), "").flow(), l.scope.where("smtpd_sasl_auth_enable"))
	}
	compat := newObject()
	if !l.strict {
		compat.set("commandSyntax", "Lenient", "")
	}
	if l.lineEndings.value != "" {
		compat.set("lineEndings", l.lineEndings.value, "")
	}
	if len(compat.node.Content) > 0 {
		o.set("compatibility", compat.flow(), l.lineEndings.where)
	}
	if l.proxy {
		o.set("proxyProtocol", newObject().set("trustedNetworks", []string{"0.0.0.0/0", "::/0"}, "").flow(), "name your load balancers alone")
	}
	limits := newObject()
	if l.size.value > 0 {
		limits.set("messageSize", strconv.FormatInt(l.size.value, 10), l.size.where)
	}
	for _, f := range []struct {
		name string
		v    sourced[int]
	}{{"recipients", l.recipients}, {"connectionsPerClient", l.perClient}, {"idleTimeoutSeconds", l.idle}} {
		if f.v.value > 0 {
			limits.set(f.name, f.v.value, f.v.where)
		}
	}
	if len(limits.node.Content) > 0 {
		o.set("limits", limits, "")
	}
	return o
}

func (r *relaySpec) object(policies []string) *object {
	o := newObject().set("hostname", r.hostname.value, r.hostname.where).set("upstreamRef", ref(r.main.value), r.main.where)
	var list []*object
	for _, f := range r.fallbacks {
		list = append(list, ref(f.value))
	}
	if len(list) > 0 {
		o.set("fallbackUpstreamRefs", list, r.fallbacks[0].where)
	}
	list = nil
	for i, x := range r.routes {
		e := newObject().set("name", fmt.Sprintf("route-%d", i+1), x.where)
		if len(x.domains) > 0 {
			e.set("recipientDomains", x.domains, "")
		}
		if len(x.senders) > 0 {
			e.set("senders", x.senders, "")
		}
		list = append(list, e.set("upstreamRef", ref(x.upstream), ""))
	}
	if len(list) > 0 {
		o.set("routes", list, "")
	}
	list = nil
	for _, p := range policies {
		list = append(list, ref(p))
	}
	o.set("senderPolicyRefs", list, "")
	r.addresses(o)
	list = nil
	for i := range r.listeners {
		list = append(list, r.listeners[i].object())
	}
	o.set("listeners", list, "")
	d := newObject()
	if r.expire.where != "" {
		d.set("expireAfterSeconds", r.expire.value, r.expire.where)
	}
	if r.warn.where != "" {
		d.set("warnAfterSeconds", r.warn.value, r.warn.where)
	}
	retry := newObject()
	if r.retryFirst.where != "" {
		retry.set("initialSeconds", r.retryFirst.value, r.retryFirst.where)
	}
	if r.retryMax.where != "" {
		retry.set("maximumSeconds", r.retryMax.value, r.retryMax.where)
	}
	if len(retry.node.Content) > 0 {
		d.set("retry", retry, "")
	}
	bounce := newObject().set("to", "OriginalSender", "")
	if r.postmaster.value != "" {
		bounce.set("postmaster", r.postmaster.value, "")
	}
	d.set("bounce", bounce.flow(), r.postmaster.where)
	return o.set("delivery", d, "")
}

func (r *relaySpec) addresses(o *object) {
	a := newObject()
	if r.defaultDomain.value != "" {
		a.set("defaultDomain", r.defaultDomain.value, r.defaultDomain.where)
	}
	var list []*object
	for _, w := range r.rewrites {
		list = append(list, newObject().set("from", w.from, w.where).set("to", w.to, ""))
	}
	if len(list) > 0 {
		a.set("recipients", list, "")
	}
	if len(a.node.Content) > 0 {
		o.set("addresses", a, "")
	}
	list = nil
	for _, x := range r.copies {
		list = append(list, newObject().set("name", x.name, x.where).set("senders", x.senders, "").set("to", x.to, ""))
	}
	if len(list) > 0 {
		o.set("copies", list, "")
	}
}

func (u *upstream) object() *object {
	if u.suspended != "" {
		return newObject().set("type", "Maildir", u.where+": "+u.suspended).set("maildir", newObject().set("path", nowhere, "").flow(), "").
			set("suspend", true, "nothing leaves by it; what waits goes back when it expires")
	}
	o := newObject()
	if u.host == "" {
		mx := newObject().set("security", u.tls.value, "")
		if u.heloName.value != "" {
			mx.set("heloName", u.heloName.value, "")
		}
		o.set("type", "MX", u.where).set("mx", mx.flow(), u.tls.where)
	} else {
		tls := newObject().set("mode", u.tls.value, u.tls.where)
		if u.ca != "" {
			tls.set("caSecretRef", ref(u.ca), "")
		}
		if u.certificate != "" {
			tls.set("clientCertificateRef", ref(u.certificate), "")
		}
		smtp := newObject().set("host", u.host, u.where).set("port", u.port, "").set("tls", tls, "")
		if u.login != "" {
			smtp.set("authentication", newObject().set("secretRef", ref(u.login), "").flow(), "")
		}
		o.set("type", "SMTP", "").set("smtp", smtp, "")
	}
	if s := u.sender; s != nil {
		o.set("sender", newObject().set("domain", s.domain, "").set("localPart", s.localPart, "").set("rewrite", s.rewrite, "").set("replyTo", "None", "").flow(), s.where)
	}
	if k := u.dkim; k != nil {
		o.set("dkim", newObject().set("selector", k.selector, "").set("secretRef", ref(k.secret), "").flow(), k.where)
	}
	limits := newObject()
	if u.connections.value > 0 {
		limits.set("connections", u.connections.value, u.connections.where)
	}
	if u.perMinute.value > 0 {
		limits.set("messagesPerMinute", u.perMinute.value, u.perMinute.where)
	}
	if len(limits.node.Content) > 0 {
		o.set("limits", limits, "")
	}
	return o
}
