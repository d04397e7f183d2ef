package network

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// stalling is a mail server with STARTTLS and AUTH that says nothing more, and
// reads nothing more, from one step on. It keeps the connection open.
type stalling struct {
	port int
	step string
	cert tls.Certificate

	mu     sync.Mutex
	heal   chan struct{} // closed: it works
	conns  map[net.Conn]bool
	opened int
	seen   map[string]int // whole messages by recipient, whether accepted or not
	took   map[string]int // accepted
}

// startStalling runs one until the end of the test.
func startStalling(t *testing.T, ca *env.CA, step string) *stalling {
	t.Helper()
	certFile, keyFile := ca.Issue(t, "127.0.0.1")
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stalling{
		port: l.Addr().(*net.TCPAddr).Port, step: step, cert: cert,
		heal: make(chan struct{}), conns: map[net.Conn]bool{}, seen: map[string]int{}, took: map[string]int{},
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.open(c, true)
			wg.Go(func() {
				defer s.open(c, false)
				(&dialogue{s: s, conn: c, r: bufio.NewReader(c)}).serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.works()
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		wg.Wait()
	})
	return s
}

// yaml is the MailUpstream that leads here.
func (s *stalling) yaml(name string) string {
	return fmt.Sprintf(`---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: %s}
spec:
  type: SMTP
  smtp:
    host: 127.0.0.1
    port: %d
    tls: {mode: StartTLS, caSecretRef: {name: ca}}
    authentication: {mechanism: Plain, secretRef: {name: login}}
%s`, name, s.port, limits(few))
}

func (s *stalling) open(c net.Conn, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !on {
		delete(s.conns, c)
		c.Close()
		return
	}
	s.opened++
	s.conns[c] = true
}

// works ends the stalling.
func (s *stalling) works() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.healed() {
		close(s.heal)
	}
}

// stalls waits where the server stalls at the step, until it works again: then that
// connection is given up.
func (s *stalling) stalls(step string) bool {
	if step != s.step || s.healed() {
		return false
	}
	<-s.heal
	return true
}

func (s *stalling) healed() bool {
	select {
	case <-s.heal:
		return true
	default:
		return false
	}
}

func (s *stalling) note(m map[string]int, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m[to]++
}

func (s *stalling) taken() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	for to, n := range s.took {
		out[to] = n
	}
	return out
}

// dialogue is one connection.
type dialogue struct {
	s    *stalling
	conn net.Conn
	r    *bufio.Reader
	tls  bool
	to   string
}

// serve answers until the client is gone or the server stalls.
func (d *dialogue) serve(raw net.Conn) {
	if tcp, ok := raw.(*net.TCPConn); ok && d.s.step == "body" && !d.s.healed() {
		tcp.SetReadBuffer(4 << 10) //nolint:errcheck // only so that a message that nobody reads fills it sooner
	}
	if d.s.stalls("banner") || !d.say("220 stalling.test ESMTP") {
		return
	}
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " ")
		step := verb
		if verb == "EHLO" && d.tls {
			step = "EHLO after TLS"
		}
		if d.s.stalls(step) || !d.answer(verb, line) {
			return
		}
	}
}

func (d *dialogue) say(reply string) bool {
	_, err := io.WriteString(d.conn, reply+"\r\n")
	return err == nil
}

// answer does one command; false: the connection ends.
func (d *dialogue) answer(verb, line string) bool {
	switch verb {
	case "EHLO":
		if d.tls {
			return d.say("250-stalling.test\r\n250 AUTH PLAIN")
		}
		return d.say("250-stalling.test\r\n250 STARTTLS")
	case "STARTTLS":
		if !d.say("220 go ahead") || d.s.stalls("handshake") {
			return false
		}
		c := tls.Server(d.conn, &tls.Config{Certificates: []tls.Certificate{d.s.cert}, MinVersion: tls.VersionTLS12})
		d.conn, d.r, d.tls = c, bufio.NewReader(c), true
		return c.Handshake() == nil
	case "AUTH":
		return d.say("235 welcome")
	case "RCPT":
		_, a, _ := strings.Cut(line, "<")
		d.to, _, _ = strings.Cut(a, ">")
	case "DATA":
		return d.data()
	case "QUIT":
		return false
	}
	return d.say("250 ok")
}

func (d *dialogue) data() bool {
	if !d.say("354 go on") || d.s.stalls("body") {
		return false
	}
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
	}
	d.s.note(d.s.seen, d.to)
	if d.s.stalls("final dot") {
		return false
	}
	d.s.note(d.s.took, d.to)
	return d.say("250 taken")
}
