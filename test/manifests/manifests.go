// Package manifests reads manifests that stand in a test's text, as a relay reads a
// folder of them.
//
// Only tests import it. It may import the kinds, relay/manifest and relay/plan.
package manifests

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/manifest"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// Load gives the objects of a text, in which the kinds' own schema and rules must find
// no fault.
func Load(t testing.TB, text string) *manifest.Set {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems, err := manifest.Load(dir)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v\n%v", err, problems)
	}
	return set
}

// Input is what the first PrinterRelay of a set is compiled of: all that is there.
func Input(set *manifest.Set) plan.Input {
	in := plan.Input{Relay: set.Relays[0], Upstreams: map[string]*v1alpha1.MailUpstream{}, Policies: map[string]*v1alpha1.SenderPolicy{}}
	for _, u := range set.Upstreams {
		in.Upstreams[u.Name] = u
	}
	for _, p := range set.Policies {
		in.Policies[p.Name] = p
	}
	return in
}

// Only is Input of a text with one PrinterRelay.
func Only(t testing.TB, text string) plan.Input {
	t.Helper()
	set := Load(t, text)
	if len(set.Relays) != 1 {
		t.Fatalf("%d relays, want 1", len(set.Relays))
	}
	return Input(set)
}
