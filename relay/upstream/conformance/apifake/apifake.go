// Package apifake is a provider's HTTPS API for tests of the upstreams that
// translate messages: it takes requests, keeps them, and misbehaves as the
// conformance suite wants. What a provider's requests and answers look like its
// package's tests say.
//
// Only tests import it.
package apifake

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

// Provider is what of an API is one provider's.
type Provider struct {
	// Authorized tells whether a request has the key that is taken.
	Authorized func(*http.Request) bool
	// Answer judges a request that is no longer than Judged octets and answers it;
	// true: it was taken. A longer one gets Accept.
	Answer func(t *testing.T, w http.ResponseWriter, r *http.Request, body []byte) bool
	Accept func(w http.ResponseWriter)
	// Received reads a request that was taken.
	Received func(t *testing.T, body []byte) conformance.Received

	Unauthorized, Throttled, RefusesMessage func(w http.ResponseWriter)
}

// Judged is the length of requests that Answer sees.
const Judged = 1 << 20

// Server is an API that runs.
type Server struct {
	*httptest.Server
	Reached chan struct{} // closed when the server stalls

	t        *testing.T
	p        Provider
	fault    conformance.Fault
	dir      string
	end      chan struct{}
	mu       sync.Mutex
	idle     sync.Cond // no request is under way
	active   int       // that are
	stalled  bool
	requests []*http.Request
	taken    []string // files with bodies
}

// Start starts an API with a fault; it ends with the test.
func Start(t *testing.T, fault conformance.Fault, p Provider) *Server {
	t.Helper()
	s := &Server{Reached: make(chan struct{}), t: t, p: p, fault: fault, dir: t.TempDir(), end: make(chan struct{})}
	s.idle.L = &s.mu
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Listener = conformance.Narrow{Listener: s.Listener}
	if fault == conformance.Downgrades {
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
	} else {
		s.Server.Start()
	}
	t.Cleanup(func() {
		close(s.end)
		s.Close()
	})
	return s
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.active++
	s.requests = append(s.requests, r)
	name := filepath.Join(s.dir, strconv.Itoa(len(s.requests)))
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.active--
		s.mu.Unlock()
		s.idle.Broadcast()
	}()
	if s.fault == conformance.CutsEarly {
		io.CopyN(io.Discard, r.Body, 64<<10) //nolint:errcheck // it is cut
		s.cut(w)
		return
	}
	if err := save(name, r.Body); err != nil {
		return // the client went away: nothing was taken
	}
	switch {
	case !s.p.Authorized(r):
		s.p.Unauthorized(w)
	case s.fault == conformance.CutsLate:
		s.cut(w)
	case s.fault == conformance.Stalls:
		s.stall(r)
	case s.fault == conformance.Throttles:
		s.p.Throttled(w)
	case s.fault == conformance.RefusesMessage:
		s.p.RefusesMessage(w)
	default:
		s.judge(w, r, name)
	}
}

// save keeps a body outside of memory: the suite measures that.
func save(name string, body io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, body, make([]byte, 32<<10))
	return err
}

func (s *Server) judge(w http.ResponseWriter, r *http.Request, name string) {
	info, err := os.Stat(name)
	if err != nil {
		s.t.Error(err)
		return
	}
	took := info.Size() > Judged
	if took {
		s.p.Accept(w)
	} else {
		body, err := os.ReadFile(name)
		if err != nil {
			s.t.Error(err)
		}
		took = s.p.Answer(s.t, w, r, body)
	}
	if took {
		s.mu.Lock()
		s.taken = append(s.taken, name)
		s.mu.Unlock()
	}
}

// cut breaks the connection without a reply.
func (s *Server) cut(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		s.t.Error(err)
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // a close says the same
	}
	conn.Close()
}

func (s *Server) stall(r *http.Request) {
	s.mu.Lock()
	if !s.stalled {
		s.stalled = true
		close(s.Reached)
	}
	s.mu.Unlock()
	select {
	case <-r.Context().Done():
	case <-s.end:
	}
}

// Received gives what was taken, in order.
func (s *Server) Received(t *testing.T) []conformance.Received {
	t.Helper()
	var out []conformance.Received
	for _, b := range s.Bodies(t) {
		out = append(out, s.p.Received(t, b))
	}
	return out
}

// Bodies gives the requests that were taken, in order.
func (s *Server) Bodies(t *testing.T) [][]byte {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.active > 0 {
		s.idle.Wait()
	}
	var out [][]byte
	for _, name := range s.taken {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, bytes.Clone(b))
	}
	return out
}

// Requests gives all requests that came.
func (s *Server) Requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.requests...)
}

// Harness is that of a type which translates, for what it has in common: with the
// right key or another. transport makes one to an endpoint, with a key.
func Harness(p Provider, right, another string, transport func(t testing.TB, endpoint, key string) upstream.Transport) conformance.Harness {
	return conformance.Harness{
		Start: func(t *testing.T, f conformance.Fault) *conformance.Upstream {
			s, key := Start(t, f, p), right
			if f == conformance.WrongCredentials {
				key = another
			}
			return &conformance.Upstream{Transport: transport(t, s.URL, key), Received: s.Received, Reached: s.Reached}
		},
		// ExpiresToken is not there: a key does not expire. Another one is used at once.
		Faults: []conformance.Fault{
			conformance.RefusesSome, conformance.RefusesMessage, conformance.CutsEarly, conformance.CutsLate, conformance.Stalls,
			conformance.WrongCredentials, conformance.Throttles, conformance.Downgrades,
		},
		Secrets: []string{right, another}, Digest: Digest,
		HeaderSender: true, PlainAddresses: true, NeverDelays: true, Attached: true,
	}
}

// Answer starts a server that reads each request whole, keeps nothing and leaves the
// answer to the caller; it ends with the test.
func Answer(t testing.TB, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // the client's outcome says it
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}
