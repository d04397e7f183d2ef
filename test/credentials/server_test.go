// Package credentials tests what becomes of the credentials of upstreams in a whole
// relay: that they are checked, rotated without a restart, and shown to nobody but
// whom they are for.
package credentials

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/test/env"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a mail server with TLS that wants a password. It is as careless as one can
// be: a refusal repeats what it was given.
type server struct {
	port int
	ca   string // PEM

	mu       sync.Mutex
	password string
	seen     []string // passwords
	mails    int
}

func startServer(t *testing.T, password string) *server {
	t.Helper()
	ca := env.NewCA(t, t.TempDir())
	crt, key := ca.Issue(t, "127.0.0.1")
	cert, err := tls.LoadX509KeyPair(crt, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{port: l.Addr().(*net.TCPAddr).Port, ca: ca.PEM, password: password}
	srv := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return &session{s: s}, nil }))
	srv.Domain, srv.ErrorLog, srv.TLSConfig = "upstream.test", log.New(io.Discard, "", 0), &tls.Config{Certificates: []tls.Certificate{cert}}
	env.Serve(t, srv, l)
	return s
}

// set changes the password, as a provider's console does.
func (s *server) set(password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.password = password
}

func (s *server) counts() (logins, mails int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen), s.mails
}

func (s *server) saw(password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.seen {
		if p == password {
			return true
		}
	}
	return false
}

// yaml is a MailUpstream that logs in here by the Secret of a name; the authority is in
// the Secret ca.
func (s *server) yaml(name, secret string) string {
	return fmt.Sprintf(`---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: %s}
spec:
  type: SMTP
  smtp: {host: 127.0.0.1, port: %d, tls: {caSecretRef: {name: ca}}, authentication: {mechanism: Plain, secretRef: {name: %s}}}
`, name, s.port, secret)
}

// secret is a Secret as YAML.
func secret(name string, data map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s}\ndata:\n", name)
	for k, v := range data {
		fmt.Fprintf(&b, "  %s: %s\n", k, base64.StdEncoding.EncodeToString([]byte(v)))
	}
	return b.String()
}

type session struct {
	s  *server
	in bool
}

// AuthMechanisms has one for tokens too, which have to be got from elsewhere first.
func (x *session) AuthMechanisms() []string { return []string{sasl.Plain, "XOAUTH2"} }

func (x *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		x.s.mu.Lock()
		defer x.s.mu.Unlock()
		x.s.seen = append(x.s.seen, password)
		if username != "relay" || password != x.s.password {
			return &gosmtp.SMTPError{Code: 535, EnhancedCode: gosmtp.EnhancedCode{5, 7, 8}, Message: "no such password: " + password + " " + base64.StdEncoding.EncodeToString([]byte("\x00"+username+"\x00"+password))}
		}
		x.in = true
		return nil
	}), nil
}

func (x *session) Mail(string, *gosmtp.MailOptions) error {
	if !x.in {
		return errors.New("log in first")
	}
	return nil
}

func (x *session) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (x *session) Reset()                                 {}
func (x *session) Logout() error                          { return nil }

func (x *session) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.mails++
	return nil
}
