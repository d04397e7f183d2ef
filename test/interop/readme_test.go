package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// What the README tells people to run is there.
func TestReadmeCommandsExist(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(env.Root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	makefile, help := read("Makefile"), env.MustRun(t, "", binary, "--help")
	lines := strings.SplitAfter(read("README.md"), "\n")
	first := strings.Join(lines[:min(40, len(lines))], "")
	for _, command := range []string{"make run", "make test"} {
		if !strings.Contains(first, command) {
			t.Errorf("%q is not on the README's first screen", command)
		}
	}
	for _, doc := range []string{"README.md", "CONTRIBUTING.md", "docs/development.md"} {
		for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z0-9-]+)").FindAllStringSubmatch(read(doc), -1) {
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
				t.Errorf("%s: the Makefile has no target %s", doc, m[1])
			}
		}
		for _, m := range regexp.MustCompile("(?m)(?:^|`)printer-relay ([a-z][a-z-]*)").FindAllStringSubmatch(read(doc), -1) {
			if !regexp.MustCompile(`(?m)^  ` + m[1] + ` `).MatchString(help) {
				t.Errorf("%s: printer-relay has no command %s", doc, m[1])
			}
		}
	}
	if ci := read(".ci/run"); !regexp.MustCompile(`(?m)^make test$`).MatchString(ci) {
		t.Error(".ci/run does not call make test")
	}
}

// Every dependency has a reason that somebody wrote down.
func TestDependenciesAreExplained(t *testing.T) {
	t.Parallel()
	root := env.Root(t)
	doc, err := os.ReadFile(filepath.Join(root, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(gomod)) {
		m := regexp.MustCompile(`^\s(\S+) v\S+\n$`).FindStringSubmatch(line) // "// indirect" is not matched
		if m != nil && !strings.Contains(string(doc), "| `"+m[1]+"` |") {
			t.Errorf("docs/dependencies.md does not say what %s is for", m[1])
		}
	}
}
