// Package preflight looks at the upstreams of a relay before mail does, and when
// something has changed: whether each can be reached and takes the credential. It
// never sends mail. An upstream is checked at the start, when its plan or a Secret
// that it names changes, once a day, and soon after a delivery was refused for the
// credential.
//
// It may import relay/upstream and relay/remedy.
package preflight

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/remedy"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Target is an upstream that can be checked.
type Target struct {
	Name, Type string
	Checker    upstream.Checker
	// Print changes with all that a check depends on: the settings, and the values of
	// the Secrets. It does not tell them.
	Print string
}

// Result is what the last check found.
type Result struct {
	upstream.Health
	Remedy  string    // what Text means and what to do, where something is Bad and that is known
	Checked time.Time // zero: not yet
}

// Options are what New takes.
type Options struct {
	Targets func() []Target // those of the plan that runs, but for the suspended ones
	Log     *slog.Logger
	// Recovered, if set, hears of an upstream that was unwell and is not any more.
	Recovered func(name string)
}

// When an upstream is checked. Each time is spread, so that many relays that start
// together do not ask a provider at once.
const (
	startSpread   = 2 * time.Second
	daily         = 24 * time.Hour
	hourly        = time.Hour        // what could not be told wholly
	unwellFirst   = 5 * time.Minute  // a credential that was refused: guessing on would lock the account
	unwellMax     = time.Hour        //
	unreachFirst  = 30 * time.Second // a server that was not reached
	unreachMax    = 15 * time.Minute //
	betweenChecks = 15 * time.Second // at least, of one upstream, but when it changed
	checkTime     = 30 * time.Second // for one check
	atOnce        = 4                // checks
)

// Runner checks upstreams. It is safe for concurrent use.
type Runner struct {
	o    Options
	wake chan struct{}

	mu      sync.Mutex
	entries map[string]*entry
	running int
}

// entry is one upstream.
type entry struct {
	Target
	due     time.Time
	busy    bool
	failed  int    // checks in a row
	checked string // Print of the last check
	result  Result
}

// New makes a runner; Run runs it.
func New(o Options) *Runner {
	return &Runner{o: o, wake: make(chan struct{}, 1), entries: map[string]*entry{}}
}

// Run checks until ctx ends, and returns when the checks under way have ended.
func (r *Runner) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(r.step(ctx, &wg, time.Now()))
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
	}
}

// Refresh says that the plan or a Secret may have changed.
func (r *Runner) Refresh() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Result is what is known of an upstream; the zero Result if it was not checked.
func (r *Runner) Result(name string) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[name]; e != nil {
		return e.result
	}
	return Result{}
}

// Saw takes what came of a delivery. One that contradicts what is known of the
// upstream has it checked soon.
func (r *Runner) Saw(name string, outs []upstream.Outcome) {
	r.mu.Lock()
	e := r.entries[name]
	news := e != nil && !e.busy && e.contradicted(outs)
	if news {
		e.soon(time.Now())
	}
	r.mu.Unlock()
	if news {
		r.Refresh()
	}
}

// contradicted tells whether outcomes say otherwise than the last check: mail is
// taken by what was unwell, or a credential that was not known to be bad is refused.
func (e *entry) contradicted(outs []upstream.Outcome) bool {
	unwell := e.result.Credentials == upstream.Bad || e.result.Reachable == upstream.Bad
	for i := range outs {
		o := &outs[i]
		if o.Kind == upstream.Accepted {
			return unwell
		}
		if o.Scope == upstream.ScopeUpstream && e.result.Credentials != upstream.Bad &&
			remedy.Credential(remedy.Failure{Type: e.Type, Code: o.Code, Enhanced: o.Enhanced, Text: o.Text}) {
			return true
		}
	}
	return false
}

// soon brings the next check forward.
func (e *entry) soon(now time.Time) {
	at := now.Add(spread(startSpread))
	if first := e.result.Checked.Add(betweenChecks); at.Before(first) {
		at = first
	}
	if at.Before(e.due) {
		e.due = at
	}
}

// step takes up what has changed, begins the checks that are due, and tells how
// long nothing else is.
func (r *Runner) step(ctx context.Context, wg *sync.WaitGroup, now time.Time) time.Duration {
	targets := r.o.Targets()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sync(targets, now)
	due := make([]*entry, 0, len(r.entries))
	for _, e := range r.entries {
		if !e.busy {
			due = append(due, e)
		}
	}
	slices.SortFunc(due, func(a, b *entry) int { return cmp.Or(a.due.Compare(b.due), strings.Compare(a.Name, b.Name)) })
	for _, e := range due {
		switch {
		case e.due.After(now):
			return e.due.Sub(now)
		case r.running == atOnce:
			return daily // one that ends wakes Run
		}
		e.busy = true
		r.running++
		t := e.Target
		wg.Go(func() { r.finish(ctx, e, t, r.check(ctx, t)) })
	}
	return daily
}

// sync brings the entries to the targets.
func (r *Runner) sync(targets []Target, now time.Time) {
	gone := make(map[string]bool, len(r.entries))
	for name := range r.entries {
		gone[name] = true
	}
	for _, t := range targets {
		delete(gone, t.Name)
		e := r.entries[t.Name]
		if e == nil {
			e = &entry{}
			r.entries[t.Name] = e
		}
		if e.Print != t.Print {
			e.due, e.failed = now.Add(spread(startSpread)), min(e.failed, 1)
		}
		e.Target = t
	}
	for name := range gone {
		delete(r.entries, name)
	}
}

// check asks a target, within its time. A fault of a transport is no reason to stop
// the relay.
func (r *Runner) check(ctx context.Context, t Target) (h upstream.Health) {
	defer func() {
		if p := recover(); p != nil {
			r.o.Log.Error("the check of an upstream failed on a fault of this program", "upstream", t.Name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			h = upstream.Health{Text: "internal error in the check; see the log"}
		}
	}()
	limited, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	return t.Checker.Check(limited)
}

// finish takes the result of a check. That of settings or Secrets which have changed
// since, or which the end of the relay cut off, says nothing.
func (r *Runner) finish(ctx context.Context, e *entry, t Target, h upstream.Health) {
	r.mu.Lock()
	r.running--
	e.busy = false
	recovered := false
	if ctx.Err() == nil && e.Print == t.Print {
		was := e.failed > 0
		r.take(e, h, time.Now())
		recovered = was && e.failed == 0
	}
	r.mu.Unlock()
	if recovered && r.o.Recovered != nil {
		r.o.Recovered(t.Name)
	}
	r.Refresh()
}

// take keeps a result, says what it changed, and sets the time of the next. It wants
// r.mu held.
func (r *Runner) take(e *entry, h upstream.Health, now time.Time) {
	was := e.result
	if h.Reachable == upstream.Bad && h.Credentials == upstream.Untold && e.checked == e.Print {
		h.Credentials = was.Credentials // it was not asked: it is what it was
	}
	e.checked = e.Print
	e.result = Result{Health: h, Checked: now}
	if h.Credentials == upstream.Bad || h.Reachable == upstream.Bad {
		e.failed++
		a, _ := remedy.Find(remedy.Failure{Type: e.Type, Text: h.Text})
		e.result.Remedy = a.String()
	} else {
		e.failed = 0
	}
	e.due = now.Add(e.next())
	if !was.same(&e.result) {
		r.tell(e)
	}
}

// next is the time to the next check.
func (e *entry) next() time.Duration {
	h := &e.result.Health
	wait := daily
	switch {
	case h.Reachable == upstream.Bad && h.Credentials != upstream.Bad:
		wait = backoff(unreachFirst, unreachMax, e.failed)
	case h.Credentials == upstream.Bad:
		wait = backoff(unwellFirst, unwellMax, e.failed)
	case h.Text != "" && h.Credentials == upstream.Untold:
		wait = hourly
	}
	return wait - spread(wait/5)
}

func backoff(first, most time.Duration, failed int) time.Duration {
	for ; failed > 1 && first < most; failed-- {
		first *= 2
	}
	return min(first, most)
}

// same tells whether two results say the same to a person.
func (a *Result) same(b *Result) bool {
	return a.Checked.IsZero() == b.Checked.IsZero() && a.Reachable == b.Reachable && a.Credentials == b.Credentials &&
		a.Remedy == b.Remedy && slices.Equal(a.Warnings, b.Warnings) && a.Expires.Equal(b.Expires)
}

// tell logs what is new.
func (r *Runner) tell(e *entry) {
	x := &e.result
	attrs := []any{"upstream", e.Name, "reachable", x.Reachable.String(), "credentials", x.Credentials.String()}
	for k, v := range map[string]string{"reason": x.Text, "remedy": x.Remedy, "warnings": strings.Join(x.Warnings, "; ")} {
		if v != "" {
			attrs = append(attrs, k, v)
		}
	}
	if !x.Expires.IsZero() {
		attrs = append(attrs, "expires", x.Expires)
	}
	level := slog.LevelInfo
	if e.failed > 0 || len(x.Warnings) > 0 {
		level = slog.LevelWarn
	}
	r.o.Log.Log(context.Background(), level, "upstream checked", attrs...)
}

// spread is a part of d, any.
func spread(d time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(d) + 1)) //nolint:gosec // no secret
}
