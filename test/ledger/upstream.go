package ledger

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/printerrelay/printer-relay/test/env"
)

// Upstream is a mail server that outlives the relay and counts what it accepts.
type Upstream struct {
	Port int

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
}

// StartUpstream starts one until the end of the test.
func StartUpstream(t testing.TB) *Upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &Upstream{
		Port: l.Addr().(*net.TCPAddr).Port, scans: map[string][]int{}, notices: map[string][]int{},
		deferred: map[string]bool{}, awaited: map[string]bool{}, open: map[*session]bool{}, gate: make(chan struct{}),
	}
	close(u.gate)
	srv := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return u.session(), nil }))
	srv.Domain = "upstream.test"
	srv.ErrorLog = log.New(io.Discard, "", 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l) //nolint:errcheck // ends with the listener
	}()
	t.Cleanup(func() {
		srv.Close() //nolint:errcheck // the test is over
		<-done
	})
	return u
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

// Count is the number of scans that have arrived.
func (u *Upstream) Count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.scans)
}

type session struct {
	u      *Upstream
	life   int // in which it began: what the kernel still had of it when the relay was killed may be read later
	notice bool
}

func (u *Upstream) session() *session {
	u.mu.Lock()
	defer u.mu.Unlock()
	return &session{u: u, life: u.life}
}

func (s *session) Reset() {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	delete(s.u.open, s)
}

func (s *session) Logout() error {
	s.Reset()
	return nil
}

var errOff = &gosmtp.SMTPError{Code: 421, EnhancedCode: gosmtp.EnhancedCode{4, 3, 2}, Message: "The power is off"}

func (s *session) Mail(from string, _ *gosmtp.MailOptions) error {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	if s.u.off {
		return errOff
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
	if s.u.off || s.u.life != s.life {
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
		u.notices[id] = append(u.notices[id], u.life)
		delete(u.awaited, id)
		return nil
	}
	_, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	if sum := scanSum.FindSubmatch(b); sum == nil || string(sum[1]) != fmt.Sprintf("%08x", crc32.ChecksumIEEE(body)) {
		u.broken = append(u.broken, id)
	}
	u.scans[id] = append(u.scans[id], u.life)
	return nil
}
