package smtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a script may answer in place of a reply.
const (
	stall = "stall" // say nothing until the client is gone
	cut   = "cut"   // close the connection
)

// fake is a server that answers from a script, over pipes: it works inside
// synctest bubbles, where time limits pass at once.
type fake struct {
	// answer gives the reply to a command line, "" for the greeting and "." for
	// the final dot. An empty answer is the usual one.
	answer func(line string) string
	ext    []string // EHLO keywords
	// frozen, if set, is where the server stops to read behind its 354, until
	// it is closed; lastWords it says there.
	frozen    chan struct{}
	lastWords string
	tls       *tls.Config // for STARTTLS, or at once
	implicit  bool
	tcp       bool // sockets in place of pipes

	mu       sync.Mutex
	wg       sync.WaitGroup
	dials    int
	writes   int      // of the clients
	commands []string // of all connections
	data     []string // what came between 354 and the final dot, dots and all
}

func (f *fake) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	if f.tcp {
		var err error
		if client, server, err = tcpPipe(); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	f.dials++
	f.mu.Unlock()
	f.wg.Go(func() { f.serve(server) })
	return &countConn{client, f}, nil
}

// tcpPipe is net.Pipe with buffers, outside of synctest bubbles: in a failing
// TLS handshake both sides write at once.
func tcpPipe() (client, server net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	server, err = l.Accept()
	return client, server, err
}

// countConn counts what would be system calls.
type countConn struct {
	net.Conn
	f *fake
}

func (c *countConn) Write(b []byte) (int, error) {
	c.f.mu.Lock()
	c.f.writes++
	c.f.mu.Unlock()
	return c.Conn.Write(b)
}

func (f *fake) serve(c net.Conn) {
	defer func() { c.Close() }()
	if f.implicit {
		c = tls.Server(c, f.tls)
	}
	r := bufio.NewReaderSize(c, 64<<10)
	if !f.say(c, r, "", "220 fake ESMTP") {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		f.mu.Lock()
		f.commands = append(f.commands, line)
		f.mu.Unlock()
		usual := "250 2.0.0 ok"
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch verb {
		case "EHLO":
			usual = "250-fake\r\n250-" + strings.Join(f.ext, "\r\n250-") + "\r\n250 ENHANCEDSTATUSCODES"
		case "DATA":
			usual = "354 go ahead"
		case "STARTTLS":
			usual = "220 2.0.0 begin"
		case "QUIT":
			return
		}
		answer := f.reply(line, usual)
		if !f.send(c, r, answer) {
			return
		}
		if verb == "STARTTLS" && strings.HasPrefix(answer, "220") {
			c = tls.Server(c, f.tls)
			r = bufio.NewReaderSize(c, 64<<10)
		}
		if verb != "DATA" || !strings.HasPrefix(answer, "354") {
			continue
		}
		if f.frozen != nil {
			f.send(c, r, f.lastWords)
			<-f.frozen
			return
		}
		if !f.takeData(c, r) {
			return
		}
	}
}

func (f *fake) reply(line, usual string) string {
	if f.answer != nil {
		if a := f.answer(line); a != "" {
			return a
		}
	}
	return usual
}

func (f *fake) say(c net.Conn, r *bufio.Reader, line, usual string) bool {
	return f.send(c, r, f.reply(line, usual))
}

func (f *fake) send(c net.Conn, r *bufio.Reader, answer string) bool {
	switch answer {
	case stall:
		io.Copy(io.Discard, r)
		return false
	case cut:
		return false
	}
	_, err := io.WriteString(c, answer+"\r\n")
	return err == nil
}

// takeData reads to the final dot.
func (f *fake) takeData(c net.Conn, r *bufio.Reader) bool {
	var b bytes.Buffer
	for {
		line, err := r.ReadSlice('\n')
		b.Write(line)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return false
		}
		if all := b.Bytes(); bytes.HasSuffix(all, []byte("\r\n.\r\n")) || string(all) == ".\r\n" {
			break
		}
	}
	f.mu.Lock()
	f.data = append(f.data, b.String())
	f.mu.Unlock()
	return f.say(c, r, ".", "250 2.0.0 Ok: queued as 4F2A")
}

func (f *fake) seen() (commands, data []string, writes, dials int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.commands...), append([]string(nil), f.data...), f.writes, f.dials
}

// start gives a transport to f that ends with the test.
func (f *fake) start(t *testing.T, change ...func(*Config)) *Transport {
	t.Helper()
	if f.ext == nil {
		f.ext = []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 1000000"}
	}
	c := Config{Name: "out", SMTP: plan.SMTP{Host: "mx.test", Port: 25, TLS: plan.TLSNone, HeloName: "relay.test"}, Dial: f.dial}
	for _, do := range change {
		do(&c)
	}
	tr := New(c)
	t.Cleanup(func() { tr.Close(); f.wg.Wait() })
	return tr
}

const text = "From: <mfp@copier.test>\r\nSubject: scan\r\n\r\nhello\r\n"

// message is one for the recipients to, a@corp.test where there are none.
func message(t *testing.T, content string, to ...string) *upstream.Message {
	t.Helper()
	if len(to) == 0 {
		to = []string{"a@corp.test"}
	}
	return conformance.Mail(t, content, to...)
}
