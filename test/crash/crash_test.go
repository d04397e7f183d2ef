// Package crash kills a relay with SIGKILL at random moments, under load,
// again and again, and looks for what it acknowledged: nothing may be lost,
// and no more be there twice than transactions were open at a kill.
package crash

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	clients     = 6
	connections = 4 // of the upstream: transactions that can be open at a kill
	patience    = 2 * time.Minute
)

const manifests = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: crash}
spec:
  hostname: relay.test
  upstreamRef: {name: folder}
  senderPolicyRefs: [{name: all}]
  listeners: [{name: smtp, port: %d, tls: {mode: None}}]
  delivery: {bounce: {to: None}, retry: {initialSeconds: 1, maximumSeconds: 1}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: folder}
spec: {type: SMTP, smtp: {host: 127.0.0.1, port: %d, tls: {mode: None}}, limits: {connections: %d}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: all}
spec:
  rules:
  - name: local
    match: {clientNetworks: [127.0.0.0/8]}
    recipients: {allowed: ["*@corp.example"]}
`

// TestKillsLoseNothing is short by default; CRASH_KILLS sets how often it kills.
func TestKillsLoseNothing(t *testing.T) {
	kills := 15
	if s := os.Getenv("CRASH_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("CRASH_KILLS=%q: want a number", s)
		}
		kills = n
	}
	r := &relay{t: t, dir: t.TempDir(), sink: startSink(t)}
	r.build()
	var l load
	for range kills {
		r.start()
		moment := time.Duration(rand.Int64N(int64(250 * time.Millisecond)))
		l.during(r.addr(), func() {
			time.Sleep(moment) // the random moment that this test is about
			r.kill()
		})
	}
	r.start() // and now in peace
	l.one(r.addr())
	r.drain()
	r.kill()

	got := r.sink.received()
	lost, twice := 0, 0
	for _, id := range l.acknowledged {
		switch n := got[id]; {
		case n == 0:
			lost++
		case n > 1:
			twice += n - 1
		}
	}
	t.Logf("%d kills: %d acknowledged, %d arrived, %d twice", kills, len(l.acknowledged), len(got), twice)
	if lost > 0 {
		t.Errorf("%d of %d acknowledged messages are lost", lost, len(l.acknowledged))
	}
	if most := kills * connections; twice > most {
		t.Errorf("%d duplicates, more than the %d transactions that can have been open", twice, most)
	}
	if len(l.acknowledged) < kills {
		t.Errorf("only %d messages were acknowledged in %d rounds: the load was none", len(l.acknowledged), kills)
	}
}

// relay is the real program, and its folders.
type relay struct {
	t        *testing.T
	dir, bin string
	port     int
	cmd      *exec.Cmd
	log      bytes.Buffer
	sink     *sink
}

func (r *relay) build() {
	r.bin = filepath.Join(r.dir, "printer-relay")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", r.bin, "github.com/printerrelay/printer-relay").CombinedOutput()
	if err != nil {
		r.t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(r.dir, "manifests"), 0o700); err != nil {
		r.t.Fatal(err)
	}
}

func (r *relay) addr() string { return fmt.Sprintf("127.0.0.1:%d", r.port) }

// start runs the relay on a port that is free now, and waits until it answers.
func (r *relay) start() {
	r.t.Helper()
	for range 20 {
		r.port = freePort(r.t)
		yaml := fmt.Sprintf(manifests, r.port, r.sink.port, connections)
		if err := os.WriteFile(filepath.Join(r.dir, "manifests", "m.yaml"), []byte(yaml), 0o600); err != nil {
			r.t.Fatal(err)
		}
		r.log.Reset()
		r.cmd = exec.Command(r.bin, "relay", "--manifests", filepath.Join(r.dir, "manifests"), "--state", filepath.Join(r.dir, "state"), "--bind", "127.0.0.1", "--admin", "", "--log-level", "warn")
		r.cmd.Stderr = &r.log
		if err := r.cmd.Start(); err != nil {
			r.t.Fatal(err)
		}
		if r.answers() {
			return
		}
		r.kill()
		if !strings.Contains(r.log.String(), "address already in use") {
			break
		}
	}
	r.t.Fatalf("the relay does not start:\n%s", r.log.String())
}

func (r *relay) answers() bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", r.addr())
		if err != nil {
			if r.cmd.ProcessState == nil && exited(r.cmd) {
				return false
			}
			continue
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return false
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		return err == nil && strings.HasPrefix(line, "220 ")
	}
	return false
}

// exited tells whether the process has ended by itself, without waiting.
func exited(c *exec.Cmd) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))
	return err != nil || bytes.Contains(b, []byte(") Z "))
}

func (r *relay) kill() {
	r.cmd.Process.Kill() //nolint:errcheck // it may have ended
	r.cmd.Wait()         //nolint:errcheck // it was killed
}

// drain waits until the spool is empty.
func (r *relay) drain() {
	messages := filepath.Join(r.dir, "state", "default", "crash", "spool", "messages")
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		left, err := os.ReadDir(messages)
		if err != nil {
			r.t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			r.t.Fatalf("%d messages are still in the spool", len(left))
		}
	}
	quarantine := filepath.Join(r.dir, "state", "default", "crash", "spool", "quarantine")
	filepath.WalkDir(quarantine, func(path string, d fs.DirEntry, err error) error { //nolint:errcheck // the callback has no error
		if err == nil && !d.IsDir() {
			r.t.Logf("in quarantine: %s", path) // half-written and never acknowledged, or the count above says more
		}
		return nil
	})
}

// load is what the clients were told.
type load struct {
	mu           sync.Mutex
	next         int
	acknowledged []string
}

// during runs the clients until stop has returned and their connections broke.
func (l *load) during(addr string, stop func()) {
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() { l.client(addr, 1<<30) })
	}
	stop()
	wg.Wait()
}

func (l *load) one(addr string) { l.client(addr, 1) }

// client sends messages until the connection breaks.
func (l *load) client(addr string, count int) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return
	}
	r := bufio.NewReader(c)
	ask := func(line string) (string, bool) {
		if _, err := c.Write([]byte(line)); err != nil {
			return "", false
		}
		s, err := r.ReadString('\n')
		return s, err == nil
	}
	if _, err := r.ReadString('\n'); err != nil {
		return
	}
	if _, ok := ask("HELO copier.test\r\n"); !ok {
		return
	}
	for range count {
		l.mu.Lock()
		l.next++
		id := fmt.Sprintf("scan-%d", l.next)
		l.mu.Unlock()
		body := strings.Repeat("0123456789012345678901234567890123456789012345678901234567890123456789\r\n", rand.IntN(2000))
		for _, line := range []string{"MAIL FROM:<mfp@copier.test>\r\n", "RCPT TO:<a@corp.example>\r\n", "DATA\r\n"} {
			if s, ok := ask(line); !ok || s[0] > '3' {
				return
			}
		}
		s, ok := ask("From: mfp@copier.test\r\nX-Scan: " + id + "\r\nSubject: scan\r\n\r\n" + body + ".\r\n")
		if !ok || !strings.HasPrefix(s, "250 ") {
			return
		}
		l.mu.Lock()
		l.acknowledged = append(l.acknowledged, id)
		l.mu.Unlock()
	}
}

var scanID = regexp.MustCompile(`(?m)^X-Scan: (\S+)\r$`)

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
