package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

func text(t *testing.T, name ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{env.Root(t)}, name...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPagesAreFound: each page is in the site's navigation and in docs/README.md, which
// is that of a reader on GitHub, or in a page that is.
func TestPagesAreFound(t *testing.T) {
	t.Parallel()
	config, list := text(t, "hack", "site", ".vitepress", "config.mjs"), text(t, "docs", "README.md")
	docs := filepath.Join(env.Root(t), "docs")
	for _, file := range markdown(t) {
		name, err := filepath.Rel(docs, file)
		if err != nil || strings.HasPrefix(name, "..") {
			continue
		}
		short := strings.TrimSuffix(filepath.Base(name), ".md")
		index := ""
		if dir := filepath.Dir(name); dir == "runbooks" || dir == "copiers" {
			index = text(t, "docs", dir, "README.md")
		}
		listed := strings.Contains(config, "'"+short+"'") || strings.Contains(config, "'"+strings.TrimSuffix(name, ".md")+"'") || strings.Contains(index, "("+filepath.Base(name)+")")
		if !listed && name != "README.md" && name != "TODO.md" && short != "README" {
			t.Errorf("docs/%s is neither in hack/site/.vitepress/config.mjs nor in the index of its folder", name)
		}
		if index == "" && name != "README.md" && !strings.Contains(list, "]("+filepath.ToSlash(name)+")") {
			t.Errorf("docs/README.md does not lead to docs/%s", name)
		}
	}
}

// TestCommandsExist: what pages tell people to run is there.
func TestCommandsExist(t *testing.T) {
	t.Parallel()
	makefile, commands := text(t, "Makefile"), `"completion"` // which cobra adds
	sources, err := filepath.Glob(filepath.Join(env.Root(t), "relay", "cli", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		commands += text(t, "relay", "cli", filepath.Base(s))
	}
	for _, file := range markdown(t) {
		name, err := filepath.Rel(env.Root(t), file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(name, "docs") || filepath.Base(name) == "TODO.md" { // what is to come
			continue
		}
		content := text(t, name)
		for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z0-9-]+)").FindAllStringSubmatch(content, -1) {
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
				t.Errorf("%s: the Makefile has no target %s", name, m[1])
			}
		}
		for _, m := range regexp.MustCompile("(?m)(?:^|`|bin/)printer-relay ([a-z][a-z-]*)").FindAllStringSubmatch(content, -1) {
			if !strings.Contains(commands, `"`+m[1]+` `) && !strings.Contains(commands, `"`+m[1]+`"`) {
				t.Errorf("%s: printer-relay has no command %s", name, m[1])
			}
		}
	}
}

// TestCopierPages: a family's page says of a dialogue what compatibility.md says,
// and every device's dialogue is on a page or is of no family.
func TestCopierPages(t *testing.T) {
	t.Parallel()
	all := map[string][]string{} // dialogue -> cells
	for _, m := range regexp.MustCompile("(?m)^\\| (.+?) \\| (.+?) \\| (.+?) \\| `([a-z0-9-]+)\\.txt` \\|$").FindAllStringSubmatch(text(t, "docs", "compatibility.md"), -1) {
		all[m[4]] = []string{m[1], m[2], m[3]}
	}
	if len(all) < 30 {
		t.Fatalf("docs/compatibility.md has %d dialogues", len(all))
	}
	pages, err := filepath.Glob(filepath.Join(env.Root(t), "docs", "copiers", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	on := map[string]bool{}
	row := regexp.MustCompile("(?m)^\\| (.+?) \\| (.+?) \\| (.+?) \\| `printer-relay simulate --profile ([a-z0-9-]+) --server HOST:PORT` \\|$")
	for _, p := range pages {
		for _, m := range row.FindAllStringSubmatch(text(t, "docs", "copiers", filepath.Base(p)), -1) {
			on[m[4]] = true
			cells := all[m[4]]
			if cells == nil || m[1] != cells[0] || strings.ReplaceAll(m[2], "[old TLS](../compatibility.md#old-tls)", "[Below](#old-tls)") != cells[1] || m[3] != cells[2] {
				t.Errorf("%s says of %s %q; docs/compatibility.md says %q", filepath.Base(p), m[4], m[1:4], cells)
			}
		}
	}
	for dialogue, cells := range all {
		anyOf := regexp.MustCompile(`^(several|any|fax|any, on a slow network)\b`).MatchString(cells[2])
		if !on[dialogue] && !anyOf {
			t.Errorf("docs/copiers has no page with %s (%s)", dialogue, cells[2])
		}
	}
}

// TestOperatorsFaultsHaveTests: each row of what the operator does when names a test, and
// the tests are there.
func TestOperatorsFaultsHaveTests(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	for _, dir := range []string{"controllers", "controllers/instances", "test/operator"} {
		files, err := filepath.Glob(filepath.Join(env.Root(t), dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(b)
		}
	}
	_, section, _ := strings.Cut(text(t, "docs", "operator.md"), "\n## What it does when\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := 0
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what happens") {
			continue
		}
		rows++
		cells := strings.Split(line, " | ")
		named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(named) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, m := range named {
			if !strings.Contains(code.String(), "\nfunc "+m[1]+"(") {
				t.Errorf("%s is not there: %s", m[1], line)
			}
		}
	}
	if rows < 15 {
		t.Errorf("%d rows", rows)
	}
}
