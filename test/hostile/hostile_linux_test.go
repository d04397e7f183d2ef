package hostile

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// The bound that docs/limits.md states, in octets. The relay derives how many
// connections and messages it takes at once from its memory limit (relay/budget.go),
// by what they hold; perConnection is what they take with the garbage that Go's
// collector lets lie while the memory limit is far.
const (
	program       = 44 << 20
	perConnection = 96 << 10
	perReceiving  = 384 << 10
	connections   = memoryLimit / 4 / (56 << 10)
	receiving     = memoryLimit / 4 / perReceiving
)

// crowd is how many try to connect: more than the relay takes.
const crowd = 1500

// named gives one of ten addresses that the policy names, stranger one of
// thousands that it does not.
func named(i int) string    { return fmt.Sprintf("127.0.1.%d", 1+i%10) }
func stranger(i int) string { return fmt.Sprintf("127.%d.%d.1", 1+i%100, i/100) }

// endless is a line that does not end, of the most octets that are kept of one.
var endless = "AUTH PLAIN " + strings.Repeat("A", 12_000)

// partHeader begins a message of nested parts, each with a header as large as may be.
func nested() string {
	var b strings.Builder
	b.WriteString("From: <mfp@copier.test>\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n")
	for i := range 7 {
		fmt.Fprintf(&b, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\nX-Fill: %s\r\n\r\n", i, i+1, strings.Repeat("x", 15_000))
	}
	b.WriteString("--b7\r\nContent-Type: application/pdf; name=\"" + strings.Repeat("y", 15_000))
	return b.String()
}

// address is as long as one may be (RFC 5321 4.5.3.1).
func address(i int) string {
	return fmt.Sprintf("%064d@%s.corp.example", i, strings.Repeat(strings.Repeat("d", 40)+".", 4)+"x")
}

// held counts the messages that have begun, and whose beginning was sent.
var held atomic.Int64

// hold asks to send a message, and sends the beginning of one if it may.
func (c *client) hold(beginning string) bool {
	if !c.say("EHLO x.test", "250 ") || !c.say("MAIL FROM:<mfp@copier.test>", "250 ") || !c.say("RCPT TO:<a@corp.example>", "250 ") || !c.write("DATA\r\n") {
		return false
	}
	go func() { // it may have to wait, until the test is over
		if c.got("354 ") && c.write(beginning) {
			held.Add(1)
		}
	}()
	return true
}

// attacks are what each client of a crowd does; what it leaves open stays so.
var attacks = map[string]struct {
	from  func(int) string
	bound int64 // octets, beside the program
	do    func(c *client, i int) bool
	holds bool // it begins messages, as many as it can
}{
	"idle behind the greeting": {from: named, bound: connections * perConnection, do: func(*client, int) bool { return true }},
	"lines that do not end": {from: named, bound: connections * perConnection, do: func(c *client, _ int) bool {
		return c.say("EHLO x.test", "250 ") && c.write(endless)
	}},
	"replies that nobody reads": {from: named, bound: connections * perConnection, do: func(c *client, _ int) bool {
		return c.write(strings.Repeat("EHLO x.test\r\n", 90))
	}},
	"TLS, and then nothing": {from: named, bound: connections * perConnection, do: func(c *client, _ int) bool { return c.startTLS() }},
	"handshakes that do not end": {from: named, bound: connections * perConnection, do: func(c *client, _ int) bool {
		return c.say("EHLO x.test", "250 ") && c.say("STARTTLS", "220 ") && c.write("\x16\x03\x01\x40\x00"+strings.Repeat("\x01", 15_000))
	}},
	"strangers from thousands of addresses": {from: stranger, bound: connections * perConnection, do: func(c *client, _ int) bool {
		return c.say("EHLO x.test", "250 ") && c.say("MAIL FROM:<a@b.example>", "550 ")
	}},
	"guesses of passwords from thousands of addresses": {from: stranger, bound: connections * perConnection, do: func(c *client, i int) bool {
		guess := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "\x00user%d\x00%s", i, strings.Repeat("p", 5000)))
		return c.say("EHLO x.test", "250 ") && c.say("AUTH PLAIN", "334 ") && c.write(guess+"\r\n")
	}},
	"headers that do not end": {from: named, bound: connections*perConnection + receiving*perReceiving, holds: true, do: func(c *client, _ int) bool {
		return c.hold("From: <mfp@copier.test>\r\n" + strings.Repeat("X-Fill: "+strings.Repeat("x", 900)+"\r\n", 105))
	}},
	"nested parts": {from: named, bound: connections*perConnection + receiving*perReceiving, holds: true, do: func(c *client, _ int) bool {
		return c.hold(nested())
	}},
	"bodies that do not end": {from: named, bound: connections*perConnection + receiving*perReceiving, holds: true, do: func(c *client, _ int) bool {
		return c.hold("From: <mfp@copier.test>\r\n\r\n" + strings.Repeat("x", 60_000))
	}},
	// A quarter of a megabyte of recipients: the limit is 1000 here, and 100 by default.
	"a thousand recipients": {from: named, bound: connections * (perConnection + 300<<10) / 10, do: func(c *client, i int) bool {
		if i%10 != 0 { // a tenth: it takes long
			return true
		}
		if !c.say("EHLO x.test", "250 ") || !c.say("MAIL FROM:<mfp@copier.test>", "250 ") {
			return false
		}
		for n := range 1000 {
			if !c.say("RCPT TO:<"+address(n)+">", "250 ") {
				return false
			}
		}
		return true
	}},
}

// However many hostile clients there are and whatever they do, the relay's memory
// stays below its bound, and a copier can scan.
func TestMemoryIsBounded(t *testing.T) {
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			held.Store(0)
			before := r.memory()
			peak := r.watch()
			if !r.scans("127.0.2.1") {
				t.Fatal("no scan can be sent in peace")
			}
			var mu sync.Mutex
			var open []*client
			var did atomic.Int64
			var wg sync.WaitGroup
			next := make(chan int)
			for range 32 {
				wg.Go(func() {
					for i := range next {
						c := r.dial(a.from(i))
						if c == nil {
							continue
						}
						if a.do(c, i) {
							did.Add(1)
						}
						mu.Lock()
						open = append(open, c)
						mu.Unlock()
					}
				})
			}
			for i := range crowd {
				next <- i
			}
			close(next)
			wg.Wait()
			if a.holds {
				env.Eventually(t, "messages come in", r.Output, func() bool { return held.Load() >= receiving/2 })
			}
			ok := r.scans("127.0.2.1") // and from an address that was not there before:
			late := r.scans("127.0.3.1")
			after := peak()
			for _, c := range open {
				c.conn.Close() //nolint:errcheck // it is over
			}
			t.Logf("%d connections, %d did it: %.1f MiB before, %.1f MiB at most, bound %.1f", len(open), did.Load(), mib(before), mib(after), mib(program+a.bound))
			if after > program+a.bound {
				t.Errorf("%.1f MiB, more than %.1f", mib(after), mib(program+a.bound))
			}
			if !ok || !late {
				t.Errorf("a copier cannot scan meanwhile: one that did before %v, another %v\n%s", ok, late, r.Tail(2000))
			}
			if len(open) < connections/2 || len(open) > connections || did.Load() < int64(len(open))/2 {
				t.Errorf("%d connections, of which %d did what they should: want more, and at most %d", len(open), did.Load(), connections)
			}
		})
	}
}

// A thousand connections that say nothing take less than 32 MiB.
func TestIdleConnections(t *testing.T) {
	r := start(t)
	const n = 1000
	before := r.memory()
	peak := r.watch()
	open := make([]*client, n)
	for i := range open {
		if open[i] = r.dial(named(i)); open[i] == nil {
			t.Fatalf("connection %d was refused", i)
		}
		defer open[i].conn.Close() //nolint:errcheck // it is over
	}
	used := peak() - before
	if used > 32<<20 {
		t.Errorf("%d idle connections take %.1f MiB", n, mib(used))
	}
	for i, c := range open {
		if !c.say("EHLO x.test", "250 ") {
			t.Fatalf("connection %d: no reply", i)
		}
	}
	t.Logf("%d connections: %.1f MiB, %d octets each; behind an EHLO %.1f MiB", n, mib(used), used/n, mib(r.memory()-before))
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
