package smtpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// way is one kind of listener and dialogue.
type way struct {
	strict, hashed, noLogins bool
	tls                      plan.TLSMode // of the dialogue too
	before                   string       // is said first
	hangsUp                  bool         // does not wait for replies
	clear                    bool         // no TLS is begun, whatever the listener has
}

// witness is what is kept of sessions.
type witness struct {
	*transcript.Store
	copiers *inventory.Store
}

// play holds dialogues, one connection each, in a bubble, and gives what is kept
// of them.
func (r *rig) play(t *testing.T, w way, dialogues ...string) witness {
	t.Helper()
	dir, kept := t.TempDir(), witness{transcript.NewStore(), inventory.New()}
	synctest.Test(t, func(t *testing.T) {
		p := *r.plan
		l := p.Listeners[0]
		l.TLS.Mode, l.Compat.Lenient = w.tls, !w.strict
		if w.noLogins {
			l.Auth.Mode = plan.AuthNone
		}
		p.Listeners = []plan.Listener{l}
		src := secrets.Map{"certificate": r.secrets["certificate"], "logins": r.secrets["logins"]}
		if w.hashed {
			src["logins"] = map[string][]byte{"mfp1": []byte(hashed(t, string(r.secrets["logins"]["mfp1"])))}
		}
		o := r.open(t, &p, dir, src, func(c *Config) { c.Transcripts, c.Copiers = kept.Store, kept.copiers })
		for _, d := range dialogues {
			talk(o.connect(lan), w, d)
			synctest.Wait()
		}
		o.end(t.Context())
	})
	return kept
}

// talk says all of a dialogue and hangs up when the relay has nothing more to say.
func talk(conn net.Conn, w way, dialogue string) {
	defer conn.Close()
	shake := func() bool {
		c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the certificate is the test's own
		conn = c
		return c.HandshakeContext(context.Background()) == nil
	}
	switch {
	case w.clear:
	case w.tls == plan.TLSImplicit:
		if !shake() {
			return
		}
	case w.tls == plan.TLSStartTLS:
		go io.WriteString(conn, "EHLO first\r\nSTARTTLS\r\n") //nolint:errcheck // what is read shows it
		seen := make([]byte, 0, 1024)
		for b := make([]byte, 1024); !bytes.Contains(seen, []byte("220 2.0.0")); {
			n, err := conn.Read(b)
			if seen = append(seen, b[:n]...); err != nil {
				return
			}
		}
		if !shake() {
			return
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(io.Discard, conn) }) //nolint:errcheck // until one of us closes
	if text := w.before + dialogue; text != "" {
		io.WriteString(conn, text) //nolint:errcheck // the relay may close before
	}
	if synctest.Wait(); !w.hangsUp {
		time.Sleep(patience)
	}
	conn.Close()
	wg.Wait()
}

// patience is the time, of the bubble's clock, in which a device waits for replies:
// one to a wrong password takes up to 16 seconds, and a handshake may take 30.
const patience = 40 * time.Second

const canary = "Canary-7Qx2w"

// plain is the message of AUTH PLAIN.
func plain(user, password string) string {
	return b64("\x00" + user + "\x00" + password)
}

// tokens are what a fuzzer cannot find by itself: octets of its input become
// these.
var tokens = map[byte]string{
	1: canary, 2: b64(canary), 3: plain("mfp1", canary), 4: plain(canary, "x"),
	5: b64("mfp1"), 6: strings.ToUpper(canary), 7: b64(canary + " 0123456789abcdef0123456789abcdef"),
	8: "\r\n", 11: "AUTH LOGIN\r\n", 12: "AUTH PLAIN ", 14: "AUTH CRAM-MD5\r\n", 15: "MAIL FROM:<", 16: "RCPT TO:<", 17: "EHLO ", 18: "@copier.example>\r\n", 19: "@corp.example>\r\n", 20: "DATA\r\n", 21: "\r\n.\r\n",
	22: "\x16\x03\x01\x02\x00\x01",
}

func expand(in []byte) string {
	var b strings.Builder
	for _, c := range in {
		if t, ok := tokens[c]; ok {
			b.WriteString(t)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
