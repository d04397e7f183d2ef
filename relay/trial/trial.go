// Package trial sends a test scan through a relay's own sessions, as a device would,
// and tells of each step whether it passed. The message is always the same: who may
// try a relay may not write by it what they like.
//
// It may import relay/reply and the standard library.
package trial

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// Request is what is to be tried.
type Request struct {
	Listener string     `json:"listener,omitempty"` // empty: the first of the relay
	Client   netip.Addr `json:"client"`             // the device whose place it takes
	User     string     `json:"user,omitempty"`
	Password string     `json:"password,omitempty"` // of User
	From     string     `json:"from"`
	To       []string   `json:"to"`
	Via      string     `json:"via,omitempty"` // upstream; empty: by the routes
}

// The steps behind which a message stays until a person lets it go.
const (
	Held      = "held"
	Suspended = "suspended" // its upstream is
)

// Step is one step of a trial.
type Step struct {
	Name   string `json:"step"` // connect, tls, login, sender, recipient, message, held, suspended, upstream, done
	OK     bool   `json:"ok"`
	Wait   bool   `json:"wait,omitempty"` // neither passed nor failed: it is tried again
	ID     string `json:"id,omitempty"`   // queue ID, once there is one
	Text   string `json:"text,omitempty"` // the words of who answered
	Remedy string `json:"remedy,omitempty"`
}

// Check says what is wrong with a request before anything is tried; nil: nothing.
func (r *Request) Check() error {
	switch {
	case !r.Client.IsValid():
		return errors.New("client: want the IP address of the device whose place the test takes")
	case r.From == "" || len(r.To) == 0:
		return errors.New("from and to: want addresses")
	case len(r.To) > 10:
		return errors.New("to: at most 10 recipients")
	}
	for _, a := range append([]string{r.From}, r.To...) {
		if len(a) > 254 || strings.ContainsAny(a, "<>\r\n ") || !strings.Contains(a, "@") {
			return fmt.Errorf("%q: want an address", a)
		}
	}
	return nil
}

// MessageID is a new one for a trial.
func MessageID(hostname string) string {
	return "<test." + strings.ToLower(rand.Text()) + "@" + hostname + ">"
}

// stepTime bounds each step.
const stepTime = 30 * time.Second

// session is the device's side.
type session struct {
	conn net.Conn
	text *textproto.Conn
	told func(Step)
}

// errFailed ends a trial whose failed step has been told.
var errFailed = errors.New("a step failed")

// Send speaks SMTP on conn as a device does and tells each step; on a *tls.Conn TLS
// comes first. It returns the queue ID; or an error when a step failed, which was told.
func Send(ctx context.Context, conn net.Conn, r Request, messageID string, told func(Step)) (id string, err error) {
	defer context.AfterFunc(ctx, func() { conn.Close() })() //nolint:errcheck // it ends what waits
	s := &session{conn: conn, text: textproto.NewConn(conn), told: told}
	defer s.text.Close() //nolint:errcheck // it is over
	if c, ok := conn.(*tls.Conn); ok {
		if err := s.shake(ctx, c); err != nil {
			return "", err
		}
	}
	if _, err := s.reply("connect", 220); err != nil {
		return "", err
	}
	ext, err := s.hello(ctx)
	if err != nil {
		return "", err
	}
	if r.User != "" {
		if err := s.login(ext, r); err != nil {
			return "", err
		}
	}
	if err := s.do("sender", 250, "MAIL FROM:<%s>", r.From); err != nil {
		return "", err
	}
	for _, to := range r.To {
		if err := s.do("recipient", 250, "RCPT TO:<%s>", to); err != nil {
			return "", err
		}
	}
	if _, err := s.ask("message", 354, "DATA"); err != nil {
		return "", err
	}
	s.conn.SetDeadline(time.Now().Add(10 * stepTime)) //nolint:errcheck // a closed connection says so
	w := bufio.NewWriter(s.conn)
	fmt.Fprint(w, Scan(r, messageID, time.Now()), ".\r\n")
	if err := w.Flush(); err != nil {
		return "", s.fail("message", err)
	}
	line, err := s.reply("message", 250)
	if err != nil {
		return "", err
	}
	f := strings.Fields(line)
	id = f[len(f)-1]
	told(Step{Name: "message", OK: true, ID: id, Text: line})
	fmt.Fprint(s.conn, "QUIT\r\n")
	return id, nil
}

func (s *session) fail(step string, err error) error {
	s.told(Step{Name: step, Text: err.Error()})
	return errFailed
}

// reply reads one, of the code that is wanted.
func (s *session) reply(step string, want int) (string, error) {
	s.conn.SetReadDeadline(time.Now().Add(stepTime)) //nolint:errcheck // a closed connection says so
	code, text, err := s.text.ReadResponse(0)
	if err != nil && code == 0 {
		return "", s.fail(step, fmt.Errorf("the connection ended: %w", err))
	}
	line := reply.Line(fmt.Sprintf("%d %s", code, text), 600)
	if code != want {
		s.told(Step{Name: step, Text: line, Remedy: remedy(line)})
		return "", errFailed
	}
	return line, nil
}

// remedy is where the meaning of one of our refusals stands.
func remedy(line string) string {
	if i := strings.Index(line, "PR-"); i >= 0 && len(line) >= i+6 {
		return "docs/replies.md says what to do about " + line[i:i+6]
	}
	return ""
}

func (s *session) ask(step string, want int, format string, a ...any) (string, error) {
	s.conn.SetWriteDeadline(time.Now().Add(stepTime)) //nolint:errcheck // the same
	if _, err := fmt.Fprintf(s.conn, format+"\r\n", a...); err != nil {
		return "", s.fail(step, err)
	}
	return s.reply(step, want)
}

// do is ask, and tells that it passed.
func (s *session) do(step string, want int, format string, a ...any) error {
	line, err := s.ask(step, want, format, a...)
	if err == nil {
		s.told(Step{Name: step, OK: true, Text: fmt.Sprintf(format, a...) + ": " + line})
	}
	return err
}

// hello says EHLO, and begins TLS where it is offered.
func (s *session) hello(ctx context.Context) (ext string, err error) {
	ext, err = s.ehlo()
	if err != nil {
		return "", err
	}
	s.told(Step{Name: "connect", OK: true, Text: strings.Fields(ext)[0]})
	if !strings.Contains(ext, "STARTTLS") {
		return ext, nil
	}
	if _, err := s.ask("tls", 220, "STARTTLS"); err != nil {
		return "", err
	}
	c := tls.Client(s.conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // it is the relay's own, in this process
	if err := s.shake(ctx, c); err != nil {
		return "", err
	}
	s.conn, s.text = c, textproto.NewConn(c)
	return s.ehlo()
}

// shake makes the handshake of TLS.
func (s *session) shake(ctx context.Context, c *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		return s.fail("tls", err)
	}
	s.told(Step{Name: "tls", OK: true, Text: tls.VersionName(c.ConnectionState().Version)})
	return nil
}

// ehlo gives the reply, all in one line.
func (s *session) ehlo() (string, error) {
	s.conn.SetDeadline(time.Now().Add(stepTime)) //nolint:errcheck // a closed connection says so
	if _, err := fmt.Fprint(s.conn, "EHLO printer-relay-test\r\n"); err != nil {
		return "", s.fail("connect", err)
	}
	code, text, err := s.text.ReadResponse(250)
	if err != nil {
		return "", s.fail("connect", fmt.Errorf("%d %s", code, reply.Line(err.Error(), 300)))
	}
	return strings.ReplaceAll(text, "\n", " "), nil
}

func (s *session) login(ext string, r Request) error {
	if !strings.Contains(ext, "PLAIN") {
		return s.fail("login", errors.New("the listener offers no AUTH PLAIN to this device: set authentication.mode and mechanisms, and plaintext: Allow where there is no TLS"))
	}
	line, err := s.ask("login", 235, "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+r.User+"\x00"+r.Password)))
	if err == nil {
		s.told(Step{Name: "login", OK: true, Text: line})
	}
	return err
}
