package graph

import (
	"flag"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/message/translate"
	"github.com/printerrelay/printer-relay/test/env"
)

var update = flag.Bool("update", false, "write the table of docs/upstreams/microsoft365-graph.md; read the difference")

// The table of header fields follows from the rules.
func TestDocument(t *testing.T) {
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
	env.HoldFields(t, "docs/upstreams/microsoft365-graph.md", table, *update)
}
