package wire

import (
	"net"
	"net/netip"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/share"
)

// Limits bound the connections of a listener. They may change while it runs.
type Limits struct {
	Connections int
	PerClient   int
	Proxies     []netip.Prefix        // peers that must send a PROXY header
	Hides       func(netip.Addr) bool // tells addresses that are not a client's own; nil: there are none

	// Known tells whether a client is one that mail is expected from; nil: all
	// are. The last quarter of Connections is for those alone, so that a crowd of
	// strangers keeps no copier out. hidden: the address is a proxy's. It must not
	// block.
	Known func(client netip.Addr, hidden bool) bool
}

// slot is one connection's place within the limits.
type slot struct {
	client netip.Prefix // the device, once it is counted
	sock   net.Conn
	placed bool // by Take
}

func (l *Listener) enter(limits Limits) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || limits.Connections > 0 && l.slots >= limits.Connections {
		return false
	}
	l.slots++
	l.opened()
	return true
}

// enterClient counts a connection for its client; reason says why it may not.
// Besides the client's own limit, no client gets so many that few are left to the
// others (package share).
func (l *Listener) enterClient(s *slot, client netip.Addr, hidden bool, limits Limits) (reason string) {
	known := limits.Known == nil || limits.Known(client, hidden)
	device := envelope.Device(client)
	l.mu.Lock()
	defer l.mu.Unlock()
	has := l.perClient[device]
	if limits.PerClient > 0 && has >= limits.PerClient {
		return "connections-per-client"
	}
	if limits.Connections > 0 {
		left := limits.Connections - l.slots + 1 // this one is among the slots
		if !known {
			left -= limits.Connections / 4
		}
		if !share.May(int64(has), 1, int64(left)) {
			return "connections-share"
		}
	}
	s.client = device
	l.perClient[device]++
	if l.hooks.Accepted != nil {
		l.hooks.Accepted()
	}
	return ""
}

func (l *Listener) leave(s *slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots--
	if s.client.IsValid() {
		if l.perClient[s.client]--; l.perClient[s.client] == 0 {
			delete(l.perClient, s.client)
		}
	}
	l.opened()
}

// opened wants mu held.
func (l *Listener) opened() {
	if l.hooks.Open != nil {
		l.hooks.Open(l.slots)
	}
	l.settle()
}
