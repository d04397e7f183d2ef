package smtp

import (
	"errors"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

// The common suite, by STARTTLS and AUTH, against a server that is not ours.
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Start: func(t *testing.T, f conformance.Fault) *conformance.Upstream {
			s := startServer(t, f)
			return &conformance.Upstream{Transport: s.transport(t), Received: s.received, Reached: s.reached}
		},
		// ExpiresToken is in TestConformanceByToken: a password does not expire.
		Faults: []conformance.Fault{
			conformance.RefusesSome, conformance.RefusesMessage, conformance.CutsEarly, conformance.CutsLate,
			conformance.Stalls, conformance.WrongCredentials, conformance.Throttles, conformance.Downgrades,
		},
		UTF8:    true,
		Secrets: []string{"hunter2", b64("hunter2"), b64("\x00relay\x00hunter2")},
	})
}

func BenchmarkDeliver(b *testing.B) {
	s := startServer(b, conformance.None)
	conformance.Benchmark(b, s.transport(b))
}

// server is go-smtp's, with a fault.
type server struct {
	fault   conformance.Fault
	token   string // if set, OAUTHBEARER with it is the only login
	pki     *pki
	port    int
	reached chan struct{}
	ended   chan struct{} // closed with the test

	mu   sync.Mutex
	mail []conformance.Received
}

func startServer(t testing.TB, f conformance.Fault) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{fault: f, pki: newPKI(t, "mx.test"), port: l.Addr().(*net.TCPAddr).Port, reached: make(chan struct{}), ended: make(chan struct{})}
	srv := gosmtp.NewServer(s)
	srv.Domain, srv.TLSConfig, srv.EnableSMTPUTF8 = "mx.test", s.pki.server, true
	if f == conformance.Downgrades {
		srv.TLSConfig = nil
	}
	srv.ErrorLog = log.New(io.Discard, "", 0)
	srv.MaxLineLength = 0 // lines are as long as a device makes them
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(narrow{l}) }() //nolint:errcheck // ends with the listener
	// Close of the server knows no listener before Serve has begun: the listener
	// is closed on its own, so that a Serve that comes later ends as well.
	t.Cleanup(func() { close(s.ended); l.Close(); srv.Close(); <-done })
	return s
}

// narrow gives connections that hold little of what is not read yet: else the
// kernel takes in a message whole, and then nobody knows whether a server that
// hung up had read it.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return c, c.(*net.TCPConn).SetReadBuffer(32 << 10)
}

func (s *server) transport(t testing.TB, change ...func(*Config)) *Transport {
	c := Config{Name: "out", Private: true, Secrets: func() secrets.Source { return s.pki.secrets }, SMTP: plan.SMTP{
		Host: "127.0.0.1", Port: s.port, TLS: plan.TLSStartTLS, ServerName: "mx.test", CASecret: "ca", Auth: &plan.SMTPAuth{Secret: "login"}, HeloName: "relay.test",
	}}
	for _, do := range change {
		do(&c)
	}
	tr := New(c)
	t.Cleanup(func() { tr.Close() })
	return tr
}

func (s *server) received(*testing.T) []conformance.Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]conformance.Received(nil), s.mail...)
}

func (s *server) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	return &serverSession{s: s, c: c}, nil
}

type serverSession struct {
	s      *server
	c      *gosmtp.Conn
	authed bool
	m      conformance.Received
}

func (x *serverSession) AuthMechanisms() []string {
	if x.s.token != "" {
		return []string{sasl.OAuthBearer}
	}
	return []string{sasl.Plain}
}

func (x *serverSession) Auth(string) (sasl.Server, error) {
	if x.s.token != "" {
		return x.bearerServer(), nil
	}
	return sasl.NewPlainServer(func(_, user, password string) error {
		x.authed = user == "relay" && password == "hunter2" && x.s.fault != conformance.WrongCredentials
		if !x.authed {
			return &gosmtp.SMTPError{Code: 535, EnhancedCode: gosmtp.EnhancedCode{5, 7, 8}, Message: "wrong: " + password}
		}
		return nil
	}), nil
}

func (x *serverSession) Mail(from string, _ *gosmtp.MailOptions) error {
	if !x.authed {
		return gosmtp.ErrAuthRequired
	}
	if x.s.fault == conformance.Throttles {
		return &gosmtp.SMTPError{Code: 432, EnhancedCode: gosmtp.EnhancedCode{4, 3, 2}, Message: "concurrent connections limit exceeded"}
	}
	if _, ok := x.c.TLSConnectionState(); !ok {
		return errors.New("no TLS")
	}
	x.m = conformance.Received{Sender: from}
	return nil
}

func (x *serverSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if x.s.fault == conformance.RefusesSome {
		switch to {
		case conformance.Refused:
			return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
		case conformance.Delayed:
			return &gosmtp.SMTPError{Code: 450, EnhancedCode: gosmtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}
		}
	}
	i := strings.LastIndexByte(to, '@')
	x.m.Recipients = append(x.m.Recipients, envelope.Address{Local: to[:i], Domain: to[i+1:]}.String()) // go-smtp takes the quotes off
	return nil
}

func (x *serverSession) Data(r io.Reader) error {
	if x.s.fault == conformance.CutsEarly {
		if _, err := io.CopyN(io.Discard, r, 1000); err != nil {
			return err
		}
		return x.c.Conn().Close()
	}
	if err := x.m.Read(r); err != nil {
		return err
	}
	switch x.s.fault {
	case conformance.RefusesMessage:
		return &gosmtp.SMTPError{Code: 554, EnhancedCode: gosmtp.EnhancedCode{5, 6, 0}, Message: "not that"}
	case conformance.Stalls:
		close(x.s.reached)
		<-x.s.ended
	}
	x.s.mu.Lock()
	x.s.mail = append(x.s.mail, x.m)
	x.s.mu.Unlock()
	if x.s.fault == conformance.CutsLate {
		return x.c.Conn().Close()
	}
	return nil
}

func (x *serverSession) Reset()        {}
func (x *serverSession) Logout() error { return nil }
