package wire

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/transcript"
)

// kept are the transcripts of failed sessions, as lines.
func (r *rig) kept() (all []string) {
	for _, s := range r.failed.Sessions(transcript.Filter{}, "") {
		var lines []string
		for _, l := range s.Lines {
			lines = append(lines, l.From[:1]+" "+l.Text)
		}
		all = append(all, strings.Join(lines, "\n"))
	}
	return all
}

func (r *rig) conn() *Conn {
	r.t.Helper()
	all := r.l.all()
	if len(all) != 1 {
		r.t.Fatalf("%d connections", len(all))
	}
	return all[0]
}

// A client that says nothing costs no recording; one that says EHLO and waits has
// a small one.
func TestIdleConnectionsAreRecordedSmall(t *testing.T) {
	r := start(t)
	c := r.greeted()
	recorded := func() (rec *transcript.Recorder) {
		conn := r.conn()
		conn.mu.Lock()
		defer conn.mu.Unlock()
		return conn.rec
	}
	if recorded() != nil {
		t.Error("a client that said nothing is recorded")
	}
	c.cmd("EHLO copier.test", "250")
	if recorded() == nil {
		t.Error("a client that said EHLO is not recorded")
	}
	c.cmd("QUIT", "221")
	c.ended()
	if k := r.kept(); len(k) != 0 {
		t.Errorf("kept: %q", k)
	}
}

// A connection that goes on within TLS is one session; what came before is not
// forgotten.
func TestRecordingGoesOnWithinTLS(t *testing.T) {
	r := start(t, withTLS)
	c := r.greeted()
	c.cmd("EHLO copier.test", "250")
	c.cmd("VRFY x", "252")
	c.cmd("STARTTLS", "220 2.0.0")
	c.conn = tls.Client(c.conn, clientTLS)
	c.r.Reset(c.conn)
	c.cmd("EHLO copier.test", "250")
	c.cmd("MAIL FROM:<a@b.example>", "250")
	c.cmd("RCPT TO:<no@d.example>", "550")
	c.cmd("QUIT", "221")
	c.ended()
	r.eventually("the session is kept", func() bool { return len(r.kept()) == 1 })
	got := r.kept()[0]
	for _, want := range []string{"s 220 relay.test", "c VRFY [not shown]", "c STARTTLS\ns 220 2.0.0 Ready to start TLS\nr TLS 1.3, ", "c RCPT TO:<no@d.example>\ns 550"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Count(got, "s 220 relay.test") != 1 {
		t.Errorf("greeted twice:\n%s", got)
	}
}
