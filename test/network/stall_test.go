package network

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/upstream/smtp"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/rig"
)

// steps are where a server can fall silent, by the name of its upstream, with what
// the queue says of it then.
var steps = map[string]struct{ step, said string }{
	"banner":    {"banner", "greeting: the server did not answer in time"},
	"ehlo":      {"EHLO", "EHLO: the server did not answer in time"},
	"starttls":  {"STARTTLS", "STARTTLS: the server did not answer in time"},
	"handshake": {"handshake", "TLS: "},
	"aftertls":  {"EHLO after TLS", "EHLO: the server did not answer in time"},
	"auth":      {"AUTH", "the server did not answer in time"},
	"mail":      {"MAIL", "MAIL: the server did not answer in time"},
	"rcpt":      {"RCPT", "RCPT: the server did not answer in time"},
	"data":      {"DATA", "DATA: the server did not answer in time"},
	"body":      {"body", "sending the message: the server did not answer in time"},
	"finaldot":  {"final dot", "no reply to the final dot: the server did not answer in time"},
}

// login is what the servers' upstreams log in with, and whom they trust.
func login(ca *env.CA) string {
	return "---\napiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {username: relay, password: secret}\n" +
		"---\napiVersion: v1\nkind: Secret\nmetadata: {name: ca}\nstringData:\n  ca.crt: |\n    " + strings.ReplaceAll(strings.TrimSpace(ca.PEM), "\n", "\n    ") + "\n"
}

// Servers that stall at each step, all at once, beside one that works: scans for all
// of them are accepted, those for the one that works arrive, each of the others is
// tried a few times and then left alone; and when they work again everything is
// there, once, but for what the server that stalled behind the final dot may have
// kept.
func TestServersThatStallAtEachStep(t *testing.T) {
	t.Parallel()
	const scans = 6
	ca := env.NewCA(t, t.TempDir())
	well := rig.StartUpstream(t, rig.Script{})
	upstreams := map[string]string{"well": well.YAML("well", "")}
	sick := map[string]*stalling{}
	for name, s := range steps {
		sick[name] = startStalling(t, ca, s.step)
		upstreams[name] = sick[name].yaml(name)
	}
	w := start(t, impatient, "", upstreams, login(ca))
	for name := range sick {
		size := 0
		if name == "body" {
			size = 4 << 20 // more than the sockets' buffers take
		}
		w.scanOf(name, scans, size)
	}
	w.scan("well", scans)
	w.all("well", scans, func() map[string]int { return taken(well) })
	for name, s := range sick {
		w.broken(name, few, steps[name].said)
		if n := len(s.taken()); n != 0 {
			t.Errorf("%s accepted %d scans while it stalled", name, n)
		}
		s.works()
	}
	for name, s := range sick {
		w.all(name, scans, s.taken)
	}
	if w.attempts("finaldot", "Unknown") == 0 {
		t.Error("finaldot: no Unknown outcome")
	}
}

// With the time limits of RFC 5321 a server that stalls keeps its connections for
// minutes. Nobody else waits for that, however much waits for it.
func TestServersThatStallDelayNoOther(t *testing.T) {
	t.Parallel()
	const scans = 50
	ca := env.NewCA(t, t.TempDir())
	well := rig.StartUpstream(t, rig.Script{})
	upstreams := map[string]string{"well": well.YAML("well", "")}
	var sick []string
	for _, name := range []string{"banner", "mail", "finaldot"} {
		upstreams[name] = startStalling(t, ca, steps[name].step).yaml(name)
		sick = append(sick, name)
	}
	w := start(t, smtp.Timeouts{}, "", upstreams, login(ca))
	for _, name := range sick {
		w.scan(name, scans)
		w.sees("it is at work on the first", name, func(u admin.UpstreamState) bool { return u.Active > 0 && u.Pending >= scans-few })
	}
	w.scan("well", scans)
	w.all("well", scans, func() map[string]int { return taken(well) })
	for _, name := range sick {
		if n := w.attempts(name, ""); n != 0 {
			t.Errorf("%s: %d attempts have ended: it does not stall", name, n)
		}
	}
}
