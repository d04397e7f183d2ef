// Package docs holds the documentation to itself and to the code: links lead
// somewhere, pages name every code and command.
package docs

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/printerrelay/printer-relay/test/env"
)

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)?)\)`)
	heading = regexp.MustCompile(`^#{1,6} +(.*)$`)
	code    = regexp.MustCompile("`[^`]*`")
	marks   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// page is what a Markdown file links to, and what can be linked to in it.
type page struct {
	links   []string
	anchors map[string]bool
}

func read(t *testing.T, file string) page {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := page{anchors: map[string]bool{}}
	fenced := false
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		if fenced {
			continue
		}
		if m := heading.FindStringSubmatch(line); m != nil {
			p.anchors[slug(m[1])] = true
		}
		for _, m := range regexp.MustCompile(`<a id="([^"]+)"`).FindAllStringSubmatch(line, -1) {
			p.anchors[m[1]] = true
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(line, ""), -1) {
			p.links = append(p.links, m[1])
		}
	}
	return p
}

// slug is the anchor that GitHub, and the site, make of a heading.
func slug(text string) string {
	text = marks.ReplaceAllString(text, "$1")
	var b strings.Builder
	for _, r := range strings.ToLower(strings.ReplaceAll(text, "`", "")) {
		switch {
		case r == ' ' || r == '-':
			b.WriteByte('-')
		case r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// markdown gives all Markdown files of the repository but what comes from npm.
func markdown(t *testing.T) []string {
	t.Helper()
	root := env.Root(t)
	var out []string
	err := filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (e.Name() == "node_modules" || e.Name() == ".git" || e.Name() == "bin" || e.Name() == "dist" || e.Name() == ".state") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(file, ".md") {
			out = append(out, file)
		}
		return nil
	})
	if err != nil || len(out) < 40 {
		t.Fatal(len(out), err)
	}
	return out
}

// TestLinks: what a page links to in the repository is there, heading included.
func TestLinks(t *testing.T) {
	t.Parallel()
	root, seen := env.Root(t), map[string]page{}
	of := func(file string) page {
		if _, ok := seen[file]; !ok {
			seen[file] = read(t, file)
		}
		return seen[file]
	}
	checked := 0
	for _, file := range markdown(t) {
		for _, l := range of(file).links {
			if strings.Contains(l, "://") || strings.HasPrefix(l, "mailto:") {
				continue
			}
			checked++
			name, anchor, _ := strings.Cut(l, "#")
			target := filepath.Join(filepath.Dir(file), filepath.FromSlash(name))
			if name == "" {
				target = file
			}
			shown, _ := filepath.Rel(root, file) //nolint:errcheck // both are absolute
			info, err := os.Stat(target)
			switch {
			case err != nil:
				t.Errorf("%s links to %s, which is not there", shown, l)
			case anchor != "" && !info.IsDir() && path.Ext(target) == ".md" && !of(target).anchors[anchor]:
				t.Errorf("%s links to %s: there is no such heading", shown, l)
			}
		}
	}
	if checked < 150 {
		t.Errorf("only %d links were found", checked)
	}
}
