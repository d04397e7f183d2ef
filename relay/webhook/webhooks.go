// Package webhook tells web addresses what becomes of mail: metadata as JSON, signed
// as Standard Webhooks has it (https://www.standardwebhooks.com).
//
// Mail never waits for it: what happens is put into an inbox with a bound. One
// goroutine for each webhook keeps what waits, in bounds and on the volume, and makes
// one request at a time; what happens faster than it may ask goes together in one.
//
// Refusals, of which anybody can make thousands, are gathered for a minute first.
//
// It may import relay/atomicfile, envelope, history (what a refusal is), plan, queue, secrets, metrics, remedy,
// reply and upstream, upstream/egress and upstream/httpapi.
package webhook

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/remedy"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// Options is what New takes. Dir, Secrets and Advise are required.
type Options struct {
	Dir      string // of what waits, a file for each webhook
	Relay    string // namespace/name
	Instance string // of the relay; empty: it is the only one
	Secrets  func() secrets.Source
	// Advise says what an outcome of an upstream means, and what to do; failed: for good.
	Advise  func(upstream string, o *upstream.Outcome, failed bool) remedy.Advice
	Free    func() int64 // octets free on the volume; nil: not known
	Reserve int64        // of them that stay free: then what waits is in memory only
	Log     *slog.Logger // nil: none
	Metrics *metrics.Set // nil: none

	// For tests: how fast things go, and what takes the place of requests.
	pace pace
	send func(context.Context, *config, *delivery) result
}

// pace is how fast things go.
type pace struct {
	gather   time.Duration // after something happened, for what happens with it
	refusals time.Duration // after one, for those that are counted with it
	save     time.Duration // between two writes of what waits
	first    time.Duration // before the second attempt; doubled each time
	most     time.Duration // between two attempts
	timeouts httpapi.Timeouts
	request  time.Duration // in all
}

var usual = pace{
	gather: 200 * time.Millisecond, refusals: time.Minute, save: time.Second, first: 5 * time.Second, most: time.Hour,
	timeouts: httpapi.Timeouts{Connect: 10 * time.Second, Stall: 10 * time.Second, Answer: 20 * time.Second},
	request:  30 * time.Second,
}

// Settings are what a plan says.
type Settings struct {
	Webhooks []plan.Webhook
	Subjects bool // of messages may be told
}

// Hooks are the webhooks of one relay. Its methods are safe for concurrent use.
type Hooks struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	live     atomic.Pointer[[]*hook] // for Witness and Refused
	refusals *refusals

	testing sync.Mutex // held while a test is under way

	mu    sync.Mutex // held by Update and Close
	hooks map[string]*hook
}

// New makes Hooks without webhooks: Update names them. Close ends all that it began.
func New(o Options) *Hooks {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.pace == (pace{}) {
		o.pace = usual
	}
	h := &Hooks{o: o, hooks: map[string]*hook{}, refusals: newRefusals()}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.live.Store(&[]*hook{})
	h.wg.Go(func() { h.gatherRefusals(h.ctx) })
	return h
}

// Update brings the webhooks to what s says, and has those that wait look at their
// Secrets anew. What waits for one that is gone is forgotten.
func (h *Hooks) Update(s Settings) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return
	}
	wanted := map[string]bool{}
	for i, w := range s.Webhooks {
		wanted[w.Name] = true
		if k := h.hooks[w.Name]; k != nil {
			k.change(config{w, s.Subjects, i})
			continue
		}
		ctx, cancel := context.WithCancel(h.ctx)
		k := newHook(&h.o, config{w, s.Subjects, i})
		done := make(chan struct{})
		k.stop = func() { cancel(); <-done }
		h.wg.Go(func() {
			defer close(done)
			k.run(ctx)
		})
		h.hooks[w.Name] = k
	}
	for name, k := range h.hooks {
		if !wanted[name] {
			delete(h.hooks, name)
			h.publish()
			k.stop()
		}
	}
	h.publish()
	h.sweep(wanted)
}

// publish has Witness tell the hooks that there are. It wants h.mu held.
func (h *Hooks) publish() {
	live := make([]*hook, 0, len(h.hooks))
	for _, k := range h.hooks {
		live = append(live, k)
	}
	slices.SortFunc(live, func(a, b *hook) int { return strings.Compare(a.name, b.name) })
	h.live.Store(&live)
}

// sweep removes the files of webhooks that are no more.
func (h *Hooks) sweep(wanted map[string]bool) {
	entries, err := os.ReadDir(h.o.Dir)
	if err != nil {
		return // it is not there, or not to be read: each hook says so
	}
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), ".")
		if wanted[name] {
			continue
		}
		if err := os.Remove(filepath.Join(h.o.Dir, e.Name())); err != nil {
			h.o.Log.Warn("what waited for a webhook that is no more was not removed", "webhook", name, "cause", err)
		}
	}
}

// Witness takes what happened to a message. It does not block, and does nothing where
// no webhook is to be told: who calls it is on the way of mail.
func (h *Hooks) Witness(p queue.Progress) {
	live := *h.live.Load()
	if len(live) == 0 {
		return
	}
	m := happened(&p)
	if m == 0 {
		return
	}
	for _, k := range live {
		if k.mask.Load()&uint32(m) != 0 {
			k.put(p)
		}
	}
}

// Close ends requests that are under way, writes down what waits, and returns when all
// goroutines have ended.
func (h *Hooks) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tellRefusals()
	h.cancel()
	h.wg.Wait()
}
