package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/printerrelay/printer-relay/controllers"
)

// faulty stands between an operator and the API server, and does to its requests
// what a test says. What it refuses never reaches the server.
type faulty struct {
	next http.RoundTripper

	mu      sync.Mutex
	rule    rule // nil: all is well
	streams map[*stream]bool
	refused map[string][]time.Time // by method and path
	reads   map[string][]time.Time // of those that were refused, by their whole URL: lists and watches of a resource are others
	written map[string][]time.Time // what passed and writes
	answers map[int]int            // of the API server, by status
}

// rule answers a request in the API server's place, or lets it pass with nil, nil.
type rule func(*http.Request) (*http.Response, error)

// runFaulty starts an operator behind a faulty.
func (r *rig) runFaulty(change ...func(*controllers.Options)) (*operator, *faulty) {
	r.Helper()
	f := newFaulty()
	// Figures are not written for their own sake, however slow the machine is.
	seldom := func(o *controllers.Options) { o.FiguresEvery = time.Hour }
	return r.run(append(change, seldom, f.into)...), f
}

func newFaulty() *faulty {
	return &faulty{streams: map[*stream]bool{}, refused: map[string][]time.Time{}, reads: map[string][]time.Time{}, written: map[string][]time.Time{}, answers: map[int]int{}}
}

// leader starts an operator that has to be elected, and gives how it ends.
func (r *rig) leader(name string, cfg *rest.Config) (*faulty, <-chan error) {
	r.Helper()
	o := controllers.Options{
		Image: image, Namespace: r.home, ServiceAccount: account, Instances: r.node, WatchNamespaces: []string{r.ns}, LeaderElect: true,
		Log: slog.New(slog.NewTextHandler(r.log, nil)).With("operator", name),
	}
	f := newFaulty()
	o.API = rest.CopyConfig(cfg)
	f.into(&o)
	ctx, cancel := context.WithCancel(r.Context())
	ended, over := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(over)
		ended <- controllers.Run(ctx, o)
	}()
	r.Cleanup(func() {
		cancel()
		select {
		case <-over:
		case <-time.After(patience):
			r.Errorf("the %s operator does not end", name)
		}
	})
	return f, ended
}

// into has an operator's requests go through it.
func (f *faulty) into(o *controllers.Options) {
	o.API.Wrap(func(next http.RoundTripper) http.RoundTripper {
		f.next = next
		return f
	})
}

// RoundTrip implements http.RoundTripper.
func (f *faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	rule := f.rule
	f.mu.Unlock()
	if rule != nil {
		if resp, err := rule(r); resp != nil || err != nil {
			f.note(f.refused, r.Method+" "+r.URL.Path)
			if r.Method == http.MethodGet {
				f.note(f.reads, r.URL.String())
			}
			return resp, err
		}
	}
	if r.Method != http.MethodGet && r.Context().Err() == nil { // else it goes nowhere
		f.note(f.written, r.Method+" "+r.URL.Path)
	}
	resp, err := f.next.RoundTrip(r)
	if err == nil {
		f.mu.Lock()
		f.answers[resp.StatusCode]++
		f.mu.Unlock()
	}
	if err == nil && watches(r) {
		s := &stream{ReadCloser: resp.Body, of: f, request: r, change: make(chan struct{})}
		resp.Body = s
		f.mu.Lock()
		f.streams[s] = true
		f.mu.Unlock()
	}
	return resp, err
}

func (f *faulty) note(in map[string][]time.Time, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in[key] = append(in[key], time.Now())
}

// tries counts the writes that passed of an object, such as "deployments/copiers-0".
func (f *faulty) tries(object string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, at := range f.written {
		if strings.HasSuffix(key, "/"+object) {
			n += len(at)
		}
	}
	return n
}

func watches(r *http.Request) bool { return r.URL.Query().Get("watch") != "" }

// inject sets what happens to requests from now on.
func (f *faulty) inject(to rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rule = to
	clear(f.refused)
	clear(f.reads)
	clear(f.written)
	clear(f.answers)
}

// answered counts what the API server answered with a status since inject.
func (f *faulty) answered(code int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answers[code]
}

// acts and acted are when the first and the last write passed that is about a relay;
// zero if none did.
func (f *faulty) acts() time.Time {
	return f.relayWrites(func(a, b time.Time) bool { return a.Before(b) })
}

func (f *faulty) acted() time.Time {
	return f.relayWrites(func(a, b time.Time) bool { return a.After(b) })
}

func (f *faulty) relayWrites(better func(a, b time.Time) bool) (out time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, at := range f.written {
		if strings.Contains(key, "/leases") || strings.Contains(key, "/events") || strings.Contains(key, "/token") {
			continue
		}
		for _, t := range at {
			if out.IsZero() || better(t, out) {
				out = t
			}
		}
	}
	return out
}

// count of the requests that were refused since inject.
func (f *faulty) count() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, at := range f.refused {
		n += len(at)
	}
	return n
}

// cut breaks all watches.
func (f *faulty) cut() {
	for _, s := range f.open() {
		s.set(broken)
	}
}

// hold keeps what watches of a resource tell back, and release lets it through.
func (f *faulty) hold(resource string) (release func()) {
	held := slices.DeleteFunc(f.open(), func(s *stream) bool { return !strings.HasSuffix(s.request.URL.Path, "/"+resource) })
	for _, s := range held {
		s.set(keeping)
	}
	return func() {
		for _, s := range held {
			s.set(flowing)
		}
	}
}

func (f *faulty) open() []*stream {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.streams))
}

// storm names a request, one that was refused or one that writes, that was made again and again: more often than a client
// that backs off ever makes it, however fast the machine is.
func (f *faulty) storm() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, in := range []map[string][]time.Time{f.refused, f.written} {
		for key, at := range in {
			if took := at[len(at)-1].Sub(at[0]); len(at) > 30+3*int(took.Seconds()) {
				return fmt.Sprintf("%s: %d times within %s", key, len(at), took)
			}
		}
	}
	return ""
}

// tries are how often client-go makes a request anew by itself.
const tries = 10

// hasty names a read that was made again before the time that it was told to wait. When
// it was made in vain for ten times it is another request that follows.
func (f *faulty) hasty(wait time.Duration) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, at := range f.reads {
		for i := 1; i < min(len(at), tries); i++ {
			if after := at[i].Sub(at[i-1]); after < wait {
				return fmt.Sprintf("%s: again after %s", key, after)
			}
		}
	}
	return ""
}

// state of a stream.
type state int

const (
	flowing state = iota
	keeping
	broken
)

// stream is what a watch tells.
type stream struct {
	io.ReadCloser
	of      *faulty
	request *http.Request

	mu     sync.Mutex
	state  state
	change chan struct{} // closed when state changes
}

func (s *stream) set(to state) {
	s.mu.Lock()
	s.state = to
	close(s.change)
	s.change = make(chan struct{})
	s.mu.Unlock()
	if to == broken {
		_ = s.ReadCloser.Close() //nolint:errcheck // it is to break
	}
}

// Read passes on what was read while the stream flows.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	for {
		s.mu.Lock()
		state, change := s.state, s.change
		s.mu.Unlock()
		switch state {
		case flowing:
			return n, err
		case broken:
			return 0, syscall.ECONNRESET
		case keeping:
		}
		select {
		case <-change:
		case <-s.request.Context().Done():
			return 0, s.request.Context().Err()
		}
	}
}

// Close implements io.Closer.
func (s *stream) Close() error {
	s.of.mu.Lock()
	delete(s.of.streams, s)
	s.of.mu.Unlock()
	return s.ReadCloser.Close()
}

// Rules.

// unreachable is an API server that is not there.
func unreachable(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// onWatches has a rule for watches alone.
func onWatches(do rule) rule { return only(watches, do) }

// onWrites has a rule for what changes something.
func onWrites(do rule) rule {
	return only(func(r *http.Request) bool { return r.Method != http.MethodGet }, do)
}

func only(which func(*http.Request) bool, do rule) rule {
	return func(r *http.Request) (*http.Response, error) {
		if !which(r) {
			return nil, nil
		}
		return do(r)
	}
}

// ends is a watch that ends as soon as it begins.
func ends(r *http.Request) (*http.Response, error) { return respond(r, http.StatusOK, nil, nil), nil }

// expired is a watch that is told that it asks for what is too old.
func expired(r *http.Request) (*http.Response, error) {
	gone := failure(http.StatusGone, metav1.StatusReasonExpired, "too old resource version: 1 (2)")
	return respond(r, http.StatusOK, nil, map[string]any{"type": "ERROR", "object": gone}), nil
}

// failing answers with a status of HTTP.
func failing(code int, reason metav1.StatusReason, message string) rule {
	return func(r *http.Request) (*http.Response, error) {
		return respond(r, code, nil, failure(code, reason, message)), nil
	}
}

// throttled answers 429, and to wait.
func throttled(wait time.Duration) rule {
	return func(r *http.Request) (*http.Response, error) {
		header := http.Header{"Retry-After": {strconv.Itoa(int(wait.Seconds()))}}
		return respond(r, http.StatusTooManyRequests, header, failure(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests, please try again later")), nil
	}
}

func failure(code int, reason metav1.StatusReason, message string) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message, //nolint:gosec // of HTTP
	}
}

func respond(r *http.Request, code int, header http.Header, body any) *http.Response {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			panic(err) // plain data
		}
	}
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/json")
	if r.Body != nil {
		_ = r.Body.Close() //nolint:errcheck // as a transport does
	}
	return &http.Response{
		Status: http.StatusText(code), StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(b)), ContentLength: int64(len(b)), Request: r,
	}
}
