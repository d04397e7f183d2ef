// Package smtpd takes mail from copiers: it runs a plan's listeners on go-smtp
// (behind smtpd/wire, which repairs what that library does wrong for this
// job), asks policy, streams each message into the spool and submits it to the
// queue.
//
// It may import everything under relay/ but relay/manifest, relay/admin,
// relay/delivery and the transports.
package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/smtpd/wire"
	"github.com/printerrelay/printer-relay/relay/spool"
)

// Config is what New takes; all fields but Bind and PortOffset are required.
type Config struct {
	Bind        string // address to listen on; empty: all
	PortOffset  int
	State       string // folder for the self-signed certificate
	Spool       *spool.Spool
	Queue       *queue.Queue
	Limiter     *policy.Limiter
	CarriesUTF8 func() bool // every reachable upstream can carry SMTPUTF8
	Metrics     *metrics.Set
	Log         *slog.Logger
}

// Server runs the listeners of one relay.
type Server struct {
	Config
	verify *verifier
	ctx    context.Context // ends when Shutdown gives up waiting
	cancel context.CancelFunc
	wg     sync.WaitGroup

	plan atomic.Pointer[plan.Plan]
	src  atomic.Pointer[secrets.Source]

	mu        sync.Mutex
	listeners map[string]*listener // by name
	stopping  bool
}

// listener is one open port. Its part of the plan may change under it.
type listener struct {
	addr string
	plan atomic.Pointer[plan.Listener]
	tls  atomic.Pointer[tls.Config]
	wire *wire.Listener
	srv  *gosmtp.Server
}

// New makes a server without listeners; Update opens them.
func New(c Config) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{Config: c, verify: newVerifier(), ctx: ctx, cancel: cancel, listeners: map[string]*listener{}}
}

// Plan is the one that runs.
func (s *Server) Plan() *plan.Plan { return s.plan.Load() }

func (s *Server) secrets() secrets.Source { return *s.src.Load() }

func (s *Server) offersUTF8(*plan.Plan) bool { return s.CarriesUTF8 != nil && s.CarriesUTF8() }

// pause delays a reply without outliving the server.
func (s *Server) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
	}
}

// Update runs p from now on: new ports are opened, those that are gone closed,
// the others keep their connections. If a port or a certificate cannot be had
// nothing changes, and the error names the listener.
func (s *Server) Update(p *plan.Plan, src secrets.Source) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return errors.New("the server is stopping")
	}
	configs := make([]*tls.Config, len(p.Listeners))
	for i := range p.Listeners {
		var err error
		if configs[i], err = tlsConfig(&p.Listeners[i], p.Hostname, s.State, src); err != nil {
			return err
		}
	}
	opened := map[string]net.Listener{}
	for i := range p.Listeners {
		l := &p.Listeners[i]
		if have := s.listeners[l.Name]; have != nil && have.addr == s.address(l) {
			continue
		}
		raw, err := s.open(l)
		if err != nil {
			for _, o := range opened {
				o.Close() //nolint:errcheck // nothing was served on it
			}
			return err
		}
		opened[l.Name] = raw
	}
	s.src.Store(&src)
	s.plan.Store(p)
	for name, have := range s.listeners {
		i := slices.IndexFunc(p.Listeners, func(l plan.Listener) bool { return l.Name == name })
		if i < 0 || have.addr != s.address(&p.Listeners[i]) {
			delete(s.listeners, name)
			s.wg.Go(func() { s.retire(have) })
		}
	}
	for i := range p.Listeners {
		l := &p.Listeners[i]
		have := s.listeners[l.Name]
		if have != nil {
			have.plan.Store(l)
			have.tls.Store(configs[i])
			continue
		}
		s.listeners[l.Name] = s.serve(l, configs[i], opened[l.Name], p.Hostname)
	}
	return nil
}

func (s *Server) address(l *plan.Listener) string {
	return net.JoinHostPort(s.Bind, strconv.Itoa(l.Port+s.PortOffset))
}

func (s *Server) open(l *plan.Listener) (net.Listener, error) {
	raw, err := net.Listen("tcp", s.address(l))
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w: choose another port in spec.listeners, or stop what uses it", l.Name, err)
	}
	return raw, nil
}

// serve runs one listener until it is closed.
func (s *Server) serve(l *plan.Listener, cfg *tls.Config, raw net.Listener, hostname string) *listener {
	out := &listener{addr: s.address(l)}
	out.plan.Store(l)
	out.tls.Store(cfg)
	name := l.Name
	out.wire = wire.Listen(raw, hostname, func(client netip.Addr) wire.Settings { return s.settings(out, client) }, func() wire.Limits {
		p := out.plan.Load()
		return wire.Limits{Connections: p.Connections, PerClient: p.ConnsPerClient, Proxies: p.ProxyNetworks}
	}, wire.Hooks{
		Open:    func(n int) { s.Metrics.Connections.WithLabelValues(name).Set(float64(n)) },
		Refused: func(reason string) { s.Metrics.ConnectionsRefused.WithLabelValues(name, reason).Inc() },
		Handshake: func(version string, err error, client netip.Addr) {
			s.Metrics.TLSHandshakes.WithLabelValues(name, version).Inc()
			if err != nil {
				s.Log.Warn("TLS handshake failed", "listener", name, "client", client, "cause", err)
			}
		},
	})
	srv := gosmtp.NewServer(gosmtp.BackendFunc(func(c *gosmtp.Conn) (gosmtp.Session, error) { return s.session(out, c), nil }))
	srv.Domain = hostname
	srv.AllowInsecureAuth = true // the session decides what is offered where
	srv.EnableSMTPUTF8 = true    // likewise
	srv.MaxLineLength = 0        // wire bounds commands; it must not hold for messages
	srv.ErrorLog = log.New(io.Discard, "", 0)
	out.srv = srv
	s.wg.Go(func() {
		srv.Serve(out.wire) //nolint:errcheck // ends with its listener
	})
	s.Log.Info("listening", "listener", name, "address", raw.Addr().String(), "tls", l.TLS.Mode, "authentication", l.Auth.Mode)
	return out
}

// settings are what one client gets from a listener.
func (s *Server) settings(l *listener, client netip.Addr) wire.Settings {
	p, lp := s.Plan(), l.plan.Load()
	out := wire.Settings{
		TLS: l.tls.Load(), Implicit: lp.TLS.Mode == plan.TLSImplicit, Lenient: lp.Compat.Lenient, Domain: p.Addresses.DefaultDomain,
		LineEndings: lp.Compat.LineEndings, Idle: lp.IdleTimeout, Capabilities: s.capabilities,
	}
	if o := lp.Override(client); o != nil {
		out.HideStartTLS = o.HideStartTLS
		if o.Lenient != nil {
			out.Lenient = *o.Lenient
		}
		if o.LineEndings != "" {
			out.LineEndings = o.LineEndings
		}
	}
	return out
}

func (s *Server) session(l *listener, c *gosmtp.Conn) *session {
	wc := c.Conn().(*wire.Conn)
	lp := l.plan.Load()
	out := &session{srv: s, conn: wc, gs: c, plan: s.Plan(), listener: lp, override: lp.Override(wc.Addr.Addr()), log: s.Log}
	wc.Attach(out)
	return out
}

// capabilities are the lines of the EHLO reply, of what is really there.
func (s *Server) capabilities(c *wire.Conn) []string {
	ss, ok := c.Session().(*session)
	if !ok {
		return nil
	}
	out := []string{"PIPELINING", "SIZE " + strconv.FormatInt(ss.listener.AdvertisedSize, 10), "8BITMIME", "ENHANCEDSTATUSCODES"}
	if s.offersUTF8(ss.plan) {
		out = append(out, "SMTPUTF8")
	}
	if m := ss.AuthMechanisms(); len(m) > 0 {
		line := ""
		for _, name := range m {
			line += " " + name
		}
		out = append(out, "AUTH"+line)
		if c.Settings.Lenient {
			out = append(out, "AUTH="+line[1:]) // what clients from before RFC 2554 look for
		}
	}
	return out
}

// ListenerState is one listener as it stands.
type ListenerState struct {
	Name        string
	Address     string
	Connections int
}

// Listeners gives the open listeners by name.
func (s *Server) Listeners() []ListenerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]ListenerState, 0, len(s.listeners))
	for name, l := range s.listeners {
		out = append(out, ListenerState{name, l.wire.Addr().String(), l.wire.Connections()})
	}
	slices.SortFunc(out, func(a, b ListenerState) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// retire closes a port that is no longer wanted; its transactions may end.
func (s *Server) retire(l *listener) {
	l.wire.Drain()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for l.wire.Connections() > 0 {
		select {
		case <-s.ctx.Done():
		case <-deadline.C:
		case <-tick.C:
			continue
		}
		break
	}
	l.wire.Close() //nolint:errcheck // it closes
	l.srv.Close()  //nolint:errcheck // its listener is closed
}

// Shutdown stops accepting, lets transactions end until ctx does, closes what
// is left and waits for every goroutine.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.stopping = true
	listeners := s.listeners
	s.listeners = map[string]*listener{}
	for _, l := range listeners {
		s.wg.Go(func() { s.retire(l) })
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	s.cancel()
	<-done
}
