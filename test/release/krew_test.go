package release

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// systems are those that the plugin is shipped for.
var systems = []string{"darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64", "windows/arm64"}

// Archives are the same whatever the version, folder, time zone and umask are, krew's own
// check finds nothing in the manifest, and krew installs the plugin from each archive, on
// each system. What is in them is a stand-in here: TestDist has the program.
func TestKrew(t *testing.T) {
	command(t, nil, env.Tool(t, "goreleaser", "goreleaser"), "check")
	dist, dev := "", "v"+chartVersion(t)+"-dev-"
	octets := map[string]string{}
	for _, tt := range []struct{ version, zone, umask, want string }{
		{"v0.1.0-7-g3011a2a-dirty", "Pacific/Chatham", "077", dev + "v0-1-0-7-g3011a2a-dirty"},
		{"0123456", "UTC", "000", dev + "0123456"}, // the hash of a commit, before there is a tag
		{"v1.2.3", "America/Chicago", "022", "v1.2.3"},
	} {
		dist = t.TempDir()
		command(t, []string{env.StandInGo(t, ""), "TZ=" + tt.zone, "SOURCE_DATE_EPOCH=1700000000"},
			"bash", "-c", "umask $1; exec hack/goreleaser.sh $2 $3 --skip=nfpm,sbom", "", tt.umask, tt.version, dist)
		if m := read(t, filepath.Join(dist, "krew.yaml")); !strings.Contains(m, "\n  version: "+tt.want+"\n") || strings.Contains(m, "VERSION") ||
			strings.Count(m, "/releases/download/"+tt.want+"/printer-relay_") != len(systems) {
			t.Errorf("%s gives\n%s", tt.version, m)
		}
		validate(t, dist)
		for _, system := range systems {
			got := read(t, archiveOf(dist, system))
			if before, ok := octets[system]; ok && got != before {
				t.Errorf("%s: other octets than of the version before", system)
			}
			octets[system] = got
		}
	}
	for _, system := range systems {
		checkArchive(t, archiveOf(dist, system))
		root := install(t, dist, system)
		name := "kubectl-printer_relay"
		if strings.HasPrefix(system, "windows") {
			name += ".exe"
		}
		if got := read(t, filepath.Join(root, "bin", name)); got != env.StandIn {
			t.Errorf("%s: %q is installed", system, got)
		}
		licences, err := filepath.Glob(filepath.Join(root, "store/printer-relay/*/LICENSE"))
		if err != nil || len(licences) != 1 {
			t.Errorf("%s: krew's index wants a licence beside the program: %q, %v", system, licences, err)
		}
	}

	// What is not as the manifest says is not installed.
	archive := archiveOf(dist, "linux/amd64")
	if err := os.WriteFile(archive, []byte(read(t, archive)+"x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := krew(t, dist, "linux/amd64", t.TempDir()); err == nil || !strings.Contains(out, "checksum") {
		t.Errorf("a spoilt archive: %v\n%s", err, out)
	}
}

// validate holds krew.yaml to what krew's index wants.
func validate(t *testing.T, dist string) {
	t.Helper()
	named := filepath.Join(t.TempDir(), "printer-relay.yaml") // as in the index
	if err := os.WriteFile(named, []byte(read(t, filepath.Join(dist, "krew.yaml"))), 0o600); err != nil {
		t.Fatal(err)
	}
	env.MustRun(t, "", env.Tool(t, "krew", "validate-krew-manifest"), "-skip-install", "-manifest", named)
}

// install has krew install the plugin for a system, and gives krew's folder.
func install(t *testing.T, dist, system string) string {
	t.Helper()
	root := t.TempDir()
	if out, err := krew(t, dist, system, root); err != nil {
		t.Fatalf("%s: %v\n%s", system, err, out)
	}
	return root
}

func krew(t *testing.T, dist, system, root string) (string, error) {
	t.Helper()
	goos, arch, _ := strings.Cut(system, "/")
	return env.Run(t, "", "env", "KREW_ROOT="+root, "KREW_OS="+goos, "KREW_ARCH="+arch, "KREW_NO_UPGRADE_CHECK=1",
		env.Tool(t, "krew", "krew"), "install", "--no-update-index", "--manifest", filepath.Join(dist, "krew.yaml"), "--archive", archiveOf(dist, system))
}

// archiveOf names the archive of a system.
func archiveOf(dist, system string) string {
	goos, arch, _ := strings.Cut(system, "/")
	kind := "tar.gz"
	if goos == "windows" {
		kind = "zip"
	}
	return filepath.Join(dist, fmt.Sprintf("printer-relay_%s_%s.%s", goos, arch, kind))
}

// checkPlugin installs what was built, and runs it under the name that krew gives it.
func checkPlugin(t *testing.T, dist, version, arch string) {
	t.Helper()
	validate(t, dist)
	plugin := filepath.Join(install(t, dist, "linux/"+arch), "bin/kubectl-printer_relay")
	if out := env.MustRun(t, "", plugin, "--version"); !strings.Contains(out, version) {
		t.Errorf("--version: %s", out)
	}
	if out := env.MustRun(t, "", plugin, "--help"); !regexp.MustCompile(`(?m)^  support-bundle +`).MatchString(out) || !strings.Contains(out, "kubectl printer-relay") {
		t.Errorf("it is not the plugin:\n%s", out)
	}
}
