package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is one of a server on loopback.
func client(t testing.TB, endpoint string, to Timeouts) *Client {
	t.Helper()
	c, err := New(Config{Endpoint: endpoint, Private: true, MaxIdle: 4, Timeouts: to})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// serve starts a server over TLS, with a client that trusts it.
func serve(t testing.TB, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	c, err := New(Config{Endpoint: s.URL, Private: true, MaxIdle: 4, RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// text is a request whose body is s, of a length that is known.
func text(s string) *Request {
	return &Request{Path: "/send", Length: int64(len(s)), Body: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }}
}

// failure is the *Error of a request that has to fail.
func failure(t *testing.T, r *Response, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || r != nil {
		t.Fatalf("%+v, %v: want an *Error", r, err)
	}
	return e
}

func TestEndpoint(t *testing.T) {
	for endpoint, ok := range map[string]bool{
		"https://api.example.com":               true,
		"https://api.example.com/":              true,
		"http://127.0.0.1:8080/base":            true,
		"":                                      false,
		"api.example.com":                       false,
		"ftp://api.example.com":                 false,
		"smtp://api.example.com":                false,
		"https://":                              false,
		"https://user:hunter22@api.example.com": false,
		"https://user:hunter22@api exam ple":    false,
		"https://api.example.com?key=hunter22":  false,
		"https://api.example.com#x":             false,
	} {
		_, err := New(Config{Endpoint: endpoint})
		if (err == nil) != ok {
			t.Errorf("%q: %v", endpoint, err)
		}
		if err != nil && strings.Contains(endpoint, "@") && strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%v shows the password", err)
		}
	}
}

// What is asked arrives: method, path below the endpoint's own, query, header, body.
func TestRequest(t *testing.T) {
	type seen struct{ line, key, body string }
	got := make(chan seen, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) //nolint:errcheck // shows in what was seen
		got <- seen{r.Method + " " + r.URL.String(), r.Header.Get("Authorization"), string(b)}
		w.Header().Set("X-Message-Id", "m1")
		w.WriteHeader(http.StatusAccepted)
		w.Write([]byte("taken"))
	}))
	t.Cleanup(s.Close)
	c := client(t, s.URL+"/base/", Timeouts{})
	q := text("hello")
	q.Query, q.Header = url.Values{"a": {"b c"}}, http.Header{"Authorization": {"Bearer x"}}
	r, err := c.Do(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != (seen{"POST /base/send?a=b+c", "Bearer x", "hello"}) {
		t.Errorf("%+v", s)
	}
	if r.Status != 202 || r.Header.Get("X-Message-Id") != "m1" || string(r.Body) != "taken" || r.Remote != c.Host() || r.Early {
		t.Errorf("%+v", r)
	}
	if r, err = c.Do(t.Context(), &Request{Method: http.MethodGet, Path: "/domains"}); err != nil || r.Status != 202 || r.Early {
		t.Errorf("%+v, %v", r, err)
	}
	if s := <-got; s != (seen{"GET /base/domains", "", ""}) {
		t.Errorf("%+v", s)
	}
}

// A request is streamed: memory does not grow with it, whether its length is known
// or not, and all of it arrives.
func TestBoundedMemory(t *testing.T) {
	const size, bound = 32 << 20, 8 << 20 // the race detector's own is in it
	var arrived atomic.Int64
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body) //nolint:errcheck // shows in what arrived
		arrived.Store(n)
	})
	if _, err := c.Do(t.Context(), text("what is made once")); err != nil {
		t.Fatal(err)
	}
	for _, length := range []int64{size, -1} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := c.Do(t.Context(), &Request{Length: length, Body: func() (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(zeros{}, size)), nil
		}})
		runtime.ReadMemStats(&after)
		if err != nil || r.Status != 200 || arrived.Load() != size {
			t.Fatalf("length %d: %+v, %v, %d octets arrived", length, r, err, arrived.Load())
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > bound {
			t.Errorf("length %d: %d octets allocated, want at most %d", length, n, bound)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A body that cannot be read to its end is never a whole one at the server, also
// where only its end tells; the reason is the source's.
func TestSource(t *testing.T) {
	spoilt := errors.New("checksum differs")
	var whole atomic.Int64
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			whole.Add(1)
		}
	})
	for _, size := range []int64{1, 100, 4 << 10, 64 << 10, 64<<10 + 1, 128 << 10, 3 << 20} {
		content := bytes.Repeat([]byte("x"), int(size))
		for name, body := range map[string]io.Reader{
			"at once":     iotestErr{spoilt},
			"half":        io.MultiReader(bytes.NewReader(content[:size/2]), iotestErr{spoilt}),
			"at its end":  io.MultiReader(bytes.NewReader(content), iotestErr{spoilt}),
			"too short":   bytes.NewReader(content[:size-1]),
			"too long":    io.MultiReader(bytes.NewReader(content), strings.NewReader("y")),
			"no progress": io.MultiReader(bytes.NewReader(content), lazy{}),
		} {
			for _, length := range []int64{size, -1} {
				own := strings.HasPrefix(name, "too") || name == "no progress" // what a length that is known tells
				if own && length < 0 {
					continue
				}
				var closed atomic.Bool
				r, err := c.Do(t.Context(), &Request{Length: length, Body: func() (io.ReadCloser, error) { return &noting{body, &closed}, nil }})
				e := failure(t, r, err)
				if e.Sent || e.Source == nil || !own && !errors.Is(e.Source, spoilt) || !closed.Load() {
					t.Errorf("%s, %d octets, length %d: sent %v, source %v, closed %v", name, size, length, e.Sent, e.Source, closed.Load())
				}
			}
		}
	}
	if n := whole.Load(); n > 0 {
		t.Errorf("%d requests arrived as whole ones", n)
	}
	r, err := c.Do(t.Context(), &Request{Length: 1, Body: func() (io.ReadCloser, error) { return nil, spoilt }})
	if e := failure(t, r, err); e.Sent || !errors.Is(e.Source, spoilt) {
		t.Errorf("cannot be opened: %+v", e)
	}
}

type iotestErr struct{ err error }

func (e iotestErr) Read([]byte) (int, error) { return 0, e.err }

type lazy struct{}

func (lazy) Read([]byte) (int, error) { return 0, nil }

// noting is a body that tells when it is closed, and fails then as a file does.
type noting struct {
	io.Reader
	closed *atomic.Bool
}

func (n *noting) Read(p []byte) (int, error) {
	if n.closed.Load() {
		return 0, errors.New("file already closed")
	}
	return n.Reader.Read(p)
}

func (n *noting) Close() error { n.closed.Store(true); return nil }

// A redirect is an answer; where it points to hears nothing.
func TestRedirect(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, target := range []string{other.URL, "/other"} {
			var here atomic.Int64
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				here.Add(1)
				io.Copy(io.Discard, r.Body) //nolint:errcheck // it does not matter here
				w.Header().Set("Location", target)
				w.WriteHeader(status)
			})
			q := text("scan")
			q.Header = http.Header{"Authorization": {"Bearer hunter22"}}
			r, err := c.Do(t.Context(), q)
			if err != nil || r.Status != status || here.Load() != 1 || elsewhere.Load() != 0 {
				t.Errorf("%d to %s: %+v, %v; %d here, %d elsewhere", status, target, r, err, here.Load(), elsewhere.Load())
			}
		}
	}
}

// The rules of upstream/egress hold, and nothing was sent.
func TestAddresses(t *testing.T) {
	for endpoint, private := range map[string]bool{
		"http://192.0.2.1":        true,  // in clear to a public address
		"http://192.0.2.2":        false, // the same
		"http://127.0.0.1:9":      false, // private, and not allowed
		"https://127.0.0.1:9":     false,
		"https://10.0.0.1":        false,
		"https://169.254.169.254": true, // never
	} {
		c, err := New(Config{Endpoint: endpoint, Private: private})
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Do(t.Context(), text("scan"))
		var a *egress.AddressError
		if e := failure(t, r, err); e.Sent || !errors.As(err, &a) || Lost(err).Kind != upstream.Deferred {
			t.Errorf("%s: %+v", endpoint, e)
		}
		c.Close()
	}
}

// An error shows neither the URL's query nor a secret of the header.
func TestErrorsKeepSecrets(t *testing.T) {
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	for _, endpoint := range []string{"https://10.0.0.1", untrusted.URL, refusing(t)} {
		c, err := New(Config{Endpoint: endpoint, Private: endpoint != "https://10.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		for _, header := range []string{"Bearer hunter22", "Bearer hunter22\nX: y"} {
			q := text("scan")
			q.Query, q.Header = url.Values{"key": {"hunter22"}}, http.Header{"Authorization": {header}}
			r, err := c.Do(t.Context(), q)
			e := failure(t, r, err)
			for err := error(e); err != nil; err = errors.Unwrap(err) {
				if strings.Contains(err.Error(), "hunter22") || strings.Contains(err.Error(), "key=") {
					t.Errorf("%s: %v", endpoint, err)
				}
			}
			if e.Sent || e.Remote != c.Host() {
				t.Errorf("%s: %+v", endpoint, e)
			}
		}
		c.Close()
	}
}

func TestReplyIsBounded(t *testing.T) {
	for _, status := range []int{200, 400} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			w.Write(bytes.Repeat([]byte("x"), 1<<20))
		})
		r, err := c.Do(t.Context(), text("scan"))
		if err != nil || r.Status != status || len(r.Body) != 64<<10 {
			t.Errorf("%d: %v, %v", status, r, err)
		}
	}
}

// A large request asks first: one that is refused for its credential is not sent.
func TestAsksFirst(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	var read atomic.Int64
	r, err := c.Do(t.Context(), &Request{Length: 8 << 20, Body: func() (io.ReadCloser, error) {
		return io.NopCloser(io.TeeReader(io.LimitReader(zeros{}, 8<<20), counting{&read})), nil
	}})
	if err != nil || r.Status != 401 || !r.Early || read.Load() != 0 {
		t.Errorf("%+v, %v, %d octets were read", r, err, read.Load())
	}
}

type counting struct{ n *atomic.Int64 }

func (c counting) Write(p []byte) (int, error) { c.n.Add(int64(len(p))); return len(p), nil }

func TestAtOnce(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body) //nolint:errcheck // shows in the reply
		fmt.Fprint(w, n)
	})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			n := i * 70_001
			r, err := c.Do(t.Context(), text(strings.Repeat("x", n)))
			if err != nil || string(r.Body) != fmt.Sprint(n) {
				t.Errorf("%d: %+v, %v", n, r, err)
			}
		})
	}
	wg.Wait()
}

func TestEndedContext(t *testing.T) {
	var asked atomic.Int64
	c := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	r, err := c.Do(ctx, text("scan"))
	if e := failure(t, r, err); e.Sent || e.Source != nil || asked.Load() != 0 {
		t.Errorf("%+v", e)
	}
}

// A body that was closed is not read any more: its source may be gone.
func TestBodyIsNotReadOnceClosed(t *testing.T) {
	var p progress
	opened := 0
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x.test", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 3
	if err := p.put(req, func() (io.ReadCloser, error) { opened++; return io.NopCloser(strings.NewReader("abc")), nil }); err != nil {
		t.Fatal(err)
	}
	if err := req.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := req.Body.Read(make([]byte, 3)); n != 0 || err == nil || p.read.Load() || p.source() != nil || opened != 1 {
		t.Errorf("%d octets, %v; read %v, source %v", n, err, p.read.Load(), p.source())
	}
}
