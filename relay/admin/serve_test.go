package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/queue"
)

// pipes is a listener whose connections are pipes: in a bubble their deadlines
// are those of its clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func (p *pipes) dial() net.Conn {
	a, b := net.Pipe()
	p.conns <- b
	return a
}

// inBubble serves c until f returns.
func inBubble(t *testing.T, c Config, f func(t *testing.T, p *pipes, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		c.Authorize = func(*http.Request) (string, error) { return "somebody", nil }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- New(c).Serve(ctx, p) }()
		f(t, p, cancel)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAClientThatSaysNothingIsCut(t *testing.T) {
	for name, tc := range map[string]struct {
		send string
		at   time.Duration
	}{
		"nothing":       {"", 10 * time.Second},
		"half a header": {"GET /healthz HTTP/1.1\r\nHost: x\r\n", 10 * time.Second},
		"after a reply": {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, config(well("ns/a")), func(t *testing.T, p *pipes, _ func()) {
				c := p.dial()
				defer c.Close()
				start := time.Now()
				go io.WriteString(c, tc.send) //nolint:errcheck // the server may cut it
				if _, err := io.Copy(io.Discard, c); err != nil {
					t.Error(err)
				}
				if d := time.Since(start); d != tc.at {
					t.Errorf("cut after %s, want %s", d, tc.at)
				}
			})
		})
	}
}

func TestAClientThatDoesNotReadIsCut(t *testing.T) {
	for path, want := range map[string]time.Duration{"/state": time.Minute, "/queue/A/export": 10 * time.Minute} {
		f := well("ns/a")
		f.state.Problems = []string{strings.Repeat("x", 1<<20)}
		inBubble(t, config(f), func(t *testing.T, p *pipes, _ func()) {
			c := p.dial()
			defer c.Close()
			start := time.Now()
			if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(want - time.Second)
			synctest.Wait()
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Errorf("%s: cut before %s: %v", path, want-time.Second, err)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			rest, err := io.ReadAll(c)
			if d := time.Since(start); err != nil || d != want+time.Second {
				t.Errorf("%s: ended after %s with %v", path, d, err)
			}
			if strings.HasSuffix(string(rest), "0\r\n\r\n") || strings.HasSuffix(string(rest), "}\n") || strings.Contains(string(rest), "Subject") {
				t.Errorf("%s: it waited to give its %d octets", path, len(rest))
			}
		})
	}
}

func TestBodiesAreNotRead(t *testing.T) {
	inBubble(t, config(well("ns/a")), func(t *testing.T, p *pipes, _ func()) {
		c := p.dial()
		defer c.Close()
		sent := make(chan int)
		go func() {
			n, err := io.WriteString(c, "POST /queue/retry?id=A HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
			for err == nil {
				var k int
				k, err = c.Write(make([]byte, 4096))
				n += k
			}
			sent <- n
		}()
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || !resp.Close {
			t.Errorf("%d %s close %t %v", resp.StatusCode, b, resp.Close, err)
		}
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("the connection goes on: %v", err)
		}
		c.Close()
		if n := <-sent; n > 1<<20 {
			t.Errorf("it took %d octets of the body", n)
		}
	})
}

func TestHeadersAreBounded(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = New(config(well("ns/a"))).http
	srv.Start()
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Long", strings.Repeat("x", 1<<20))
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestServeEndsThoughACallerHangs(t *testing.T) {
	f := well("ns/a")
	f.state.Problems = []string{strings.Repeat("x", 1<<20)}
	inBubble(t, config(f), func(t *testing.T, p *pipes, stop func()) {
		c := p.dial()
		defer c.Close()
		if _, err := io.WriteString(c, "GET /state HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		stop()
		<-p.closed
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Errorf("cut at once: %v", err)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		rest, err := io.Copy(io.Discard, c)
		if err != nil || rest > 1<<20 || time.Since(start) != 6*time.Second {
			t.Errorf("ended after %s and %d octets with %v", time.Since(start), rest, err)
		}
	})
}

// client is one of a server with the given relays.
func client(t *testing.T, relay string, fakes ...*fake) *Client {
	t.Helper()
	srv := httptest.NewServer(New(config(fakes...)).http.Handler)
	t.Cleanup(srv.Close)
	return NewClient(t.Context(), strings.TrimPrefix(srv.URL, "http://"), relay)
}

func TestClientIsTheQueueBehindThePort(t *testing.T) {
	a, b := well("ns/a"), well("ns/b")
	var q Queue = client(t, "ns/b", a, b)
	ids := queue.Filter{IDs: []string{"A"}}
	calls := []func() ([]string, error){
		func() ([]string, error) { return q.Retry(t.Context(), ids) },
		func() ([]string, error) { return q.Hold(t.Context(), ids, "why not") },
		func() ([]string, error) { return q.Release(t.Context(), ids) },
		func() ([]string, error) { return q.Bounce(t.Context(), ids, "gone & lost") },
		func() ([]string, error) { return q.Reroute(t.Context(), ids, "") },
		func() ([]string, error) { return q.Remove(t.Context(), ids) },
	}
	for _, call := range calls {
		if got, err := call(); err != nil || len(got) != 1 || got[0] != "A" {
			t.Errorf("got %v %v", got, err)
		}
	}
	if p, err := q.List(queue.Filter{Cursor: "C"}); err != nil || p.Next != "A" || p.Messages[0].Sender != "mfp@copier.test" {
		t.Errorf("list: %+v %v", p, err)
	}
	if d, err := q.Show("a b?c"); err != nil || d.ID != "a b?c" {
		t.Errorf("show: %+v %v", d, err)
	}
	body, err := q.Export(t.Context(), "A")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if text, err := io.ReadAll(body); err != nil || string(text) != "Subject: x\r\n\r\n" {
		t.Errorf("export: %q %v", text, err)
	}
	want := "retry [A]|hold [A] why not|release [A]|bounce [A] gone & lost|reroute [A] |remove [A]|list C|show a b?c|export A"
	if got := strings.Join(b.calls, "|"); got != want || len(a.calls) > 0 {
		t.Errorf("called\n%s and %v, want\n%s", got, a.calls, want)
	}
}

// What is cut short must not look whole.
func TestAnExportThatFailsHalfwayIsAnError(t *testing.T) {
	body, err := client(t, "", well("ns/corrupt")).Export(t.Context(), "A")
	if err != nil {
		return // it failed before the first octets were on their way
	}
	defer body.Close()
	if text, err := io.ReadAll(body); err == nil {
		t.Errorf("no error after %q", text)
	}
}

func TestClientErrors(t *testing.T) {
	bad := well("ns/a")
	bad.err = queue.ErrNoSelection
	if _, err := client(t, "", bad).Retry(t.Context(), queue.Filter{}); err == nil || err.Error() != queue.ErrNoSelection.Error() {
		t.Errorf("got %v", err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })) //nolint:errcheck // a test
	defer other.Close()
	if _, err := NewClient(t.Context(), strings.TrimPrefix(other.URL, "http://"), "").Show("A"); err == nil || !strings.Contains(err.Error(), "no answer of a relay's admin port") {
		t.Errorf("another server: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewClient(ctx, strings.TrimPrefix(other.URL, "http://"), "").Show("A"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}
