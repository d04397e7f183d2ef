package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/envelope"
)

// Input is one PrinterRelay with the objects of its namespace, by name. Defaults
// are set already (by the API server or package manifest).
type Input struct {
	Relay     *v1alpha1.PrinterRelay
	Upstreams map[string]*v1alpha1.MailUpstream
	Policies  map[string]*v1alpha1.SenderPolicy
}

// Severity tells an Error, which keeps a plan from being run, from a Warning.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is one finding of Compile: the object and field to change, and how.
type Diagnostic struct {
	Severity Severity
	Object   string // "MailUpstream default/ses"
	Field    string // "spec.ses"
	Message  string
	Missing  string // "SenderPolicy default/office": that object is not there; empty: it is something else
}

// Error is the finding in one line.
func (d Diagnostic) Error() string { return d.Object + ": " + d.Field + ": " + d.Message }

// Diagnostics are findings in the order they were made.
type Diagnostics []Diagnostic

// Failed tells whether the plan must not be run.
func (ds Diagnostics) Failed() bool {
	return slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Severity == Error })
}

// compiler gathers what Compile makes.
type compiler struct {
	in      Input
	out     *Plan
	found   Diagnostics
	secrets map[string]bool
}

// Missing names the objects that the PrinterRelay refers to and that are not
// there. A relay that runs then takes no new mail until they are.
func (ds Diagnostics) Missing() []string {
	var out []string
	for _, d := range ds {
		if d.Missing != "" {
			out = append(out, d.Missing)
		}
	}
	return out
}

// at reports on one object.
type at struct {
	c      *compiler
	object string
}

func (a at) errorf(field, format string, v ...any) {
	a.c.found = append(a.c.found, Diagnostic{Severity: Error, Object: a.object, Field: field, Message: fmt.Sprintf(format, v...)})
}

// missing reports a reference to an object that is not there.
func (a at) missing(field, kind, name string) {
	a.c.found = append(a.c.found, Diagnostic{
		Severity: Error, Object: a.object, Field: field, Missing: kind + " " + a.c.in.Relay.Namespace + "/" + name,
		Message: fmt.Sprintf("%s %q is not in namespace %q: create it, or correct the name", kind, name, a.c.in.Relay.Namespace),
	})
}

func (a at) warnf(field, format string, v ...any) {
	a.c.found = append(a.c.found, Diagnostic{Severity: Warning, Object: a.object, Field: field, Message: fmt.Sprintf(format, v...)})
}

// Compile makes the plan of one PrinterRelay. It is pure: the same input gives
// the same plan and Hash, in the operator and in the relay. A plan with an
// Error among its diagnostics must not be run.
func Compile(in Input) (*Plan, Diagnostics) {
	r := in.Relay
	c := &compiler{in: in, secrets: map[string]bool{}, out: &Plan{
		Namespace: r.Namespace, Name: r.Name,
		Intake:    Intake(cmp.Or(string(r.Spec.Intake), string(IntakeAccept))),
		Ack:       Ack{Relayed: r.Spec.Acknowledge == v1alpha1.AcknowledgeRelayed, Timeout: seconds(r.Spec.AcknowledgeTimeoutSeconds, 20)},
		Upstreams: map[string]*Upstream{},
	}}
	self := at{c, "PrinterRelay " + r.Namespace + "/" + r.Name}
	c.out.Hostname = c.domain(self, "spec.hostname", string(r.Spec.Hostname))
	c.routes(self)
	c.addresses(self)
	c.policies(self)
	c.delivery(self)
	c.spool(self)
	c.holds(self)
	c.history(self)
	c.webhooks(self)
	c.listeners(self)
	c.hidden(self)
	c.check(self)
	for name := range c.secrets {
		c.out.SecretRefs = append(c.out.SecretRefs, name)
	}
	slices.Sort(c.out.SecretRefs)
	c.out.Hash = c.out.hash()
	return c.out, c.found
}

// hash is over the canonical JSON of all but the Hash itself.
func (p *Plan) hash() string {
	q := *p
	q.Hash = ""
	b, err := json.Marshal(&q)
	if err != nil {
		panic(err) // plain data
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

func (c *compiler) routes(self at) {
	s := &c.in.Relay.Spec
	for i, r := range s.Routes {
		field := fmt.Sprintf("spec.routes[%d]", i)
		c.upstream(self, field+".upstreamRef", r.UpstreamRef.Name)
		route := Route{Name: r.Name, Upstream: r.UpstreamRef.Name, Networks: c.networks(self, field+".clientNetworks", r.ClientNetworks), Senders: c.patterns(self, field+".senders", r.Senders)}
		for _, d := range r.RecipientDomains {
			route.RecipientDomains = append(route.RecipientDomains, envelope.DomainKey(d))
		}
		c.out.Routes = append(c.out.Routes, route)
	}
	c.upstream(self, "spec.upstreamRef", s.UpstreamRef.Name)
	c.out.Routes = append(c.out.Routes, Route{Upstream: s.UpstreamRef.Name})
	for i, f := range s.FallbackUpstreamRefs {
		c.upstream(self, fmt.Sprintf("spec.fallbackUpstreamRefs[%d]", i), f.Name)
		c.out.Fallbacks = append(c.out.Fallbacks, f.Name)
	}
}

func (c *compiler) addresses(self at) {
	s := &c.in.Relay.Spec
	if d := string(s.Addresses.DefaultDomain); d != "" {
		c.out.Addresses.DefaultDomain = c.domain(self, "spec.addresses.defaultDomain", d)
	}
	for i, r := range s.Addresses.Recipients {
		field := fmt.Sprintf("spec.addresses.recipients[%d]", i)
		rw := RecipientRewrite{To: c.patterns(self, field+".to", r.To)}
		if from := c.patterns(self, field+".from", []v1alpha1.AddressPattern{r.From}); len(from) == 1 {
			rw.From = from[0]
		}
		for k, to := range rw.To {
			a, err := to.Expand("x")
			if err != nil {
				self.errorf(fmt.Sprintf("%s.to[%d]", field, k), "%q: %v", to, err)
			} else if _, err := a.ToASCII(); err != nil {
				self.errorf(fmt.Sprintf("%s.to[%d]", field, k), notASCII, to, err)
			}
		}
		c.out.Addresses.Recipients = append(c.out.Addresses.Recipients, rw)
	}
	for i, r := range s.Copies {
		field := fmt.Sprintf("spec.copies[%d]", i)
		cp := Copy{Name: r.Name, Senders: c.patterns(self, field+".senders", r.Senders)}
		for k, to := range r.To {
			cp.To = append(cp.To, c.address(self, fmt.Sprintf("%s.to[%d]", field, k), string(to)))
		}
		c.out.Copies = append(c.out.Copies, cp)
	}
}

func (c *compiler) delivery(self at) {
	d := &c.in.Relay.Spec.Delivery
	c.out.Delivery = Delivery{
		Expire:     seconds(d.ExpireAfterSeconds, 432000),
		Warn:       seconds(d.WarnAfterSeconds, 14400),
		KeepFailed: seconds(d.KeepFailedSeconds, 604800),
		OnUnknown:  cmp.Or(string(d.OnUnknown), string(v1alpha1.UnknownRetrySame)),
		RetryFirst: seconds(d.Retry.InitialSeconds, 30),
		RetryMax:   seconds(d.Retry.MaximumSeconds, 3600),
		Bounce:     Bounce{To: cmp.Or(string(d.Bounce.To), string(v1alpha1.BouncePostmaster))},
	}
	b := &c.out.Delivery.Bounce
	if d.Bounce.Postmaster != nil {
		b.Postmaster = c.address(self, "spec.delivery.bounce.postmaster", string(*d.Bounce.Postmaster))
	}
	b.From = envelope.Address{Local: "postmaster", Domain: c.out.Hostname}
	if d.Bounce.From != nil {
		b.From = c.address(self, "spec.delivery.bounce.from", string(*d.Bounce.From))
	}
	if ref := d.Bounce.UpstreamRef; ref != nil {
		c.upstream(self, "spec.delivery.bounce.upstreamRef", ref.Name)
		b.Upstream = ref.Name
	}
	if b.To != string(v1alpha1.BounceNone) && b.Postmaster.IsNull() {
		self.warnf("spec.delivery.bounce.postmaster", "is not set: nobody hears of failed scans by mail; set it, or bounce.to: None")
	}
}

func (c *compiler) spool(self at) {
	s := &c.in.Relay.Spec.Spool
	c.out.Spool.Ephemeral = s.Type == v1alpha1.SpoolEphemeral
	if c.out.Spool.Ephemeral {
		self.warnf("spec.spool.type", "Ephemeral: a scan that the upstream does not take at once is refused with 451, and copiers do not try again")
		if !c.out.Ack.Relayed {
			self.errorf("spec.acknowledge", "must be Relayed with an Ephemeral spool")
		}
	}
	if s.PersistentVolume != nil {
		c.out.Spool.Size = c.size(self, "spec.spool.persistentVolume.size", s.PersistentVolume.Size, 0)
	}
}

// The history's size where none is given, and the part of a volume that it may have.
const (
	historySize = 256 << 20
	historyPart = 16
	historyMost = 2 // half of the volume, where a size is given
)

func (c *compiler) history(self at) {
	h := &c.in.Relay.Spec.History
	volume := c.out.Spool.Size
	def := int64(historySize)
	if volume > 0 {
		def = min(def, volume/historyPart)
	}
	c.out.History = History{
		Keep: seconds(h.KeepSeconds, 2592000), Size: c.size(self, "spec.history.size", h.Size, def), Subjects: h.Subjects == v1alpha1.SubjectsKeep,
	}
	if volume > 0 && c.out.History.Size > volume/historyMost {
		self.errorf("spec.history.size", "%s is more than half of the volume (spec.spool.persistentVolume.size): it would take the room of scans", h.Size)
	}
}

// secret notes that the plan names a Secret, and gives its name.
func (c *compiler) secret(ref *v1alpha1.LocalReference) string {
	if ref == nil || ref.Name == "" {
		return ""
	}
	c.secrets[ref.Name] = true
	return ref.Name
}

func (c *compiler) networks(a at, field string, in []v1alpha1.CIDR) []netip.Prefix {
	var out []netip.Prefix
	for i, s := range in {
		p, err := network(string(s))
		if err != nil {
			a.errorf(fmt.Sprintf("%s[%d]", field, i), "%q is not a network: write it as 10.20.3.0/24", s)
			continue
		}
		out = append(out, p)
	}
	return out
}

func (c *compiler) patterns(a at, field string, in []v1alpha1.AddressPattern) []envelope.Pattern {
	var out []envelope.Pattern
	for i, s := range in {
		p, err := envelope.ParsePattern(string(s))
		if err != nil {
			a.errorf(fmt.Sprintf("%s[%d]", field, i), "%v", err)
			continue
		}
		out = append(out, p)
	}
	return out
}

// notASCII is said of an address that only SMTPUTF8 could carry. One of them
// among its recipients would keep a whole scan from most servers.
const notASCII = "%q: %v: few servers take that; give an address in ASCII"

// address reads an address that the relay itself sends to or from. Its domain
// goes out in ASCII.
func (c *compiler) address(a at, field, s string) envelope.Address {
	v, err := envelope.ParseAddress(s)
	if err != nil {
		a.errorf(field, "%q: %v", s, err)
		return v
	}
	if v, err = v.ToASCII(); err != nil {
		a.errorf(field, notASCII, s, err)
	}
	return v
}

// size reads a quantity of octets; def stands in for one that is not given.
func (c *compiler) size(a at, field string, q *resource.Quantity, def int64) int64 {
	if q == nil {
		return def
	}
	n, ok := q.AsInt64()
	if !ok || n <= 0 {
		a.errorf(field, "%q is not a size: give octets as 40Mi or 25M", q.String())
		return def
	}
	return n
}

func seconds(v *int32, def int64) time.Duration {
	if v != nil {
		def = int64(*v)
	}
	return time.Duration(def) * time.Second
}
