package smtpd

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// Dial gives a connection to a listener, within this process, in the place of a
// client: limits, policies and all else hold as for that one. The empty name is the
// first listener of the plan. Where TLS comes first it is a *tls.Conn, whose handshake
// is the caller's.
func (s *Server) Dial(listener string, client netip.Addr) (net.Conn, error) {
	p := s.Plan()
	if listener == "" && len(p.Listeners) > 0 {
		listener = p.Listeners[0].Name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		if l.plan().Name == listener && !s.stopping {
			near, far := net.Pipe()
			l.wire.Take(&placed{far, net.TCPAddrFromAddrPort(netip.AddrPortFrom(client, 1))})
			if l.plan().TLS.Mode == plan.TLSImplicit {
				return tls.Client(near, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}), nil //nolint:gosec // it is our own, in this process
			}
			return near, nil
		}
	}
	return nil, fmt.Errorf("listener %q is not open", listener)
}

// placed is a connection that comes from somewhere else.
type placed struct {
	net.Conn
	from net.Addr
}

// RemoteAddr implements net.Conn.
func (p *placed) RemoteAddr() net.Addr { return p.from }

// LocalAddr implements net.Conn: the other end of a pipe has no address.
func (p *placed) LocalAddr() net.Addr { return p.from }
