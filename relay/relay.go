// Package relay runs relays: it loads the manifests, compiles them to plans,
// and for each plan wires spool, queue, delivery and SMTP server together;
// it applies changes while it runs and drains at the end.
//
// It may import everything under relay/ but relay/cli.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/manifest"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream/smtp"
)

// Options are the flags of `printer-relay relay`.
type Options struct {
	Manifests  string // folder of the YAML
	Name       string // namespace/name of the one PrinterRelay to run; empty: all
	State      string // folder for spools and keys, a subfolder per relay
	Bind       string // address that listeners bind to; empty: all
	Admin      string // address of the admin port; empty: none
	Secrets    string // folder of mounted Secrets, NAME/KEY; empty: those in the manifests
	PortOffset int    // added to each listener's port
	Grace      time.Duration
	Version    string
	Log        *slog.Logger
	Timeouts   smtp.Timeouts // of sessions with upstreams by SMTP; zero: those of RFC 5321

	// In a Pod:
	Instance    string // name of this instance
	Instances   string // file that names the instances to drain (access.Instances); empty: none
	AdminAccess string // file that says who may use the admin port (access.Access); empty: loopback
	Probes      string // address of a port for /healthz and /readyz alone; empty: none
}

// pollEvery is how often the manifests are looked at; a change applies when two
// looks agree, so that no half-written file is read. Looking beats being told:
// a ConfigMap changes by a swapped link, and network file systems send no
// events.
const pollEvery = 200 * time.Millisecond

// Process runs the relays of one manifest folder.
type Process struct {
	Options
	registry *prometheus.Registry
	// predecessor is how long a start waits for another process to leave a spool:
	// that may have its grace, and a Pod that is deleted looks away before.
	predecessor time.Duration

	where map[string]string // object -> its file, when that could last be read; watch's own

	mu        sync.Mutex
	instances []*instance
	problems  []string // why what stands in the manifests is not what runs
	phase     string   // starting, draining; empty: it runs
	drained   bool     // by the operator: it runs, takes no new mail, and is not ready
}

// Run loads the manifests and runs their relays until ctx ends, then drains.
// It fails at once if the manifests are bad, an address cannot be bound, or a
// state folder cannot be used; later bad edits are reported and not applied.
func Run(ctx context.Context, o Options) error {
	p := &Process{Options: o, registry: prometheus.NewRegistry(), phase: "starting"}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	seen, err := p.fingerprint()
	if err != nil {
		return err
	}
	c, drained, err := p.load()
	if err != nil {
		return err
	}
	// The admin port is there before the relays and after them: it tells that
	// they start, and that they drain.
	adminCtx, closeAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer closeAdmin()
	g, ctx := errgroup.WithContext(ctx)
	server := p.adminServer()
	if o.Admin != "" {
		l, err := o.listenAdmin(ctx)
		if err != nil {
			return err
		}
		o.Log.Info("admin port open", "address", l.Addr().String())
		g.Go(func() error { return server.Serve(adminCtx, l) })
	}
	if o.Probes != "" {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", o.Probes)
		if err != nil {
			closeAdmin()
			return errors.Join(fmt.Errorf("probes port %s: %w; choose another with --probes", o.Probes, err), g.Wait())
		}
		g.Go(func() error { return server.ServeProbes(adminCtx, l) })
	}
	p.where = c.where
	g.Go(func() error {
		defer closeAdmin()
		defer p.stop()
		startGarbage()
		p.predecessor = 2 * o.Grace
		if err := p.start(ctx, c); err != nil {
			return err
		}
		p.predecessor = 0
		g.Go(func() error { boundGarbage(ctx); return nil })
		p.becomes(drained)
		p.enter("")
		trim(p.Log)
		return p.watch(ctx, seen)
	})
	return g.Wait()
}

func (p *Process) enter(phase string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = phase
}

func (p *Process) adminServer() *admin.Server {
	return admin.New(admin.Config{
		Version:  p.Version,
		Registry: p.registry,
		Log:      p.Log,
		Relays: func() []admin.Relay {
			p.mu.Lock()
			defer p.mu.Unlock()
			out := make([]admin.Relay, len(p.instances))
			for i, in := range p.instances {
				out[i] = in
			}
			return out
		},
		Phase: func() string {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.phase == "" && p.drained {
				return admin.PhaseDrained
			}
			return p.phase
		},
		Authorize: p.authorize(),
		Console:   p.pages(),
		Problems: func() []string {
			p.mu.Lock()
			defer p.mu.Unlock()
			return slices.Clone(p.problems)
		},
	})
}

// start makes and starts an instance for each plan; on an error those that
// run already are in p.instances, for stop.
func (p *Process) start(ctx context.Context, c *Configuration) error {
	p.warn(c)
	p.mu.Lock()
	b := budgetOf(memoryLimit(), len(p.instances)+len(c.Plans))
	p.mu.Unlock()
	for _, pl := range c.Plans {
		in, err := newInstance(ctx, p, pl, p.secretsOf(c, pl.Namespace), b)
		if err != nil {
			return fmt.Errorf("PrinterRelay %s: %w", key(pl), err)
		}
		p.mu.Lock()
		p.instances = append(p.instances, in)
		p.mu.Unlock()
		in.reloaded(true)
	}
	return nil
}

func (p *Process) warn(c *Configuration) {
	for _, w := range c.Warnings {
		p.Log.Warn("manifests", "warning", w)
	}
}

func (p *Process) secretsOf(c *Configuration, namespace string) secrets.Source {
	if p.Secrets != "" {
		return secrets.Dir(p.Secrets)
	}
	if m := c.Secrets[namespace]; m != nil {
		return m
	}
	return secrets.Map{}
}

// stop drains all instances at once.
func (p *Process) stop() {
	p.mu.Lock()
	instances := slices.Clone(p.instances)
	p.phase = "draining"
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, in := range instances {
		wg.Go(in.stop)
	}
	wg.Wait()
}

func (p *Process) fingerprint() (string, error) {
	f, err := manifest.Fingerprint(p.Manifests)
	for _, dir := range []string{p.Secrets, filepath.Dir(p.Instances)} {
		if err == nil && dir != "" && dir != "." {
			var more string
			more, err = manifest.Fingerprint(dir)
			f += more
		}
	}
	return f, err
}
