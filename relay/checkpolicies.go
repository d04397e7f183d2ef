package relay

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/manifest"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// CheckPolicies gives what the API server and a relay would say against SenderPolicies
// in YAML; nil: nothing.
func CheckPolicies(yaml string) error {
	dir, err := os.MkdirTemp("", "printer-relay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // nothing secret is in it
	if err := os.WriteFile(filepath.Join(dir, "policies.yaml"), []byte(yaml), 0o600); err != nil {
		return err
	}
	set, problems, err := manifest.Load(dir)
	if err != nil {
		return err
	}
	var found []error
	for _, p := range problems {
		found = append(found, p)
	}
	for _, p := range set.Policies {
		relay := &v1alpha1.PrinterRelay{}
		relay.Namespace, relay.Name, relay.Spec.Hostname = p.Namespace, "any", "relay.example"
		relay.Spec.SenderPolicyRefs = []v1alpha1.LocalReference{{Name: p.Name}}
		_, said := plan.Compile(plan.Input{Relay: relay, Policies: map[string]*v1alpha1.SenderPolicy{p.Name: p}})
		for _, d := range said {
			if d.Severity == plan.Error && strings.HasPrefix(d.Object, "SenderPolicy ") {
				found = append(found, d)
			}
		}
	}
	return errors.Join(found...)
}
