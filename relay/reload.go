package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// retryReload is how often a configuration that could not be applied is tried
// again though no file has changed: a port or a folder may have become free.
const retryReload = 10 * time.Second

// watch applies changes of the manifests and Secrets until ctx ends. seen is
// the fingerprint of what runs.
func (p *Process) watch(ctx context.Context, seen string) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last := seen
	var again time.Time // when to try what failed once more; zero: nothing did
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := p.fingerprint()
		switch {
		case err != nil:
			if last+seen != "" { // once
				p.report(err)
			}
			last, seen = "", "" // what comes back is read, whatever it is
			continue
		case now != last: // still being written: look again
			last = now
			continue
		case now == seen && (again.IsZero() || time.Now().Before(again)):
			continue
		}
		c, err := p.load()
		if after, ferr := p.fingerprint(); ferr != nil || after != now {
			last = after // it changed while it was read: this may be some of each
			continue
		}
		if c != nil {
			err = errors.Join(err, p.reload(c))
		}
		seen, again = now, time.Time{}
		if err != nil {
			again = time.Now().Add(retryReload)
		}
		p.report(err)
	}
}

// reload brings the relays to what the manifests say. What cannot be applied
// leaves the relay with its last good plan; but Secrets are renewed whatever
// else is wrong, so that no broken file keeps a revoked password alive, and a
// relay whose policy or upstream was taken away takes no new mail.
func (p *Process) reload(c *Configuration) error {
	p.warn(c)
	running := map[string]*instance{}
	p.mu.Lock()
	for _, in := range p.instances {
		running[in.Key()] = in
	}
	p.mu.Unlock()

	if c.Partial {
		var errs []error
		for _, in := range running {
			errs = append(errs, in.renew(p.secretsOf(c, in.plan.Load().Namespace)))
		}
		return errors.Join(errs...)
	}
	wanted := map[string]bool{}
	for k := range c.Faulty {
		wanted[k] = true
	}
	for _, pl := range c.Plans {
		wanted[key(pl)] = true
	}
	for k, in := range running { // first: another may get their ports
		if !wanted[k] {
			p.Log.Info("relay removed: draining; its queue stays in its state folder", "relay", k)
			p.forget(in)
			in.stop()
		}
	}
	var errs []error
	for k, missing := range c.Faulty {
		if in := running[k]; in != nil {
			errs = append(errs, in.keep(p.secretsOf(c, in.plan.Load().Namespace), missing))
		}
	}
	for _, pl := range c.Plans {
		if in := running[key(pl)]; in != nil {
			errs = append(errs, in.apply(pl, p.secretsOf(c, pl.Namespace)))
		} else {
			errs = append(errs, p.start(&Configuration{Plans: []*plan.Plan{pl}, Secrets: c.Secrets}))
		}
	}
	return errors.Join(errs...)
}

func (p *Process) forget(gone *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, in := range p.instances {
		if in == gone {
			p.instances = append(p.instances[:i:i], p.instances[i+1:]...)
			return
		}
	}
}

// report makes the outcome of a reload known: log, readiness detail, metrics.
func (p *Process) report(err error) {
	p.mu.Lock()
	had := strings.Join(p.problems, "\n")
	p.problems = nil
	if err != nil {
		p.problems = strings.Split(err.Error(), "\n")
	}
	now := strings.Join(p.problems, "\n")
	instances := p.instances
	p.mu.Unlock()
	for _, in := range instances {
		in.reloaded(err == nil)
	}
	switch {
	case err == nil:
		p.Log.Info("manifests applied", "relays", len(instances))
	case now != had:
		p.Log.Error("manifests not applied: the last good configuration goes on", "cause", fmt.Sprint(err))
	}
}
