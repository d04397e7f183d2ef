package console_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
)

// job is what browser/walk.js does.
type job struct {
	Chromium string   `json:"chromium"`
	Base     string   `json:"base"`
	Pages    []string `json:"pages"`
	Checks   []string `json:"checks,omitempty"`
	Steps    []step   `json:"steps,omitempty"`
	Shots    []shot   `json:"shots,omitempty"`
	Cookies  []cookie `json:"cookies,omitempty"`
}

// step is one thing to do in the page that is open; each field that is set is done,
// in this order.
type step struct {
	Goto      string `json:"goto,omitempty"`
	Fill      string `json:"fill,omitempty"` // a field gets Text
	Text      string `json:"text,omitempty"` // or, with As: what is said of it
	Click     string `json:"click,omitempty"`
	Expect    string `json:"expect,omitempty"` // wait for a text
	As        string `json:"as,omitempty"`
	URL       string `json:"url,omitempty"`
	Clipboard string `json:"clipboard,omitempty"`
	PDF       string `json:"pdf,omitempty"`
	Shot      string `json:"shot,omitempty"` // of an element, into File
	File      string `json:"file,omitempty"`
}

type shot struct {
	Path   string `json:"path"`
	File   string `json:"file"`
	Scheme string `json:"scheme"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

type cookie struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	URL   string `json:"url"`
}

// found is what browser/walk.js tells.
type found struct {
	Pages map[string]page `json:"pages"`
	Said  map[string]any  `json:"said"`
}

type page struct {
	Status   int      `json:"status"`
	Title    string   `json:"title"`
	Passes   int      `json:"passes"`
	Stops    int      `json:"stops"`
	Problems []string `json:"problems"`
}

// fine fails the test for each problem of a page.
func (p *page) fine(t *testing.T, path string) {
	t.Helper()
	for _, problem := range p.Problems {
		if strings.Contains(problem, "console: Failed to load resource") && p.Status != 200 {
			continue // the page itself, which is no good answer
		}
		t.Errorf("%s: %s", path, problem)
	}
}

// browserTime is far above what a walk takes.
const browserTime = 15 * time.Minute

// walk has a real Chromium do a job.
func walk(t *testing.T, j job) found {
	t.Helper()
	j.Chromium = env.FindOrFail(t, "chromium")
	folder := filepath.Join(env.Root(t), "test/console/browser")
	if _, err := os.Stat(filepath.Join(folder, "node_modules/playwright-core")); err != nil {
		t.Fatal("Playwright is not installed: run `make test-deps`")
	}
	input, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), browserTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, env.FindOrFail(t, "node"), "walk.js")
	cmd.Dir, cmd.Stdin, cmd.WaitDelay = folder, bytes.NewReader(input), time.Second
	// Chromium writes its settings somewhere: where they go with the test.
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "TMPDIR="+t.TempDir())
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("walk.js: %v\n%s", err, &problems)
	}
	var f found
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		t.Fatalf("walk.js: %v\n%s", err, &out)
	}
	return f
}

// said is a list that a step noted.
func (f found) said(t *testing.T, name string) (out []string) {
	t.Helper()
	list, ok := f.Said[name].([]any)
	if !ok {
		t.Fatalf("nothing was said of %q: %v", name, f.Said)
	}
	for _, s := range list {
		out = append(out, s.(string))
	}
	return out
}
