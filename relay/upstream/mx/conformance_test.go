package mx

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

// The common suite, to a named host with a certificate for its name.
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Start: func(t *testing.T, f conformance.Fault) *conformance.Upstream {
			s := startServer(t, f)
			return &conformance.Upstream{Transport: s.transport(t), Received: s.received, Reached: s.reached}
		},
		// No credentials and no token: nobody is logged in to.
		Faults: []conformance.Fault{
			conformance.RefusesSome, conformance.RefusesMessage, conformance.CutsEarly, conformance.CutsLate,
			conformance.Stalls, conformance.Throttles, conformance.Downgrades,
		},
		UTF8: true,
	})
}

func BenchmarkDeliver(b *testing.B) {
	conformance.Benchmark(b, startServer(b, conformance.None).transport(b))
}

// server is go-smtp's, with a fault.
type server struct {
	fault   conformance.Fault
	pki     *pki
	port    int
	reached chan struct{}
	ended   chan struct{} // closed with the test

	mu       sync.Mutex
	mail     []conformance.Received
	sessions int
}

func startServer(t testing.TB, f conformance.Fault) *server {
	t.Helper()
	return startServerAt(t, f, "127.0.0.1:0")
}

func startServerAt(t testing.TB, f conformance.Fault, address string) *server {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{fault: f, pki: newPKI(t, "mx.test"), port: l.Addr().(*net.TCPAddr).Port, reached: make(chan struct{}), ended: make(chan struct{})}
	srv := gosmtp.NewServer(s)
	srv.Domain, srv.EnableSMTPUTF8 = "mx.test", true
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{s.pki.cert}, MinVersion: tls.VersionTLS12}
	if f == conformance.Downgrades {
		srv.TLSConfig = nil
	}
	srv.ErrorLog = log.New(io.Discard, "", 0)
	srv.MaxLineLength = 0 // lines are as long as a device makes them
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(narrow{l}) }() //nolint:errcheck // ends with the listener
	t.Cleanup(func() { close(s.ended); l.Close(); srv.Close(); <-done })
	return s
}

// narrow gives connections that hold little of what is not read yet: else the
// kernel takes in a message whole.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return c, c.(*net.TCPConn).SetReadBuffer(32 << 10)
}

func (s *server) transport(t testing.TB) *Transport {
	zone := &zone{}
	zone.host("mx.test", "127.0.0.1")
	return start(t, Config{
		MX: plan.MX{Verified: true, Hosts: []string{"mx.test"}, HeloName: "relay.test"}, Private: true,
		Port: s.port, Roots: s.pki.roots, Resolver: zone,
	})
}

func (s *server) address() netip.Addr { return netip.MustParseAddr("127.0.0.1") }

func (s *server) received(*testing.T) []conformance.Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]conformance.Received(nil), s.mail...)
}

func (s *server) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions++
	return &serverSession{s: s, c: c}, nil
}

type serverSession struct {
	s *server
	c *gosmtp.Conn
	m conformance.Received
}

func (x *serverSession) Mail(from string, _ *gosmtp.MailOptions) error {
	if x.s.fault == conformance.Throttles {
		return &gosmtp.SMTPError{Code: 432, EnhancedCode: gosmtp.EnhancedCode{4, 3, 2}, Message: "concurrent connections limit exceeded"}
	}
	if _, ok := x.c.TLSConnectionState(); !ok {
		return &gosmtp.SMTPError{Code: 530, EnhancedCode: gosmtp.EnhancedCode{5, 7, 0}, Message: "no TLS"}
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
