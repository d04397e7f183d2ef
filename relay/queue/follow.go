package queue

import (
	"slices"
	"time"
)

// Advance is something that became of a message that is followed.
type Advance struct {
	ID         string    `json:"id"`
	At         time.Time `json:"at"`
	Status     string    `json:"status"` // queued, held, suspended, waiting, accepted, deferred, failed, later
	Upstream   string    `json:"upstream,omitempty"`
	Recipients []string  `json:"recipients,omitempty"`
	Text       string    `json:"text,omitempty"`   // the server's words, or why it is held
	Remedy     string    `json:"remedy,omitempty"` // what they mean, and what to do, where that is known
	Left       int       `json:"left"`             // recipients without a final result
}

// What becomes of a message that is no outcome of an attempt.
const (
	AdvanceHeld      = "held"      // Text says why
	AdvanceSuspended = "suspended" // it waits for an upstream that is
	AdvanceWaiting   = "waiting"   // it waits for an upstream that does not work now, or for its time
	AdvanceLater     = "later"     // nothing is to be expected soon, after all that was told before
)

// following is one message that somebody waits for.
type following struct {
	via  string // upstream that it goes to; empty: by the routes
	tell chan Advance
	told []Advance // of what it waits for
}

const (
	maxFollowed = 16 // messages that are followed at once
	maxProgress = 64 // that is kept of one for who is slow; what is more is not told
)

// Follow tells what becomes of the message with a Message-ID that is yet to come,
// until stop is called. via sends it by one upstream only; empty: by the routes. nil:
// too many are followed.
func (q *Queue) Follow(messageID, via string) (told <-chan Advance, stop func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.followed) >= maxFollowed {
		return nil, func() {}
	}
	f := &following{via: via, tell: make(chan Advance, maxProgress)}
	if q.followed == nil {
		q.followed = make(map[string]*following)
	}
	q.followed[messageID] = f
	return f.tell, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.followed, messageID)
	}
}

// joined tells that it is in the queue. It wants q.mu held.
func (q *Queue) joined(it *item) {
	f := q.followed[it.msg.MessageID]
	if f == nil || it.msg.MessageID == "" {
		return
	}
	if q.routing.Upstreams[f.via] != nil {
		it.override = f.via
	}
	p := Advance{ID: it.msg.ID, At: it.msg.Arrived, Status: "queued", Left: len(it.rcpts)}
	if it.held != "" {
		p.Status, p.Text = AdvanceHeld, it.held
	}
	f.say(p)
}

// tellWaits tells what keeps it from being tried, once for each upstream, and when that
// is all there is to be told. It wants q.mu held.
func (q *Queue) tellWaits(it *item, now int64) {
	f := q.followed[it.msg.MessageID]
	if f == nil || it.msg.MessageID == "" || it.held != "" {
		return
	}
	left, soon := 0, false
	var waits []Advance
	for i := range it.rcpts {
		x := &it.rcpts[i]
		if x.status != waiting {
			continue
		}
		left++
		p := Advance{ID: it.msg.ID, Status: AdvanceWaiting}
		switch {
		case x.job != nil && x.job.lane.suspended():
			p.Status, p.Upstream, p.Text = AdvanceSuspended, x.job.lane.name, x.job.lane.whyDown(now)
		case x.job != nil && x.job.lane.whyDown(now) != "":
			soon, p.Upstream, p.Text = true, x.job.lane.name, x.job.lane.whyDown(now)
		case x.busy || x.next <= now:
			soon = true
			continue
		case x.tries == 0:
			soon, p.Text = true, "the rate limit of its rule has it wait until "+time.Unix(0, x.next).UTC().Format(time.RFC3339)
		default:
			continue
		}
		if k := slices.IndexFunc(waits, func(o Advance) bool { return o.Upstream == p.Upstream }); k >= 0 {
			waits[k].Recipients = append(waits[k].Recipients, it.msg.Recipients[i].Address.String())
			continue
		}
		p.Recipients = []string{it.msg.Recipients[i].Address.String()}
		waits = append(waits, p)
	}
	for _, p := range waits {
		p.At, p.Left = time.Unix(0, now), left
		if !slices.ContainsFunc(f.told, func(o Advance) bool { return o.Status == p.Status && o.Upstream == p.Upstream }) {
			f.told = append(f.told, p)
			f.say(p)
		}
	}
	if left > 0 && !soon {
		f.say(Advance{ID: it.msg.ID, At: time.Unix(0, now), Status: AdvanceLater, Left: left})
	}
}

func (f *following) say(p Advance) {
	select {
	case f.tell <- p:
	default:
	}
}

// tellFollower tells what a step made of it. It wants q.mu held.
func (q *Queue) tellFollower(it *item, st *step) {
	m, rec := it.msg, st.rec
	f := q.followed[m.MessageID]
	if f == nil || m.MessageID == "" {
		return
	}
	left := 0
	for i := range it.rcpts {
		if it.rcpts[i].status == waiting && !st.remove {
			left++
		}
	}
	for i := range rec.Results {
		r := &rec.Results[i]
		p := Advance{ID: m.ID, At: rec.At, Status: r.Status.String(), Upstream: rec.Upstream, Text: replyText(r.outcome()), Left: left}
		if r.Status == waiting {
			p.Status = string(Deferred)
		}
		if r.Status != accepted {
			p.Remedy = q.adviceOf(rec.Upstream, r.outcome()).String()
		}
		for _, n := range r.Rcpts {
			p.Recipients = append(p.Recipients, m.Recipients[n].Address.String())
		}
		f.say(p)
	}
	if rec.Held != "" && len(rec.Results) == 0 {
		f.say(Advance{ID: m.ID, At: rec.At, Status: string(Held), Text: rec.Held, Left: left})
	}
}
