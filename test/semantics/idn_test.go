package semantics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// Domains that an administrator writes in Unicode go out in ASCII: an upstream
// needs no SMTPUTF8 for them.
func TestUnicodeDomainsOfTheManifestsLeaveAsASCII(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{Rcpt: rig.Refuse(rig.Reply(550, "5.1.1", "no such user"), "gone@corp.example")})
	r := rig.Start(t, strings.Replace(manifests(strings.Replace(toPostmaster, "postmaster: it@corp.example", "postmaster: it@bücher.example", 1)+`
  addresses: {defaultDomain: bücher.example}
  copies: [{name: archive, senders: ["*"], to: [archiv@bücher.example]}]`, anyCorp, u.YAML("out", "")),
		"tls: {mode: None}", "tls: {mode: None}, compatibility: {commandSyntax: Lenient}", 1))
	rig.QueueID(t, r.Dial().Send("scanner", []string{"gone@corp.example"}, rig.Scan("mfp@copier.test", "gone@corp.example")))
	for _, m := range arrived(r, u, 2) {
		want := "scanner@xn--bcher-kva.example [archiv@xn--bcher-kva.example]"
		if m.From == "" {
			want = " [it@xn--bcher-kva.example]"
		}
		if got := fmt.Sprint(m.From, " ", m.To); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
