package graph

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/message/translate"
)

var update = flag.Bool("update", false, "write the table of docs/upstreams/microsoft365-graph.md; read the difference")

// The table of header fields follows from the rules.
func TestDocument(t *testing.T) {
	const path, begin, end = "../../../docs/upstreams/microsoft365-graph.md", "<!-- fields -->\n", "<!-- /fields -->"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	old, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", path)
	}
	table := "| header field | in a draft |\n|---|---|\n"
	seen := map[string]bool{}
	for _, r := range append(rules.Fields[:len(rules.Fields):len(rules.Fields)], translate.Common...) {
		if seen[r.Name] {
			continue
		}
		seen[r.Name] = true
		fate, why := rules.Fate(strings.TrimSuffix(r.Name, "*"))
		table += "| " + r.Name + " | " + strings.TrimSuffix(fate.String()+": "+why, ": ") + " |\n"
	}
	table += "| others that begin with X- | carried, up to five; more are refused |\n| any other | refused: Graph takes none |\n"
	if old == table {
		return
	}
	if !*update {
		t.Fatalf("%s is out of date: run go test ./relay/upstream/graph -update. Now:\n%s", path, table)
	}
	if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o644); err != nil { //nolint:gosec // it is read by everybody
		t.Fatal(err)
	}
}
