package relay

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/manifest"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// Configuration is what a manifest folder says, compiled: the plans to run and
// the Secrets that came with them.
type Configuration struct {
	Plans    []*plan.Plan           // sorted by namespace and name
	Secrets  map[string]secrets.Map // by namespace
	Warnings []string

	// Where something is wrong:
	Faulty     map[string][]string        // relays (namespace/name) that have no plan -> objects that they refer to and that are not there
	stops      map[string]plan.Stops      // of all relays that could be compiled, with a plan or without: it counts though the rest does not
	suspended  map[string]map[string]bool // by namespace, the MailUpstreams that are, whoever names them
	where      map[string]string          // object ("SenderPolicy default/office") -> its file, of all that are there
	broken     map[string]bool            // objects that are there and not valid
	unreadable map[string]bool            // files of which it is not known what they hold
}

// LoadConfiguration reads, validates and compiles the manifests in dir. name
// ("namespace/name") selects one PrinterRelay; empty takes all. The error holds every
// problem, a line each, with file, line and field, and what to do. What is not
// touched by it is in the Configuration all the same, which is nil only if
// nothing could be read.
func LoadConfiguration(dir, name string) (*Configuration, error) {
	set, problems, err := manifest.Load(dir)
	if err != nil {
		return nil, err
	}
	c := &Configuration{Secrets: set.Secrets, Faulty: map[string][]string{}, stops: map[string]plan.Stops{}, suspended: map[string]map[string]bool{}, where: set.Where}
	c.broken, c.unreadable = problems.Touched()
	c.dropBroken(set)
	for _, u := range set.Upstreams {
		if c.suspended[u.Namespace] == nil {
			c.suspended[u.Namespace] = plan.SuspendedOf(upstreamsOf(set, u.Namespace))
		}
	}
	var errs []error
	if len(problems) > 0 {
		errs = append(errs, problems)
	}
	for _, r := range set.Relays {
		if name != "" && r.Namespace+"/"+r.Name != name {
			continue
		}
		errs = append(errs, c.compile(set, plan.Input{
			Relay:     r,
			Upstreams: upstreamsOf(set, r.Namespace),
			Policies:  policiesOf(set, r.Namespace),
		})...)
	}
	if name == "" && len(problems) == 0 {
		c.Warnings = append(c.Warnings, unused(set)...)
	}
	if len(errs) == 0 && len(c.Plans) == 0 {
		return c, noRelay(dir, name)
	}
	sort.Slice(c.Plans, func(i, j int) bool { return key(c.Plans[i]) < key(c.Plans[j]) })
	return c, errors.Join(errs...)
}

// compile makes the plan of one relay and gives what is wrong with it.
func (c *Configuration) compile(set *manifest.Set, in plan.Input) (errs []error) {
	p, diagnostics := plan.Compile(in)
	for _, d := range diagnostics {
		found := set.Problem(d.Object, d.Field, d.Message)
		switch {
		case d.Severity != plan.Error:
			c.Warnings = append(c.Warnings, found.Error())
		case d.Missing != "" && (c.broken[d.Missing] || len(c.unreadable) > 0):
			// It is there, or may be: what is wrong with it is said already.
		default:
			errs = append(errs, found)
		}
	}
	c.stops[key(p)] = plan.StopsOf(p, in.Upstreams)
	if diagnostics.Failed() {
		c.Faulty[key(p)] = diagnostics.Missing()
	} else {
		c.Plans = append(c.Plans, p)
	}
	return errs
}

// dropBroken takes out of set what was read of objects that are not valid: half
// a Secret, or one of two objects of the same name.
func (c *Configuration) dropBroken(set *manifest.Set) {
	set.Relays = slices.DeleteFunc(set.Relays, func(r *v1alpha1.PrinterRelay) bool {
		return c.broken[object("PrinterRelay", r.Namespace, r.Name)]
	})
	set.Upstreams = slices.DeleteFunc(set.Upstreams, func(u *v1alpha1.MailUpstream) bool {
		return c.broken[object("MailUpstream", u.Namespace, u.Name)]
	})
	set.Policies = slices.DeleteFunc(set.Policies, func(p *v1alpha1.SenderPolicy) bool {
		return c.broken[object("SenderPolicy", p.Namespace, p.Name)]
	})
	for ns, m := range set.Secrets {
		maps.DeleteFunc(m, func(name string, _ map[string][]byte) bool { return c.broken[object("Secret", ns, name)] })
	}
}

// stopsOf is what the manifests stop of a relay, whatever else is wrong with them: of one
// whose PrinterRelay cannot be read, upstreams that are suspended.
func (c *Configuration) stopsOf(pl *plan.Plan) plan.Stops {
	if s, ok := c.stops[key(pl)]; ok {
		return s
	}
	return plan.Stops{Suspended: c.suspended[pl.Namespace]}
}

// inDoubt tells whether an object that c does not give may be there all the
// same: it is not valid, or stood in a file that cannot be read now. before is
// where objects stood when that was last known.
func (c *Configuration) inDoubt(object string, before map[string]string) bool {
	return c.broken[object] || c.where[object] == "" && c.unreadable[before[object]]
}

// gone names the objects without which the plan that runs must take no new
// mail: those of its policies and upstreams, and of further, that are certainly
// not there.
func (c *Configuration) gone(pl *plan.Plan, further []string, before map[string]string) []string {
	for _, p := range pl.Policies {
		further = append(further, object("SenderPolicy", pl.Namespace, p.Name))
	}
	for name := range pl.Upstreams {
		further = append(further, object("MailUpstream", pl.Namespace, name))
	}
	var out []string
	for _, o := range further {
		if c.where[o] == "" && !c.inDoubt(o, before) {
			out = append(out, o)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// object is the name of an object in manifest.Problem and plan.Diagnostic.
func object(kind, namespace, name string) string { return kind + " " + namespace + "/" + name }

func noRelay(dir, name string) error {
	if name != "" {
		return fmt.Errorf("%s: holds no PrinterRelay %q: check --name (namespace/name; a manifest without a namespace is in %q)", dir, name, "default")
	}
	return fmt.Errorf("%s: holds no PrinterRelay: put its YAML there", dir)
}

func key(p *plan.Plan) string { return p.Namespace + "/" + p.Name }

// upstreamsOf are those of a namespace, each as one of the relays sees it that
// share it. A process runs one instance of each relay, whatever its replicas; in a
// Pod the operator has done the sharing, and one relay is there.
func upstreamsOf(s *manifest.Set, ns string) map[string]*v1alpha1.MailUpstream {
	sharers := map[string]int{}
	for _, r := range s.Relays {
		if r.Namespace == ns {
			for _, name := range plan.UpstreamNames(r) {
				sharers[name]++
			}
		}
	}
	out := map[string]*v1alpha1.MailUpstream{}
	for _, u := range s.Upstreams {
		if u.Namespace == ns {
			if n := sharers[u.Name]; n > 1 {
				u = plan.Shared(u, n)
			}
			out[u.Name] = u
		}
	}
	return out
}

// unused names the objects that no relay refers to: they do nothing, which may
// not be what was meant.
func unused(s *manifest.Set) (warnings []string) {
	used := map[string]bool{}
	for _, r := range s.Relays {
		for _, name := range plan.UpstreamNames(r) {
			used[object("MailUpstream", r.Namespace, name)] = true
		}
		for _, ref := range r.Spec.SenderPolicyRefs {
			used[object("SenderPolicy", r.Namespace, ref.Name)] = true
		}
	}
	note := func(kind, ns, name string) {
		if o := object(kind, ns, name); !used[o] {
			warnings = append(warnings, fmt.Sprintf("%s: no PrinterRelay of namespace %q refers to it: it is not used", o, ns))
		}
	}
	for _, u := range s.Upstreams {
		note("MailUpstream", u.Namespace, u.Name)
	}
	for _, p := range s.Policies {
		note("SenderPolicy", p.Namespace, p.Name)
	}
	slices.Sort(warnings)
	return warnings
}

func policiesOf(s *manifest.Set, ns string) map[string]*v1alpha1.SenderPolicy {
	out := map[string]*v1alpha1.SenderPolicy{}
	for _, p := range s.Policies {
		if p.Namespace == ns {
			out[p.Name] = p
		}
	}
	return out
}

// AbsentSecrets are the names of the Secrets that p refers to and src does not
// have at all, for a program; MissingSecrets is for people.
func AbsentSecrets(p *plan.Plan, src secrets.Source) []string {
	var absent []string
	for _, name := range p.SecretRefs {
		if _, err := src.Get(name); errors.Is(err, secrets.ErrNotFound) {
			absent = append(absent, name)
		}
	}
	return absent
}

// MissingSecrets names the Secrets that p refers to and src does not have,
// each with what stands behind it.
func MissingSecrets(p *plan.Plan, src secrets.Source) []string {
	var missing []string
	for _, name := range p.SecretRefs {
		if _, err := src.Get(name); err != nil {
			missing = append(missing, strings.TrimSpace(err.Error()))
		}
	}
	return missing
}
