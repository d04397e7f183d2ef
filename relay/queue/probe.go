package queue

import "time"

// Probe has an upstream whose circuit is open tried now, by the first message that
// waits for it: something says that it works again.
func (q *Queue) Probe(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[name]
	if l == nil || !l.open {
		return
	}
	now := time.Now().UnixNano()
	l.probeAt = now
	q.kick(l, now)
}
