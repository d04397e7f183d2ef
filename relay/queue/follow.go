package queue

import "time"

// Advance is something that became of a message that is followed.
type Advance struct {
	ID         string    `json:"id"`
	At         time.Time `json:"at"`
	Status     string    `json:"status"` // queued, held, accepted, deferred, failed
	Upstream   string    `json:"upstream,omitempty"`
	Recipients []string  `json:"recipients,omitempty"`
	Text       string    `json:"text,omitempty"`   // the server's words, or why it is held
	Remedy     string    `json:"remedy,omitempty"` // what they mean, and what to do, where that is known
	Left       int       `json:"left"`             // recipients without a final result
}

// following is one message that somebody waits for.
type following struct {
	via  string // upstream that it goes to; empty: by the routes
	tell chan Advance
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
		p.Status, p.Text = "held", it.held
	}
	f.say(p)
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
