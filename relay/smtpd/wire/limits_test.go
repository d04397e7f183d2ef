package wire

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// crowded is a listener of 40 connections that is told the client's address by a
// proxy, so that a test has as many clients as it wants.
func crowded(t *testing.T, known func(netip.Addr, bool) bool) *rig {
	return start(t, func(r *rig) {
		r.limits = Limits{Connections: 40, PerClient: 40, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Known: known}
	})
}

// open connects as a client; false: it was refused before the greeting.
func (r *rig) open(client string) bool {
	r.t.Helper()
	c := r.dial()
	family := "TCP4"
	if strings.Contains(client, ":") {
		family = "TCP6"
	}
	c.write(fmt.Sprintf("PROXY %s %s %s 1000 25\r\n", family, client, client))
	switch got := c.reply(); {
	case strings.HasPrefix(got, "220 "):
		return true
	case strings.HasPrefix(got, "421 4.7.0 PR-001 "):
		return false
	default:
		r.t.Fatalf("%s: %q", client, got)
		return false
	}
}

// count opens connections until one is refused.
func (r *rig) count(client func(int) string) (n int) {
	r.t.Helper()
	for r.open(client(n)) {
		n++
	}
	return n
}

// One client, and a few greedy ones, leave places for the others.
func TestOneClientTakesNotAllPlaces(t *testing.T) {
	r := crowded(t, nil)
	if n := r.count(func(int) string { return "10.0.0.1" }); n != 30 {
		t.Errorf("one client has %d of 40 places, want 30", n)
	}
	if n := r.count(func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) }); n < 5 || n > 8 {
		t.Errorf("a second one, with many addresses of one /64, has %d", n)
	}
	if !r.open("10.0.0.3") {
		t.Error("nothing is left for a third")
	}
}

// A crowd of strangers, each with one connection, keeps no copier out.
func TestStrangersKeepNoCopierOut(t *testing.T) {
	copiers := netip.MustParsePrefix("10.1.0.0/16")
	r := crowded(t, func(a netip.Addr, hidden bool) bool { return !hidden && copiers.Contains(a) })
	if n := r.count(func(i int) string { return fmt.Sprintf("10.2.0.%d", i) }); n != 30 {
		t.Errorf("strangers have %d of 40 places, want 30", n)
	}
	for i := range 10 {
		if !r.open(fmt.Sprintf("10.1.0.%d", i)) {
			t.Fatalf("copier %d is kept out", i)
		}
	}
	if r.open("10.1.0.99") {
		t.Error("more than 40 connections")
	}
}

// What a client made a connection hold is let go while nothing comes.
func TestAnIdleConnectionHoldsNoMoreThanAtTheStart(t *testing.T) {
	r := start(t)
	c := r.greeted()
	c.begin()
	long := strings.Repeat("x", 8000)
	c.write("a\r\n.\r\nAUTH PLAIN " + long + "\r\n") // pipelined behind a message, and a long line
	c.want("250 2.0.0")
	c.want("5")
	c.cmd("NOOP", "250")
	conn := r.one().conn
	c.cmd("QUIT", "221")
	c.ended()
	r.eventually("its goroutine is done with it", func() bool { return r.l.Connections() == 0 })
	if n := len(conn.buf); n > firstBuffer {
		t.Errorf("it holds %d octets, want %d", n, firstBuffer)
	}
}

// A client that only makes errors is cut off, whatever kind they are and whoever
// finds them; a message counts them anew, and STARTTLS does not.
func TestErrorsEndASession(t *testing.T) {
	for name, tc := range map[string]struct {
		change      func(*rig)
		line, reply string
	}{
		"no command":          {func(*rig) {}, "FOO", "500 5.5.2 PR-010"},
		"a long line":         {func(*rig) {}, strings.Repeat("x", 3000), "500 5.5.2 PR-005"},
		"a refused recipient": {func(*rig) {}, "RCPT TO:<no@d.example>", "550 5.7.1"},
		"a failed login":      {func(*rig) {}, "AUTH PLAIN AHgAeQ==", "535 5.7.8"},
		"bare LF":             {func(r *rig) { r.settings.LineEndings = "Reject" }, "NOOP\nNOOP", "500 5.5.2 PR-015"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, tc.change, withTLS)
			c := r.greeted()
			begin := func() {
				c.cmd("EHLO copier.test", "250")
				if strings.HasPrefix(tc.line, "RCPT") {
					c.cmd("MAIL FROM:<a@b.example>", "250")
				}
			}
			begin()
			for range maxFailures - 1 {
				c.cmd(tc.line, tc.reply)
				if strings.HasPrefix(tc.line, "NOOP") {
					c.want("250")
				}
			}
			c.cmd("RSET", "250")
			c.envelope()
			c.write("x\r\n.\r\n")
			c.want("250")
			if strings.HasPrefix(tc.line, "RCPT") {
				c.cmd("MAIL FROM:<a@b.example>", "250")
			}
			for range maxFailures - 1 {
				c.cmd(tc.line, tc.reply)
				if strings.HasPrefix(tc.line, "NOOP") {
					c.want("250")
				}
			}
			c.cmd("STARTTLS", "220")
			c.conn = tls.Client(c.conn, clientTLS)
			c.r.Reset(c.conn)
			begin()
			c.cmd(tc.line, tc.reply)
			c.want("421 4.7.0 PR-004 ")
			c.ended()
		})
	}
}

// Empty lines, to which a lenient listener says nothing, are not free either.
func TestEmptyLinesEndASession(t *testing.T) {
	r := start(t, lenient)
	c := r.greeted()
	c.write(strings.Repeat("\r\n", maxFailures))
	c.want("421 4.7.0 PR-004 ")
	c.ended()
}

// A session that declines a message answers DATA, in place of the 354, and stays in
// step; a client that sent its message all the same is cut off.
func TestDecline(t *testing.T) {
	r := start(t, func(r *rig) { r.decline = true }, lenient)
	c := r.greeted()
	for range 2 {
		c.cmd("EHLO copier.test", "250")
		c.cmd("MAIL FROM:<a@b.example>", "250")
		c.cmd("RCPT TO:<c@d.example>", "250")
		c.cmd("DATA", "451 4.3.2 PR-066")
		c.cmd("NOOP", "250")
	}
	drained := r.l.Drain() // no transaction is open
	c.want("421 4.3.2")
	c.ended()
	<-drained

	r = start(t, func(r *rig) { r.decline = true }, lenient)
	c = r.greeted()
	c.write("EHLO x.test\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nRSET\r\nMAIL FROM:<evil@b.example>\r\n.\r\n")
	for _, want := range []string{"250", "250", "250", "451 4.3.2 PR-066", ""} {
		c.want(want)
	}
}

func TestGap16ConnectionLimitsBeforeTheGreeting(t *testing.T) {
	t.Run("in all", func(t *testing.T) {
		r := start(t, func(r *rig) { r.limits.Connections = 2 })
		a, _ := r.greeted(), r.greeted()
		over := r.dial()
		over.want("421 4.7.0 PR-001")
		over.ended()
		a.cmd("QUIT", "221")
		a.ended()
		r.eventually("a free place", func() bool { return r.l.Connections() == 1 })
		r.greeted()
	})
	t.Run("per client", func(t *testing.T) {
		r := start(t, func(r *rig) { r.limits.PerClient = 1 })
		r.greeted()
		r.dial().want("421 4.7.0 PR-001")
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", r.raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		newClient(t, conn).want("220 ")
	})
}

// A /64 is one device: it has more addresses than there are places.
func TestConnectionsPerIPv6NetworkAndHiddenClients(t *testing.T) {
	var given []netip.Addr
	r := start(t, func(r *rig) {
		r.limits.PerClient, r.limits.Proxies = 1, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		r.asked = &given
	})
	from := func(header string) *client {
		c := r.dial()
		c.write(header + "\r\n")
		return c
	}
	from("PROXY TCP6 2001:db8::1 2001:db8::2 1000 25").want("220 ")
	from("PROXY TCP6 2001:db8::ffff:1 2001:db8::2 1000 25").want("421 4.7.0 PR-001")
	from("PROXY TCP6 2001:db8:0:1::1 2001:db8::2 1000 25").want("220 ")
	from("PROXY UNKNOWN").want("220 ")
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := given[len(given)-1]; last.IsValid() {
		t.Errorf("settings of a hidden client were asked for by the proxy's address %s", last)
	}
}
