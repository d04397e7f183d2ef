package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/transcript"
	"github.com/printerrelay/printer-relay/test/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test, far above what any step takes.
const patience = time.Minute

// rig is a go-smtp server behind wire, whose sessions take everything.
type rig struct {
	t        testing.TB
	raw      net.Listener
	l        *Listener
	srv      *gosmtp.Server
	settings Settings
	limits   Limits
	asked    *[]netip.Addr // if set, takes whose settings were asked for
	unread   bool          // sessions leave the message unread
	decline  bool          // sessions decline it

	mu       sync.Mutex
	mails    []mail
	errs     []error // of reading messages
	refusals []string
	refused  []string // connections
	failed   *transcript.Store
	panics   []string
}

// mail is what a session was given.
type mail struct {
	from string
	to   []string
	data string
	conn *Conn
}

// start runs a server on loopback until the test ends.
func start(t testing.TB, change ...func(*rig)) *rig {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, raw, change...)
}

func startOn(t testing.TB, raw net.Listener, change ...func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, raw: raw, failed: transcript.NewStore(), settings: Settings{Hostname: "relay.test", LineEndings: "Normalize", Idle: patience}}
	r.settings.Capabilities = func(*Conn) []string { return []string{"PIPELINING", "SIZE 1000000"} }
	r.settings.Refused = func(_ *Conn, verb string, rep *reply.Reply, cause string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refusals = append(r.refusals, verb+" "+rep.String()+" "+cause)
	}
	for _, f := range change {
		f(r)
	}
	r.l = New(raw, func(a netip.Addr) Settings {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.asked != nil {
			*r.asked = append(*r.asked, a)
		}
		return r.settings
	}, func() Limits { return r.limits }, Hooks{
		Ended: func(c *Conn, rec *transcript.Recorder) {
			r.failed.Add(rec, c.Addr.Addr(), transcript.About{ID: c.ID, Listener: "test"})
		},
		Refused: func(reason string, client netip.Addr) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.refused = append(r.refused, reason+" "+client.String())
		},
	})
	r.srv = gosmtp.NewServer(r)
	r.srv.AllowInsecureAuth, r.srv.EnableSMTPUTF8, r.srv.MaxLineLength = true, true, 0
	r.srv.ErrorLog = log.New(panicLog{r}, "", 0)
	served := make(chan struct{})
	r.l.Start()
	go func() { defer close(served); r.srv.Serve(r.l) }() //nolint:errcheck // ends with the listener
	t.Cleanup(func() {
		r.l.Close() //nolint:errcheck // it closes
		<-served
		if err := r.srv.Shutdown(context.Background()); err != nil && !errors.Is(err, gosmtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return r
}

type panicLog struct{ r *rig }

func (p panicLog) Write(b []byte) (int, error) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.r.panics = append(p.r.panics, string(b))
	return len(b), nil
}

func lenient(r *rig)  { r.settings.Lenient, r.settings.Domain = true, "corp.example" }
func bareLF(r *rig)   { r.settings.LineEndings = "BareLF" }
func withTLS(r *rig)  { r.settings.TLS = testTLS(r.t) }
func implicit(r *rig) { r.settings.TLS, r.settings.Implicit = testTLS(r.t), true }

// testTLS is a server's, with a certificate that nobody trusts.
func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	return &tls.Config{Certificates: []tls.Certificate{pki.Self(t, pki.Options{}, "relay.test").TLS()}, MinVersion: tls.VersionTLS12, GetConfigForClient: transcript.NoteOffer}
}

var clientTLS = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // the certificate is the test's own

// got gives what sessions were given so far.
func (r *rig) got() []mail {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.mails)
}

// one waits for nothing: the message was answered before.
func (r *rig) one() mail {
	r.t.Helper()
	m := r.got()
	if len(m) != 1 {
		r.t.Fatalf("%d messages came in, want 1: %+v", len(m), m)
	}
	return m[0]
}

// NewSession implements gosmtp.Backend.
func (r *rig) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	return &testSession{r: r, conn: c.Conn().(*Conn)}, nil
}

type testSession struct {
	r    *rig
	conn *Conn
	m    mail
}

func (s *testSession) Reset()                                        { s.m = mail{} }
func (s *testSession) Logout() error                                 { return nil }
func (s *testSession) Mail(from string, _ *gosmtp.MailOptions) error { s.m.from = from; return nil }
func (s *testSession) AuthMechanisms() []string                      { return []string{"PLAIN"} }

func (s *testSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	switch {
	case strings.HasPrefix(to, "panic@"):
		panic("asked for")
	case strings.HasPrefix(to, "no@"):
		s.conn.Answer(reply.RecipientRefused(to))
		return errors.New("secret cause")
	}
	s.m.to = append(s.m.to, to)
	return nil
}

func (s *testSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "u" || strings.Trim(password, "p") != "" {
			s.conn.Answer(reply.AuthFailed())
			return errors.New("secret cause")
		}
		return nil
	}), nil
}

func (s *testSession) Data(io.Reader) error {
	if s.r.decline {
		s.conn.Decline()
		s.conn.Answer(reply.Busy())
		return errors.New("secret cause")
	}
	if s.r.unread {
		s.conn.Answer(reply.NotStored())
		return errors.New("secret cause")
	}
	b, err := io.ReadAll(s.conn.Body())
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if err != nil {
		s.r.errs = append(s.r.errs, err)
		s.conn.Abort()
		return err
	}
	s.m.data, s.m.conn = string(b), s.conn
	s.r.mails = append(s.r.mails, s.m)
	return &gosmtp.SMTPError{Code: 250, EnhancedCode: gosmtp.EnhancedCode{2, 0, 0}, Message: fmt.Sprintf("Queued as %d", len(s.r.mails))}
}

// client is a copier: it writes octets and reads replies.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	conn, err := net.DialTimeout("tcp", r.raw.Addr().String(), patience)
	if err != nil {
		r.t.Fatal(err)
	}
	return newClient(r.t, conn)
}

func newClient(t testing.TB, conn net.Conn) *client {
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // the test is over
	return &client{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// greeted gives a client that has seen the banner.
func (r *rig) greeted() *client {
	r.t.Helper()
	c := r.dial()
	c.want("220 relay.test ")
	return c
}

func (c *client) write(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatalf("write %.60q: %v", s, err)
	}
}

// reply reads one reply, its lines joined by \n; "" at the end of the connection.
func (c *client) reply() string {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // the read says so
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			c.t.Fatalf("no reply within %s", patience)
		}
		if err != nil {
			return strings.Join(lines, "\n")
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n")
		}
	}
}

func (c *client) want(prefix string) string {
	c.t.Helper()
	got := c.reply()
	if !strings.HasPrefix(got, prefix) || prefix == "" && got != "" {
		c.t.Fatalf("got reply %q, want %q", got, prefix)
	}
	return got
}

// ended fails the test unless the server closes the connection.
func (c *client) ended() {
	c.t.Helper()
	c.want("")
}

func (c *client) cmd(line, want string) string {
	c.t.Helper()
	c.write(line + "\r\n")
	return c.want(want)
}

// begin opens a transaction up to the 354.
func (c *client) begin() {
	c.t.Helper()
	c.cmd("EHLO copier.test", "250-relay.test\n")
	c.envelope()
}

func (c *client) envelope() {
	c.t.Helper()
	c.cmd("MAIL FROM:<a@b.example>", "250 2.1.0")
	c.cmd("RCPT TO:<c@d.example>", "250 2.1.5")
	c.cmd("DATA", "354 ")
}

// pipes is a listener in memory, for tests whose time is a bubble's.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// pipe is a net.Pipe with an address; it counts the writes of the server.
type pipe struct {
	net.Conn
	mu     sync.Mutex
	writes int
}

func (p *pipe) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1234} }

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	p.writes++
	p.mu.Unlock()
	return p.Conn.Write(b)
}

func (p *pipes) dial(t *testing.T) (*client, *pipe) {
	near, far := net.Pipe()
	s := &pipe{Conn: far}
	p.conns <- s
	return newClient(t, near), s
}

// eventually waits for what another goroutine is about to do.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			r.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
