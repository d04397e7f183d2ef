package queue

import (
	"context"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Verdict is what a client that waits (acknowledge: Relayed) can be told.
type Verdict uint8

// The verdicts.
const (
	Queued   Verdict = iota // on stable storage; the queue goes on, and reports what it must refuse
	Accepted                // by the upstream, for every recipient
	Refused                 // for every recipient, for good: the client is told, nobody else
)

// Result is the outcome of the first attempt of every recipient. Outcomes is in
// the order of Message.Recipients and complete unless the verdict is Queued.
type Result struct {
	Verdict  Verdict
	Outcomes []upstream.Outcome
}

// First gives the outcome whose words a client is told: that of the first
// recipient. It is the zero Outcome where the verdict is Queued.
func (r Result) First() upstream.Outcome {
	if r.Verdict == Queued || len(r.Outcomes) == 0 {
		return upstream.Outcome{}
	}
	return r.Outcomes[0]
}

// Ticket is the receipt for a submitted message.
type Ticket struct {
	ID string // queue ID

	q    *Queue
	it   *item
	done chan struct{} // closed when res is final; nil: it is Queued from the start
	res  Result        // q.mu until done is closed

	// undecided: no verdict yet, and the client still waits. Whoever takes it
	// to false under q.mu has decided who hears of a refusal.
	undecided bool
	left      int // recipients whose first round of attempts is not over
}

// Wait returns when the first attempt of every recipient has ended, or the
// verdict is clear before; at the latest when ctx ends (the time limit, or the
// client hung up) or the queue stops. It reports false, with verdict Queued,
// where the message goes on in the queue: what is refused then gets a DSN.
// After true with Refused there will be none, so the client must be told.
func (t *Ticket) Wait(ctx context.Context) (Result, bool) {
	if t.done == nil {
		return Result{}, false
	}
	select {
	case <-t.done:
	case <-ctx.Done():
		t.q.mu.Lock()
		if t.undecided {
			t.settle(Queued)
		}
		t.q.mu.Unlock()
		<-t.done // decided before us: one write to the spool away
	}
	return t.res, t.res.Verdict != Queued
}

// settle ends an undecided ticket at once. It wants q.mu held.
func (t *Ticket) settle(v Verdict) {
	t.undecided = false
	t.announce(v)
	if v == Queued {
		t.q.again(t.it) // refusals that waited for the verdict get their DSN
	}
}

// announce wants q.mu held; the ticket is decided already.
func (t *Ticket) announce(v Verdict) {
	t.res.Verdict = v
	if v == Queued {
		t.res.Outcomes = nil
	}
	if t.it.ticket == t {
		t.it.ticket = nil
	}
	close(t.done)
}

// note takes the outcome of recipient i, whose first round ended with it, and
// tells what follows: nothing yet, or a verdict. It wants q.mu held.
func (t *Ticket) note(i int, o upstream.Outcome) {
	t.res.Outcomes[i] = o
	t.left--
}

// verdict tells whether the outcomes so far decide, and how.
func (t *Ticket) verdict() (v Verdict, decided bool) {
	accepted, refused := false, false
	for i := range t.res.Outcomes {
		switch t.res.Outcomes[i].Kind {
		case 0:
		case upstream.Accepted:
			accepted = true
		case upstream.Failed:
			refused = true
		default:
			return Queued, true
		}
	}
	switch {
	case accepted && refused:
		return Queued, true
	case t.left > 0:
		return Queued, false
	case accepted:
		return Accepted, true
	}
	return Refused, true
}
