package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/test/pki"
)

var _ upstream.Checker = (*Transport)(nil)

func TestCheck(t *testing.T) {
	const good, bad, untold = upstream.Good, upstream.Bad, upstream.Untold
	offer := []string{"STARTTLS", "AUTH PLAIN LOGIN"}
	answers := func(to, with string) func(string) string {
		return func(line string) string {
			if verb, _, _ := strings.Cut(line, " "); verb == to {
				return with
			}
			return login(line)
		}
	}
	auth := &plan.SMTPAuth{Secret: "login"}
	for _, c := range []struct {
		name                   string
		o                      plan.SMTP
		ext                    []string
		answer                 func(string) string
		dial                   func(context.Context, string, string) (net.Conn, error)
		reachable, credentials upstream.Verdict
		words                  string
	}{
		{name: "all is well", o: plan.SMTP{Auth: auth}, ext: offer, reachable: good, credentials: good},
		{name: "no login is configured", ext: offer, reachable: good},
		{name: "a client certificate is shown", o: plan.SMTP{CertSecret: "client"}, ext: offer, reachable: good, credentials: good},
		{name: "wrong password", o: plan.SMTP{Auth: auth}, ext: offer, answer: answers("AUTH", "535 5.7.8 no"), reachable: good, credentials: bad, words: "535 5.7.8 AUTH PLAIN as the user of secret \"login\": no"},
		{name: "no login for now", o: plan.SMTP{Auth: auth}, ext: offer, answer: answers("AUTH", "454 4.7.0 not now"), reachable: good, words: "454 4.7.0"},
		{name: "cut in the login", o: plan.SMTP{Auth: auth}, ext: offer, answer: answers("AUTH", cut), reachable: good, words: "closed the connection"},
		{name: "no mechanism", o: plan.SMTP{Auth: auth}, ext: []string{"STARTTLS", "AUTH GSSAPI"}, reachable: good, credentials: bad, words: "GSSAPI"},
		{name: "no Secret", o: plan.SMTP{Auth: &plan.SMTPAuth{Secret: "lost"}}, ext: offer, reachable: good, credentials: bad, words: `secret "lost"`},
		{name: "no client certificate", o: plan.SMTP{CertSecret: "lost"}, ext: offer, credentials: bad, words: `secret "lost"`},
		{name: "it wants nobody", o: plan.SMTP{Auth: auth}, ext: offer, answer: answers("", "554 5.7.1 go away"), reachable: bad, words: "554 5.7.1"},
		{name: "no TLS", o: plan.SMTP{Auth: auth}, ext: []string{"AUTH PLAIN"}, reachable: bad, words: "STARTTLS"},
		{name: "nobody is there", o: plan.SMTP{Auth: auth}, dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("connection refused")
		}, reachable: bad, words: "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, "mx.test")
			f := &fake{tcp: true, tls: p.server, ext: c.ext, answer: c.answer}
			if f.answer == nil {
				f.answer = login
			}
			c.o.TLS, c.o.CASecret = plan.TLSStartTLS, "ca"
			h := f.start(t, p.use(c.o), func(o *Config) {
				if c.dial != nil {
					o.Dial = c.dial
				}
			}).Check(t.Context())
			if h.Reachable != c.reachable || h.Credentials != c.credentials || !strings.Contains(h.Text, c.words) || h.Reachable == good && h.Credentials != bad && c.words == "" && h.Text != "" {
				t.Errorf("%+v, want %v %v and %q", h, c.reachable, c.credentials, c.words)
			}
			commands, _, _, _ := f.seen()
			for _, line := range commands {
				verb, _, _ := strings.Cut(line, " ")
				if slices.Contains([]string{"MAIL", "RCPT", "DATA", "VRFY", "RSET", "NOOP"}, verb) {
					t.Errorf("a check says %q", line)
				}
			}
			if strings.Contains(h.Text, "hunter2") || strings.Contains(h.Text, b64("hunter2")) {
				t.Errorf("the password is in %q", h.Text)
			}
		})
	}
}

// A server that does not answer costs no more than the caller's patience, and a
// check leaves nothing behind.
func TestCheckEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(line string) string {
			if line == "" {
				return stall
			}
			return ""
		}}
		tr := f.start(t)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		h := tr.Check(ctx)
		if took := time.Since(began); took != 30*time.Second || h.Reachable != upstream.Bad {
			t.Errorf("%s: %+v", took, h)
		}
		tr.Close()
		f.wg.Wait()
	})
}

// Deliveries do not use the connection of a check, and a check none of theirs.
func TestCheckIsNoSessionOfDeliveries(t *testing.T) {
	f := &fake{}
	tr := f.start(t)
	tr.Deliver(t.Context(), message(t, text))
	tr.Check(t.Context())
	tr.Deliver(t.Context(), message(t, text))
	if _, _, _, dials := f.seen(); dials != 2 {
		t.Errorf("%d connections, want one of the deliveries and one of the check", dials)
	}
}

func TestCheckTellsOfCertificatesThatEnd(t *testing.T) {
	for _, c := range []struct {
		days int
		warn bool
	}{{3, true}, {13, true}, {15, false}, {400, false}} {
		end := time.Now().AddDate(0, 0, c.days).UTC().Truncate(time.Second)
		cert := pki.Self(t, pki.Options{CA: true, From: end.AddDate(-2, 0, 0), Until: end}, "mx.test")
		sec := secrets.Map{"ca": {"ca.crt": []byte(cert.PEM())}, "client": cert.Secret()}
		f := &fake{tcp: true, ext: []string{"STARTTLS"}, tls: &tls.Config{Certificates: []tls.Certificate{cert.TLS()}, ClientAuth: tls.RequestClientCert}}
		h := f.start(t, func(o *Config) {
			o.SMTP.TLS, o.SMTP.CASecret, o.SMTP.CertSecret = plan.TLSStartTLS, "ca", "client"
			o.Secrets = func() secrets.Source { return sec }
		}).Check(t.Context())
		if h.Reachable != upstream.Good || !h.Expires.Equal(end) {
			t.Errorf("%d days: %+v, want %s", c.days, h, end)
		}
		if warned := strings.Contains(fmt.Sprint(h.Warnings), end.Format(time.DateOnly)); warned != c.warn {
			t.Errorf("%d days: warnings %q", c.days, h.Warnings)
		}
	}
}
