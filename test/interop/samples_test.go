package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
)

// sampleAt is a sample of config/samples/upstreams with another mail server, and
// what else is replaced, by pairs.
func sampleAt(t *testing.T, name, host string, port int, pairs ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(env.Root(t), "config/samples/upstreams", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	pairs = append(pairs, "host: "+host, "host: 127.0.0.1", "port: 587", fmt.Sprint("port: ", port))
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the sample %s has no %q", name, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return "---\n" + text
}

// The samples of type SMTP carry a scan as they are, but for where the servers are:
// Azure Communication Services by LOGIN, High Volume Email by XOAUTH2.
func TestSamplesBySMTP(t *testing.T) {
	t.Parallel()
	a := startAuthority(t, map[string]any{"secret": "change-me", "claims": map[string]any{"sub": clientID, "email": "scans-hve@example.com", "roles": []string{"SMTP.SendAsApp"}}})
	hve := tokenMX(t, a)
	acs := postfix.Start(t, postfix.Options{RequireAuth: true, Users: map[string]string{"printer-relay": "change-me"}})
	for name, c := range map[string]struct {
		mx                      *postfix.Server
		upstream, login, sender string
	}{
		"high-volume-email": {
			hve, sampleAt(t, "high-volume-email", "smtp.hve.mx.microsoft", hve.Port, "https://login.microsoftonline.com", a.url),
			"scans-hve@example.com", "scans-hve@example.com",
		},
		"azure-communication-services": {
			acs, sampleAt(t, "azure-communication-services", "smtp.azurecomm.net", acs.Port), "printer-relay", "scans@copier.example.com",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startRelayIn(t, trusting(t, c.mx.CA), head+"  upstreamRef: {name: "+name+"}\n"+c.upstream, "CLEAR")
			s := newScan(t, 50_000)
			swaksTo(t, r, s, "it@corp.example")
			m := c.mx.MailFor(t, "it@corp.example")
			if !strings.Contains(m.Header.Get("Received"), "Authenticated sender: "+c.login) || !strings.Contains(m.Header.Get("From"), "<"+c.sender+">") {
				t.Errorf("%q, From %q", m.Header["Received"], m.Header.Get("From"))
			}
		})
	}
}
