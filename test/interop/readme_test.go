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

// Every threat that SECURITY.md names has tests, and those are there.
func TestThreatsHaveTests(t *testing.T) {
	t.Parallel()
	root := env.Root(t)
	doc, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, dir := range []string{"relay", "controllers", "test"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, e os.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case e.Name() == "node_modules":
				return filepath.SkipDir
			case !strings.HasSuffix(path, "_test.go"):
				return nil
			}
			b, err := os.ReadFile(path)
			all.Write(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, table, _ := strings.Cut(string(doc), "| threat |")
	rows := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what holds") {
			continue
		}
		rows++
		named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(line, -1)
		if len(named) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, m := range named {
			if !strings.Contains(all.String(), "\nfunc "+m[1]+"(") {
				t.Errorf("%s is not there: %s", m[1], line)
			}
		}
	}
	if rows < 17 {
		t.Errorf("%d rows", rows)
	}
}
