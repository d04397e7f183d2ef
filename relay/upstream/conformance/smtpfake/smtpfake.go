// Package smtpfake is go-smtp's server with the faults of the conformance suite,
// for the types of upstream that speak SMTP.
//
// It may import testing, test/pki, relay/envelope, relay/upstream, upstream/conformance,
// go-smtp and go-sasl.
package smtpfake

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
	"github.com/printerrelay/printer-relay/test/pki"
)

// Options say how the server is.
type Options struct {
	Address   string    // to listen at; empty: 127.0.0.1, any port
	Authority *pki.Pair // of its certificate; nil: one of its own
	Login     *Login    // without which no mail is taken; nil: nobody logs in
}

// Login is how one logs in.
type Login struct {
	Mechanism string
	// Server makes what speaks with a client on the server's port, and is told who
	// has the right to send by granted.
	Server func(port int, granted func(bool)) sasl.Server
}

// Server is a server with a certificate for mx.test, that ends with its test. It takes
// mail behind STARTTLS only, which Downgrades takes away.
type Server struct {
	Port      int
	Authority *pki.Pair     // of its certificate
	Reached   chan struct{} // closed when a message is there that Stalls does not answer

	fault conformance.Fault
	login *Login
	ended chan struct{} // closed with the test

	mu       sync.Mutex
	mail     []conformance.Received
	sessions int
}

// Start starts a server with a fault.
func Start(t testing.TB, f conformance.Fault, o Options) *Server {
	t.Helper()
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", o.Address)
	if err != nil {
		t.Fatal(err)
	}
	if o.Authority == nil {
		o.Authority = pki.Authority(t)
	}
	s := &Server{Authority: o.Authority, Port: l.Addr().(*net.TCPAddr).Port, Reached: make(chan struct{}), fault: f, login: o.Login, ended: make(chan struct{})}
	srv := gosmtp.NewServer(s)
	srv.Domain, srv.EnableSMTPUTF8 = "mx.test", true
	if f != conformance.Downgrades {
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{o.Authority.Issue(t, pki.Options{}, srv.Domain).TLS()}, MinVersion: tls.VersionTLS12}
	}
	srv.ErrorLog = log.New(io.Discard, "", 0)
	srv.MaxLineLength = 0 // lines are as long as a device makes them
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(conformance.Narrow{Listener: l}) }() //nolint:errcheck // ends with the listener
	// Close of the server knows no listener before Serve has begun: the listener
	// is closed on its own, so that a Serve that comes later ends as well.
	t.Cleanup(func() {
		close(s.ended)
		l.Close()   //nolint:errcheck // one of the two closes it a second time
		srv.Close() //nolint:errcheck // likewise
		<-done
	})
	return s
}

// Upstream is the server as the suite sees it, with a transport to it.
func (s *Server) Upstream(to upstream.Transport) *conformance.Upstream {
	return &conformance.Upstream{Transport: to, Received: s.Received, Reached: s.Reached}
}

// Received gives what was taken.
func (s *Server) Received(*testing.T) []conformance.Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mail)
}

// Sessions counts those that began; STARTTLS begins another.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// NewSession implements go-smtp's Backend.
func (s *Server) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions++
	return &session{s: s, c: c}, nil
}

type session struct {
	s       *Server
	c       *gosmtp.Conn
	granted bool
	m       conformance.Received
}

func (x *session) AuthMechanisms() []string {
	if x.s.login == nil {
		return nil
	}
	return []string{x.s.login.Mechanism}
}

func (x *session) Auth(string) (sasl.Server, error) {
	if x.s.login == nil {
		return nil, gosmtp.ErrAuthUnsupported
	}
	return x.s.login.Server(x.s.Port, func(granted bool) { x.granted = granted }), nil
}

func refusal(code, class, subject, detail int, text string) error {
	return &gosmtp.SMTPError{Code: code, EnhancedCode: gosmtp.EnhancedCode{class, subject, detail}, Message: text}
}

func (x *session) Mail(from string, _ *gosmtp.MailOptions) error {
	if x.s.login != nil && !x.granted {
		return gosmtp.ErrAuthRequired
	}
	if x.s.fault == conformance.Throttles {
		return refusal(432, 4, 3, 2, "concurrent connections limit exceeded")
	}
	if _, ok := x.c.TLSConnectionState(); !ok {
		return refusal(530, 5, 7, 0, "no TLS")
	}
	x.m = conformance.Received{Sender: from}
	return nil
}

func (x *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	switch {
	case x.s.fault == conformance.RefusesSome && to == conformance.Refused:
		return refusal(550, 5, 1, 1, "no such user")
	case x.s.fault == conformance.RefusesSome && to == conformance.Delayed:
		return refusal(450, 4, 7, 1, "greylisted")
	}
	i := strings.LastIndexByte(to, '@')
	x.m.Recipients = append(x.m.Recipients, envelope.Address{Local: to[:i], Domain: to[i+1:]}.String()) // go-smtp takes the quotes off
	return nil
}

func (x *session) Data(r io.Reader) error {
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
		return refusal(554, 5, 6, 0, "not that")
	case conformance.Stalls:
		close(x.s.Reached)
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

func (x *session) Reset()        {}
func (x *session) Logout() error { return nil }
