package wire

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// v2 is a header of version 2 (PROXY protocol, 2.2): command 0 is LOCAL, 1 PROXY.
func v2(command, family byte, body []byte) string {
	h := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20|command, family)
	return string(append(binary.BigEndian.AppendUint16(h, uint16(len(body))), body...)) //nolint:gosec // short
}

// between are the addresses of a v2 header, from port 1000 to port 25, and what
// follows them.
func between(from, to string, more ...byte) []byte {
	a, b := netip.MustParseAddr(from).AsSlice(), netip.MustParseAddr(to).AsSlice()
	return slices.Concat(a, b, []byte{1000 >> 8, 1000 & 0xff, 0, 25}, more)
}

// What a trusted load balancer says of the client, in both versions; and what is no
// header, which ends the connection before the greeting. The listener asks for the
// settings of the client that it knows: of nobody's where that is hidden.
func TestPROXYHeaders(t *testing.T) {
	const tcp4, tcp6, unspec, unix = 0x11, 0x21, 0x00, 0x31
	const hidden, closed = "hidden", "closed"
	alpn := []byte{0x01, 0, 2, 'h', '2'}
	for name, tc := range map[string]struct{ header, want string }{
		"v1 IPv4":               {"PROXY TCP4 192.0.2.7 192.0.2.1 1000 25\r\n", "192.0.2.7"},
		"v1 IPv6":               {"PROXY TCP6 2001:db8::7 2001:db8::1 1000 25\r\n", "2001:db8::7"},
		"v1 IPv4-mapped":        {"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 1000 25\r\n", "192.0.2.7"},
		"v1 unknown":            {"PROXY UNKNOWN\r\n", hidden},
		"v1 unknown, and more":  {"PROXY UNKNOWN 192.0.2.7 192.0.2.1 1000 25\r\n", hidden},
		"v1 a node":             {"PROXY TCP4 10.9.0.7 192.0.2.1 1000 25\r\n", hidden},
		"v1 a node, mapped":     {"PROXY TCP6 ::ffff:10.9.0.7 2001:db8::1 1000 25\r\n", hidden},
		"v2 IPv4":               {v2(1, tcp4, between("192.0.2.7", "192.0.2.1")), "192.0.2.7"},
		"v2 IPv6":               {v2(1, tcp6, between("2001:db8::7", "2001:db8::1")), "2001:db8::7"},
		"v2 IPv4-mapped":        {v2(1, tcp6, between("::ffff:192.0.2.7", "::ffff:192.0.2.1")), "192.0.2.7"},
		"v2 with an extension":  {v2(1, tcp4, between("192.0.2.7", "192.0.2.1", alpn...)), "192.0.2.7"},
		"v2 local":              {v2(0, unspec, nil), hidden},
		"v2 local, and a name":  {v2(0, tcp4, between("192.0.2.7", "192.0.2.1")), hidden},
		"v2 unspecified":        {v2(1, unspec, nil), closed},
		"v2 a node":             {v2(1, tcp4, between("10.9.0.7", "192.0.2.1")), hidden},
		"v2 a socket in files":  {v2(1, unix, make([]byte, 216)), closed},
		"v2 too short":          {v2(1, tcp6, between("192.0.2.7", "192.0.2.1")), closed},
		"v2 of another version": {strings.Replace(v2(1, tcp4, between("192.0.2.7", "192.0.2.1")), "\n\x21", "\n\x31", 1), closed},
		"v2 cut off":            {v2(1, tcp4, between("192.0.2.7", "192.0.2.1"))[:20], closed},
		"none":                  {"EHLO copier.test\r\n", closed},
		"v1 of nobody":          {"PROXY TCP4 nobody 192.0.2.1 1000 25\r\n", closed},
		"v1 of another family":  {"PROXY TCP4 2001:db8::7 2001:db8::1 1000 25\r\n", closed},
		"v1 without an end":     {"PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", closed},
		"v1 in small":           {"proxy tcp4 192.0.2.7 192.0.2.1 1000 25\r\n", closed},
		"nothing":               {"", closed},
	} {
		t.Run(name, func(t *testing.T) {
			var given []netip.Addr
			r := start(t, func(r *rig) {
				r.limits.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				r.limits.Hides = netip.MustParsePrefix("10.9.0.0/16").Contains
				r.asked = &given
			})
			c := r.dial()
			c.write(tc.header)
			if tc.want == closed {
				if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				c.ended()
				r.eventually("it is counted", func() bool {
					r.mu.Lock()
					defer r.mu.Unlock()
					return slices.Equal(r.refused, []string{"proxy-header 127.0.0.1"})
				})
				return
			}
			c.want("220 relay.test ")
			c.cmd("EHLO copier.test", "250-relay.test\n")
			r.mu.Lock()
			defer r.mu.Unlock()
			got := hidden
			if len(given) == 1 && given[0].IsValid() {
				got = given[0].String()
			}
			if got != tc.want || len(given) != 1 {
				t.Errorf("the client is %s, want %s", got, tc.want)
			}
		})
	}
}

// Who is hidden stays so inside TLS.
func TestHiddenInsideTLS(t *testing.T) {
	r := start(t, withTLS, func(r *rig) { r.limits.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	c := r.dial()
	c.write("PROXY UNKNOWN\r\n")
	c.want("220 relay.test ")
	c.cmd("EHLO x.test", "250")
	c.cmd("STARTTLS", "220")
	c.conn = tls.Client(c.conn, clientTLS)
	c.r.Reset(c.conn)
	c.begin()
	c.write("x\r\n.\r\n")
	c.want("250 2.0.0")
	if conn := r.one().conn; conn.TLS() == nil || !conn.Hidden {
		t.Errorf("TLS %v, hidden %v", conn.TLS() != nil, conn.Hidden)
	}
}

func TestAProxyThatIsNotTrustedIsClosed(t *testing.T) {
	for _, trusted := range [][]netip.Prefix{nil, {netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.2/32"), netip.MustParsePrefix("::1/128")}} {
		r := start(t, func(r *rig) { r.limits.Proxies = trusted })
		c := r.greeted() // as a client of its own
		c.write("PROXY TCP4 10.0.0.1 10.0.0.2 1000 25\r\nEHLO x.test\r\n")
		c.want("421 4.7.0 PR-012")
		c.ended()
	}
}
