// Package network has a whole relay send through networks and to servers that fail
// in every way that they do: slow, in pieces, cut, reset, half-open, silent at each
// command, deferring, without names. It holds nothing but tests.
package network

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/upstream/smtp"
	"github.com/printerrelay/printer-relay/test/rig"
)

func TestMain(m *testing.M) {
	if err := dns.start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// toxiproxy's slicer stays where it was when the other side hangs up.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*SlicerToxic).Pipe"), goleak.IgnoreCurrent())
}

// impatient are time limits that a test can wait for. What is not meant to exceed
// them is allowed to, on a slow machine: no test says that it must not.
var impatient = smtp.Timeouts{
	Connect: time.Second, Greeting: time.Second, Command: time.Second,
	DataInit: time.Second, Block: time.Second, DataEnd: time.Second,
}

// world is a relay with upstreams; mail for anybody at NAME.example goes by the
// upstream NAME.
type world struct {
	*rig.Relay
	t *testing.T
}

// start runs a relay with the upstreams' YAML, by name, and further lines of its
// spec.delivery. One that is called other is the fallback of all.
func start(t *testing.T, limits smtp.Timeouts, delivery string, upstreams map[string]string, more ...string) *world {
	t.Helper()
	var routes, yaml strings.Builder
	fallback := ""
	if upstreams["other"] != "" {
		fallback = "  fallbackUpstreamRefs: [{name: other}]\n"
	}
	for name, y := range upstreams {
		fmt.Fprintf(&routes, "  - {name: %s, recipientDomains: [%s.example], upstreamRef: {name: %s}}\n", name, name, name)
		yaml.WriteString(y)
	}
	m := fmt.Sprintf(`apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  upstreamRef: {name: well}
%s  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: {{PORT}}, tls: {mode: None}}]
  delivery:
    retry: {initialSeconds: 1, maximumSeconds: 4}
    bounce: {to: None}
%s
  routes:
%s---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - {name: lan, match: {clientNetworks: [127.0.0.0/8]}, action: Allow, recipients: {allowed: ["*"]}}
`, fallback, delivery, routes.String()) + yaml.String() + strings.Join(more, "")
	return &world{t: t, Relay: rig.StartWith(t, m, func(o *relay.Options) {
		o.Timeouts, o.Grace = limits, time.Second
	})}
}

// few is what an upstream of a test may have at once: enough to see that it is
// more than one.
const few = 4

// limits are lines of a MailUpstream's spec.
func limits(connections int) string { return fmt.Sprintf("  limits: {connections: %d}\n", connections) }

// scan sends n scans to the upstream, each to a recipient of its own, "s0@UP.example"
// and so on. Each has to be accepted.
func (w *world) scan(up string, n int) {
	w.t.Helper()
	w.scanOf(up, n, 0)
}

// scanOf is scan with a page of so many octets.
func (w *world) scanOf(up string, n, size int) {
	w.t.Helper()
	c := w.Dial()
	c.Want("250", "EHLO copier.test")
	for i := range n {
		to := fmt.Sprintf("s%d@%s.example", i, up)
		c.Want("250", "MAIL FROM:<mfp@copier.test>")
		c.Want("250", "RCPT TO:<%s>", to)
		c.Want("354", "DATA")
		c.Write(page(to, size) + "\r\n.\r\n")
		rig.QueueID(w.t, c.Reply())
	}
	c.Want("221", "QUIT")
}

// page is a scan with so many octets of text more.
func page(to string, size int) string {
	line := strings.Repeat("0123456789abcdef", 4) + "\r\n"
	return strings.Replace(rig.Scan("mfp@copier.test", to), "scanned\r\n", "scanned\r\n"+strings.Repeat(line, size/len(line)), 1)
}

// outcomes are the lines of the log about attempts at an upstream.
func (w *world) outcomes(up string) (out []string) {
	for line := range strings.Lines(w.Log.String()) {
		if strings.Contains(line, "msg=outcome") && strings.Contains(line, " upstream="+up+" ") {
			out = append(out, line)
		}
	}
	return out
}

// attempts counts those at an upstream that ended as kind; empty: any.
func (w *world) attempts(up, kind string) int {
	n := 0
	for _, line := range w.outcomes(up) {
		if strings.Contains(line, " outcome="+kind) {
			n++
		}
	}
	return n
}

// state is what the relay tells of itself.
func (w *world) state() (s admin.RelayState, ok bool) {
	code, body := w.Get("/state")
	var all admin.State
	if code != http.StatusOK || json.Unmarshal([]byte(body), &all) != nil || len(all.Relays) != 1 {
		return s, false
	}
	return all.Relays[0], true
}

func (w *world) held() int {
	s, _ := w.state()
	return s.Queue.Held
}

// sees waits until an upstream is in a state.
func (w *world) sees(what, up string, ok func(admin.UpstreamState) bool) admin.UpstreamState {
	w.t.Helper()
	var found admin.UpstreamState
	w.Eventually(what+" ("+up+")", func() bool {
		s, _ := w.state()
		i := slices.IndexFunc(s.Upstreams, func(u admin.UpstreamState) bool { return u.Name == up })
		if i < 0 {
			return false
		}
		found = s.Upstreams[i]
		return ok(found)
	})
	return found
}

// broken waits until the circuit of an upstream is open, and checks that it took no
// more attempts than it may: five failures in a row and what ran beside the last,
// then one at a time, four seconds apart at least. It checks that one of them failed
// for the reason.
func (w *world) broken(up string, connections int, reason string) {
	w.t.Helper()
	u := w.sees("the circuit opens", up, func(u admin.UpstreamState) bool { return u.Circuit != "Closed" })
	n := w.attempts(up, "")
	if most := 5 + connections + 1 + int(time.Since(u.Since)/(4*time.Second)); n > most {
		w.t.Errorf("%s: %d attempts, want at most %d", up, n, most)
	}
	for _, line := range w.outcomes(up) {
		if strings.Contains(line, reason) {
			return
		}
	}
	w.t.Errorf("%s: none of %d attempts failed for %q; the last: %s", up, n, reason, u.LastError)
}

// taken counts how often each recipient's scan was accepted.
func taken(u *rig.Upstream) map[string]int {
	n := map[string]int{}
	for _, m := range u.Messages() {
		for _, to := range m.To {
			n[to]++
		}
	}
	return n
}

// all waits until each of n scans for an upstream has been accepted there, and
// checks that none was more often than once and once for each Unknown.
func (w *world) all(up string, n int, taken func() map[string]int) {
	w.t.Helper()
	w.Eventually(fmt.Sprintf("%d scans at %s", n, up), func() bool { return len(taken()) >= n })
	w.sees("the queue is empty", up, func(u admin.UpstreamState) bool { return u.Pending == 0 && u.Active == 0 })
	total := 0
	for to, k := range taken() {
		total += k
		if !strings.HasSuffix(to, "@"+up+".example") {
			w.t.Errorf("%s got the scan for %s", up, to)
		}
	}
	if unknown := w.attempts(up, "Unknown"); total > n+unknown {
		w.t.Errorf("%s: %d scans were accepted %d times, with %d Unknown outcomes", up, n, total, unknown)
	}
}
