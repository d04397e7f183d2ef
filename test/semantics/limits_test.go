package semantics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// cramped is a relay with a spool of 4 MiB from which nothing leaves.
func cramped(t *testing.T) *rig.Relay {
	u := rig.StartUpstream(t, rig.Script{})
	return rig.Start(t, manifests("  intake: Hold\n  spool: {persistentVolume: {size: 4Mi}}\n", anyCorp, u.YAML("out", "")))
}

const to = "a@corp.example"

// fill sends scans of 300 kB as a client until one is refused, and gives the
// refusal and how many were taken.
func fill(t *testing.T, r *rig.Relay, client string) (refusal string, n int) {
	t.Helper()
	for ; n < 100; n++ {
		c := r.DialFrom(client)
		c.Want("250", "EHLO copier.test")
		scan := big(300_000, to)
		got := c.Cmd("MAIL FROM:<mfp@copier.test> SIZE=%d", len(scan)+2)
		if strings.HasPrefix(got, "250") {
			c.Want("250", "RCPT TO:<%s>", to)
			c.Want("354", "DATA")
			c.Write(scan + "\r\n.\r\n")
			got = c.Reply()
		}
		c.Close()
		if !strings.HasPrefix(got, "250") {
			return got, n
		}
	}
	t.Fatal("one client is never refused")
	return "", n
}

// One client fills three quarters of the spool, and the others go on scanning; a
// restart does not change whose the mail is.
func TestOneClientFillsNoSpool(t *testing.T) {
	r := cramped(t)
	refusal, n := fill(t, r, "127.0.0.1")
	if !strings.HasPrefix(refusal, "452 4.3.1 PR-065 ") || n < 9 || n > 12 {
		t.Fatalf("after %d scans: %q", n, refusal)
	}
	panelLine(t, refusal)
	r.Restart()
	if refusal, n := fill(t, r, "127.0.0.1"); n != 0 || !strings.HasPrefix(refusal, "452 4.3.1 PR-065 ") {
		t.Errorf("behind a restart it sends %d more: %q", n, refusal)
	}
	rig.QueueID(t, r.DialFrom("127.0.0.2").Send("mfp@copier.test", []string{to}, big(300_000, to)))
}

// What a scan announced is kept for it when it begins.
func TestAScanThatHasBegunIsNotStarved(t *testing.T) {
	r := cramped(t)
	scan := big(2_000_000, to)
	c := r.DialFrom("127.0.0.1")
	c.Want("250", "EHLO copier.test")
	c.Want("250", "MAIL FROM:<mfp@copier.test> SIZE=%d", len(scan)+2)
	c.Want("250", "RCPT TO:<%s>", to)
	c.Want("354", "DATA")
	c.Write(scan[:1_000_000]) // more than sockets hold: it has begun
	for i := range 20 {       // whoever else comes
		fill(t, r, fmt.Sprintf("127.0.1.%d", i))
	}
	c.Write(scan[1_000_000:] + "\r\n.\r\n")
	rig.QueueID(t, c.Reply())
}
