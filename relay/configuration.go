package relay

import (
	"errors"
	"fmt"
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
	Partial bool            // a file cannot be read: there are no Plans, and Secrets may be missing
	Faulty  map[string]bool // relays (namespace/name) that have no plan; true: what they refer to is missing
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
	c := &Configuration{Secrets: set.Secrets, Faulty: map[string]bool{}}
	if len(problems) > 0 {
		c.Partial = true
		return c, problems
	}
	var errs []error
	for _, r := range set.Relays {
		if name != "" && r.Namespace+"/"+r.Name != name {
			continue
		}
		p, diagnostics := plan.Compile(plan.Input{
			Relay:     r,
			Upstreams: upstreamsOf(set, r.Namespace),
			Policies:  policiesOf(set, r.Namespace),
		})
		for _, d := range diagnostics {
			if d.Severity == plan.Error {
				errs = append(errs, d)
			} else {
				c.Warnings = append(c.Warnings, d.Error())
			}
		}
		if diagnostics.Failed() {
			c.Faulty[key(p)] = diagnostics.Missing()
			continue
		}
		c.Plans = append(c.Plans, p)
	}
	if len(c.Plans)+len(c.Faulty) == 0 {
		return nil, noRelay(dir, name)
	}
	sort.Slice(c.Plans, func(i, j int) bool { return key(c.Plans[i]) < key(c.Plans[j]) })
	return c, errors.Join(errs...)
}

func noRelay(dir, name string) error {
	if name != "" {
		return fmt.Errorf("%s: holds no PrinterRelay %q: check --name (namespace/name; a manifest without a namespace is in %q)", dir, name, "default")
	}
	return fmt.Errorf("%s: holds no PrinterRelay: put its YAML there", dir)
}

func key(p *plan.Plan) string { return p.Namespace + "/" + p.Name }

func upstreamsOf(s *manifest.Set, ns string) map[string]*v1alpha1.MailUpstream {
	out := map[string]*v1alpha1.MailUpstream{}
	for _, u := range s.Upstreams {
		if u.Namespace == ns {
			out[u.Name] = u
		}
	}
	return out
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
