package env

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// HoldFields holds the table of header fields in a document of this project, between
// its comments "fields" and "/fields", to what it has to be; update writes it.
func HoldFields(t *testing.T, document, table string, update bool) {
	t.Helper()
	const begin, end = "<!-- fields -->\n", "<!-- /fields -->"
	path := filepath.Join(Root(t), document)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	old, after, closed := strings.Cut(rest, end)
	switch {
	case !ok || !closed:
		t.Fatalf("%s has no place for the table", document)
	case old == table:
	case !update:
		t.Fatalf("%s is out of date: run the test of this package with -update. Now:\n%s", document, table)
	default:
		if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o644); err != nil { //nolint:gosec // it is read by everybody
			t.Fatal(err)
		}
	}
}
