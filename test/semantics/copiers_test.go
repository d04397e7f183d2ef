package semantics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// A Ricoh sends to 250 recipients in batches of a hundred, in one session: three
// transactions of the default limit, and each recipient is sent to once.
func TestManyRecipientsInOneSession(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("", anyCorp, u.YAML("out", "")))
	c := r.Dial()
	c.Want("250", "EHLO RNP002673000001")
	const all, batch = 250, 100
	for from := 0; from < all; from += batch {
		c.Want("250", "MAIL FROM:<mfp@copier.test>")
		for i := from; i < min(from+batch, all); i++ {
			c.Want("250 2.1.5", "RCPT TO:<user%d@corp.example>", i)
		}
		if from == 0 { // one more than a batch is told so, and the transaction goes on
			c.Want("452 4.5.3 PR-037 ", "RCPT TO:<user100@corp.example>")
		}
		c.Want("354", "DATA")
		c.Write(rig.Scan("mfp@copier.test", "user0@corp.example") + "\r\n.\r\n")
		rig.QueueID(t, c.Reply())
	}
	seen := map[string]int{}
	r.Eventually("all recipients at the upstream", func() bool {
		clear(seen)
		for _, m := range u.Messages() {
			for _, to := range m.To {
				seen[to]++
			}
		}
		return len(seen) == all
	})
	for to, n := range seen {
		if n != 1 {
			t.Errorf("%s was sent to %d times", to, n)
		}
	}
}

// An HP Digital Sender asks whether a recipient is taken, and leaves, with QUIT or
// without: however often it does, nothing is refused, logged as a fault or counted as
// one, and its scan is taken behind that.
func TestAProbeIsNoFailure(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("", anyCorp, u.YAML("out", "")))
	for i := range 40 {
		c := r.Dial()
		c.Want("250", "HELO hpds9250c")
		c.Want("250", "MAIL FROM:<mfp@copier.test>")
		c.Want("250", "RCPT TO:<a@corp.example>")
		switch i % 4 {
		case 0:
			c.Want("221", "QUIT")
		case 1:
			c.Want("250", "RSET")
		case 2:
			c.Write("RS")
		}
		c.Close()
	}
	r.Eventually("the probes have ended", func() bool {
		_, body := r.Get("/metrics")
		return strings.Contains(body, `printer_relay_connections{listener="smtp",relay="default/office"} 0`)
	})
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
	_, body := r.Get("/metrics")
	for line := range strings.Lines(body) {
		for _, counter := range []string{"printer_relay_refusals_total{", "printer_relay_connections_refused_total{"} {
			if strings.HasPrefix(line, counter) && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
				t.Errorf("a probe was counted: %s", line)
			}
		}
	}
	for line := range strings.Lines(r.Log.String()) {
		if strings.Contains(line, " client=") && !strings.Contains(line, "level=INFO") && !strings.Contains(line, "level=DEBUG") {
			t.Errorf("a probe is in the log as a fault: %s", line)
		}
	}
	if !strings.Contains(body, "printer_relay_connections_total{") {
		t.Error(fmt.Sprint("no connections were counted: ", body[:min(len(body), 2000)]))
	}
}
