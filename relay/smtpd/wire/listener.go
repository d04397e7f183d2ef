package wire

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// Hooks tell what happens; each may be nil. They are called from many
// goroutines and must not block.
type Hooks struct {
	Open      func(open int) // connections now
	Accepted  func()
	Refused   func(reason string, client netip.Addr) // before the greeting
	Handshake func(version string, err error, client netip.Addr)
	Ended     func(*Conn, *transcript.Recorder) // a session in which something was said; nil: none is recorded
}

// Listener accepts connections for go-smtp: within limits, behind a PROXY
// header where one is due, with TLS where that comes first. It implements
// net.Listener.
type Listener struct {
	raw      net.Listener
	settings func(netip.Addr) Settings
	limits   func() Limits
	hooks    Hooks

	ready chan *Conn
	stop  chan struct{}
	drain atomic.Bool
	wg    sync.WaitGroup

	mu        sync.Mutex
	slots     int
	perClient map[netip.Prefix]int
	conns     map[*Conn]struct{}
	closed    bool
	drained   chan struct{} // closed when draining and the last connection ended
}

// New takes over raw; Start begins to accept. settings says what one client
// gets, limits what the listener takes.
func New(raw net.Listener, settings func(netip.Addr) Settings, limits func() Limits, hooks Hooks) *Listener {
	l := &Listener{
		raw: raw, settings: settings, limits: limits, hooks: hooks,
		ready: make(chan *Conn), stop: make(chan struct{}),
		perClient: map[netip.Prefix]int{}, conns: map[*Conn]struct{}{}, drained: make(chan struct{}),
	}
	return l
}

// Start begins to accept connections, once.
func (l *Listener) Start() { l.wg.Go(l.accept) }

// Accept gives the next connection. It implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.stop: // first: nothing begins behind Close
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.stop:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.raw.Addr() }

// Connections counts those that are open.
func (l *Listener) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slots
}

func (l *Listener) accept() {
	var delay time.Duration
	for {
		sock, err := l.raw.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			delay = min(max(2*delay, 5*time.Millisecond), time.Second) // out of files: let some be closed
			select {
			case <-time.After(delay):
				continue
			case <-l.stop:
				return
			}
		}
		delay = 0
		l.take(sock, false)
	}
}

// Take takes a connection that did not come by the network, like those that do: whom
// its RemoteAddr names is the client. Its owner closes the other end.
func (l *Listener) Take(sock net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		sock.Close() //nolint:errcheck // the listener is over
		return
	}
	l.wg.Go(func() { l.take(sock, true) })
}

// take finds a place for a connection, or refuses it before the greeting.
func (l *Listener) take(sock net.Conn, placed bool) {
	peer, err := netip.ParseAddrPort(sock.RemoteAddr().String())
	if err != nil {
		sock.Close() //nolint:errcheck // no client that anybody could name
		return
	}
	peer = plain(peer)
	s := &slot{sock: sock, placed: placed}
	limits := l.limits()
	if !l.enter(limits) {
		l.refuse(sock, "connections", peer.Addr())
		return
	}
	if !contains(limits.Proxies, peer.Addr()) {
		l.greet(s, sock, peer, false)
		return
	}
	l.wg.Go(func() { // a header may be slow in coming
		from, hidden, conn, err := proxied(sock, peer)
		if err != nil {
			l.leave(s)
			l.refused("proxy-header", peer.Addr())
			sock.Close() //nolint:errcheck // not what was agreed
			return
		}
		l.greet(s, conn, from, hidden)
	})
}

// greet counts the client and hands its connection to go-smtp, behind the
// handshake where TLS comes first.
func (l *Listener) greet(s *slot, sock net.Conn, client netip.AddrPort, hidden bool) {
	if reason := l.enterClient(s, client.Addr(), hidden, l.limits()); reason != "" {
		l.leave(s)
		l.refuse(sock, reason, client.Addr())
		return
	}
	c := newConn(l, s, sock, client)
	limits := l.limits()
	c.Hidden = hidden || limits.Hides != nil && limits.Hides(client.Addr())
	c.Settings = l.settings(c.known())
	l.add(c)
	if !c.Settings.Implicit {
		if !c.Settings.Lenient && (sock != s.sock || pending(sock)) { // or it came along with the PROXY header
			c.linger = true
			l.refused("early-talker", client.Addr())
			c.goodbye(reply.TooEarly())   //nolint:errcheck // it ends
			l.wg.Go(func() { c.Close() }) //nolint:errcheck // it is over
			return
		}
		l.hand(c)
		return
	}
	if c.Settings.TLS == nil {
		l.shook("failed", errors.New(startTLSBroken), client.Addr())
		c.Record(func(r *transcript.Recorder) { r.Fail(transcript.TLSFailed, startTLSBroken) })
		c.Close() //nolint:errcheck // it never began
		return
	}
	l.wg.Go(func() {
		var offer transcript.Offer
		tc, state, err := l.handshake(sock, c.Settings.TLS, client.Addr(), &offer)
		if err != nil {
			c.noHandshake(&offer, err, false)
			c.Close() //nolint:errcheck // it is over
			return
		}
		c.sock, c.tls = tc, state
		l.hand(c)
	})
}

// known is the client's address, or none where it is hidden: what is meant for
// some networks is not for whoever comes through a proxy or a node.
func (c *Conn) known() netip.Addr {
	if c.Hidden {
		return netip.Addr{}
	}
	return c.Addr.Addr()
}

func (l *Listener) hand(c *Conn) {
	select {
	case l.ready <- c:
	case <-l.stop:
		c.Close() //nolint:errcheck // the listener is over
	}
}

// replace gives go-smtp a new Conn for the same client (STARTTLS).
func (l *Listener) replace(old, next *Conn) {
	l.mu.Lock()
	delete(l.conns, old)
	l.conns[next] = struct{}{}
	l.mu.Unlock()
	l.hand(next)
}

func (l *Listener) handshake(sock net.Conn, cfg *tls.Config, client netip.Addr, offer *transcript.Offer) (net.Conn, *tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	sock.SetDeadline(time.Time{}) //nolint:errcheck // a closed socket says so in the handshake
	tc := tls.Server(sock, cfg)
	err := tc.HandshakeContext(transcript.WithOffer(ctx, offer))
	if err != nil {
		l.shook("failed", err, client)
		return nil, nil, err
	}
	state := tc.ConnectionState()
	l.shook(tls.VersionName(state.Version), nil, client)
	return tc, &state, nil
}

func (l *Listener) shook(version string, err error, client netip.Addr) {
	if l.hooks.Handshake != nil {
		l.hooks.Handshake(version, err, client)
	}
}

// refuse says 421 and closes. The write is short and has a deadline: it runs
// in the accept loop.
func (l *Listener) refuse(sock net.Conn, reason string, client netip.Addr) {
	l.refused(reason, client)
	sock.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))    //nolint:errcheck // best effort
	sock.Write([]byte(reply.TooManyConnections().String() + "\r\n")) //nolint:errcheck // best effort
	sock.Close()                                                     //nolint:errcheck // refused
}

func (l *Listener) refused(reason string, client netip.Addr) {
	if l.hooks.Refused != nil {
		l.hooks.Refused(reason, client)
	}
}

// settle wants mu held.
func (l *Listener) settle() {
	if l.slots > 0 || !l.drain.Load() {
		return
	}
	select {
	case <-l.drained:
	default:
		close(l.drained)
	}
}

func (l *Listener) add(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
}

// remove gives a connection's place back, once.
func (l *Listener) remove(c *Conn) {
	l.mu.Lock()
	_, ok := l.conns[c]
	delete(l.conns, c)
	l.mu.Unlock()
	if ok {
		l.leave(c.slot)
	}
}

func (l *Listener) draining() bool { return l.drain.Load() }

// StopAccepting closes the port; connections go on.
func (l *Listener) StopAccepting() { l.raw.Close() } //nolint:errcheck // closed is what it shall be

// Drain closes the port and asks each connection to end: at once where it is
// idle, behind its transaction otherwise. The channel is closed when the last
// one has ended.
func (l *Listener) Drain() <-chan struct{} {
	l.StopAccepting()
	l.mu.Lock()
	l.drain.Store(true)
	l.settle()
	l.mu.Unlock()
	for _, c := range l.all() {
		c.wake()
	}
	return l.drained
}

// wake ends a read that waits for a command. The lock of the Conn is not for
// it: a client that does not read can hold that up.
func (c *Conn) wake() {
	c.slot.sock.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // closed is as good
}

func (l *Listener) all() []*Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*Conn, 0, len(l.conns))
	for c := range l.conns {
		out = append(out, c)
	}
	return out
}

// Close ends the listener and cuts every connection. It implements
// net.Listener.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	l.StopAccepting()
	close(l.stop)
	for _, c := range l.all() {
		c.cut()
	}
	l.wg.Wait()
	for _, c := range l.all() { // came while the others were cut
		c.cut()
	}
	return nil
}

// cut closes the socket under the connection; its own goroutine sees an error
// and cleans up.
func (c *Conn) cut() {
	c.slot.sock.Close() //nolint:errcheck // it shall be closed
}

// plain is an address as policies name it.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// NewID names a session in the log.
func NewID() string {
	const alphabet = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
	var b [10]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b[:])
}
