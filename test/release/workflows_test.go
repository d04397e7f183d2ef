package release

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/test/env"
)

type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Uses, Permissions any
		Needs             any
		Steps             []struct {
			Uses, Run string
			With      map[string]any
		}
	}
}

// A token may do what its job needs, and only publishing writes; what runs is what
// was looked at, by commit; what a stranger wrote is never part of a command.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(env.Root(t), ".github/workflows/*.yaml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%q, %v", files, err)
	}
	pinned := regexp.MustCompile(`^\s+(?:- )?uses: [\w./-]+@[0-9a-f]{40} # v[\d.]+$`)
	for _, file := range files {
		text, name := read(t, file), filepath.Base(file)
		var w workflow
		if err := yaml.Unmarshal([]byte(text), &w); err != nil {
			t.Fatal(err)
		}
		if w.Permissions == nil || len(w.Permissions) != 0 {
			t.Errorf("%s: permissions %v, want {} for all jobs, and each its own", name, w.Permissions)
		}
		for job, j := range w.Jobs {
			permissions, ok := j.Permissions.(map[string]any)
			if !ok {
				t.Errorf("%s: job %s says no permissions", name, job)
			}
			for scope, level := range permissions {
				if level != "read" && !(name == "release.yaml" && job == "publish") {
					t.Errorf("%s: job %s has %s: %s", name, job, scope, level)
				}
			}
			for _, s := range j.Steps {
				if strings.Contains(s.Run, "${{") {
					t.Errorf("%s: job %s has an expression in a command: use env:\n%s", name, job, s.Run)
				}
				if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != false {
					t.Errorf("%s: job %s leaves its token in the checkout", name, job)
				}
			}
		}
		for line := range strings.Lines(text) {
			if strings.Contains(line, "uses: ") && !strings.Contains(line, "uses: ./") && !pinned.MatchString(strings.TrimRight(line, "\n")) {
				t.Errorf("%s: not pinned by commit, with its version: %s", name, strings.TrimSpace(line))
			}
		}
	}
}

// Nothing is published that was not tested and built twice alike.
func TestReleaseWaits(t *testing.T) {
	var w workflow
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(env.Root(t), ".github/workflows/release.yaml"))), &w); err != nil {
		t.Fatal(err)
	}
	needs, ok := w.Jobs["publish"].Needs.([]any)
	for _, job := range []string{"test", "build", "rebuild"} {
		if !ok || !slices.Contains(needs, any(job)) {
			t.Errorf("publish needs %v, not %s", needs, job)
		}
	}
}

// One Go builds what is tested, what is released and what the Dockerfile makes.
func TestOneGo(t *testing.T) {
	root := env.Root(t)
	m := regexp.MustCompile(`(?m)^toolchain go(\S+)$`).FindStringSubmatch(read(t, filepath.Join(root, "go.mod")))
	if m == nil {
		t.Fatal("go.mod names no toolchain")
	}
	for file, want := range map[string]string{
		"Dockerfile":                     "ARG GO_VERSION=" + m[1] + "\n",
		".github/workflows/ci.yaml":      "image: golang:" + m[1] + "-bookworm\n",
		".github/workflows/release.yaml": "image: golang:" + m[1] + "-bookworm\n",
	} {
		text := read(t, filepath.Join(root, file))
		if !strings.Contains(text, want) || strings.Count(text, "golang:1") > strings.Count(text, want) {
			t.Errorf("%s: want %q, as in go.mod", file, want)
		}
	}
}

// The Dockerfile makes what hack/image.sh packs, and its context holds all that
// the program is built from.
func TestDockerfile(t *testing.T) {
	root := env.Root(t)
	dockerfile := read(t, filepath.Join(root, "Dockerfile"))
	_, final, ok := strings.Cut(dockerfile, "\nFROM scratch\n")
	want := `COPY --from=build /out/printer-relay /usr/local/bin/printer-relay
COPY --from=build --chown=65532:65532 /out/state /var/lib/printer-relay
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/printer-relay"]
`
	if !ok || final != want {
		t.Errorf("the image is\n%s\nhack/mkimage, as hack/image.sh calls it, makes\n%s", final, want)
	}
	if script := read(t, filepath.Join(root, "hack/image.sh")); strings.Count(script, "-folder ") != 1 || !strings.Contains(script, "-folder /var/lib/printer-relay ") {
		t.Error("hack/image.sh has other folders")
	}
	var sent []string
	for line := range strings.Lines(read(t, filepath.Join(root, ".dockerignore"))) {
		if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			sent = append(sent, dir)
		}
	}
	const module = "github.com/printerrelay/printer-relay"
	for pkg := range strings.Lines(command(t, nil, "go", "list", "-deps", ".")) {
		dir, ours := strings.CutPrefix(strings.TrimSpace(pkg), module+"/")
		if ours && !slices.ContainsFunc(sent, func(s string) bool { return dir == s || strings.HasPrefix(dir, s+"/") }) {
			t.Errorf(".dockerignore keeps %s away, of which the program is made", dir)
		}
	}
}
