package plan

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/envelope"
)

// upstream compiles the MailUpstream name once, for the field that names it.
func (c *compiler) upstream(self at, field, name string) {
	if c.out.Upstreams[name] != nil {
		return
	}
	u := c.in.Upstreams[name]
	if u == nil {
		self.missing(field, "MailUpstream", name)
		return
	}
	a := at{c, "MailUpstream " + u.Namespace + "/" + u.Name}
	out := &Upstream{
		Name:        name,
		Type:        string(u.Spec.Type),
		Connections: defaultsOf(u).connections,
		PerMinute:   defaultsOf(u).perMinute,
		MessageSize: c.size(a, "spec.limits.messageSize", u.Spec.Limits.MessageSize, defaultsOf(u).messageSize),
		Private:     u.Spec.Type == v1alpha1.UpstreamSMTP,
		Suspend:     u.Spec.Suspend,
	}
	if n := u.Spec.Limits.Connections; n != nil {
		out.Connections = int(*n)
	}
	if n := u.Spec.Limits.MessagesPerMinute; n != nil {
		out.PerMinute = int(*n)
	}
	if n, err := strconv.Atoi(u.Annotations[v1alpha1.AnnotationSharers]); err == nil && n > 1 {
		out.Sharers = n
	}
	if p := u.Spec.AllowPrivateHosts; p != nil {
		out.Private = *p
	}
	if s := u.Spec.Sender; s != nil {
		out.Sender = &Sender{
			Domain:      envelope.DomainKey(string(s.Domain)),
			LocalPart:   cmp.Or(s.LocalPart, "scans"),
			DisplayName: s.DisplayName,
			ReplyTo:     s.ReplyTo != v1alpha1.ReplyToNone,
			Rewrite:     cmp.Or(string(s.Rewrite), string(v1alpha1.RewriteOutsideDomain)),
		}
	}
	out.DNS = c.dns(a, u)
	switch k := u.Spec.DKIM; {
	case k == nil:
	case out.Sender == nil: // the kind's own rules say so too; without them mail would leave unsigned
		a.errorf("spec.dkim", "signs as sender.domain: set spec.sender.domain")
	default:
		out.DKIM = &DKIM{
			Domain:   c.domain(a, "spec.sender.domain", out.Sender.Domain),
			Selector: k.Selector,
			Secret:   c.secret(&k.SecretRef),
			Reissued: u.Spec.Type == v1alpha1.UpstreamSES,
			Single:   u.Spec.Type == v1alpha1.UpstreamSES,
		}
	}
	c.way(a, u, out)
	c.out.Upstreams[name] = out
}

// Shared is what a MailUpstream is to each of the instances, of all relays
// together, that send by it: its limits are theirs together, so each gets its
// share, and at least 1 of each. Compile finds how many they are in an annotation.
func Shared(u *v1alpha1.MailUpstream, instances int) *v1alpha1.MailUpstream {
	if instances <= 1 && u.Annotations[v1alpha1.AnnotationSharers] == "" {
		return u
	}
	u = u.DeepCopy()
	if instances <= 1 {
		delete(u.Annotations, v1alpha1.AnnotationSharers)
		return u
	}
	if u.Annotations == nil {
		u.Annotations = map[string]string{}
	}
	u.Annotations[v1alpha1.AnnotationSharers] = strconv.Itoa(instances)
	share := func(limit int32) *int32 { limit = max(1, limit/int32(instances)); return &limit } //nolint:gosec // a few thousand
	def := defaultsOf(u)
	if u.Spec.Limits.Connections == nil {
		u.Spec.Limits.Connections = new(int32(def.connections)) //nolint:gosec // small
	}
	if u.Spec.Limits.MessagesPerMinute == nil && def.perMinute > 0 {
		u.Spec.Limits.MessagesPerMinute = new(int32(def.perMinute)) //nolint:gosec // small
	}
	u.Spec.Limits.Connections = share(*u.Spec.Limits.Connections)
	if n := u.Spec.Limits.MessagesPerMinute; n != nil {
		u.Spec.Limits.MessagesPerMinute = share(*n)
	}
	return u
}

// UpstreamNames are the MailUpstreams that a PrinterRelay refers to, sorted.
func UpstreamNames(r *v1alpha1.PrinterRelay) []string {
	names := []string{r.Spec.UpstreamRef.Name}
	for _, f := range r.Spec.FallbackUpstreamRefs {
		names = append(names, f.Name)
	}
	for _, route := range r.Spec.Routes {
		names = append(names, route.UpstreamRef.Name)
	}
	if ref := r.Spec.Delivery.Bounce.UpstreamRef; ref != nil {
		names = append(names, ref.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
