package selfprobe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// Every is the time between two looks at the same configuration.
const Every = 24 * time.Hour

// retry is the time to the next look where one was not possible.
const retry = time.Minute

// Listener is an open port with its part of the plan.
type Listener struct {
	Name    string
	Address string
}

// Config is what New takes; all fields are required.
type Config struct {
	Plan      func() *plan.Plan
	Listeners func() []Listener // those that are open
	Log       *slog.Logger
	Found     func(open int) // how many listeners would relay for anybody
}

// Runner looks at a relay's listeners at start, after each change, and daily.
type Runner struct {
	Config
	mu       sync.Mutex
	problems []string
	open     []string // names of listeners
	wake     chan struct{}
}

// New makes a runner; Run runs it.
func New(c Config) *Runner { return &Runner{Config: c, wake: make(chan struct{}, 1)} }

// Changed asks for a look soon: the configuration is another.
func (r *Runner) Changed() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Problems says which listeners would relay for anybody, a line each.
func (r *Runner) Problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.problems)
}

// Open names the listeners that would relay for anybody.
func (r *Runner) Open() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.open)
}

// Run looks until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	for {
		wait := Every - time.Duration(rand.Int64N(int64(time.Hour))) //nolint:gosec // so that relays do not look all at once
		if !r.look(ctx) {
			wait = retry
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		case <-r.wake:
			t.Stop()
		}
	}
}

// look asks each listener once; false: one could not be asked.
func (r *Runner) look(ctx context.Context) (all bool) {
	p := r.Plan()
	var problems, names []string
	all = true
	for _, open := range r.Listeners() {
		i := slices.IndexFunc(p.Listeners, func(l plan.Listener) bool { return l.Name == open.Name })
		if i < 0 {
			continue // it changes just now, and Changed comes
		}
		res, err := Probe(ctx, p, &p.Listeners[i], open.Address)
		switch {
		case ctx.Err() != nil:
			return false
		case err != nil:
			all = all && errors.Is(err, ErrNobody)
			if k := slices.Index(r.open, open.Name); k >= 0 { // what was found holds until it is found otherwise
				names, problems = append(names, open.Name), append(problems, r.problems[k])
			}
			r.Log.Debug("self-probe: the listener could not be asked", "listener", open.Name, "cause", err)
		case res.Relays:
			names = append(names, open.Name)
			problems = append(problems, fmt.Sprintf("listener %s is an open relay: to a client that no rule names (%s) it answered %q: close it (spec.intake: Refuse), and report this", open.Name, res.From, res.Reply))
			r.Log.Error("OPEN RELAY: the listener takes mail from a client, from a sender and for a recipient that no rule names", "listener", open.Name, "client", res.From, "reply", res.Reply)
		default:
			r.Log.Debug("self-probe: refused, as it has to be", "listener", open.Name, "client", res.From, "reply", res.Reply)
		}
	}
	r.Found(len(problems))
	r.mu.Lock()
	r.problems, r.open = problems, names
	r.mu.Unlock()
	return all
}
