// Package packages holds the Debian and Red Hat packages to what an administrator
// expects of them, on a machine that systemd runs: installed, started, upgraded,
// hardened and removed, and no mail lost on the way. It runs hack/goreleaser.sh.
package packages

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
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
	run(t, "make", "-s", "build", "BIN="+filepath.Join(dir, "printer-relay"), "VERSION=v0.2.0")
	path := env.StandInGo(t, filepath.Join(dir, "printer-relay"))
	life := filepath.Join(dir, "life")
	if err := os.MkdirAll(filepath.Join(life, "boot"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := "printer-relay_linux_" + runtime.GOARCH
	for sub, version := range map[string]string{"old": "v0.1.0", "new": "v0.2.0"} {
		pack(t, path, version, filepath.Join(life, sub))
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
	t.Logf("%s", run(t, "unshare", "--mount", "--propagation", "private", "bash", "test/packages/testdata/boot.sh", life))
}

// A version that is not a release is older than the release that it leads to, and newer
// than the one before, to dpkg and rpm.
func TestVersionsSort(t *testing.T) {
	env.FindOrFail(t, "dpkg")
	env.FindOrFail(t, "rpm")
	dir := t.TempDir()
	pack(t, env.StandInGo(t, ""), "v0.0.9-7-g3011a2a-dirty", dir)
	file := filepath.Join(dir, "printer-relay_linux_"+runtime.GOARCH)
	deb := strings.TrimSpace(env.MustRun(t, "", "dpkg-deb", "--field", file+".deb", "Version"))
	rpm := env.MustRun(t, "", "rpm", "--query", "--package", file+".rpm", "--queryformat", "%{VERSION}")
	before, release := "0.0.9", chartVersion(t)
	for _, order := range [][2]string{{before, deb}, {deb, release}} {
		env.MustRun(t, "", "dpkg", "--compare-versions", order[0], "lt", order[1])
	}
	for _, order := range [][2]string{{before, rpm}, {rpm, release}} {
		if got := strings.TrimSpace(env.MustRun(t, "", "rpm", "--eval", fmt.Sprintf("%%{lua: print(rpm.vercmp(%q, %q))}", order[0], order[1]))); got != "-1" {
			t.Errorf("rpm compares %s to %s: %s", order[0], order[1], got)
		}
	}
}

func chartVersion(t *testing.T) string {
	t.Helper()
	chart, err := os.ReadFile(filepath.Join(env.Root(t), "charts/printer-relay/Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(chart), "\nversion: ")
	version, _, _ := strings.Cut(after, "\n")
	return version
}

// pack makes the packages for this machine; path is of env.StandInGo.
func pack(t *testing.T, path, version, folder string) {
	t.Helper()
	run(t, "env", path, "DIST_ARCHS="+runtime.GOARCH, "DIST_OTHERS=", "hack/goreleaser.sh", version, folder, "--skip=sbom")
}

// run runs a command in the checkout and gives what it said.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), enough)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = env.Root(t)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}
