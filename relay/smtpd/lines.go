package smtpd

import (
	"sync"
	"time"
)

// Bounds of log lines that tell nothing new.
const (
	linesTime = time.Minute
	maxLines  = 60 // in that time
)

// lines bounds how often something is logged.
type lines struct {
	mu    sync.Mutex
	began time.Time
	taken int
	left  int // that were not logged since the last one that was
}

// take tells whether a line may be logged, and how many were not since the last.
func (l *lines) take(now time.Time) (left int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := now.Sub(l.began); d < 0 || d >= linesTime {
		l.began, l.taken = now, 0
	}
	if l.taken >= maxLines {
		l.left++
		return 0, false
	}
	l.taken++
	left, l.left = l.left, 0
	return left, true
}
