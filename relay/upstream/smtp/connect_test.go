package smtp

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
	"github.com/printerrelay/printer-relay/test/pki"
)

// peer is a server's certificate with the Secrets that go with it.
type peer struct {
	server  *tls.Config
	secrets secrets.Map
}

func newPeer(t testing.TB, name string) *peer {
	t.Helper()
	ca := pki.Authority(t)
	client := ca.Issue(t, pki.Options{}, "client.test").Secret()
	return &peer{
		server: &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, pki.Options{}, name).TLS()}, ClientCAs: ca.Pool(), MinVersion: tls.VersionTLS10},
		secrets: secrets.Map{
			"ca":     {"ca.crt": []byte(ca.PEM())},
			"client": client,
			"junk":   {"ca.crt": []byte("junk"), "tls.crt": client["tls.crt"], "tls.key": []byte("hunter2")},
			"login":  {"username": []byte("relay\n"), "password": []byte("hunter2\n")},
		},
	}
}

func (p *peer) use(o plan.SMTP) func(*Config) {
	return func(c *Config) {
		o.Host, o.Port, o.HeloName = "mx.test", 25, "relay.test"
		c.SMTP, c.Secrets = o, func() secrets.Source { return p.secrets }
	}
}

func TestTLS(t *testing.T) {
	const (
		bare  = "Accepted in clear"
		byTLS = "Accepted by TLS"
		no    = "Deferred/Upstream"
	)
	offer := []string{"PIPELINING", "STARTTLS"}
	for _, c := range []struct {
		name   string
		cert   string // name in the server's certificate; default mx.test
		ext    []string
		answer string // to STARTTLS
		o      plan.SMTP
		server func(*tls.Config)
		want   string
		words  string
	}{
		{name: "StartTLS", ext: offer, o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca"}, want: byTLS},
		{name: "StartTLS removed on the way", ext: []string{"PIPELINING"}, o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca"}, want: no, words: "does not offer STARTTLS"},
		{name: "StartTLS refused", ext: offer, answer: "454 4.7.0 not now", o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca"}, want: no, words: "not now"},
		{name: "StartTLS, words injected", ext: offer, answer: "220 begin\r\n250-evil\r\n250 AUTH PLAIN", o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca"}, want: no, words: "tampering"},
		{name: "Opportunistic, words injected", ext: offer, answer: "220 begin\r\n250 evil", o: plan.SMTP{TLS: plan.TLSOpportunistic}, want: no, words: "tampering"},
		{name: "another authority", ext: offer, o: plan.SMTP{TLS: plan.TLSStartTLS}, want: no, words: "set tls.caSecretRef"},
		{name: "another name", cert: "evil.test", ext: offer, o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca"}, want: no, words: "set tls.serverName"},
		{name: "serverName", cert: "other.test", ext: offer, o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca", ServerName: "other.test"}, want: byTLS},
		{name: "Implicit", o: plan.SMTP{TLS: plan.TLSImplicit, CASecret: "ca"}, want: byTLS},
		{name: "Implicit, another authority", o: plan.SMTP{TLS: plan.TLSImplicit}, want: no, words: "authority"},
		{name: "Opportunistic, not verified", cert: "other.test", ext: offer, o: plan.SMTP{TLS: plan.TLSOpportunistic}, want: byTLS},
		{name: "Opportunistic, not offered", ext: []string{"PIPELINING"}, o: plan.SMTP{TLS: plan.TLSOpportunistic}, want: bare},
		{name: "Opportunistic, refused", ext: offer, answer: "454 4.7.0 not now", o: plan.SMTP{TLS: plan.TLSOpportunistic}, want: bare},
		{name: "Opportunistic, handshake fails", ext: offer, o: plan.SMTP{TLS: plan.TLSOpportunistic}, server: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }, want: bare},
		{name: "too old", ext: offer, o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca"}, server: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }, want: no, words: "TLS: "},
		{name: "old, as asked for", ext: offer, o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca", MinimumTLS: tls.VersionTLS11}, server: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }, want: byTLS},
		{name: "minimum version", ext: offer, o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca", MinimumTLS: tls.VersionTLS13}, server: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, want: no, words: "TLS: "},
		{name: "client certificate", ext: offer, o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca", CertSecret: "client"}, server: func(c *tls.Config) { c.ClientAuth = tls.RequireAndVerifyClientCert }, want: byTLS},
		{name: "no client certificate", ext: offer, o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca"}, server: func(c *tls.Config) { c.ClientAuth = tls.RequireAndVerifyClientCert }, want: no},
		{name: "no CA in the Secret", ext: offer, o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "junk"}, want: no, words: `secret "junk": ca.crt`},
		{name: "no key in the Secret", ext: offer, o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca", CertSecret: "junk"}, want: no, words: `secret "junk": tls.crt and tls.key`},
		{name: "no Secret", ext: offer, o: plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "gone"}, want: no, words: `secret "gone": not found`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.cert == "" {
				c.cert = "mx.test"
			}
			p := newPeer(t, c.cert)
			f := &fake{tcp: true, tls: p.server, ext: c.ext, implicit: c.o.TLS == plan.TLSImplicit, answer: func(line string) string {
				if line == "STARTTLS" {
					return c.answer
				}
				return ""
			}}
			if c.server != nil {
				c.server(p.server)
			}
			tr := f.start(t, p.use(c.o))
			out := tr.Deliver(t.Context(), message(t, text))
			got := conformance.Kinds(out)
			if got == "Accepted" {
				got = bare
				if tr.idle[0].tls {
					got = byTLS
				}
			}
			if got != c.want || !strings.Contains(out[0].Text, c.words) {
				t.Errorf("got %s, want %s with %q: %s", got, c.want, c.words, out[0].Text)
			}
			if strings.Contains(out[0].Text, "hunter2") {
				t.Errorf("a key in an error: %s", out[0].Text)
			}
			if c.want == no {
				if commands, _, _, _ := f.seen(); strings.Contains(strings.Join(commands, "\n"), "MAIL") {
					t.Errorf("mail was sent: %q", commands)
				}
			}
		})
	}
}

// What was told in clear does not count inside TLS (RFC 3207 4.2).
func TestExtensionsAreForgottenAtSTARTTLS(t *testing.T) {
	p := newPeer(t, "mx.test")
	ehlos := 0
	f := &fake{tcp: true, tls: p.server, answer: func(line string) string {
		if !strings.HasPrefix(line, "EHLO") {
			return ""
		}
		if ehlos++; ehlos == 1 {
			return "250-fake\r\n250-SMTPUTF8\r\n250-SIZE 1\r\n250 STARTTLS"
		}
		return "250-fake\r\n250 SIZE 5000"
	}}
	tr := f.start(t, p.use(plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca"}))
	if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != "Accepted" {
		t.Fatal(got)
	}
	if c := tr.Capabilities(); c != (upstream.Capabilities{MaxSize: 5000}) {
		t.Errorf("%+v", c)
	}
}

// The first message of a connection goes out in records as large as those that
// follow: a scan of 12 kB takes as many writes as a line.
func TestTheFirstRecordsAreLarge(t *testing.T) {
	p := newPeer(t, "mx.test")
	writes := func(content string) int {
		f := &fake{tcp: true, tls: p.server, ext: []string{"PIPELINING", "STARTTLS"}}
		tr := f.start(t, p.use(plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca"}))
		if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, content))); got != "Accepted" {
			t.Fatal(got)
		}
		_, _, n, _ := f.seen()
		return n
	}
	small, large := writes(text), writes(text+strings.Repeat(strings.Repeat("x", 70)+"\r\n", 170))
	if small != large {
		t.Errorf("%d writes for a line, %d for 12 kB", small, large)
	}
}

func TestGreetingAndEHLO(t *testing.T) {
	for _, c := range []struct{ at, answer, want string }{
		{"", "554 5.7.1 you are on a list", "Deferred/Upstream 554 5.7.1 greeting: you are on a list"},
		{"", "421 4.3.2 busy", "Deferred/Upstream 421 4.3.2 greeting: busy"},
		{"", "220-hello\r\n220 there", "Accepted 250 2.0.0 Ok: queued as 4F2A"},
		{"", "SSH-2.0-OpenSSH_9", "Deferred/Upstream 0  greeting: the server's reply is no SMTP reply"},
		{"", cut, "Deferred/Upstream 0  greeting: the server closed the connection"},
		{"EHLO", "502 5.5.1 what?", "Accepted 250 2.0.0 Ok: queued as 4F2A"},
		{"EHLO", "450 4.7.1 not you", "Deferred/Upstream 450 4.7.1 EHLO: not you"},
		{"EHLO", cut, "Deferred/Upstream 0  EHLO: the server closed the connection"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{answer: func(line string) string {
				if verb, _, _ := strings.Cut(line, " "); verb == c.at {
					return c.answer
				}
				return ""
			}}
			o := f.start(t).Deliver(t.Context(), message(t, text))[0]
			if got := strings.Join([]string{conformance.Kinds([]upstream.Outcome{o}), strconv.Itoa(o.Code), o.Enhanced, o.Text}, " "); got != c.want {
				t.Errorf("%s %q: got %s, want %s", c.at, c.answer, got, c.want)
			}
		})
	}
}

func TestHeloNameIsAnAddressWithoutAName(t *testing.T) {
	for local, want := range map[string]string{"192.0.2.1:9": "[192.0.2.1]", "[2001:db8::1]:9": "[IPv6:2001:db8::1]"} {
		a, err := net.ResolveTCPAddr("tcp", local)
		if err != nil {
			t.Fatal(err)
		}
		s := &session{t: New(Config{}), raw: addrConn{local: a}}
		if got := s.heloName(); got != want {
			t.Errorf("%s: %s, want %s", local, got, want)
		}
	}
}

type addrConn struct {
	net.Conn
	local net.Addr
}

func (c addrConn) LocalAddr() net.Addr { return c.local }

// The address of the socket counts, not what a name or a literal looks like.
func TestPrivateAddressesAreRefusedBehindNames(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, host := range []string{"localhost", "127.0.0.1", "::ffff:127.0.0.1"} {
		tr := New(Config{SMTP: plan.SMTP{Host: host, Port: l.Addr().(*net.TCPAddr).Port, TLS: plan.TLSNone}})
		o := tr.Deliver(t.Context(), message(t, text))[0]
		if conformance.Kinds([]upstream.Outcome{o}) != "Deferred/Upstream" || !strings.Contains(o.Text, "allowPrivateHosts") {
			t.Errorf("%s: %s: %s", host, o, o.Text)
		}
	}
}

func TestNothingListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	tr := New(Config{Private: true, SMTP: plan.SMTP{Host: "127.0.0.1", Port: port, TLS: plan.TLSNone}})
	o := tr.Deliver(t.Context(), message(t, text))[0]
	if conformance.Kinds([]upstream.Outcome{o}) != "Deferred/Upstream" || !strings.Contains(o.Text, "connection refused") {
		t.Errorf("%s", o)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := tr.Deliver(ctx, message(t, text))[0]; conformance.Kinds([]upstream.Outcome{o}) != "Deferred/Upstream" || !strings.Contains(o.Text, "stopped") {
		t.Errorf("%s", o)
	}
}
