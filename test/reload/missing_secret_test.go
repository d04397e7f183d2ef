package reload

import (
	"regexp"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// The operator reads in the state which Secrets are missing, and points at the
// field that names them.
func TestStateNamesMissingSecrets(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	s := setup{upstreams: []string{u.YAML("out", "")}}
	r := rig.Start(t, s.yaml())
	if _, state := r.Get("/state"); strings.Contains(state, "missingSecrets") {
		t.Fatalf("nothing is missing:\n%s", state)
	}
	secret := regexp.MustCompile(`(kind: Secret\nmetadata: \{name: )([^},]+)`)
	name := secret.FindStringSubmatch(s.yaml())[2]
	r.Write("relay.yaml", secret.ReplaceAllString(s.yaml(), "${1}another"))
	want := regexp.MustCompile(`"missingSecrets": \[\s*"` + regexp.QuoteMeta(name) + `"\s*\]`)
	r.Eventually("the missing Secret in the state", func() bool { _, state := r.Get("/state"); return want.MatchString(state) })
}
