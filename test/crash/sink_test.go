package crash

import (
	"io"
	"log"
	"maps"
	"net"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
)

// sink is a mail server that outlives the relay and counts what it accepted.
type sink struct {
	port int
	mu   sync.Mutex
	seen map[string]int
}

func startSink(t *testing.T) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{port: l.Addr().(*net.TCPAddr).Port, seen: map[string]int{}}
	srv := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return &sinkSession{s}, nil }))
	srv.Domain = "sink.test"
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
	return s
}

func (s *sink) received() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.seen)
}

type sinkSession struct{ s *sink }

func (*sinkSession) Reset()                                 {}
func (*sinkSession) Logout() error                          { return nil }
func (*sinkSession) Mail(string, *gosmtp.MailOptions) error { return nil }
func (*sinkSession) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (k *sinkSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err // cut off by the kill: not accepted
	}
	if m := scanID.FindSubmatch(b); m != nil {
		k.s.mu.Lock()
		k.s.seen[string(m[1])]++
		k.s.mu.Unlock()
	}
	return nil
}
