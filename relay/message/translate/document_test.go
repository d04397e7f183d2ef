package translate_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/message/translate"
	"github.com/printerrelay/printer-relay/relay/upstream/postmark"
	"github.com/printerrelay/printer-relay/relay/upstream/sendgrid"
	"github.com/printerrelay/printer-relay/test/env"
)

var update = flag.Bool("update", false, "write the table of docs/upstreams/translation.md; read the difference")

// TestDocument holds the table of header fields against the rules.
func TestDocument(t *testing.T) {
	env.HoldFields(t, "docs/upstreams/translation.md", table(), *update)
}

func table() string {
	services := []*translate.Rules{&sendgrid.Rules, &postmark.Rules}
	var b strings.Builder
	b.WriteString("| field | SendGrid | Postmark |\n|---|---|---|\n")
	seen := map[string]bool{}
	for _, rules := range [][]translate.Rule{translate.Common, services[0].Fields, services[1].Fields} {
		for _, r := range rules {
			if seen[r.Name] {
				continue
			}
			seen[r.Name] = true
			fmt.Fprintf(&b, "| %s |", r.Name)
			for _, s := range services {
				fate, why := s.Fate(strings.TrimSuffix(r.Name, "*"))
				if b.WriteString(" " + fate.String()); why != "" {
					b.WriteString(": " + why)
				}
				b.WriteString(" |")
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("| any other |")
	for _, s := range services {
		if b.WriteString(" carried"); !s.Repeats {
			b.WriteString("; refused if it is there twice with different values")
		}
		b.WriteString(" |")
	}
	return b.String() + "\n"
}
