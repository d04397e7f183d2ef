// Package admin serves a relay process's HTTP port: liveness, readiness,
// metrics, state, queue control, the history of messages, the devices that were
// seen, the webhooks and the transcripts of sessions that failed. It asks the relays;
// it decides nothing.
//
// All but health and metrics holds addresses, so it is served only to callers
// that Authorize lets in. Standalone that is whoever reaches the loopback
// address.
//
// It may import relay/queue, relay/history, relay/reply, relay/trial, relay/transcript,
// relay/inventory, relay/traffic, relay/webhook and relay/metrics; nothing under relay/smtpd.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/traffic"
)

// Relay is one running relay, as far as the admin port needs it.
type Relay interface {
	Key() string // namespace/name
	State() RelayState
	Queue() Queue
	Sessions() Sessions
	Traffic() traffic.Day
	Messages() Messages
	Copiers() Copiers
	Webhooks() Webhooks
}

// Config is what New takes. All fields are required but Authorize and Console.
type Config struct {
	Version  string
	Relays   func() []Relay
	Problems func() []string // of the process: a reload that did not apply
	Phase    func() string   // starting, draining, PhaseDrained; empty: it runs
	Registry *prometheus.Registry
	Log      *slog.Logger

	// Authorize admits a caller to state and queue control, and says who it is; nil
	// admits those whose connection and Host are on loopback.
	Authorize func(*http.Request) (who string, err error)

	// Console, if set, makes the web pages that are served beside all else, to whom
	// Authorize lets in, from what Ask tells.
	Console func(Ask) http.Handler
}

// Server is the admin port.
type Server struct {
	Config
	started   time.Time
	trials    pace
	tests     pace // of webhooks
	http      *http.Server
	documents http.Handler // what is guarded, without the guard
}

// New makes a server; Serve runs it.
func New(c Config) *Server {
	s := &Server{Config: c, started: time.Now()}
	if s.Authorize == nil {
		s.Authorize = LoopbackOnly
	}
	s.http = s.server(s.routes())
	return s
}

func (s *Server) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute, // of an answer; what can take longer says so itself
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
}

func healthz(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn)}))
	guarded := http.NewServeMux()
	guarded.HandleFunc("GET /state", s.state)
	guarded.HandleFunc("GET /traffic", s.traffic)
	s.queueRoutes(guarded)
	s.sessionRoutes(guarded)
	s.trialRoutes(guarded)
	s.messageRoutes(guarded)
	s.copierRoutes(guarded)
	s.webhookRoutes(guarded)
	s.documents = guarded
	if s.Console != nil {
		mux.Handle("/", http.NewCrossOriginProtection().Handler(s.guard(s.Console(s.Inside))))
	}
	for _, path := range []string{"/state", "/traffic", "/queue", "/queue/", "/sessions", "/sessions/", "/messages", "/messages/", "/copiers", "/copiers/", "/webhooks", "/webhooks/", "/test"} {
		mux.Handle(path, http.NewCrossOriginProtection().Handler(s.guard(guarded)))
	}
	return mux
}

// Serve answers on l until ctx ends, then lets requests under way finish for
// up to five seconds. It owns l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error { return ServeUntil(ctx, s.http, l) }

// ServeProbes is Serve for a port with nothing but /healthz and /readyz, which
// a kubelet asks in clear text.
func (s *Server) ServeProbes(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	return ServeUntil(ctx, s.server(mux), l)
}

// ServeUntil serves on l until ctx ends, and gives what is open five seconds then. It
// returns when nothing is served any more; nil, if ctx ended it.
func ServeUntil(ctx context.Context, h *http.Server, l net.Listener) error {
	done := make(chan error, 1)
	go func() { done <- h.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := h.Shutdown(grace); err != nil {
		h.Close() //nolint:errcheck // what was open is cut
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.Authorize(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r.WithContext(queue.WithPerson(r.Context(), personOf(who, r))))
	})
}

// LoopbackOnly admits a caller on this machine. The Host is looked at too: a
// web page that rebinds its name to 127.0.0.1 still sends its own name.
func LoopbackOnly(r *http.Request) (string, error) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return "", errors.New("state and queue control are served on loopback only: use --admin 127.0.0.1:PORT and call from this machine")
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); host != "localhost" && (err != nil || !a.IsLoopback()) {
		return "", errors.New("the Host of the request is not this machine's loopback address")
	}
	return "loopback", nil
}

// UserHeader has whom a caller says it asks for, in a request: the token of a
// ServiceAccount may be used by several people. It is a claim, and logged as one.
const UserHeader = "Printer-Relay-User"

// personOf is who asks: whom the caller was recognised as, and whom it says it asks for.
func personOf(who string, r *http.Request) queue.Person {
	if claim := reply.Line(r.Header.Get(UserHeader), 128); claim != "" {
		who = fmt.Sprintf("%s (says: %s)", who, claim)
	}
	return queue.Person{Name: who, Override: r.URL.Query().Get(overrideParam) == "true"}
}

// overrideParam of a query does what the policy of now forbids.
const overrideParam = "override-policy"

// readyz is 200 while every relay takes mail. Its body names what is not well
// in either case: a bad edit keeps the last good plan running, and says so.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	phase := s.Phase()
	ready, lines := phase == "", []string(nil)
	for _, p := range s.Problems() {
		lines = append(lines, "configuration: "+p)
	}
	relays := s.Relays()
	for _, r := range relays {
		st := r.State()
		ready = ready && st.Ready
		for _, p := range st.Problems {
			lines = append(lines, r.Key()+": "+p)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ready || len(relays) == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, strings.TrimSuffix("not ready: "+phase, ": "))
	} else {
		fmt.Fprintln(w, "ready")
	}
	for _, l := range lines {
		fmt.Fprintln(w, l)
	}
}

func (s *Server) state(w http.ResponseWriter, _ *http.Request) {
	st := State{Version: s.Version, Started: s.started, Phase: s.Phase()}
	for _, r := range s.Relays() {
		of := r.State()
		of.Copiers = copierStates(r.Copiers())
		st.Relays = append(st.Relays, of)
	}
	writeJSON(w, st)
}

// traffic serves GET /traffic: what the relay took, refused and could not deliver
// over the last day. The relay is named as for /queue.
func (s *Server) traffic(w http.ResponseWriter, r *http.Request) {
	relay, err := s.relayOf(r.URL.Query().Get("relay"))
	if err != nil {
		answerError(w, err)
		return
	}
	writeJSON(w, relay.Traffic())
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(v) //nolint:errcheck // the caller went away
}
