package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/manifest"
	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/test/pki"
)

// rig is what the whole sessions of a test share: plans are data, and keys and
// metrics take their time to make.
type rig struct {
	plan    *plan.Plan
	secrets secrets.Map
	metrics *metrics.Set
}

const rigManifests = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  intake: Hold
  upstreamRef: {name: folder}
  senderPolicyRefs: [{name: office}]
  addresses: {defaultDomain: corp.example}
  listeners:
  - name: smtp
    port: 25
    tls: {mode: StartTLS, certificateRefs: [{name: certificate}]}
    authentication: {mode: Optional, mechanisms: [Plain, Login, CRAMMD5], plaintext: Allow, secretRef: {name: logins}}
    limits: {messageSize: 16Ki, idleTimeoutSeconds: 60}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: folder}
spec: {type: Maildir, maildir: {path: mail}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [10.0.0.0/8]}
    senders: {allowed: ["*@copier.example"]}
    recipients: {allowed: ["*@corp.example"], maximum: 3}
`

// lan is the address of a device that the rule of rigManifests names.
var lan = netip.MustParseAddr("10.0.0.7")

// newRig compiles rigManifests. The user mfp1 has the password.
func newRig(t testing.TB, password string) *rig {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "relay.yaml"), []byte(rigManifests), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems, err := manifest.Load(dir)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	p, found := plan.Compile(plan.Input{
		Relay: set.Relays[0], Upstreams: map[string]*v1alpha1.MailUpstream{"folder": set.Upstreams[0]}, Policies: map[string]*v1alpha1.SenderPolicy{"office": set.Policies[0]},
	})
	if found.Failed() {
		t.Fatal(found)
	}
	return &rig{plan: p, secrets: secrets.Map{"logins": {"mfp1": []byte(password)}, "certificate": pki.Self(t, pki.Options{}, "relay.test").Secret()}, metrics: metrics.New(prometheus.NewRegistry(), "test")}
}

// open runs p, a variant of the rig's plan, from socket to spool; all of it is in
// the folder state.
func (r *rig) open(t *testing.T, p *plan.Plan, state string, src secrets.Source, change ...func(*Config)) *office {
	t.Helper()
	sp, err := spool.Open(filepath.Join(state, "spool"), spool.Options{NoSyncFS: true, MinFree: 1, Slots: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sp.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	log := &faults{}
	o := openOffice(t, p, state, src, append([]func(*Config){func(c *Config) {
		c.Spool, c.Queue, c.Limiter = sp, queue.New(sp, queue.Options{Settings: queue.SettingsOf(p)}), policy.NewLimiter()
		c.Metrics, c.Log = r.metrics, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError}))
	}}, change...)...)
	o.faults = log
	return o
}

// office is a server with one listener in memory, so that its time can be a
// bubble's and its clients have the addresses that a test wants.
type office struct {
	t      *testing.T
	state  string
	s      *Server
	raw    *memory
	faults *faults // of a rig's
}

// openOffice runs p, whose first listener is the office's, until it is closed. What
// takes messages is the caller's to add: most tests need none.
func openOffice(t *testing.T, p *plan.Plan, state string, src secrets.Source, change ...func(*Config)) *office {
	t.Helper()
	c := Config{State: state, Metrics: metrics.New(prometheus.NewRegistry(), "office"), Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&c)
	}
	o := &office{t: t, state: state, s: New(c), raw: newMemory()}
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
	o.end(ctx)
}

// end ends the server; clients may finish until ctx ends.
func (o *office) end(ctx context.Context) {
	o.t.Helper()
	o.s.Shutdown(ctx)
	if o.faults != nil && o.faults.Len() > 0 {
		o.t.Errorf("a fault in the session: %s", o.faults.String())
	}
}

// connect gives a client's end of a new connection.
func (o *office) connect(client netip.Addr) net.Conn {
	near, far := net.Pipe()
	o.raw.conns <- from{far, client}
	return near
}

// device is a client that has said EHLO.
type device struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (o *office) device(client string) *device {
	o.t.Helper()
	return o.greeted(o.connect(netip.MustParseAddr(client)), "copier.test")
}

// greeted is the device at the other end of a connection, under a name.
func (o *office) greeted(conn net.Conn, name string) *device {
	o.t.Helper()
	d := &device{o.t, conn, bufio.NewReader(conn)}
	o.t.Cleanup(func() { conn.Close() })
	d.want("220 ")
	d.say("250", "EHLO "+name)
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

// memory is a listener without a network.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), done: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.done) }); return nil }
func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// from is a connection with a client's address.
type from struct {
	net.Conn
	client netip.Addr
}

func (f from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.client, 40000))
}

// faults takes what the server logs as an error.
type faults struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *faults) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}
