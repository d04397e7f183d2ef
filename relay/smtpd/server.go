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
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// Config is what New takes; all fields but Bind, PortOffset and those that say what
// 0 means are required.
type Config struct {
	Bind        string // address to listen on; empty: all
	PortOffset  int    // added to each listener's port; a sum of 0 is any free port
	State       string // folder for the self-signed certificate, and for who logged in
	Spool       *spool.Spool
	Queue       *queue.Queue
	Limiter     *policy.Limiter
	Connections int         // at once, of all listeners together; 0: what those have
	Receiving   int         // messages that come in at once; 0: as many as there are connections
	CarriesUTF8 func() bool // every reachable upstream can carry SMTPUTF8; nil: none
	Transcripts *transcript.Store
	Refused     func(history.RefusedCommand) // is told of each refused command, and must not block; nil: nobody
	Copiers     *inventory.Store             // nil: none is kept
	Metrics     *metrics.Set
	Log         *slog.Logger
}

// retireTime is how long a port that a reload took away may finish its
// transactions.
const retireTime = time.Minute

// Server runs the listeners of one relay. Its methods are safe for concurrent
// use.
type Server struct {
	Config
	verify *verifier
	guard  guard
	// Of policies in DryRun: what they would limit, and how often that is logged.
	rehearsed *policy.Limiter
	dryLines  lines

	senders recent          // clients that a message was taken from
	places  places          // of messages that come in
	ctx     context.Context // ends when Shutdown gives up waiting
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	plan  atomic.Pointer[plan.Plan]
	users atomic.Pointer[loginCache]

	mu        sync.Mutex
	listeners map[string]*listener // by key
	stopping  bool
}

// New makes a server without listeners; Update opens them.
func New(c Config) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{Config: c, rehearsed: policy.NewLimiter(), verify: newVerifier(), places: newPlaces(c.Receiving), ctx: ctx, cancel: cancel, listeners: map[string]*listener{}}
	if c.Copiers != nil {
		c.Copiers.Expected = s.expected
	}
	if err := s.guard.trusted.restore(time.Now(), trustedFile(c.State)); err != nil {
		c.Log.Warn("who logged in before the restart is not known", "cause", err)
	}
	return s
}

// loggedIn notes from where, now and then on the volume too.
func (s *Server) loggedIn(client netip.Addr) {
	now := time.Now()
	s.guard.passed(now, client)
	s.saveLogins(now, false)
}

func (s *Server) saveLogins(now time.Time, last bool) {
	if err := s.guard.trusted.save(now, trustedFile(s.State), last); err != nil {
		s.Log.Warn("who logged in will not be known behind a restart", "cause", err)
	}
}

// Plan is the one that runs.
func (s *Server) Plan() *plan.Plan { return s.plan.Load() }

func (s *Server) offersUTF8() bool { return s.CarriesUTF8 != nil && s.CarriesUTF8() }

// pause delays a reply without outliving the server.
func (s *Server) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.ctx.Done():
	}
}

// Update runs p from now on: new ports are opened, those that are gone are
// closed behind their transactions, the others keep their sockets and
// connections, under a new name too. If a port cannot be had nothing changes,
// and the error names the listener and the address. A certificate that cannot
// be had is no error: the listener keeps the one it has, or has no TLS and
// says so, in the log and in Listeners.
func (s *Server) Update(p *plan.Plan, src secrets.Source) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return errors.New("the server is stopping")
	}
	opened, err := s.open(p)
	if err != nil {
		return err
	}
	keep, next := map[string]*listener{}, map[*listener]*listenerState{}
	for i := range p.Listeners { // certificates take time: nothing is in force yet
		lp := &p.Listeners[i]
		k := s.key(lp)
		l := s.listeners[k]
		if l == nil {
			l = s.newListener(opened[k])
		}
		cfg, problem := s.certificates(l, lp, p.Hostname, src)
		keep[k], next[l] = l, &listenerState{lp, s.connections(p, lp), cfg, problem}
	}
	s.users.Store(&loginCache{src: src, log: s.Log})
	for l, st := range next {
		l.state.Store(st)
	}
	s.plan.Store(p) // last: who sees it sees the rest
	for k, l := range keep {
		if s.listeners[k] == nil {
			s.serve(l)
		}
		delete(s.listeners, k)
	}
	for _, gone := range s.listeners {
		s.wg.Go(func() {
			ctx, cancel := context.WithTimeout(s.ctx, retireTime)
			defer cancel()
			s.retire(ctx, gone)
		})
	}
	s.listeners = keep
	return nil
}

// key is what two plans know one socket by: its address, or where any port
// will do its name.
func (s *Server) key(l *plan.Listener) string {
	if port := l.Port + s.PortOffset; port != 0 {
		return net.JoinHostPort(s.Bind, strconv.Itoa(port))
	}
	return l.Name
}

// open binds the ports of p that are not open yet, all or none.
func (s *Server) open(p *plan.Plan) (map[string]net.Listener, error) {
	opened := map[string]net.Listener{}
	for i := range p.Listeners {
		l := &p.Listeners[i]
		k := s.key(l)
		if s.listeners[k] != nil {
			continue
		}
		addr := net.JoinHostPort(s.Bind, strconv.Itoa(l.Port+s.PortOffset))
		// No keep-alive probes: every wait on a connection has a deadline already.
		lc := net.ListenConfig{KeepAlive: -1}
		raw, err := lc.Listen(context.Background(), "tcp", addr)
		if err != nil {
			for _, o := range opened {
				o.Close() //nolint:errcheck // nothing was served on it
			}
			return nil, fmt.Errorf("listener %q: cannot listen on %s: %w: choose another port in spec.listeners, or stop what uses it", l.Name, addr, err)
		}
		opened[k] = raw
	}
	return opened, nil
}

// certificates makes the TLS of a listener. Where that fails the one before
// stays, and problem says why.
func (s *Server) certificates(l *listener, lp *plan.Listener, hostname string, src secrets.Source) (cfg *tls.Config, problem string) {
	cfg, err := tlsConfig(lp, hostname, s.State, src)
	if err == nil {
		if lp.TLS.Profile == "Legacy" && cfg != nil && !slices.ContainsFunc(cfg.Certificates, isRSA) {
			s.Log.Warn("devices that need profile Legacy need an RSA key too, and no certificate of the listener has one", "listener", lp.Name, "certificates", lp.TLS.Certificates)
		}
		return cfg, ""
	}
	problem = fmt.Sprintf("listener %q: no certificate: %v", lp.Name, err)
	before := l.state.Load()
	if before != nil && before.tls != nil && before.plan.TLS.Profile == lp.TLS.Profile {
		cfg, problem = before.tls, problem+": the certificate before stays in use"
	}
	s.Log.Error("a certificate cannot be used", "listener", lp.Name, "cause", problem)
	return cfg, problem
}

// ListenerState is one listener as it stands.
type ListenerState struct {
	Name        string
	Address     string
	Connections int
	Problem     string // empty: none
}

// Listeners gives the open listeners by name.
func (s *Server) Listeners() []ListenerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]ListenerState, 0, len(s.listeners))
	for _, l := range s.listeners {
		st := l.state.Load()
		out = append(out, ListenerState{st.plan.Name, l.wire.Addr().String(), l.wire.Connections(), st.problem})
	}
	slices.SortFunc(out, func(a, b ListenerState) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Shutdown stops accepting, says 421 to idle connections, lets transactions
// end until ctx does, closes what is left and waits for every goroutine.
func (s *Server) Shutdown(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.stopping = true
	listeners := s.listeners
	s.listeners = map[string]*listener{}
	s.mu.Unlock()
	for _, l := range listeners {
		s.wg.Go(func() { s.retire(ctx, l) })
	}
	stop := context.AfterFunc(ctx, s.cancel) // ends what sessions wait for, and ports that were retired before
	defer stop()
	s.wg.Wait()
	s.cancel()
	s.saveLogins(time.Now(), true)
}
