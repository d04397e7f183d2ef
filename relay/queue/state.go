package queue

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// status is where a recipient stands.
type status uint8

const (
	waiting  status = iota // for an attempt
	accepted               // by an upstream
	failed                 // for good; whom it concerns does not know yet
	told                   // failed, and no notification is due any more
)

// rcpt is the state of one recipient; there may be hundreds of thousands.
type rcpt struct {
	status status
	busy   bool    // in a job, or in an attempt
	tries  uint16  // attempts
	rounds uint16  // of attempts, each through all the upstreams there are
	next   int64   // Unix nanoseconds; no attempt before
	job    *job    // where it waits for its turn; nil while it is being tried
	last   *answer // nil: there was none
	ways   *ways   // nil: all are open
}

// ways are upstreams that mean something to a recipient; most have none.
type ways struct {
	pin     string   // the one upstream that may have taken it already (Unknown, RetrySame)
	refused []string // that refused the message itself
	round   []string // tried since the last back-off; not persisted
}

// answer is an upstream.Outcome in less memory, and whose it is. It is shared
// and does not change.
type answer struct {
	*answerKind
	text, remoteID string
}

// answerKind is what many answers have in common.
type answerKind struct {
	kind             upstream.Kind
	scope            upstream.Scope
	code             int
	enhanced, remote string
	by               string // the upstream
}

// outcome is what the last answer said; nil: there was none.
func (x *rcpt) outcome() *upstream.Outcome {
	a := x.last
	if a == nil {
		return nil
	}
	return &upstream.Outcome{Kind: a.kind, Scope: a.scope, Code: a.code, Enhanced: a.enhanced, Text: a.text, Remote: a.remote, RemoteID: a.remoteID}
}

// by is the upstream that the last answer is from.
func (x *rcpt) by() string {
	if x.last == nil {
		return ""
	}
	return x.last.by
}

func (x *rcpt) pin() string {
	if x.ways == nil {
		return ""
	}
	return x.ways.pin
}

func (x *rcpt) hasRefused(up string) bool {
	return x.ways != nil && slices.Contains(x.ways.refused, up)
}

func (x *rcpt) triedInRound(up string) bool {
	return x.ways != nil && slices.Contains(x.ways.round, up)
}

// change changes the ways of x.
func (x *rcpt) change(f func(*ways)) {
	w := x.ways
	if w == nil {
		w = &ways{}
	}
	f(w)
	if x.ways = w; w.pin == "" && len(w.refused)+len(w.round) == 0 {
		x.ways = nil
	}
}

// endRound has the next attempt begin with the first upstream.
func (x *rcpt) endRound() { x.change(func(w *ways) { w.round = nil }) }

// item is one message in memory.
type item struct {
	msg      *Message
	rcpts    []rcpt
	since    int64  // Unix nanoseconds: expiry and warning count from here
	ended    int64  // when the last recipient got its final status; 0: some wait
	held     string // why; empty: not held
	past     string // names of the holds that it was released past, with commas between
	override string // upstream set by hand
	giveUp   string // set by bounce: what is tried now is not tried again
	noticeAt int64  // no notification before (the last try to write one failed); never: a digest will tell of it
	attempts int32  // of the whole message
	trying   int16  // attempts that run now
	heapPos  int32  // position + 1 in the timer heap; 0: not in it
	heldAt   uint32 // since when it is held, in Unix seconds
	wakeAt   int64
	warned   bool
	removed  bool // by hand, while an attempt runs
	locked   bool // its state is being decided and written
	chore    bool // waits for a chore worker
	gone     bool // left the queue
	unkept   bool // held by the manifests, and that is not written yet
	spent    bool // a recipient waits whom every upstream has refused
	lost     bool // the spool has nothing of it any more
	ticket   *Ticket
}

// record is one change of a message's state: a line of JSON in its spool entry.
// State is what the records, applied in their order, make of the Meta; live
// changes go the same way.
type record struct {
	At       time.Time `json:"at"`
	Event    string    `json:"event"`
	Number   int32     `json:"number,omitempty"`   // of the attempt
	Upstream string    `json:"upstream,omitempty"` // tried, or rerouted to
	Results  []result  `json:"results,omitempty"`
	Told     bool      `json:"told,omitempty"`     // what failed so far needs no notification any more
	Notice   string    `json:"notice,omitempty"`   // queue ID of the notification that was made
	Gathered bool      `json:"gathered,omitempty"` // and it is a digest
	Hour     int64     `json:"hour,omitempty"`     // Unix nanoseconds: the notification counts in the hour that began then; 0: with it
	Held     string    `json:"held,omitempty"`
	Past     string    `json:"past,omitempty"` // names of the holds that it is released past, with commas between
	By       string    `json:"by,omitempty"`   // the person who did it
	Text     string    `json:"text,omitempty"`
}

// The events of records.
const (
	evAttempt = "attempt"
	evExpire  = "expire"
	evBounce  = "bounce"
	evHold    = "hold"
	evRelease = "release"
	evRetry   = "retry"
	evReroute = "reroute"
	evWarn    = "warn"
	evTold    = "told"
	evRemove  = "remove"
	evLost    = "lost" // of what is in memory only
)

// result is what an event made of the recipients that share it.
type result struct {
	Rcpts    []int          `json:"rcpts"`
	Kind     upstream.Kind  `json:"kind"` // of the outcome; 0: none, the queue itself decided
	Scope    upstream.Scope `json:"scope,omitempty"`
	Code     int            `json:"code,omitempty"`
	Enhanced string         `json:"enhanced,omitempty"`
	Text     string         `json:"text,omitempty"`
	Remote   string         `json:"remote,omitempty"`
	RemoteID string         `json:"remoteID,omitempty"`

	Status  status `json:"status,omitempty"` // waiting, accepted or failed
	Next    int64  `json:"next,omitempty"`   // Unix nanoseconds
	Refused bool   `json:"refused,omitempty"`
	Pin     bool   `json:"pin,omitempty"`
	Over    bool   `json:"over,omitempty"` // the round is over: the next attempt starts with the first upstream

	cause error // for the log only
}

func (r *result) outcome() *upstream.Outcome {
	return &upstream.Outcome{Kind: r.Kind, Scope: r.Scope, Code: r.Code, Enhanced: r.Enhanced, Text: r.Text, Remote: r.Remote, RemoteID: r.RemoteID}
}

func (r *record) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic("queue: a state record cannot be written as JSON: " + err.Error()) // no field of it can fail
	}
	return b
}

// newItem is the state of a message that nothing happened to yet.
func newItem(m *Message) *item {
	it := &item{msg: m, rcpts: make([]rcpt, len(m.Recipients)), since: m.Arrived.UnixNano()}
	it.hold(m.Held, m.Arrived)
	first := int64(0)
	if !m.NotBefore.IsZero() {
		first = m.NotBefore.UnixNano()
		it.since = max(it.since, first) // pacing is no failure: it does not use the expiry up
	}
	for i := range it.rcpts {
		it.rcpts[i].next = first
	}
	return it
}

// apply makes the change that r records. It uses s for strings that repeat.
func (it *item) apply(r *record, s *strs) {
	at := r.At.UnixNano()
	for i := range r.Results {
		it.applyResult(r, &r.Results[i], s)
	}
	switch r.Event {
	case evAttempt:
		it.attempts = max(it.attempts, r.Number)
	case evRelease:
		it.release(at)
		it.past = s.get(alsoPast(it.past, r.Past))
	case evRetry:
		it.retry(at)
	case evReroute:
		it.override = s.get(r.Upstream)
		it.hurry(at)
		for i := range it.rcpts {
			it.rcpts[i].change(func(w *ways) { w.refused = nil }) // a person knows better
		}
	case evBounce:
		it.giveUp, it.held, it.unkept = r.Text, "", false
	case evWarn:
		it.warned = true
	case evRemove:
		it.removed = true
	}
	if r.Told {
		it.tell()
	}
	if r.Held != "" {
		it.hold(s.get(r.Held), r.At)
		it.unkept = false
	}
	it.settled(at)
}

// hold has it held since then; held already, it is for another reason since.
func (it *item) hold(why string, since time.Time) {
	if it.held == "" {
		it.heldAt = uint32(since.Unix()) //nolint:gosec // until 2106
	}
	it.held = why
}

func (it *item) applyResult(r *record, res *result, s *strs) {
	up := s.get(r.Upstream)
	a := s.answer(res, up)
	for _, i := range res.Rcpts {
		x := &it.rcpts[i]
		mine := a
		if by := x.by(); up == "" && by != a.by { // the queue's own words, about that one
			mine = s.answer(res, by)
		}
		x.status, x.next, x.last = res.Status, res.Next, mine
		if r.Event == evAttempt {
			x.tries++
		}
		over := res.Over || x.status != waiting
		if over {
			x.rounds++
		}
		x.change(func(w *ways) { w.apply(res, up, over, x.status != waiting) })
	}
}

// apply takes what up did; over: the round is, ended: the recipient waits no more.
func (w *ways) apply(res *result, up string, over, ended bool) {
	w.pin = ""
	if res.Pin {
		w.pin = up
	}
	if res.Refused && !slices.Contains(w.refused, up) {
		w.refused = append(w.refused, up)
	}
	if over {
		w.round = nil
	} else if up != "" {
		w.round = append(w.round, up)
	}
	if ended {
		w.refused = nil
	}
}

// release ends a hold; the time it lasted does not count for expiry.
func (it *item) release(at int64) {
	if it.held == "" {
		return
	}
	it.held, it.unkept, it.since = "", false, at
	it.hurry(at)
}

// hurry makes every waiting recipient due, at its first upstream.
func (it *item) hurry(at int64) {
	for i := range it.rcpts {
		if x := &it.rcpts[i]; x.status == waiting {
			x.next = at
			x.endRound()
		}
	}
}

// retry makes everything that was not accepted due, failed recipients too: a
// failed scan can be sent again by hand, and gets its full time once more.
func (it *item) retry(at int64) {
	for i := range it.rcpts {
		x := &it.rcpts[i]
		if x.status == failed || x.status == told {
			x.status, x.rounds, it.since, it.warned = waiting, 0, at, false
		}
		if x.status == waiting {
			x.next = at
			x.change(func(w *ways) { w.round, w.refused = nil, nil })
		}
	}
	it.giveUp, it.ended = "", 0
}

func (it *item) tell() {
	for i := range it.rcpts {
		if it.rcpts[i].status == failed {
			it.rcpts[i].status = told
		}
	}
}

// settled notes when the last recipient got its final status.
func (it *item) settled(at int64) {
	for i := range it.rcpts {
		if it.rcpts[i].status == waiting {
			it.ended = 0
			return
		}
	}
	if it.ended == 0 {
		it.ended = at
	}
}

// allAccepted tells whether an upstream took the message for every recipient.
func (it *item) allAccepted() bool {
	for i := range it.rcpts {
		if it.rcpts[i].status != accepted {
			return false
		}
	}
	return true
}
