package queue

import (
	"slices"
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Progress is one thing that happened to a message and is on stable storage, as long as
// the spool has the message.
// Nothing that it points to changes any more.
type Progress struct {
	Message  *Message
	At       time.Time
	Event    string // Arrived, or that of the message's history: attempt, hold, release, retry, reroute, bounce, expire, warn, told, remove, lost; empty: the queue forgets it
	Upstream string // tried, or rerouted to
	Number   int    // of the attempt
	Took     time.Duration
	By       string // who did it, of what a person does
	Text     string // why it is held, or given up

	// What follows.
	State            State
	Gone             Gone
	Accepted, Failed int // recipients

	// Recalled: it happened before the start, and may have been told then (Recall).
	Recalled bool

	// Standing is of the delay warning, and of what is given up without an attempt:
	// the last answer to the recipients concerned, those with one answer at a time.
	Standing []Standing

	rec *record
}

// Notifies tells that somebody was told of the message, and no more: Text names the
// notification, and says nothing of why.
func (p *Progress) Notifies() bool { return p.Event == evTold || p.Event == evWarn }

// Standing is how recipients stand that share their last answer.
type Standing struct {
	Rcpts    []int  // positions in Message.Recipients
	Upstream string // whose answer it is; empty: there was no attempt
	Outcome  upstream.Outcome

	last *answer
}

// Arrived is the Event of a message that was taken in.
const Arrived = "arrived"

// Gone says why a message left the queue.
type Gone string

// Why a message left the queue.
const (
	Remains   Gone = ""         // it did not
	Delivered Gone = "accepted" // by upstreams, for every recipient
	Removed   Gone = "removed"  // by hand
	Forgotten Gone = "kept"     // it had failed, and was kept long enough
	Lost      Gone = "lost"     // its spool entry was gone while recipients waited; it stays until somebody was told
)

// Results gives what became of recipients (positions in Message.Recipients), those
// with one result at a time: the outcome, how they stand then (pending, accepted,
// failed), and when they are tried again; zero: they are not.
func (p *Progress) Results(yield func(o *upstream.Outcome, rcpts []int, status string, next time.Time)) {
	if p.rec == nil {
		return
	}
	for i := range p.rec.Results {
		r := &p.rec.Results[i]
		var next time.Time
		if r.Next > 0 {
			next = time.Unix(0, r.Next)
		}
		yield(r.outcome(), r.Rcpts, r.Status.String(), next)
	}
}

// arrived tells of a new message. It wants q.mu held.
func (q *Queue) arrived(it *item) {
	if q.o.Witness == nil {
		return
	}
	q.o.Witness(Progress{Message: it.msg, At: it.msg.Arrived, Event: Arrived, Text: it.held, State: q.stateOf(it)})
}

// progress is what r, which counts now, made of it.
func (q *Queue) progress(it *item, r *record) Progress {
	p := Progress{
		Message: it.msg, At: r.At, Event: r.Event, Upstream: r.Upstream, Number: int(r.Number), By: r.By,
		Text: first(r.Held, r.Text), State: q.stateOf(it), rec: r,
	}
	for i := range it.rcpts {
		switch it.rcpts[i].status {
		case accepted:
			p.Accepted++
		case failed, told:
			p.Failed++
		case waiting:
		}
	}
	return p
}

// witness tells of a step that counts now. It wants q.mu held.
func (q *Queue) witness(it *item, st *step, took time.Duration) {
	if q.o.Witness == nil {
		return
	}
	r := st.rec
	p := q.progress(it, r)
	if p.Took = took; p.At.IsZero() {
		p.At = time.Now()
	}
	switch r.Event {
	case evWarn:
		p.Standing = it.standing(func(i int) bool { return it.rcpts[i].status == waiting })
	case evExpire, evLost:
		p.Standing = it.standing(func(i int) bool {
			return slices.ContainsFunc(r.Results, func(x result) bool { return slices.Contains(x.Rcpts, i) })
		})
	}
	switch {
	case it.lost:
		p.Gone = Lost
	case st.remove:
		p.Gone = gone(it, st, p.Failed)
	}
	if p.Gone == Delivered {
		p.Accepted, p.Failed = len(it.rcpts), 0 // the last step is not applied to what is gone
	}
	q.o.Witness(p)
}

// standing is how the recipients stand that concerns is true of.
func (it *item) standing(concerns func(i int) bool) (out []Standing) {
	for i := range it.rcpts {
		x := &it.rcpts[i]
		if !concerns(i) {
			continue
		}
		n := slices.IndexFunc(out, func(s Standing) bool { return s.last == x.last })
		if n < 0 {
			n = len(out)
			out = append(out, Standing{Upstream: x.by(), last: x.last})
			if x.last != nil {
				out[n].Outcome = *x.outcome()
			}
		}
		out[n].Rcpts = append(out[n].Rcpts, i)
	}
	return out
}

// gone tells why st takes it away.
func gone(it *item, st *step, failed int) Gone {
	switch {
	case it.removed, st.rec.Event == evRemove:
		return Removed
	case failed > 0 && st.rec.Event == "":
		return Forgotten
	}
	return Delivered
}
