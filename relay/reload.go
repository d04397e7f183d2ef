package relay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
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
		c, drained, err := p.load()
		if after, ferr := p.fingerprint(); ferr != nil || after != now {
			last = after // it changed while it was read: this may be some of each
			continue
		}
		if c != nil {
			err = errors.Join(err, p.reload(ctx, c, drained))
		} else {
			err = errors.Join(err, p.renewMounted(drained))
		}
		p.becomes(drained)
		seen, again = now, time.Time{}
		if err != nil {
			again = time.Now().Add(retryReload)
		}
		p.report(err)
		trim(p.Log)
	}
}

// reload brings the relays to what the manifests say, each by itself. One that
// has no plan goes on with its last good one; but its Secrets are renewed
// whatever else is wrong, so that no broken file keeps a revoked password alive,
// what its manifest stops is stopped, and it takes no new mail if a policy or an
// upstream was taken away.
func (p *Process) reload(ctx context.Context, c *Configuration, drained bool) error {
	p.warn(c)
	before := p.where
	p.remember(c)
	running := map[string]*instance{}
	p.mu.Lock()
	for _, in := range p.instances {
		running[in.Key()] = in
	}
	p.mu.Unlock()

	wanted := map[string]bool{}
	for _, pl := range c.Plans {
		wanted[key(pl)] = true
	}
	none := len(c.Plans)+len(c.Faulty) == 0
	var errs []error
	for k, in := range running { // before the new ones: another may get their ports
		missing, faulty := c.Faulty[k]
		self := "PrinterRelay " + k
		switch {
		case wanted[k]:
		case faulty || c.inDoubt(self, before):
			errs = append(errs, in.keep(p.secretsFor(c, in, before), c.stopsOf(in.plan.Load()), c.gone(in.plan.Load(), missing, before), drained))
		case none: // a folder that is empty for a moment must not take the relay down
			errs = append(errs, in.keep(p.secretsFor(c, in, before), c.stopsOf(in.plan.Load()), []string{self}, drained))
		default:
			p.Log.Info("relay removed: draining; its queue stays in its state folder", "relay", k)
			p.forget(in)
			in.stop()
		}
	}
	for _, pl := range c.Plans {
		if in := running[key(pl)]; in != nil {
			errs = append(errs, in.take(pl, c.stopsOf(pl), p.secretsFor(c, in, before)))
		} else {
			errs = append(errs, p.start(ctx, &Configuration{Plans: []*plan.Plan{pl}, Secrets: c.Secrets}))
		}
	}
	return errors.Join(errs...)
}

// anew gives what the manifests say by now of a relay that waited before it began: its
// plan and Secrets. What cannot be had anew stays as it was, and stops what it stops,
// as in a reload; the next look says what is wrong.
func (p *Process) anew(ctx context.Context, in *instance) (*plan.Plan, secrets.Source, error) {
	pl, src := in.plan.Load(), *in.secrets.Load()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		before, err := p.fingerprint()
		c, drained, _ := p.load() //nolint:errcheck // what is wrong is said by the next look
		after, aerr := p.fingerprint()
		switch {
		case err != nil || aerr != nil: // a look later it is said
			return pl, src, nil
		case before == after: // else it is being written
			pl, src = p.startsWith(c, in, drained)
			return pl, src, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return pl, src, ctx.Err()
		}
	}
}

// startsWith is what in begins with, of what was loaded; c is nil where nothing could be.
func (p *Process) startsWith(c *Configuration, in *instance, drained bool) (*plan.Plan, secrets.Source) {
	pl, src := in.plan.Load(), *in.secrets.Load()
	if c != nil {
		k, self := key(pl), "PrinterRelay "+key(pl)
		src = p.secretsFor(c, in, p.where)
		for _, is := range c.Plans {
			if key(is) == k {
				return is, src
			}
		}
		missing, faulty := c.Faulty[k]
		pl = pl.Stopping(c.stopsOf(pl))
		drained = drained || !faulty && !c.inDoubt(self, p.where) || len(c.gone(pl, missing, p.where)) > 0
	}
	if drained {
		pl = refusing(pl)
	}
	return pl, src
}

// remember keeps where each object stood when its file could last be read.
func (p *Process) remember(c *Configuration) {
	next := maps.Clone(c.where)
	for object, file := range p.where {
		if next[object] == "" && c.unreadable[file] {
			next[object] = file
		}
	}
	p.where = next
}

// secretsFor are the Secrets for a relay that runs: those of c, and of those
// that cannot be read now what they were. One that was taken away is away.
func (p *Process) secretsFor(c *Configuration, in *instance, before map[string]string) secrets.Source {
	ns := in.plan.Load().Namespace
	src := p.secretsOf(c, ns)
	found, ok := src.(secrets.Map)
	old, had := (*in.secrets.Load()).(secrets.Map)
	if !ok || !had {
		return src
	}
	all := maps.Clone(found)
	for name, data := range old {
		if found[name] == nil && c.inDoubt(object("Secret", ns, name), before) {
			all[name] = data
		}
	}
	return all
}

// renewMounted takes mounted Secrets anew where the manifests cannot be read at
// all.
func (p *Process) renewMounted(drained bool) error {
	if p.Secrets == "" {
		return nil
	}
	p.mu.Lock()
	instances := slices.Clone(p.instances)
	p.mu.Unlock()
	var errs []error
	for _, in := range instances {
		errs = append(errs, in.keep(secrets.Dir(p.Secrets), plan.Stops{}, nil, drained))
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
	var problems []string
	if err != nil {
		problems = strings.Split(err.Error(), "\n")
	}
	p.mu.Lock()
	known := slices.Equal(p.problems, problems)
	instances := slices.Clone(p.instances)
	p.mu.Unlock()
	for _, in := range instances {
		in.reloaded(err == nil)
	}
	switch {
	case err == nil:
		p.Log.Info("manifests applied", "relays", len(instances))
	case !known:
		p.Log.Error("manifests not applied: the last good configuration goes on", "cause", fmt.Sprint(err))
	}
	p.mu.Lock() // last: who sees it at /readyz finds it in the metrics and the log
	p.problems = problems
	p.mu.Unlock()
}
