// Package packages holds the Debian and Red Hat packages to what an administrator
// expects of them, on a machine that systemd runs: installed, started, upgraded,
// hardened and removed, and no mail lost on the way. It runs hack/package.sh.
package packages

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
)

// enough for a program that was never compiled here, and a slow machine's packages.
const enough = 20 * time.Minute

func TestLifeOfThePackages(t *testing.T) {
	env.NeedRoot(t)
	for _, program := range []string{"systemd-nspawn", "rpm", "dpkg", "unshare", "swaks", "curl"} {
		env.FindOrFail(t, program)
	}
	dir, root := t.TempDir(), env.Root(t)
	run(t, root, "make", "-s", "build", "BIN="+filepath.Join(dir, "printer-relay"), "VERSION=v0.2.0")
	completions := filepath.Join(dir, "completions")
	run(t, root, "hack/completions.sh", filepath.Join(dir, "printer-relay"), completions)
	life := filepath.Join(dir, "life")
	for _, sub := range []string{"boot", "old", "new"} {
		if err := os.MkdirAll(filepath.Join(life, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := "printer-relay_linux_" + runtime.GOARCH
	for sub, version := range map[string]string{"old": "v0.1.0", "new": "v0.2.0"} {
		run(t, root, "hack/package.sh", filepath.Join(dir, "printer-relay"), runtime.GOARCH, version, completions, filepath.Join(life, sub))
	}
	for from, to := range map[string]string{
		filepath.Join(life, "old", file+".deb"):                 "old.deb",
		filepath.Join(life, "new", file+".deb"):                 "new.deb",
		filepath.Join(life, "new", file+".rpm"):                 "new.rpm",
		filepath.Join(root, "test/packages/testdata/inside.sh"): "inside.sh",
		filepath.Join(root, "docs/standalone.md"):               "standalone.md",
	} {
		if err := os.Link(from, filepath.Join(life, to)); err != nil {
			octets, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			env.WriteFile(t, filepath.Join(life, to), string(octets))
		}
	}
	t.Logf("%s", run(t, root, "unshare", "--mount", "--propagation", "private", "bash", "test/packages/testdata/boot.sh", life))
}

// run runs a command in the checkout and gives what it said.
func run(t *testing.T, root, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), enough)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}
