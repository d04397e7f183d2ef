package wire

import (
	"bufio"
	"net"
	"net/netip"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

const proxyHeaderTime = 5 * time.Second

// proxied reads the PROXY header that a trusted peer must send (version 1 or
// 2), and gives the client that it names. LOCAL and UNKNOWN name none: the
// address is the peer's then, and hidden is true.
func proxied(sock net.Conn, peer netip.AddrPort) (client netip.AddrPort, hidden bool, conn net.Conn, err error) {
	sock.SetReadDeadline(time.Now().Add(proxyHeaderTime)) //nolint:errcheck // a closed socket says so when it is read
	r := bufio.NewReaderSize(sock, 4<<10)
	h, err := proxyproto.Read(r)
	if err != nil {
		return peer, true, nil, err
	}
	conn = sock
	if r.Buffered() > 0 {
		conn = &bufferedConn{Conn: sock, r: r}
	}
	if h.Command.IsLocal() || h.TransportProtocol == proxyproto.UNSPEC {
		return peer, true, conn, nil
	}
	from, err := netip.ParseAddrPort(h.SourceAddr.String())
	if err != nil {
		return peer, true, nil, err
	}
	return plain(from), false, conn, nil
}

// bufferedConn reads what came with the PROXY header before the socket.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) {
	if c.r.Buffered() > 0 {
		return c.r.Read(p)
	}
	return c.Conn.Read(p)
}
