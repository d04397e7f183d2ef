package wire

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// A client that says nothing is told why it loses its connection, inside of a
// transaction too, and not before the time is over.
func TestSilenceIs421(t *testing.T) {
	for name, say := range map[string]func(c *client){
		"nothing":       func(*client) {},
		"half a line":   func(c *client) { c.write("EHL") },
		"a transaction": func(c *client) { c.cmd("HELO x.test", "250"); c.cmd("MAIL FROM:<a@b.example>", "250") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipes()
				r := startOn(t, p)
				c, _ := p.dial(t)
				c.want("220 ")
				say(c)
				begin := time.Now()
				c.conn.SetReadDeadline(time.Time{}) //nolint:errcheck // a pipe takes it
				line, err := c.r.ReadString('\n')
				if want := "421 4.4.2 PR-003 Idle for too long, closing\r\n"; line != want || err != nil {
					t.Errorf("%q, %v, want %q", line, err, want)
				}
				if took := time.Since(begin); took != r.settings.Idle {
					t.Errorf("after %s, want %s", took, r.settings.Idle)
				}
				c.ended()
			})
		})
	}
}

// Who talks before the greeting is no device (RFC 5321 4.3.1), unless a lenient
// listener takes it for one.
func TestWhoTalksFirstIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*rig)
		want   string
	}{
		"strict":  {func(*rig) {}, "554 5.5.0 PR-011 "},
		"lenient": {lenient, "220 relay.test "},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			r := startOn(t, talkative{raw, t}, tc.change)
			c := r.dial()
			c.write("EHLO x.test\r\n")
			c.want(tc.want)
		})
	}
}

// Behind a load balancer too: what comes with the PROXY header was said before the
// greeting.
func TestWhoTalksFirstBehindAProxyIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*rig)
		want   string
	}{
		"strict":  {func(*rig) {}, "554 5.5.0 PR-011 "},
		"lenient": {lenient, "220 relay.test "},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, tc.change, func(r *rig) { r.limits.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }).dial()
			c.write("PROXY TCP4 192.0.2.7 192.0.2.1 1000 25\r\nEHLO x.test\r\n")
			c.want(tc.want)
		})
	}
}

// talkative gives connections whose clients have said something.
type talkative struct {
	net.Listener
	t *testing.T
}

func (l talkative) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !pending(conn); <-tick.C {
		if time.Now().After(end) {
			l.t.Errorf("the client said nothing within %s", patience)
			break
		}
	}
	return conn, nil
}
