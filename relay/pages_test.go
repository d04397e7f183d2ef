package relay

import (
	"testing"

	"github.com/printerrelay/printer-relay/relay/console"
)

// What is wrong with one relay is said of that one alone.
func TestFindingsOfRelays(t *testing.T) {
	for problem, want := range map[string][2]int{ // findings of a/one and a/two
		`all.yaml:85: PrinterRelay a/one: spec.upstreamRef: MailUpstream "x" is not there`:           {1, 0},
		`PrinterRelay a/two: listener "scans": cannot listen on 127.0.0.1:25: in use`:                {0, 1},
		`all.yaml:9: PrinterRelay a/three: spec.hostname: Required value`:                            {1, 1},
		`all.yaml:9: MailUpstream a/x: spec.type: PrinterRelay a/one: is no type`:                    {1, 1},
		"all.yaml: yaml: line 3: mapping values are not allowed in this context, PrinterRelay a/one": {1, 1},
	} {
		relays := []console.Relay{{Namespace: "a", Name: "one"}, {Namespace: "a", Name: "two"}}
		find(relays, problem)
		for i, r := range relays {
			if len(r.Findings) != want[i] || len(r.Findings) > 0 && r.Findings[0].Shared != (want == [2]int{1, 1}) {
				t.Errorf("%s: %s has %+v", problem, r.Key(), r.Findings)
			}
		}
	}
}
