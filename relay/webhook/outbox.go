package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/printerrelay/printer-relay/relay/atomicfile"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// outbox is what waits for one webhook, as it lies on the volume.
type outbox struct {
	Version int       `json:"version"`
	Current *delivery `json:"current,omitempty"` // being told: the same again until it is taken
	Waiting []waiting `json:"waiting"`           // oldest first
	Dropped int       `json:"dropped,omitempty"` // events that are missing, of which it was not told
	// Gone is the digest of the address that wants no more.
	Gone string `json:"gone,omitempty"`

	octets int // of Waiting
}

// waiting is an event that is not told yet.
type waiting struct {
	At    time.Time         `json:"at"`
	Type  plan.WebhookEvent `json:"type"`
	Event json.RawMessage   `json:"event"`
}

// delivery is a request as it is made, again if need be.
type delivery struct {
	ID       string    `json:"id"`
	Since    time.Time `json:"since"` // when the first of its events happened
	Events   int       `json:"events"`
	Dropped  int       `json:"dropped,omitempty"`  // of which it tells
	Tries    int       `json:"tries,omitempty"`    // that were not taken
	Refusals int       `json:"refusals,omitempty"` // times that it was called bad
	Body     []byte    `json:"body"`
}

// Bounds of an outbox.
const (
	outboxVersion = 1
	maxWaiting    = 1000    // events
	maxOctets     = 1 << 20 // of them
	maxRefused    = 400     // of them that tell of refusals
	maxBatch      = 20      // events of one request
	batchOctets   = 20 << 10
	maxFile       = 16 << 20         // octets; what is written is far less
	maxSpan       = 10 * time.Minute // between the first and the last: they are given up together
	maxAge        = 24 * time.Hour
)

// add puts an event behind the others, and gives how many had to go for it: refusals
// first, since anybody can make many of them.
func (b *outbox) add(w waiting) (dropped int) {
	b.Waiting = append(b.Waiting, w)
	b.octets += len(w.Event)
	for len(b.Waiting) > maxWaiting || b.octets > maxOctets || w.Type == plan.EventRefused && b.refusals() > maxRefused {
		b.cut(max(0, slices.IndexFunc(b.Waiting, isRefusal)), 1)
		dropped++
	}
	return dropped
}

func isRefusal(w waiting) bool { return w.Type == plan.EventRefused }

func (b *outbox) refusals() (n int) {
	for i := range b.Waiting {
		if isRefusal(b.Waiting[i]) {
			n++
		}
	}
	return n
}

// drop takes the first n away.
func (b *outbox) drop(n int) { b.cut(0, n) }

// cut takes n from the i-th on away.
func (b *outbox) cut(i, n int) {
	for _, w := range b.Waiting[i : i+n] {
		b.octets -= len(w.Event)
	}
	b.Waiting = slices.Delete(b.Waiting, i, i+n)
	b.Dropped += n
}

// expire takes away what happened too long ago, and gives how many events that were.
func (b *outbox) expire(now time.Time) (dropped int) {
	if b.Current != nil && now.Sub(b.Current.Since) >= maxAge {
		dropped += b.abandon()
	}
	n := 0
	for n < len(b.Waiting) && now.Sub(b.Waiting[n].At) >= maxAge {
		n++
	}
	b.drop(n)
	return dropped + n
}

// abandon gives up what is being told.
func (b *outbox) abandon() (dropped int) {
	dropped = b.Current.Events
	b.Dropped += dropped
	b.Current = nil
	return dropped
}

// gather makes of what waits the next request: the oldest event, and others of its
// type; refusals when nothing else waits. Nothing but forgetSubjects changes it any more.
func (b *outbox) gather(relay, instance string) {
	first := b.Waiting[max(0, slices.IndexFunc(b.Waiting, func(w waiting) bool { return !isRefusal(w) }))]
	d := &delivery{ID: newRequestID(), Since: first.At, Dropped: b.Dropped}
	var events []json.RawMessage
	size := 0
	b.Waiting = slices.DeleteFunc(b.Waiting, func(w waiting) bool {
		if w.Type != first.Type || len(events) == maxBatch || len(events) > 0 && (size+len(w.Event) > batchOctets || w.At.Sub(first.At) > maxSpan) {
			return false
		}
		events = append(events, w.Event)
		size += len(w.Event)
		return true
	})
	b.octets -= size
	d.Events = len(events)
	d.Body = mustJSON(struct {
		Type      plan.WebhookEvent `json:"type"`
		Timestamp time.Time         `json:"timestamp"`
		Data      frame             `json:"data"`
	}{first.Type, first.At, frame{relay, instance, events, b.Dropped}})
	b.Current = d
}

// forgetSubjects takes the subjects out of what waits, and gives how many events had to
// go for it since they cannot be read. The request that was made already keeps its ID:
// who took it is told nothing new.
func (b *outbox) forgetSubjects() (changed bool, dropped int) {
	mark := []byte(`"subject":`)
	keep := make([]waiting, 0, len(b.Waiting))
	b.octets = 0
	for _, w := range b.Waiting {
		if bytes.Contains(w.Event, mark) {
			changed = true
			var m Message
			if json.Unmarshal(w.Event, &m) != nil {
				dropped++
				continue
			}
			m.Subject = ""
			w.Event = mustJSON(&m)
		}
		keep = append(keep, w)
		b.octets += len(w.Event)
	}
	b.Waiting, b.Dropped = keep, b.Dropped+dropped
	if b.Current == nil || !bytes.Contains(b.Current.Body, mark) {
		return changed, dropped
	}
	var p Payload
	if json.Unmarshal(b.Current.Body, &p) != nil {
		return true, dropped + b.abandon()
	}
	for i := range p.Data.Messages {
		p.Data.Messages[i].Subject = ""
	}
	b.Current.Body = mustJSON(&p)
	return true, dropped
}

// mustJSON writes down plain data.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// told is what is to be done when the present request was taken.
func (b *outbox) told() {
	b.Dropped -= b.Current.Dropped
	b.Current = nil
}

// events are those that are not told yet.
func (b *outbox) events() int {
	n := len(b.Waiting)
	if b.Current != nil {
		n += b.Current.Events
	}
	return n
}

// frame is Data with events that are JSON already.
type frame struct {
	Relay    string            `json:"relay"`
	Instance string            `json:"instance,omitempty"`
	Messages []json.RawMessage `json:"messages"`
	Dropped  int               `json:"dropped,omitempty"`
}

// loadOutbox reads a file. One that cannot be used is put aside: what waited is lost,
// and the error says so.
func loadOutbox(path string) (*outbox, error) {
	b, err := readOutbox(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	aside := path + ".damaged"
	if moved := os.Rename(path, aside); moved != nil {
		err = errors.Join(err, moved)
	}
	return &outbox{Version: outboxVersion}, fmt.Errorf("what waited cannot be used, and is kept as %s: %w", aside, err)
}

func readOutbox(path string) (*outbox, error) {
	b := &outbox{Version: outboxVersion}
	info, err := os.Stat(path)
	if err != nil {
		return b, err
	}
	if info.Size() > maxFile {
		return b, fmt.Errorf("it has %d octets", info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(text, b); err != nil {
		return b, err
	}
	if b.Version != outboxVersion {
		return b, fmt.Errorf("it is of version %d", b.Version)
	}
	for i := range b.Waiting {
		b.octets += len(b.Waiting[i].Event)
	}
	return b, nil
}

// save writes the file. Of what is empty there is none.
func (b *outbox) save(path string) error {
	if b.events() == 0 && b.Dropped == 0 && b.Gone == "" {
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil { //nolint:gosec // the relay's own folder
		return err
	}
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, text)
}
