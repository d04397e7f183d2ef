package smtpd

import (
	"net/netip"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

const (
	recentTime  = 24 * time.Hour // how long a client is remembered
	maxRecent   = 10_000         // clients
	recentSweep = time.Minute    // between two looks for those that can go, while it is full
)

// recent remembers clients for a day since they last did well. Its room is
// bounded: where there is none the new client is not taken, so that nobody has
// others forgotten by coming from thousands of addresses.
type recent struct {
	mu    sync.Mutex
	seen  map[netip.Prefix]time.Time
	swept time.Time
	dirty bool // something is not saved yet (trusted.go)
	saved time.Time
}

// saw notes that a client did well.
func (r *recent) saw(now time.Time, client netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := envelope.Device(client)
	before, ok := r.seen[d]
	if !ok && len(r.seen) >= maxRecent && !r.sweep(now) {
		return
	}
	r.dirty = r.dirty || now.Sub(before) > recentTime/24
	r.note(d, now)
}

func (r *recent) note(client netip.Prefix, at time.Time) {
	if r.seen == nil {
		r.seen = map[netip.Prefix]time.Time{}
	}
	r.seen[client] = at
}

// sweep forgets those whose day is over, and tells whether there is room.
func (r *recent) sweep(now time.Time) bool {
	if now.Sub(r.swept) < recentSweep {
		return false
	}
	r.swept = now
	for d, at := range r.seen {
		if now.Sub(at) > recentTime {
			delete(r.seen, d)
		}
	}
	return len(r.seen) < maxRecent
}

// has tells whether a client did well within a day.
func (r *recent) has(now time.Time, client netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.seen[envelope.Device(client)]
	return ok && now.Sub(at) <= recentTime
}
