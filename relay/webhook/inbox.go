package webhook

import (
	"slices"
	"sync"

	"github.com/printerrelay/printer-relay/relay/queue"
)

// put hands over what happened.
func (h *hook) put(p queue.Progress) { h.inbox.put(p) }

// inbox holds what run has not looked at, with a bound.
type inbox struct {
	mu      sync.Mutex
	items   []queue.Progress
	refused []waiting
	dropped int
	bell    chan struct{} // something is in it, or it is half full
}

const inboxRoom = 4096

func (b *inbox) put(p queue.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items) == inboxRoom {
		b.dropped++
		return
	}
	b.items = append(b.items, p)
	if n := len(b.items); n == 1 || n == inboxRoom/2 {
		b.ring()
	}
}

func (b *inbox) ring() {
	select {
	case b.bell <- struct{}{}:
	default:
	}
}

// putRefusals takes what was gathered of refusals: not more than may wait.
func (b *inbox) putRefusals(events []waiting) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = append(b.refused, events...)
	if over := len(b.refused) - maxRefused; over > 0 {
		b.refused = slices.Delete(b.refused, 0, over)
		b.dropped += over
	}
	b.ring()
}

// take gives all, and how many found no room.
func (b *inbox) take() (items []queue.Progress, refused []waiting, dropped int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	items, refused, dropped = b.items, b.refused, b.dropped
	b.items, b.refused, b.dropped = nil, nil, 0
	return items, refused, dropped
}

func (b *inbox) crowded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items) >= inboxRoom/2
}
