package queue

// timed is what can wait in the heap: an item, a lane or a domain.
type timed interface {
	clock() (wake *int64, pos *int32)
}

func (it *item) clock() (*int64, *int32)  { return &it.wakeAt, &it.heapPos }
func (l *lane) clock() (*int64, *int32)   { return &l.wakeAt, &l.heapPos }
func (d *domain) clock() (*int64, *int32) { return &d.wakeAt, &d.heapPos }

// timers is a heap of what waits for its time. Each thing is in it once; its
// position is kept as position + 1, so that the zero value is "not in it".
type timers struct{ h []timer }

type timer struct {
	at int64
	t  timed
}

// set places t at a time, in Unix nanoseconds; 0 takes it out.
func (h *timers) set(t timed, at int64) {
	wake, pos := t.clock()
	switch {
	case at == 0:
		h.remove(t)
		return
	case *pos == 0:
		h.h = append(h.h, timer{at, t})
		*pos = int32(len(h.h)) //nolint:gosec // as many as messages are in memory
	case *wake == at:
		return
	}
	i := int(*pos) - 1
	h.h[i].at = at
	*wake = at
	if !h.down(i) {
		h.up(i)
	}
}

func (h *timers) remove(t timed) {
	wake, pos := t.clock()
	if *pos == 0 {
		return
	}
	i, last := int(*pos)-1, len(h.h)-1
	*pos, *wake = 0, 0
	moved := h.h[last]
	h.h[last] = timer{}
	h.h = h.h[:last]
	if i == last {
		return
	}
	h.put(i, moved)
	if !h.down(i) {
		h.up(i)
	}
}

// first is the earliest time; false: nothing waits.
func (h *timers) first() (int64, bool) {
	if len(h.h) == 0 {
		return 0, false
	}
	return h.h[0].at, true
}

// pop takes out the first that is due at now; nil: none is.
func (h *timers) pop(now int64) timed {
	if len(h.h) == 0 || h.h[0].at > now {
		return nil
	}
	t := h.h[0].t
	h.remove(t)
	return t
}

func (h *timers) put(i int, t timer) {
	h.h[i] = t
	_, pos := t.t.clock()
	*pos = int32(i + 1) //nolint:gosec // the same
}

func (h *timers) up(i int) {
	for i > 0 {
		p := (i - 1) / 2
		if h.h[p].at <= h.h[i].at {
			return
		}
		h.swap(i, p)
		i = p
	}
}

func (h *timers) down(i int) (moved bool) {
	for {
		c := 2*i + 1
		if c >= len(h.h) {
			return moved
		}
		if c+1 < len(h.h) && h.h[c+1].at < h.h[c].at {
			c++
		}
		if h.h[i].at <= h.h[c].at {
			return moved
		}
		h.swap(i, c)
		i, moved = c, true
	}
}

func (h *timers) swap(i, j int) {
	a, b := h.h[i], h.h[j]
	h.put(i, b)
	h.put(j, a)
}
