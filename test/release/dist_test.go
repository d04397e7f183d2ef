// Package release holds what a release ships, and the workflows that make it, to
// what SECURITY.md promises: one recipe, pinned, with a bill of materials that is
// true. It runs hack/dist.sh, hack/goreleaser.sh and
// hack/push.sh, and the tools that hack/tools/*/go.mod pin.
package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
)

// building bounds what compiles the program, on a machine that never has.
const building = 20 * time.Minute

// command runs one in the checkout and gives its standard output.
func command(t *testing.T, environment []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), building)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = env.Root(t)
	cmd.Env = append(os.Environ(), environment...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, &stderr)
	}
	return string(out)
}

// What is shipped for this machine: the checksums are right, the program says its
// version, the bill of materials is the program's, and a registry has the image
// under the digest that was built.
func TestDist(t *testing.T) {
	dist, arch := filepath.Join(t.TempDir(), "dist"), runtime.GOARCH
	version := "v" + chartVersion(t)
	command(t, []string{"DIST_ARCHS=" + arch, "DIST_OTHERS=", "SOURCE_DATE_EPOCH=1700000000"}, "hack/dist.sh", version, dist)

	sums := read(t, filepath.Join(dist, "SHA256SUMS"))
	files, err := os.ReadDir(dist)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dist, "printer-relay_linux_"+arch)
	for _, want := range []string{
		"printer-relay_linux_" + arch, "printer-relay_linux_" + arch + ".cdx.json", "printer-relay_linux_" + arch + ".deb", "printer-relay_linux_" + arch + ".rpm", "printer-relay_linux_" + arch + ".tar.gz", "krew.yaml", "image.tar", "image.digest", "install.yaml",
		"printer-relay-" + strings.TrimPrefix(version, "v") + ".tgz",
	} {
		line := fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(read(t, filepath.Join(dist, want)))), want)
		if !strings.Contains(sums, line) {
			t.Errorf("SHA256SUMS lacks %s", line)
		}
	}
	if len(files) != 11 || strings.Count(sums, "\n") != 10 {
		t.Errorf("%d files, %d checksums", len(files), strings.Count(sums, "\n"))
	}
	if out := env.MustRun(t, "", program, "--version"); !strings.Contains(out, version) {
		t.Errorf("--version: %s", out)
	}
	built := filepath.Join(t.TempDir(), "printer-relay")
	command(t, nil, "make", "-s", "build", "BIN="+built, "VERSION="+version)
	if read(t, built) != read(t, program) {
		t.Error("make build makes another program: .goreleaser.yaml and the Makefile have different flags")
	}
	checkBill(t, program, version)
	checkPlugin(t, dist, version, arch)
	checkPush(t, dist, version, arch)
}

// checkBill holds the bill of materials to what the program says that it was
// made of.
func checkBill(t *testing.T, program, version string) {
	t.Helper()
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		Metadata struct {
			Component struct{ Name, Version string }
		}
		Components []struct {
			Name, Version string
			Evidence      struct{ Licenses []any }
		}
	}
	if err := json.Unmarshal([]byte(read(t, program+".cdx.json")), &bill); err != nil {
		t.Fatal(err)
	}
	if c := bill.Metadata.Component; c.Name != info.Main.Path || c.Version != version {
		t.Errorf("the bill is of %s %s", c.Name, c.Version)
	}
	billed := map[string]string{}
	for _, c := range bill.Components {
		billed[c.Name] = c.Version
		if len(c.Evidence.Licenses) == 0 && c.Name != "std" {
			t.Errorf("%s: no licence", c.Name)
		}
	}
	if billed["std"] != info.GoVersion {
		t.Errorf("the standard library is %q, the program has %s", billed["std"], info.GoVersion)
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		if billed[m.Path] != m.Version {
			t.Errorf("%s: %q in the bill, %s in the program", m.Path, billed[m.Path], m.Version)
		}
	}
	if len(billed) != len(info.Deps)+1 || len(info.Deps) < 20 {
		t.Errorf("%d components for %d modules and the standard library", len(billed), len(info.Deps))
	}
}

// checkPush pushes to a registry of the test's own.
func checkPush(t *testing.T, dist, version, arch string) {
	t.Helper()
	crane, address := env.Tool(t, "release", "crane"), env.Loopback(env.FreePort(t))
	registry := env.Start(t, t.TempDir(), crane, "registry", "serve", "--address", address)
	env.Eventually(t, "the registry listens", registry.Output, func() bool { return env.Listening(address) || !registry.Running() })

	image, home := address+"/printerrelay/printer-relay", t.TempDir()
	out := command(t, []string{"PUSH_PLAIN_HTTP=yes", "DOCKER_CONFIG=" + home, "HELM_CONFIG_HOME=" + home, "HELM_CACHE_HOME=" + home, "HELM_DATA_HOME=" + home},
		"hack/push.sh", dist, image, version)
	built := strings.TrimSpace(read(t, filepath.Join(dist, "image.digest")))
	if !strings.Contains(out, "image="+built+"\n") {
		t.Errorf("%s was built, pushed is\n%s", built, out)
	}
	for _, name := range []string{"image_" + arch, "chart"} {
		if !regexp.MustCompile(`(?m)^` + name + `=sha256:[0-9a-f]{64}$`).MatchString(out) {
			t.Errorf("no digest of %s:\n%s", name, out)
		}
	}
	if got := strings.TrimSpace(env.MustRun(t, "", crane, "digest", image+":"+version)); got != built {
		t.Errorf("the registry has %s, %s was built", got, built)
	}
	env.MustRun(t, "", crane, "validate", "--remote", image+":"+version)

	// What Artifact Hub looks for beside the chart.
	beside := address + "/printerrelay/charts/printer-relay:artifacthub.io"
	manifest := env.MustRun(t, "", crane, "manifest", beside)
	for _, want := range []string{`"application/vnd.cncf.artifacthub.config.v1+yaml"`, `"application/vnd.cncf.artifacthub.repository-metadata.layer.v1.yaml"`, `"artifacthub-repo.yml"`} {
		if !strings.Contains(manifest, want) {
			t.Errorf("%s lacks %s:\n%s", beside, want, manifest)
		}
	}
}

func chartVersion(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^version: (\S+)$`).FindStringSubmatch(read(t, filepath.Join(env.Root(t), "charts/printer-relay/Chart.yaml")))
	if m == nil {
		t.Fatal("Chart.yaml has no version")
	}
	return m[1]
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
