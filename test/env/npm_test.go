package env_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"

	"github.com/printerrelay/printer-relay/test/env"
)

// TestNPMPackagesRunOnDebiansNode: make test-deps installs the Node.js of Debian 12,
// on which every package of every lock file has to run. A newer one on the machine
// that updates a lock file would not notice.
func TestNPMPackagesRunOnDebiansNode(t *testing.T) {
	node := semver.MustParse("18.20.4")
	root := env.Root(t)
	files, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "*package-lock.json").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for file := range strings.FieldsSeq(string(files)) {
		octets, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		var lock struct {
			Packages map[string]struct {
				Version string
				Engines map[string]string
			}
		}
		if err := json.Unmarshal(octets, &lock); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for name, p := range lock.Packages {
			packages++
			wanted, err := semver.NewConstraint(p.Engines["node"])
			if p.Engines["node"] == "" {
				continue
			}
			if err != nil {
				t.Errorf("%s: %s %s: engines.node: %v", file, name, p.Version, err)
			} else if !wanted.Check(node) {
				t.Errorf("%s: %s %s wants Node.js %s, and Debian 12 has %s: take an older version, or override it in package.json", file, name, p.Version, wanted, node)
			}
		}
	}
	if packages < 100 {
		t.Errorf("the lock files name %d packages: they are not read", packages)
	}
}
