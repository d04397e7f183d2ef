package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/atomicfile"
	"github.com/printerrelay/printer-relay/relay/dsn"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
)

// beginnings has the postmaster told, once, when a hold of the manifests begins to keep
// mail back, intake: Hold does, or an upstream that is suspended. What was told is on the volume: a restart does not
// say it again. A hold that means others than before, or comes again when nothing is
// left of it, begins anew.
type beginnings struct {
	file  string
	plan  func() *plan.Plan
	queue *queue.Queue
	log   *slog.Logger
	bell  chan struct{}

	mu    sync.Mutex
	holds map[string]string // those of the plan, with whom they mean
	told  map[string]string // of which somebody was told, with whom they meant
	began map[string]*queue.Message
}

const (
	beginningsFile = "holds.json"
	beginningRetry = time.Minute

	// byIntake stands for intake: Hold among the names of holds, which have no colon.
	byIntake = "intake: Hold"

	// byUpstream, and the name of one that is suspended, stands there for that.
	byUpstream = "MailUpstream "
)

func newBeginnings(file string, pl func() *plan.Plan, log *slog.Logger) *beginnings {
	b := &beginnings{file: file, plan: pl, log: log, bell: make(chan struct{}, 1), told: map[string]string{}, began: map[string]*queue.Message{}}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &b.told)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("of which holds somebody was told is not known: it is told again", "cause", err)
	}
	if b.told == nil { // the file says null
		b.told = map[string]string{}
	}
	return b
}

// update takes the holds of a plan that is about to run.
func (b *beginnings) update(pl *plan.Plan) {
	holds := map[string]string{}
	for i := range pl.Holds {
		h := &pl.Holds[i]
		holds[h.Name] += meaning(h)
	}
	if pl.Intake == plan.IntakeHold {
		holds[byIntake] = "all"
	}
	for name, up := range pl.Upstreams {
		if up.Suspend {
			holds[byUpstream+name] = "suspended"
		}
	}
	if pl.Spool.Ephemeral { // which holds nothing
		holds = nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holds = holds
	for name, means := range holds {
		if told, ok := b.told[name]; ok && within(means, told) {
			b.told[name] = means // an edit that was ahead of its configuration: it is no other now
		}
	}
}

// within tells whether a hold means none but those of whom was told.
func within(means, told string) bool {
	for part := range slices.Chunk([]byte(means), meaningSize) {
		if !strings.Contains(told, string(part)) {
			return false
		}
	}
	return true
}

// meaningSize is the length of one meaning. A name has two while a hold and what it was edited to
// count both.
const meaningSize = 16

// meaning is whom a hold means, in a word.
func meaning(h *plan.Hold) string {
	sum := fnv.New64a()
	fmt.Fprint(sum, h.Networks, "\x00", h.Users, "\x00", h.Senders)
	return fmt.Sprintf("%0*x", meaningSize, sum.Sum64())
}

// Witness is told what becomes of messages (queue.Options.Witness). It does not block.
func (b *beginnings) Witness(p queue.Progress) {
	if p.State != queue.Held || p.Text == "" {
		return
	}
	name := queue.HoldName(p.Text)
	if name == "" && p.Event == queue.Arrived && strings.HasPrefix(p.Text, queue.IntakeHeld) {
		name = byIntake
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	means, is := b.holds[name]
	if told, ok := b.told[name]; !is || ok && within(means, told) || b.began[name] != nil {
		return
	}
	b.began[name] = p.Message
	select {
	case b.bell <- struct{}{}:
	default:
	}
}

// Run tells of what begins until ctx ends. It owns the file.
func (b *beginnings) Run(ctx context.Context) {
	b.missed()
	tick := time.NewTicker(beginningRetry)
	defer tick.Stop()
	for {
		b.suspended()
		b.tell()
		b.forget()
		select {
		case <-b.bell:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// suspended finds the upstreams that keep mail back by now. No step of a message tells
// of that: it waits as it would for an upstream that is down.
func (b *beginnings) suspended() {
	for _, up := range b.queue.Snapshot().Upstreams {
		name := byUpstream + up.Name
		b.mu.Lock()
		_, is := b.holds[name]
		_, told := b.told[name]
		b.mu.Unlock()
		if !is || told || up.Pending == 0 {
			continue
		}
		b.begins(name, queue.Filter{Upstream: up.Name, State: queue.Deferred})
	}
}

// begins notes that it has begun to keep mail back, of which the filter finds some.
func (b *beginnings) begins(name string, f queue.Filter) {
	f.Limit = 1
	page, err := b.queue.List(f)
	if err != nil || len(page.Messages) == 0 {
		return
	}
	d, err := b.queue.Show(page.Messages[0].ID)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	_, is := b.holds[name]
	if _, told := b.told[name]; is && !told && b.began[name] == nil {
		b.began[name] = d.Message
	}
}

// missed finds what began when the process was killed before anybody was told.
func (b *beginnings) missed() {
	for name := range b.queue.Snapshot().HeldBy {
		b.begins(name, queue.Filter{HeldBy: name})
	}
}

// tell writes the notification of each hold that began. One that cannot be written is
// tried again.
func (b *beginnings) tell() {
	b.mu.Lock()
	began := maps.Clone(b.began)
	b.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(began)) {
		if err := b.announce(name, began[name]); err != nil {
			b.log.Error("that a hold keeps mail back cannot be told; it is tried again", "hold", name, "error", err)
			continue
		}
		b.mu.Lock()
		delete(b.began, name)
		if means, is := b.holds[name]; is {
			b.told[name] = means
		}
		b.mu.Unlock()
		b.save()
	}
}

func (b *beginnings) announce(name string, first *queue.Message) error {
	pl := b.plan()
	bounce := &pl.Delivery.Bounce
	b.log.Warn("a hold begins to keep mail back", "hold", name, "id", first.ID)
	if bounce.To == "None" || bounce.Postmaster.IsNull() {
		return nil // nobody is to hear of anything
	}
	h := dsn.Held{
		At: time.Now(), Relay: key(pl), Hostname: pl.Hostname, From: bounce.From.String(), To: bounce.Postmaster.String(),
		QueueID: first.ID, Arrived: first.Arrived, Device: first.Device(), Sender: first.ShownSender(),
	}
	up, suspended := strings.CutPrefix(name, byUpstream)
	switch {
	case suspended && !mails(pl, up):
		b.log.Warn("the postmaster is not told that an upstream keeps mail back: a notification could go by that alone; name another in delivery.bounce.upstreamRef", "upstream", up)
		return nil
	case suspended:
		h.Upstream, h.Count = up, b.waitFor(up)
	case name == byIntake:
		h.Count = b.queue.Snapshot().Held
	default:
		h.Hold, h.Count = name, b.queue.Snapshot().HeldBy[name]
		if i := slices.IndexFunc(pl.Holds, func(h plan.Hold) bool { return h.Name == name }); i >= 0 {
			h.Reason = pl.Holds[i].Reason
		}
	}
	return b.queue.Announce(queue.Announcement{
		Kind: "held", Of: name, About: first, At: h.At, From: bounce.From, To: bounce.Postmaster,
		Write: func(w io.Writer, id string) (int64, error) { h.ID = id; return dsn.WriteHeld(w, h) },
	})
}

// mails tells whether a notification has a way beside the upstream that is suspended.
func mails(pl *plan.Plan, suspended string) bool {
	bounce := &pl.Delivery.Bounce
	first := bounce.Upstream
	if r := pl.Route(netip.Addr{}, envelope.Address{}, bounce.Postmaster); first == "" && r != nil {
		first = r.Upstream
	}
	return slices.ContainsFunc(append([]string{first}, pl.Fallbacks...), func(name string) bool {
		up := pl.Upstreams[name]
		return name != suspended && up != nil && !up.Suspend
	})
}

// waitFor is how many attempts wait for an upstream.
func (b *beginnings) waitFor(name string) int {
	for _, up := range b.queue.Snapshot().Upstreams {
		if up.Name == name {
			return up.Pending
		}
	}
	return 0
}

// forget lets go of holds that are gone and keep nothing any more: the same again would
// be another.
func (b *beginnings) forget() {
	accepts := b.plan().Intake == plan.IntakeAccept
	b.mu.Lock()
	var gone []string
	for name := range b.told {
		if _, is := b.holds[name]; !is && (name != byIntake || accepts) {
			gone = append(gone, name)
		}
	}
	b.mu.Unlock()
	if len(gone) == 0 {
		return
	}
	held := b.queue.Snapshot().HeldBy
	b.mu.Lock()
	before := len(b.told)
	for _, name := range gone {
		if _, is := b.holds[name]; !is && held[name] == 0 {
			delete(b.told, name)
		}
	}
	changed := len(b.told) != before
	b.mu.Unlock()
	if changed {
		b.save()
	}
}

func (b *beginnings) save() {
	b.mu.Lock()
	text, err := json.Marshal(b.told)
	b.mu.Unlock()
	if err == nil {
		err = atomicfile.Write(b.file, text)
	}
	if err != nil {
		b.log.Warn("that a hold was told of is not saved: it may be told again after a restart", "cause", err)
	}
}
