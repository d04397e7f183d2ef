package rig

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/printerrelay/printer-relay/test/env"
)

// Upstream is a scripted mail server on loopback. Set its functions before the
// relay talks to it, or under Script.
type Upstream struct {
	Port int

	mu       sync.Mutex
	script   Script
	messages []Received
	sessions int
}

// Script says how an Upstream answers; nil functions accept.
type Script struct {
	Mail   func(from string) error
	Rcpt   func(to string) error
	Data   func(m Received) error // ErrCut closes the connection in place of a reply
	Before func()                 // called when the whole message is in, before the reply
}

// ErrCut as the result of Script.Data closes the connection after the final dot.
var ErrCut = errors.New("cut")

// Received is one message that the upstream got whole, whatever it answered.
type Received struct {
	From string
	To   []string
	Data string
}

// StartUpstream runs an Upstream until the test ends.
func StartUpstream(t *testing.T, s Script) *Upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &Upstream{Port: l.Addr().(*net.TCPAddr).Port, script: s}
	srv := gosmtp.NewServer(u)
	srv.Domain, srv.ErrorLog = "upstream.test", log.New(io.Discard, "", 0)
	env.Serve(t, srv, l)
	return u
}

// Script changes how the upstream answers from now on.
func (u *Upstream) Script(s Script) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.script = s
}

func (u *Upstream) now() Script {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.script
}

// Messages are all that came in whole so far.
func (u *Upstream) Messages() []Received {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.messages)
}

// Sessions counts the connections so far.
func (u *Upstream) Sessions() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sessions
}

// YAML is a MailUpstream that leads here; extra is further lines of its spec.
func (u *Upstream) YAML(name, extra string) string {
	return fmt.Sprintf(`---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: %s}
spec:
  type: SMTP
  smtp: {host: 127.0.0.1, port: %d, tls: {mode: None}}
%s
`, name, u.Port, extra)
}

// NewSession implements the server's backend.
func (u *Upstream) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sessions++
	return &upstreamSession{u: u, c: c}, nil
}

type upstreamSession struct {
	u *Upstream
	c *gosmtp.Conn
	m Received
}

func (s *upstreamSession) Reset()        { s.m = Received{} }
func (s *upstreamSession) Logout() error { return nil }

func (s *upstreamSession) Mail(from string, _ *gosmtp.MailOptions) error {
	s.m = Received{From: from}
	if f := s.u.now().Mail; f != nil {
		return f(from)
	}
	return nil
}

func (s *upstreamSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if f := s.u.now().Rcpt; f != nil {
		if err := f(to); err != nil {
			return err
		}
	}
	s.m.To = append(s.m.To, to)
	return nil
}

func (s *upstreamSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.m.Data = string(b)
	script := s.u.now()
	if script.Before != nil {
		script.Before()
	}
	s.u.mu.Lock()
	s.u.messages = append(s.u.messages, s.m)
	s.u.mu.Unlock()
	if script.Data == nil {
		return nil
	}
	err = script.Data(s.m)
	if errors.Is(err, ErrCut) {
		s.c.Conn().Close()
	}
	return err
}

// Reply makes an SMTP reply for a script: Reply(550, "5.1.1", "no such user").
func Reply(code int, enhanced, text string) error {
	e := &gosmtp.SMTPError{Code: code, Message: text}
	if _, err := fmt.Sscanf(enhanced, "%d.%d.%d", &e.EnhancedCode[0], &e.EnhancedCode[1], &e.EnhancedCode[2]); err != nil {
		panic("rig: bad enhanced code " + enhanced)
	}
	return e
}

// Refuse is a Script.Rcpt that answers err to the named addresses.
func Refuse(err error, addresses ...string) func(string) error {
	return func(to string) error {
		if slices.ContainsFunc(addresses, func(a string) bool { return strings.EqualFold(a, to) }) {
			return err
		}
		return nil
	}
}
