package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// raw starts a server that is no more than what f does with each connection; f
// has a reader that is past the first request's header.
func raw(t *testing.T, f func(c net.Conn, r *bufio.Reader)) (endpoint string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.(*net.TCPConn).SetReadBuffer(32 << 10) //nolint:errcheck // what is not read yet does not hide in the kernel
			wg.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				if head(r) {
					f(c, r)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return "http://" + l.Addr().String()
}

// head reads a request's header and, as net/http's server does, lets the client
// go on.
func head(r *bufio.Reader) bool {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == "\r\n" {
			return true
		}
	}
}

const goOn = "HTTP/1.1 100 Continue\r\n\r\n"

// refusing is an endpoint where nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return "http://" + l.Addr().String()
}

// Whether the server may have the whole is what makes an attempt Unknown.
func TestSent(t *testing.T) {
	const big = 16 << 20 // more than kernels keep
	for _, c := range []struct {
		name string
		size int64
		do   func(c net.Conn, r *bufio.Reader, reached func())
		sent bool
	}{
		{"cut in the middle", big, func(c net.Conn, r *bufio.Reader, _ func()) {
			io.WriteString(c, goOn)       //nolint:errcheck // shows in what is read
			io.CopyN(io.Discard, r, 1000) //nolint:errcheck // and hangs up
		}, false},
		{"hangs up at once", big, func(net.Conn, *bufio.Reader, func()) {}, false},
		{"cut when all is there", 100, func(_ net.Conn, r *bufio.Reader, _ func()) { io.CopyN(io.Discard, r, 100) }, true}, //nolint:errcheck // and hangs up
		{"cut when all of a big one is there", big, func(c net.Conn, r *bufio.Reader, _ func()) {
			io.WriteString(c, goOn)      //nolint:errcheck // shows in what is read
			io.CopyN(io.Discard, r, big) //nolint:errcheck // and hangs up
		}, true},
		{"stopped in the middle", big, func(c net.Conn, r *bufio.Reader, reached func()) {
			io.WriteString(c, goOn)       //nolint:errcheck // shows in what is read
			io.CopyN(io.Discard, r, 1000) //nolint:errcheck // waits for more than will come
			reached()
			c.(*net.TCPConn).SetReadBuffer(1) //nolint:errcheck // as small as it goes
		}, false},
		{"stopped while it waits for the reply", 100, func(_ net.Conn, r *bufio.Reader, reached func()) {
			io.CopyN(io.Discard, r, 100) //nolint:errcheck // waits for more than will come
			reached()
			r.ReadByte() //nolint:errcheck // until the client has gone
		}, true},
		{"the reply breaks off", 100, func(c net.Conn, r *bufio.Reader, _ func()) {
			io.CopyN(io.Discard, r, 100)                                          //nolint:errcheck // shows in the reply
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf") //nolint:errcheck // and hangs up
		}, true},
		{"success before it had anything", big, func(c net.Conn, _ *bufio.Reader, _ func()) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") //nolint:errcheck // and hangs up
		}, false},
		{"what is no HTTP", 100, func(c net.Conn, r *bufio.Reader, _ func()) {
			io.CopyN(io.Discard, r, 100)                 //nolint:errcheck // shows in the reply
			io.WriteString(c, "220 mail.test ESMTP\r\n") //nolint:errcheck // and hangs up
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cl := client(t, raw(t, func(conn net.Conn, r *bufio.Reader) { c.do(conn, r, cancel) }), Timeouts{})
			var closed atomic.Bool
			r, err := cl.Do(ctx, &Request{Length: c.size, Body: func() (io.ReadCloser, error) {
				return &noting{io.LimitReader(zeros{}, c.size), &closed}, nil
			}})
			if e := failure(t, r, err); e.Sent != c.sent || e.Source != nil || !closed.Load() {
				t.Errorf("sent %v, want %v; source %v, closed %v: %v", e.Sent, c.sent, e.Source, closed.Load(), e)
			}
		})
	}
	cl := client(t, refusing(t), Timeouts{})
	r, err := cl.Do(t.Context(), text("scan"))
	if e := failure(t, r, err); e.Sent {
		t.Errorf("nobody listens: %v", e)
	}
}

// A reply that comes while the body is being sent ends the sending, and it is known
// that the server has not the whole; a success then is none.
func TestEarlyReply(t *testing.T) {
	const big = 16 << 20
	for status, ok := range map[string]bool{"413 Too Large": true, "502 Bad Gateway": true, "200 OK": false} {
		gone := make(chan struct{})
		c := client(t, raw(t, func(c net.Conn, r *bufio.Reader) {
			io.WriteString(c, goOn)                                               //nolint:errcheck // shows in what is read
			io.CopyN(io.Discard, r, 1000)                                         //nolint:errcheck // waits for more than will come
			io.WriteString(c, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n") //nolint:errcheck // and reads no more
			<-gone
		}), Timeouts{})
		var closed atomic.Bool
		r, err := c.Do(t.Context(), &Request{Length: big, Body: func() (io.ReadCloser, error) {
			return &noting{io.LimitReader(zeros{}, big), &closed}, nil
		}})
		close(gone)
		switch {
		case !closed.Load():
			t.Errorf("%s: the body is read when Do has returned", status)
		case ok && (err != nil || !r.Early || Refusal(r, "").Kind == upstream.Unknown):
			t.Errorf("%s: %+v, %v", status, r, err)
		case !ok:
			if e := failure(t, r, err); e.Sent || !errors.Is(err, errEarly) || e.Source != nil {
				t.Errorf("%s: %+v", status, e)
			}
		}
	}
}

// An error reply that breaks off still says its status.
func TestRefusalBreaksOff(t *testing.T) {
	c := client(t, raw(t, func(c net.Conn, r *bufio.Reader) {
		io.CopyN(io.Discard, r, 4)                                                     //nolint:errcheck // shows in the reply
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nhalf") //nolint:errcheck // and hangs up
	}), Timeouts{})
	if r, err := c.Do(t.Context(), text("scan")); err != nil || r.Status != 400 || string(r.Body) != "half" || r.Early {
		t.Errorf("%+v, %v", r, err)
	}
}

// Each step ends by its own limit.
func TestTimeouts(t *testing.T) {
	const big = 16 << 20
	long := time.Hour
	for _, c := range []struct {
		name string
		to   Timeouts
		size int64
		do   func(c net.Conn, r *bufio.Reader)
		sent bool
		want string
	}{
		{"the server takes no more", Timeouts{long, 50 * time.Millisecond, long}, big, func(c net.Conn, r *bufio.Reader) {
			io.WriteString(c, goOn) //nolint:errcheck // shows in what is read
		}, false, "took no more"},
		{"no answer", Timeouts{long, long, 50 * time.Millisecond}, 100, func(_ net.Conn, r *bufio.Reader) {
			io.CopyN(io.Discard, r, 100) //nolint:errcheck // and says nothing
		}, true, "did not answer in time"},
		{"the answer does not end", Timeouts{long, long, 50 * time.Millisecond}, 100, func(c net.Conn, r *bufio.Reader) {
			io.CopyN(io.Discard, r, 100)                                          //nolint:errcheck // shows in the reply
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf") //nolint:errcheck // and no more
		}, true, "did not end its reply in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ended := make(chan struct{})
			endpoint := raw(t, func(conn net.Conn, r *bufio.Reader) {
				c.do(conn, r)
				<-ended
			})
			t.Cleanup(func() { close(ended) })
			r, err := client(t, endpoint, c.to).Do(t.Context(), &Request{Length: c.size, Body: func() (io.ReadCloser, error) {
				return io.NopCloser(io.LimitReader(zeros{}, c.size)), nil
			}})
			if e := failure(t, r, err); e.Sent != c.sent || !strings.Contains(e.Error(), c.want) {
				t.Errorf("sent %v: %v; want %v, %q", e.Sent, e, c.sent, c.want)
			}
		})
	}
}

// A handshake that does not end is bounded too.
func TestHandshakeTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts; nobody answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := client(t, "https://"+l.Addr().String(), Timeouts{50 * time.Millisecond, time.Hour, time.Hour})
	r, err := c.Do(t.Context(), text("scan"))
	if e := failure(t, r, err); e.Sent || !strings.Contains(e.Error(), "TLS") {
		t.Errorf("%v", e)
	}
}

// faulty is a connection that the server has closed while it was idle: what is
// written from then on fails, at once or when the reply is read.
type faulty struct {
	net.Conn
	stale  *atomic.Bool
	writes bool // the kernel takes what is written all the same
}

func (f *faulty) Write(p []byte) (int, error) {
	switch {
	case !f.stale.Load():
		return f.Conn.Write(p)
	case f.writes:
		f.Conn.Close()
		return len(p), nil
	}
	return 0, &net.OpError{Op: "write", Err: errors.New("broken pipe")}
}

// On a connection that went stale a request is made again only where nothing of
// it had been written.
func TestStaleConnection(t *testing.T) {
	for _, writes := range []bool{false, true} {
		var arrived atomic.Int64
		c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			if b, err := io.ReadAll(r.Body); err == nil && string(b) == "scan" {
				arrived.Add(1)
			}
		})
		tr := c.http
		dial := tr.DialTLSContext
		var dialled atomic.Int64
		var stale atomic.Bool
		tr.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			n, err := dial(ctx, network, address)
			if err == nil && dialled.Add(1) == 1 {
				return &conn{Conn: &faulty{n.(*conn).Conn, &stale, writes}}, nil
			}
			return n, err
		}
		if _, err := c.Do(t.Context(), text("scan")); err != nil {
			t.Fatal(err)
		}
		stale.Store(true)
		r, err := c.Do(t.Context(), text("scan"))
		switch {
		case !writes && (err != nil || r.Status != 200 || arrived.Load() != 2 || dialled.Load() != 2):
			t.Errorf("nothing was written: %+v, %v; %d arrived by %d connections", r, err, arrived.Load(), dialled.Load())
		case writes && (arrived.Load() != 1 || dialled.Load() != 1 || !failure(t, r, err).Sent):
			t.Errorf("all was written: %+v, %v; %d arrived by %d connections", r, err, arrived.Load(), dialled.Load())
		}
	}
}

// What the connection did not take of the last piece has not been sent.
func TestLastWriteFails(t *testing.T) {
	var p progress
	c := &conn{Conn: &faulty{Conn: nil, stale: new(atomic.Bool)}}
	c.Conn.(*faulty).stale.Store(true)
	c.request.Store(&p)
	p.read.Store(true)
	if _, err := c.Write([]byte("x")); err == nil || p.sent.Load() {
		t.Errorf("%v, sent %v", err, p.sent.Load())
	}
}
