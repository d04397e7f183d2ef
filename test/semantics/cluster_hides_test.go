package semantics

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/rig"
)

// hiding is manifests with a rule on loopback addresses, in which some are not a
// client's own.
func hiding(u *rig.Upstream, hidden, listener string) string {
	m := manifests("", anyCorp, u.YAML("out", ""))
	m = strings.Replace(m, "tls: {mode: None}", "tls: {mode: StartTLS}, clientOverrides: [{name: lan, clientNetworks: [127.0.0.0/8], hideStartTLS: true}]"+listener, 1)
	return strings.Replace(m, "metadata: {name: office}", fmt.Sprintf("metadata: {name: office, annotations: {printerrelay.dev/hidden-clients: %q}}", hidden), 1)
}

// connect gives a session that has said EHLO, behind a PROXY header if there is one,
// and what was offered to it.
func connect(t *testing.T, r *rig.Relay, header string) (line func(string) string, ehlo string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port), rig.Wait)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(rig.Wait)); err != nil {
		t.Fatal(err)
	}
	line = say(t, conn)
	if got := line(header); !strings.HasPrefix(got, "220 ") {
		t.Fatal(got)
	}
	for got := line("EHLO copier.test"); ; got = line("") {
		if ehlo += got; strings.HasPrefix(got, "250 ") {
			return line, ehlo
		}
	}
}

// Who comes from an address of the cluster itself, or through a Service that hides
// every client, is let in by no network; by a PROXY header only where that can be
// the load balancer's.
func TestAClientThatTheClusterHidesIsInNoNetwork(t *testing.T) {
	const trust, refused = ", proxyProtocol: {trustedNetworks: [127.0.0.0/8]}", "550 5.7.1 PR-039 "
	u := rig.StartUpstream(t, rig.Script{})
	for name, tc := range map[string]struct{ hidden, header, want string }{
		"nobody is hidden":                      {"", "", "250 "},
		"another is":                            {"127.0.0.9,127.64.0.0/10", "", "250 "},
		"a node":                                {"127.0.0.1", "", refused},
		"a Pod":                                 {"127.0.0.0/16", "", refused},
		"IPv4-mapped":                           {"::ffff:127.0.0.1", "", refused},
		"everybody":                             {"all", "", refused},
		"a proxy on a node names a client":      {"127.0.0.1", "PROXY TCP4 127.0.0.2 127.0.0.3 1000 25", "250 "},
		"a proxy names a node":                  {"127.0.0.2", "PROXY TCP4 127.0.0.2 127.0.0.3 1000 25", refused},
		"a proxy names one, but all are hidden": {"all", "PROXY TCP4 127.0.0.2 127.0.0.3 1000 25", refused},
	} {
		t.Run(name, func(t *testing.T) {
			listener := ""
			if tc.header != "" {
				listener = trust
			}
			r := rig.Start(t, hiding(u, tc.hidden, listener))
			line, ehlo := connect(t, r, tc.header)
			if offered := strings.Contains(ehlo, "STARTTLS"); offered != (tc.want == refused) {
				t.Errorf("the override counts: %v", !offered)
			}
			if got := line("MAIL FROM:<mfp@copier.test>"); !strings.HasPrefix(got, tc.want) {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if said := strings.Contains(r.Log.String(), "whose address is hidden: it is a node's, a Pod's or a load balancer's"); said != (tc.want == refused) {
				t.Errorf("the log says it: %v\n%s", said, r.Log)
			}
		})
	}
}

// A session stays hidden from when it was: its connection came through what hid it.
func TestHiddenWhileConnected(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, hiding(u, "", ""))
	old, _ := connect(t, r, "")
	mail := func(line func(string) string, want string) {
		t.Helper()
		if got := line("MAIL FROM:<mfp@copier.test>"); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
		line("RSET")
	}
	applied := func(n int) func() bool {
		return func() bool { return strings.Count(r.Log.String(), "plan applied") == n }
	}
	mail(old, "250 ")
	r.Write("relay.yaml", hiding(u, "127.0.0.0/8", ""))
	r.Eventually("it is hidden", applied(1))
	mail(old, "550 5.7.1 PR-039")
	r.Write("relay.yaml", hiding(u, "", ""))
	r.Eventually("it is not", applied(2))
	mail(old, "550 5.7.1 PR-039")
	fresh, _ := connect(t, r, "")
	mail(fresh, "250 ")
}
