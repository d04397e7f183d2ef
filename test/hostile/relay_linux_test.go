package hostile

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
)

// memoryLimit is what a relay's Pod has by default: GOMEMLIMIT is nine tenths of
// 256 MiB.
const memoryLimit = 256 << 20 / 10 * 9

const manifests = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  upstreamRef: {name: out}
  senderPolicyRefs: [{name: office}]
  listeners:
  - name: smtp
    port: %d
    authentication: {mode: Optional, plaintext: Allow, mechanisms: [Plain, Login], secretRef: {name: logins}}
    limits: {connections: 10000, connectionsPerClient: 200, recipients: 1000}
---
apiVersion: v1
kind: Secret
metadata: {name: logins}
stringData: {mfp: canary-password}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: copiers
    match: {clientNetworks: [127.0.0.0/16]}
    recipients: {allowed: ["*@corp.example"]}
    content: {attachmentTypes: [application/pdf]}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: out}
spec:
  type: Maildir
  maildir: {path: %q}
`

// relay is the real program.
type relay struct {
	t    *testing.T
	port int
	*env.Process
}

var binary struct {
	once sync.Once
	dir  string
	err  error
}

// TestMain removes what build made.
func TestMain(m *testing.M) {
	code := m.Run()
	if binary.dir != "" {
		os.RemoveAll(binary.dir) //nolint:errcheck // a temporary folder
	}
	os.Exit(code)
}

// build builds the program, once, as the image has it.
func build(t *testing.T) string {
	t.Helper()
	binary.once.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "pr"); binary.err != nil { //nolint:usetesting // for all tests
			return
		}
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-buildvcs=false", "-o", filepath.Join(binary.dir, "printer-relay"), ".")
		cmd.Dir = env.Root(t)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			binary.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return filepath.Join(binary.dir, "printer-relay")
}

// start runs a relay until the test ends.
func start(t *testing.T) *relay {
	t.Helper()
	bin, dir := build(t), t.TempDir()
	for range 20 {
		r := &relay{t: t, port: env.FreePort(t)}
		if err := os.MkdirAll(filepath.Join(dir, "m"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "m", "relay.yaml"), fmt.Appendf(nil, manifests, r.port, filepath.Join(dir, "mail")), 0o600); err != nil {
			t.Fatal(err)
		}
		r.Process = env.Start(t, dir, "env", fmt.Sprintf("GOMEMLIMIT=%d", memoryLimit), bin, "relay", "--manifests", filepath.Join(dir, "m"),
			"--state", filepath.Join(dir, "state"), "--bind", "127.0.0.1", "--admin", "", "--log-level", "error")
		up := false
		env.Eventually(t, "the relay answers", r.Output, func() bool {
			c, err := net.Dial("tcp", env.Loopback(r.port))
			if up = err == nil; up {
				c.Close() //nolint:errcheck // it was to see whether somebody is there
			}
			return up || !r.Running()
		})
		if up && r.Running() { // relay/footprint.go
			env.Eventually(t, "what the start took is given back", r.Output, func() bool { return r.memory() < program })
			return r
		}
		if says := r.Output(); !strings.Contains(says, "address already in use") {
			t.Fatalf("the relay does not start:\n%s", says)
		}
	}
	t.Fatal("no port is free")
	return nil
}

// memory is the process's proportional set size now, in octets.
func (r *relay) memory() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", r.Pid()))
	if err != nil {
		r.t.Fatalf("%v\n%s", err, r.Output())
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Pss:"); ok {
			kB, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			if err != nil {
				r.t.Fatal(err)
			}
			return kB << 10
		}
	}
	r.t.Fatal("no Pss")
	return 0
}

// watch looks at the memory until peak is called.
func (r *relay) watch() (peak func() int64) {
	stop, done := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, r.memory())
			select {
			case <-tick.C:
			case <-stop:
				done <- max(most, r.memory())
				return
			}
		}
	}()
	return sync.OnceValue(func() int64 { close(stop); return <-done })
}

// client is one connection; its methods tell whether things went as they should, since a
// relay under attack may refuse.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

// dial connects from an address and reads the greeting; nil: it was refused.
func (r *relay) dial(from string) *client {
	d := net.Dialer{Timeout: env.Wait, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(r.t.Context(), "tcp", env.Loopback(r.port))
	if err != nil {
		return nil
	}
	c := &client{conn: conn, r: bufio.NewReaderSize(conn, 512)}
	if !c.got("220 ") {
		conn.Close() //nolint:errcheck // refused
		return nil
	}
	return c
}

// got reads one reply and tells whether it begins so.
func (c *client) got(want string) bool {
	c.conn.SetReadDeadline(time.Now().Add(env.Wait)) //nolint:errcheck // the read says so
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return false
		}
		if len(line) < 4 || line[3] != '-' {
			return strings.HasPrefix(line, want)
		}
	}
}

// say writes a line and reads the reply.
func (c *client) say(line, want string) bool { return c.write(line+"\r\n") && c.got(want) }

func (c *client) write(s string) bool {
	c.conn.SetWriteDeadline(time.Now().Add(env.Wait)) //nolint:errcheck // the write says so
	_, err := c.conn.Write([]byte(s))
	return err == nil
}

func (c *client) startTLS() bool {
	if !c.say("EHLO copier.test", "250 ") || !c.say("STARTTLS", "220 ") {
		return false
	}
	tc := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // its own certificate
	if tc.Handshake() != nil {                                      //nolint:noctx // the connection has a deadline
		return false
	}
	c.conn = tc
	c.r.Reset(tc)
	return c.say("EHLO copier.test", "250 ")
}

// data begins a message.
func (c *client) data() bool {
	return c.say("EHLO copier.test", "250 ") && c.say("MAIL FROM:<mfp@copier.test>", "250 ") && c.say("RCPT TO:<a@corp.example>", "250 ") && c.say("DATA", "354 ")
}

// scans tells whether a copier at an address can send a scan.
func (r *relay) scans(from string) bool {
	c := r.dial(from)
	if c == nil {
		return false
	}
	defer c.conn.Close() //nolint:errcheck // it is over
	return c.data() && c.write("From: <mfp@copier.test>\r\nSubject: Scan\r\n\r\n"+strings.Repeat(strings.Repeat("x", 76)+"\r\n", 3000)+".\r\n") && c.got("250 ")
}
