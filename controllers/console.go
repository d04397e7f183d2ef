package controllers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/console"
)

// ConsoleOptions say where the console is served, and to whom.
type ConsoleOptions struct {
	Address     string // empty: nowhere
	Certificate string // folder with tls.crt and tls.key; empty: made at the start, where TLS is spoken
	// TokenReview asks the API server who may see what; off: whoever reaches the
	// address, which has to be loopback then.
	TokenReview bool
	// Proxies are networks of proxies that say in headers who asks; ProxyCA the
	// authorities of the certificates that they have to show; empty: none is asked for.
	Proxies []string
	ProxyCA string
	Version string
}

// check says what cannot be.
func (o *ConsoleOptions) check() error {
	if o.Address == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return fmt.Errorf("--console %q: want ADDRESS:PORT: %w", o.Address, err)
	}
	if a, err := netip.ParseAddr(host); !o.TokenReview && (err != nil || !a.IsLoopback()) {
		return fmt.Errorf("--console %q is no loopback address: there the console is served with --console-authentication TokenReview only", o.Address)
	}
	if len(o.Proxies) > 0 && !o.TokenReview {
		return errors.New("--console-proxies: what a proxy says counts with --console-authentication TokenReview only")
	}
	if o.ProxyCA != "" && len(o.Proxies) == 0 {
		return errors.New("--console-proxy-ca: name the proxies with --console-proxies")
	}
	return nil
}

// consoleServer serves the console, in every replica: it changes nothing.
type consoleServer struct {
	ConsoleOptions
	source    console.Source
	authority console.Authority
	namespace string
	log       *slog.Logger
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*consoleServer) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (s *consoleServer) Start(ctx context.Context) error {
	handler, err := s.handler()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("console %s: %w; choose another address with --console", s.Address, err)
	}
	if s.TokenReview {
		c, err := s.tls(ctx)
		if err != nil {
			l.Close() //nolint:errcheck // nothing was served on it
			return err
		}
		l = tls.NewListener(l, c)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.log.Info("console open", "address", l.Addr().String())
	return admin.ServeUntil(ctx, server, l)
}

// handler is the pages, behind what guards them.
func (s *consoleServer) handler() (http.Handler, error) {
	o := console.Options{Source: s.source, Version: s.Version, Log: s.log, Kubectl: true}
	if !s.TokenReview {
		pages := console.New(o)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := admin.LoopbackOnly(r); err != nil {
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
			pages.ServeHTTP(w, r)
		}), nil
	}
	o.Gate = &console.Gate{Authority: s.authority, Namespace: s.namespace, VerifiedProxies: s.ProxyCA != ""}
	for _, text := range s.Proxies {
		n, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--console-proxies %q: want networks, such as 10.0.0.5/32", text)
		}
		o.Gate.Proxies = append(o.Gate.Proxies, n.Masked())
	}
	return console.New(o), nil
}

// tls speaks TLS with the certificate of the folder, as it is at the time, or with
// one of its own; a proxy shows its own.
func (s *consoleServer) tls(ctx context.Context) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ProxyCA != "" {
		pool, err := readCAs(s.ProxyCA)
		if err != nil {
			return nil, fmt.Errorf("--console-proxy-ca: %w", err)
		}
		c.ClientCAs, c.ClientAuth = pool, tls.VerifyClientCertIfGiven
	}
	if s.Certificate == "" {
		cert, err := admin.EphemeralCertificate()
		c.Certificates = []tls.Certificate{cert}
		return c, err
	}
	w, err := certwatcher.New(s.Certificate+"/tls.crt", s.Certificate+"/tls.key")
	if err != nil {
		return nil, fmt.Errorf("--console-certificate %s: %w", s.Certificate, err)
	}
	go func() {
		if err := w.Start(ctx); err != nil {
			s.log.Error("the console's certificate is not watched: it stays as it is", "cause", err)
		}
	}()
	c.GetCertificate = w.GetCertificate
	return c, nil
}

// console has the manager serve it, if somebody wants it.
func (s *setup) console(api kubernetes.Interface) error {
	if s.Console.Address == "" {
		return nil
	}
	documents, ok := s.Instances.(InstanceDocuments)
	if !ok {
		return errors.New("the console needs to ask instances for more than how they stand")
	}
	return s.mgr.Add(&consoleServer{
		ConsoleOptions: s.Console, source: &consoleSource{client: s.mgr.GetClient(), nodes: s.nodes, documents: documents},
		authority: &consoleAuthority{api: api}, namespace: s.Namespace, log: s.Log,
	})
}

// loopback tells whether an address is this machine's own.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	a, parseErr := netip.ParseAddr(host)
	return err == nil && parseErr == nil && a.IsLoopback()
}

// consoleAuthentication are the words of --console-authentication.
var consoleAuthentication = []string{"", ConsoleNone, ConsoleTokenReview}

// Authentication of the console.
const (
	ConsoleTokenReview = "TokenReview"
	ConsoleNone        = "None"
)

// Authenticate sets how the console finds out who may see what; empty: by
// TokenReview where it is not on loopback.
func (o *ConsoleOptions) Authenticate(how string) error {
	if !slices.Contains(consoleAuthentication, how) {
		return fmt.Errorf("--console-authentication %q: want %s or %s", how, ConsoleTokenReview, ConsoleNone)
	}
	o.TokenReview = how == ConsoleTokenReview || how == "" && o.Address != "" && !loopback(o.Address)
	return o.check()
}
