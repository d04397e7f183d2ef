package ledger

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/printerrelay/printer-relay/test/env"
)

// Options say how an upstream behaves. The zero value takes all mail on a port of
// the loopback interface, from one relay, which is killed and started.
type Options struct {
	Listen func() (net.Listener, error)     // where, each time that it starts; nil: the same port
	TLS    *tls.Config                      // nil: in clear
	LogIn  func(user, password string) bool // nil: mail is taken without AUTH; it wants TLS
	Relays bool                             // several: a session outlives the life in which it began
}

// Upstream is a mail server that outlives the relay and counts what it accepts.
type Upstream struct {
	Port int

	options  Options
	server   *gosmtp.Server // that runs
	done     chan struct{}  // it has ended
	mu       sync.Mutex
	off      bool             // it takes nothing: the power is off
	gate     chan struct{}    // closed: messages may be accepted
	slow     time.Duration    // the longest that it thinks before it accepts
	life     int              // of the relay
	scans    map[string][]int // the lives in which each was accepted
	notices  map[string][]int // the same of the notifications about them
	broken   []string
	deferred map[string]bool
	awaited  map[string]bool // refused, and not notified of yet
	open     map[*session]bool
	sessions map[*session]bool // that are connected
}

// StartUpstream starts one until the end of the test.
func StartUpstream(t testing.TB) *Upstream {
	t.Helper()
	return StartUpstreamWith(t, Options{})
}

// StartUpstreamWith is StartUpstream with options.
func StartUpstreamWith(t testing.TB, o Options) *Upstream {
	t.Helper()
	u := &Upstream{
		options: o, scans: map[string][]int{}, notices: map[string][]int{}, sessions: map[*session]bool{},
		deferred: map[string]bool{}, awaited: map[string]bool{}, open: map[*session]bool{}, gate: make(chan struct{}),
	}
	close(u.gate)
	if err := u.Resume(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Cut() })
	return u
}

// Resume starts it again after Cut.
func (u *Upstream) Resume() error {
	listen := u.options.Listen
	if listen == nil {
		listen = func() (net.Listener, error) { return net.Listen("tcp", env.Loopback(u.Port)) }
	}
	l, err := listen()
	if err != nil {
		return err
	}
	u.Port = l.Addr().(*net.TCPAddr).Port
	srv := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return u.session() }))
	srv.Domain, srv.TLSConfig = "upstream.test", u.options.TLS
	srv.ErrorLog = log.New(io.Discard, "", 0)
	u.mu.Lock()
	u.off = false
	u.mu.Unlock()
	u.server, u.done = srv, make(chan struct{})
	go func() {
		defer close(u.done)
		srv.Serve(l) //nolint:errcheck // ends with the listener
	}()
	return nil
}

// Cut ends it at once, with all its connections, and gives how many were open: a
// transaction in each may be made again, since its answer may be on the way.
func (u *Upstream) Cut() (open int) {
	u.mu.Lock()
	u.off = true // nothing is accepted behind this
	open = len(u.sessions)
	u.mu.Unlock()
	u.server.Close() //nolint:errcheck // it is over
	<-u.done
	return open
}

// Mark begins another life, without an end of what was begun.
func (u *Upstream) Mark() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.life++
}

// Slow has it think up to d before it accepts a message.
func (u *Upstream) Slow(d time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.slow = d
}

// Hold has messages wait for Release when they are there as a whole.
func (u *Upstream) Hold() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gate = make(chan struct{})
}

// Release is the other side of Hold.
func (u *Upstream) Release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.gate)
}

// Off ends a life of the relay: from now on nothing is accepted. On begins the
// next.
func (u *Upstream) Off() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.off = true
}

// On is the other side of Off.
func (u *Upstream) On() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.off = false
	u.life++
}

// Open tells how many transactions are open, with scans and with notifications.
func (u *Upstream) Open() (scans, notices int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for s := range u.open {
		if s.notice {
			notices++
		} else {
			scans++
		}
	}
	return scans, notices
}

// Awaited tells about how many refused scans no notification has come yet.
func (u *Upstream) Awaited() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.awaited)
}

// Has tells whether a scan has arrived.
func (u *Upstream) Has(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.scans[id]) > 0
}

// Notified tells whether a notification about a scan has arrived.
func (u *Upstream) Notified(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.notices[id]) > 0
}

// Count is the number of scans that have arrived.
func (u *Upstream) Count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.scans)
}

type session struct {
	u      *Upstream
	life   int // in which it began, or its transaction: what the kernel still had of it when the relay was killed may be read later
	notice bool
	known  bool // it has logged in, or need not
}

func (u *Upstream) session() (gosmtp.Session, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := &session{u: u, life: u.life, known: u.options.LogIn == nil}
	u.sessions[s] = true
	return s, nil
}

func (s *session) AuthMechanisms() []string {
	if s.known {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if s.u.options.LogIn == nil || !s.u.options.LogIn(user, password) {
			return &gosmtp.SMTPError{Code: 535, EnhancedCode: gosmtp.EnhancedCode{5, 7, 8}, Message: "Who are you"}
		}
		s.known = true
		return nil
	}), nil
}

func (s *session) Reset() {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	delete(s.u.open, s)
}

func (s *session) Logout() error {
	s.Reset()
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	delete(s.u.sessions, s)
	return nil
}

var errOff = &gosmtp.SMTPError{Code: 421, EnhancedCode: gosmtp.EnhancedCode{4, 3, 2}, Message: "The power is off"}

func (s *session) Mail(from string, _ *gosmtp.MailOptions) error {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	if s.u.off {
		return errOff
	}
	if !s.known {
		return gosmtp.ErrAuthRequired
	}
	if s.u.options.Relays {
		s.life = s.u.life
	}
	s.notice = from == ""
	s.u.open[s] = true
	return nil
}

func (s *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	id, _, _ := strings.Cut(to, "@")
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	switch {
	case strings.HasPrefix(id, Later) && !s.u.deferred[id]:
		s.u.deferred[id] = true
		return &gosmtp.SMTPError{Code: 450, EnhancedCode: gosmtp.EnhancedCode{4, 2, 0}, Message: "Later"}
	case strings.HasPrefix(id, Never):
		if len(s.u.notices[id]) == 0 {
			s.u.awaited[id] = true
		}
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "Nobody of that name"}
	}
	return nil
}

var (
	scanID  = regexp.MustCompile(`(?m)^X-Scan: (\S+)\r$`)
	scanSum = regexp.MustCompile(`(?m)^X-Sum: (\S+)\r$`)
)

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err // cut off: not accepted
	}
	s.u.mu.Lock()
	slow, gate := s.u.slow, s.u.gate
	s.u.mu.Unlock()
	select {
	case <-gate:
	case <-time.After(env.Wait):
		return errOff
	}
	if slow > 0 {
		time.Sleep(time.Duration(rand.Int64N(int64(slow))))
	}
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	if s.u.off || s.u.life != s.life && !s.u.options.Relays {
		return errOff
	}
	return s.accept(b)
}

// accept wants the mutex held.
func (s *session) accept(b []byte) error {
	u := s.u
	m := scanID.FindSubmatch(b)
	if m == nil {
		u.broken = append(u.broken, fmt.Sprintf("without an ID: %.200q", b))
		return nil
	}
	id := string(m[1])
	if s.notice {
		u.notices[id] = append(u.notices[id], s.life)
		delete(u.awaited, id)
		return nil
	}
	_, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	if want := scanSum.FindSubmatch(b); want == nil || string(want[1]) != sum(body) {
		u.broken = append(u.broken, id)
	}
	u.scans[id] = append(u.scans[id], s.life)
	return nil
}
