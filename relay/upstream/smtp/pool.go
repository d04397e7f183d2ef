package smtp

import (
	"slices"
	"time"
)

// take gives an idle connection to a target, the one that was used last.
func (t *Transport) take(key string) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.idle) - 1; i >= 0; i-- {
		s := t.idle[i]
		if s.to.Key != key {
			continue
		}
		t.idle = slices.Delete(t.idle, i, i+1)
		if t.stopIdle(s) {
			return s
		}
	}
	return nil
}

// give keeps a connection for the next message, for a while. Where there are
// too many, the one that was idle longest ends.
func (t *Transport) give(s *session) {
	if s.broken {
		s.abort()
		return
	}
	var oldest *session
	t.mu.Lock()
	keep := !t.closed && s.messages < t.c.MaxMessages
	if keep && len(t.idle) >= t.c.MaxIdle {
		oldest = t.idle[0]
		t.idle = slices.Delete(t.idle, 0, 1)
		if !t.stopIdle(oldest) {
			oldest = nil // its timer ends it
		}
	}
	if keep {
		t.ending.Add(1)
		s.timer = time.AfterFunc(t.c.IdleTime, func() {
			defer t.ending.Done()
			t.drop(s)
		})
		t.idle = append(t.idle, s)
	}
	t.mu.Unlock()
	if oldest != nil {
		oldest.quit()
	}
	if !keep {
		s.quit()
	}
}

// stopIdle ends a session's idle time; false: its timer has it already.
func (t *Transport) stopIdle(s *session) bool {
	if !s.timer.Stop() {
		return false
	}
	t.ending.Done()
	return true
}

// drop ends a session whose idle time is over.
func (t *Transport) drop(s *session) {
	t.mu.Lock()
	if i := slices.Index(t.idle, s); i >= 0 {
		t.idle = slices.Delete(t.idle, i, i+1)
	}
	t.mu.Unlock()
	s.quit()
}

// Close drops idle connections and keeps none from now on. Deliveries under
// way end by their own.
func (t *Transport) Close() error {
	t.mu.Lock()
	idle := t.idle
	t.idle, t.closed = nil, true
	t.mu.Unlock()
	for _, s := range idle {
		if t.stopIdle(s) {
			s.quit()
		}
	}
	t.ending.Wait()
	if t.c.Tokens != nil {
		return t.c.Tokens.Close()
	}
	return nil
}
