package smtpd

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// office is a server with one listener in memory, so that its time can be a
// bubble's and its clients have the addresses that a test wants.
type office struct {
	t   *testing.T
	s   *Server
	raw *memory
}

// openOffice runs p, whose first listener is the office's, until the test ends.
func openOffice(t *testing.T, p *plan.Plan, state string, src secrets.Source, change ...func(*Config)) *office {
	t.Helper()
	p.Hostname = "relay.test"
	p.Listeners[0].IdleTimeout = time.Hour
	c := Config{State: state, Metrics: metrics.New(prometheus.NewRegistry(), "office"), Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&c)
	}
	o := &office{t: t, s: New(c), raw: newMemory()}
	l := o.s.newListener(o.raw)
	cfg, err := tlsConfig(&p.Listeners[0], p.Hostname, state, src)
	if err != nil {
		t.Fatal(err)
	}
	l.state.Store(&listenerState{plan: &p.Listeners[0], tls: cfg})
	o.s.users.Store(&loginCache{src: src, log: c.Log})
	o.s.plan.Store(p)
	o.s.listeners[p.Listeners[0].Name] = l
	o.s.serve(l)
	return o
}

// close ends the server; clients are cut.
func (o *office) close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o.s.Shutdown(ctx)
}

// device is a client that has said EHLO.
type device struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (o *office) device(client string) *device {
	o.t.Helper()
	near, far := net.Pipe()
	o.raw.conns <- from{far, netip.MustParseAddr(client)}
	d := &device{o.t, near, bufio.NewReader(near)}
	o.t.Cleanup(func() { near.Close() })
	d.want("220 ")
	d.say("250", "EHLO copier.test")
	return d
}

// say sends a line and gives the reply, which must begin with want.
func (d *device) say(want, line string) string {
	d.t.Helper()
	if _, err := io.WriteString(d.conn, line+"\r\n"); err != nil {
		d.t.Fatalf("%s: %v", line, err)
	}
	return d.want(want)
}

// want reads one reply, its lines joined by a line end; "" is the end.
func (d *device) want(want string) string {
	d.t.Helper()
	var lines []string
	for {
		line, err := d.r.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		if line != "" {
			lines = append(lines, line)
		}
		if err != nil || len(line) < 4 || line[3] != '-' {
			break
		}
	}
	got := strings.Join(lines, "\n")
	if !strings.HasPrefix(got, want) || want == "" && got != "" {
		d.t.Fatalf("got %q, want %q", got, want)
	}
	return got
}
