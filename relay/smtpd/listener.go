package smtpd

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"golang.org/x/time/rate"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/smtpd/wire"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// listener is one open port. Its part of the plan may change under it.
type listener struct {
	state atomic.Pointer[listenerState]
	wire  *wire.Listener
	smtp  *gosmtp.Server
	ended chan struct{} // closed when no more connections come
}

type listenerState struct {
	plan        *plan.Listener
	connections int         // those of the plan, as far as memory allows
	tls         *tls.Config // nil: none, or none to be had
	problem     string
}

func (l *listener) plan() *plan.Listener { return l.state.Load().plan }

// newListener makes a listener of an open port; serve runs it once it has its
// part of a plan.
func (s *Server) newListener(raw net.Listener) *listener {
	l := &listener{ended: make(chan struct{})}
	l.smtp = gosmtp.NewServer(gosmtp.BackendFunc(func(c *gosmtp.Conn) (gosmtp.Session, error) { return s.session(l, c), nil }))
	l.smtp.AllowInsecureAuth = true // the session decides what is offered where
	l.smtp.EnableSMTPUTF8 = true    // likewise
	l.smtp.MaxLineLength = 0        // wire bounds commands; it must not hold for messages
	l.smtp.ErrorLog = failures{s.Log}
	limits := func() wire.Limits {
		st := l.state.Load()
		p := st.plan
		return wire.Limits{Connections: st.connections, PerClient: p.ConnsPerClient, Proxies: p.ProxyNetworks, Hides: s.Plan().HiddenClients.Hides, Known: s.known}
	}
	some := &rate.Sometimes{Interval: time.Second}
	l.wire = wire.New(raw, func(client netip.Addr) wire.Settings { return s.settings(l, client) }, limits, wire.Hooks{
		Open:     func(n int) { s.Metrics.Connections.WithLabelValues(l.plan().Name).Set(float64(n)) },
		Accepted: func() { s.Metrics.ConnectionsTotal.WithLabelValues(l.plan().Name).Inc() },
		Ended:    func(c *wire.Conn, r *transcript.Recorder) { s.keep(l, c, r) },
		Refused: func(reason string, client netip.Addr) {
			s.turnedAway(l, reason, client)
			s.Metrics.ConnectionsRefused.WithLabelValues(l.plan().Name, reason).Inc()
			some.Do(func() {
				s.Log.Warn("connection refused (at most one such line a second)", "listener", l.plan().Name, "client", client, "cause", reason)
			})
		},
		Handshake: func(version string, err error, client netip.Addr) {
			version = strings.TrimPrefix(version, "TLS ")
			s.Metrics.TLSHandshakes.WithLabelValues(l.plan().Name, version).Inc()
			if err != nil {
				s.Log.Warn("TLS handshake failed", "listener", l.plan().Name, "client", client, "cause", reply.Line(err.Error(), 200))
			}
		},
	})
	return l
}

// connections is how many a listener of p may have open: what it says, or its part
// of what memory allows for all of them.
func (s *Server) connections(p *plan.Plan, l *plan.Listener) int {
	sum := 0
	for i := range p.Listeners {
		sum += p.Listeners[i].Connections
	}
	if s.Connections <= 0 || sum <= s.Connections {
		return l.Connections
	}
	n := max(1, int(int64(l.Connections)*int64(s.Connections)/int64(sum)))
	s.Log.Info("fewer connections than limits.connections: the memory limit allows no more (spec.pod.resources.limits.memory, or GOMEMLIMIT)",
		"listener", l.Name, "wanted", l.Connections, "allowed", n)
	return n
}

// serve runs a listener until it is closed.
func (s *Server) serve(l *listener) {
	l.wire.Start()
	s.wg.Go(func() {
		defer close(l.ended)
		l.smtp.Serve(l.wire) //nolint:errcheck // ends with its listener
	})
	p := l.plan()
	s.Log.Info("listening", "listener", p.Name, "address", l.wire.Addr().String(), "tls", p.TLS.Mode, "authentication", p.Auth.Mode)
}

// retire closes a port: its idle connections at once, the others behind their
// transactions or when ctx ends. It returns when the last session has.
func (s *Server) retire(ctx context.Context, l *listener) {
	select {
	case <-l.wire.Drain():
	case <-ctx.Done():
	}
	l.wire.Close()                        //nolint:errcheck // it closes
	<-l.ended                             // no session begins from here on
	l.smtp.Shutdown(context.Background()) //nolint:errcheck // waits for sessions: their connections are closed, and what else they wait for has a time limit
}

// settings are what one client gets from a listener.
func (s *Server) settings(l *listener, client netip.Addr) wire.Settings {
	p, st := s.Plan(), l.state.Load()
	lp := st.plan
	out := wire.Settings{
		Hostname: p.Hostname, TLS: st.tls, Implicit: lp.TLS.Mode == plan.TLSImplicit,
		NoCert:  st.tls == nil && lp.TLS.Mode != plan.TLSNone,
		Lenient: lp.Compat.Lenient, Domain: p.Addresses.DefaultDomain, LineEndings: lp.Compat.LineEndings, Idle: lp.IdleTimeout,
		Capabilities: s.capabilities, Refused: s.refused(lp.Name),
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

// refused logs and counts what wire refuses by itself.
func (s *Server) refused(listener string) func(*wire.Conn, string, *reply.Reply, string) {
	return func(c *wire.Conn, verb string, r *reply.Reply, cause string) {
		s.noteWire(c, listener, verb, r, cause)
		s.Metrics.Refusals.WithLabelValues(listener, code(r)).Inc()
		s.Log.Warn("refused", "session", c.ID, "listener", listener, "client", c.Addr.Addr(), "step", verb, "reply", r.String(), "cause", cause)
	}
}

// code is a refusal's own code, for a metric's label.
func code(r *reply.Reply) string {
	pr, _, _ := strings.Cut(r.Text, " ")
	return pr
}

func (s *Server) session(l *listener, c *gosmtp.Conn) *session {
	wc := c.Conn().(*wire.Conn)
	lp := l.plan()
	out := &session{srv: s, conn: wc, gs: c, own: l, listener: lp, override: override(lp, wc), log: s.Log}
	wc.Attach(out)
	return out
}

// known tells whether mail is expected from a client: a rule names its network,
// or it logged in or sent something within a day.
func (s *Server) known(client netip.Addr, hidden bool) bool {
	now := time.Now()
	return !hidden && s.Plan().Policies.Names(client) || s.senders.has(now, client) || s.guard.trusted.has(now, client)
}

// override is what one client gets in place of the listener's own; a client
// whose address is hidden gets none.
func override(l *plan.Listener, c *wire.Conn) *plan.ClientOverride {
	if c.Hidden {
		return nil
	}
	return l.Override(c.Addr.Addr())
}

// capabilities are the lines of the EHLO reply, of what is really there.
func (s *Server) capabilities(c *wire.Conn) []string {
	ss, ok := c.Session().(*session)
	if !ok {
		return nil
	}
	out := []string{"PIPELINING", "SIZE " + strconv.FormatInt(ss.listener.AdvertisedSize, 10), "8BITMIME", "ENHANCEDSTATUSCODES"}
	if s.offersUTF8() {
		out = append(out, "SMTPUTF8")
	}
	if m := strings.Join(ss.AuthMechanisms(), " "); m != "" {
		out = append(out, "AUTH "+m)
		if c.Settings.Lenient {
			out = append(out, "AUTH="+m) // what clients from before RFC 2554 look for
		}
	}
	return out
}

// failures takes what go-smtp logs: panics in a session, above all.
type failures struct{ log *slog.Logger }

func (f failures) Printf(format string, v ...any) {
	f.log.Error("fault in a session", "cause", fmt.Sprintf(format, v...))
}

func (f failures) Println(v ...any) { f.log.Error("fault in a session", "cause", fmt.Sprintln(v...)) }
