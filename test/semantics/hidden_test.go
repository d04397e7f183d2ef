package semantics

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/rig"
)

// A load balancer that does not tell who the client is (PROXY UNKNOWN) lends it
// no network: neither the settings nor the route that are for its own.
func TestAClientBehindAProxyIsInNoNetwork(t *testing.T) {
	for name, tc := range map[string]struct {
		header string
		hidden bool
	}{
		"known":  {"PROXY TCP4 127.0.0.1 127.0.0.2 1000 25", false},
		"hidden": {"PROXY UNKNOWN", true},
	} {
		t.Run(name, func(t *testing.T) {
			def, lan := rig.StartUpstream(t, rig.Script{}), rig.StartUpstream(t, rig.Script{})
			m := manifests("  routes: [{name: lan, clientNetworks: [127.0.0.0/8], upstreamRef: {name: lan}}]\n", anyCorp, def.YAML("out", ""), lan.YAML("lan", ""))
			m = strings.Replace(m, "tls: {mode: None}", "tls: {mode: StartTLS}, proxyProtocol: {trustedNetworks: [127.0.0.0/8]}, "+
				"authentication: {plaintext: Allow, mode: Optional, mechanisms: [Plain], secretRef: {name: logins}}, "+
				"clientOverrides: [{name: lan, clientNetworks: [127.0.0.0/8], hideStartTLS: true, mechanisms: [Login]}]", 1)
			m = strings.Replace(m, "match: {clientNetworks: [127.0.0.0/8]}", "match: {users: [mfp]}", 1)
			r := rig.Start(t, m+"---\napiVersion: v1\nkind: Secret\nmetadata: {name: logins}\nstringData: {mfp: swordfish}\n")
			conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port), rig.Wait)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(rig.Wait)); err != nil {
				t.Fatal(err)
			}
			line := say(t, conn)
			if got := line(tc.header); !strings.HasPrefix(got, "220 ") {
				t.Fatal(got)
			}
			ehlo := ""
			for got := line("EHLO copier.test"); ; got = line("") {
				if ehlo += got; strings.HasPrefix(got, "250 ") {
					break
				}
			}
			if got := strings.Contains(ehlo, "STARTTLS"); got != tc.hidden {
				t.Errorf("STARTTLS is offered: %v\n%s", got, ehlo)
			}
			if got := strings.Contains(ehlo, "AUTH PLAIN"); got != tc.hidden {
				t.Errorf("PLAIN is offered: %v\n%s", got, ehlo)
			}
			if tc.hidden {
				line("AUTH PLAIN " + b64("\x00mfp\x00swordfish"))
			} else {
				line("AUTH LOGIN " + b64("mfp"))
				line(b64("swordfish"))
			}
			for _, c := range []string{"MAIL FROM:<mfp@copier.test>", "RCPT TO:<a@corp.example>", "DATA"} {
				if got := line(c); !strings.HasPrefix(got, "250") && !strings.HasPrefix(got, "354") {
					t.Fatalf("%s: %s", c, got)
				}
			}
			rig.QueueID(t, strings.TrimSpace(line(rig.Scan("mfp@copier.test", "a@corp.example")+"\r\n.")))
			to := lan
			if tc.hidden {
				to = def
			}
			arrived(r, to, 1)
			if n := len(def.Messages()) + len(lan.Messages()); n != 1 {
				t.Errorf("%d messages", n)
			}
		})
	}
}
