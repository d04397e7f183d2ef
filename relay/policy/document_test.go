package policy_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/cli"
)

const document = "../../docs/policy.md"

var fenced = regexp.MustCompile("(?s)```(yaml|console)\n(.*?)```\n")

// TestDocument runs the commands of docs/policy.md on its manifests and compares
// what they print; -update writes that into the document.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	blocks := fenced.FindAllSubmatch(text, -1)
	if len(blocks) != 2 || string(blocks[0][1]) != "yaml" || string(blocks[1][1]) != "console" {
		t.Fatalf("%d blocks, want the manifests and the commands", len(blocks))
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mail.yaml"), blocks[0][2], 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := run(t, "validate", "-f", dir, "--quiet"); code != 0 || out != "" {
		t.Errorf("the manifests of the document are not good: %s", out)
	}
	var got strings.Builder
	commands := 0
	for line := range strings.Lines(string(blocks[1][2])) {
		args, ok := strings.CutPrefix(line, "$ printer-relay ")
		if !ok {
			continue // printed by the command before
		}
		commands++
		words := strings.Fields(args)
		if at := slices.Index(words, "mail"); at > 0 {
			words[at] = dir
		}
		out, code := run(t, words...)
		if code != 0 {
			t.Errorf("%s: %d", line, code)
		}
		got.WriteString(line + out)
	}
	if commands < 5 {
		t.Errorf("%d commands", commands)
	}
	if flag.Lookup("update").Value.String() == "true" {
		whole := strings.Replace(string(text), string(blocks[1][2]), got.String(), 1)
		if err := os.WriteFile(document, []byte(whole), 0o644); err != nil { //nolint:gosec // it is read by everybody
			t.Fatal(err)
		}
	} else if got.String() != string(blocks[1][2]) {
		t.Errorf("docs/policy.md says otherwise (go test ./relay/policy -update writes it):\n%s", got.String())
	}
}

// run gives what a command line prints, as a terminal shows it.
func run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	code := cli.Main(args, &out, &out)
	return out.String(), code
}
