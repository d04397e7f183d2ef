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
	status  status
	busy    bool   // in a job, or in an attempt
	tries   uint16 // attempts
	rounds  uint16 // of attempts, each through all the upstreams there are
	next    int64  // Unix nanoseconds; no attempt before
	job     *job   // where it waits for its turn; nil while it is being tried
	last    *upstream.Outcome
	by      string   // the upstream that last is from
	pin     string   // the one upstream that may have taken it already (Unknown, RetrySame)
	refused []string // upstreams that refused the message itself
	round   []string // upstreams tried since the last back-off; not persisted
}

// item is one message in memory.
type item struct {
	msg      *Message
	rcpts    []rcpt
	since    int64  // Unix nanoseconds: expiry and warning count from here
	ended    int64  // when the last recipient got its final status; 0: some wait
	held     string // why; empty: not held
	override string // upstream set by hand
	giveUp   string // set by bounce: what is tried now is not tried again
	noticeAt int64  // no notification before (the last try to write one failed)
	attempts int32  // of the whole message
	trying   int16  // attempts that run now
	heapPos  int32  // position + 1 in the timer heap; 0: not in it
	wakeAt   int64
	warned   bool
	removed  bool // by hand, while an attempt runs
	locked   bool // its state is being decided and written
	chore    bool // waits for a chore worker
	gone     bool // left the queue
	spent    bool // a recipient waits whom every upstream has refused
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
	Told     bool      `json:"told,omitempty"` // what failed so far needs no notification any more
	Held     string    `json:"held,omitempty"`
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
	it := &item{msg: m, rcpts: make([]rcpt, len(m.Recipients)), since: m.Arrived.UnixNano(), held: m.Held}
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
	case evRetry:
		it.retry(at)
	case evReroute:
		it.override = s.get(r.Upstream)
		it.hurry(at)
		for i := range it.rcpts {
			it.rcpts[i].refused = nil // a person knows better
		}
	case evBounce:
		it.giveUp, it.held = r.Text, ""
	case evWarn:
		it.warned = true
	case evRemove:
		it.removed = true
	}
	if r.Told {
		it.tell()
	}
	if r.Held != "" {
		it.held = s.get(r.Held)
	}
	it.settled(at)
}

func (it *item) applyResult(r *record, res *result, s *strs) {
	o := res.outcome()
	o.Text, o.Remote, o.Enhanced = s.get(o.Text), s.get(o.Remote), s.get(o.Enhanced)
	up := s.get(r.Upstream)
	for _, i := range res.Rcpts {
		x := &it.rcpts[i]
		x.status, x.next, x.last = res.Status, res.Next, o
		if up != "" {
			x.by = up
		}
		if r.Event == evAttempt {
			x.tries++
		}
		x.pin = ""
		if res.Pin {
			x.pin = up
		}
		if res.Refused && !slices.Contains(x.refused, up) {
			x.refused = append(x.refused, up)
		}
		if res.Over || x.status != waiting {
			x.round = nil
			x.rounds++
		} else if up != "" {
			x.round = append(x.round, up)
		}
		if x.status != waiting {
			x.refused = nil
		}
	}
}

// release ends a hold; the time it lasted does not count for expiry.
func (it *item) release(at int64) {
	if it.held == "" {
		return
	}
	it.held, it.since = "", at
	it.hurry(at)
}

// hurry makes every waiting recipient due, at its first upstream.
func (it *item) hurry(at int64) {
	for i := range it.rcpts {
		if x := &it.rcpts[i]; x.status == waiting {
			x.next, x.round = at, nil
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
			x.next, x.round, x.refused = at, nil, nil
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

// strs keeps one copy of strings that many messages share. It is bounded: full,
// it starts anew, and later strings cost their own memory.
type strs struct{ m map[string]string }

const maxStrs = 1 << 14

func (s *strs) get(v string) string {
	if v == "" {
		return ""
	}
	if k, ok := s.m[v]; ok {
		return k
	}
	if s.m == nil || len(s.m) >= maxStrs {
		s.m = make(map[string]string)
	}
	s.m[v] = v
	return v
}

// share replaces the strings of m that repeat from message to message.
func (s *strs) share(m *Message) {
	m.Relay, m.Listener, m.Policy, m.Rule = s.get(m.Relay), s.get(m.Listener), s.get(m.Policy), s.get(m.Rule)
	m.Client.HELO, m.Client.User = s.get(m.Client.HELO), s.get(m.Client.User)
	m.Identity.LocalPart, m.Identity.DisplayName = s.get(m.Identity.LocalPart), s.get(m.Identity.DisplayName)
	m.Sender.Local, m.Sender.Domain = s.get(m.Sender.Local), s.get(m.Sender.Domain)
	m.Held = s.get(m.Held)
	for i := range m.Recipients {
		r := &m.Recipients[i]
		r.Address.Local, r.Address.Domain = s.get(r.Address.Local), s.get(r.Address.Domain)
		r.Original.Local, r.Original.Domain = s.get(r.Original.Local), s.get(r.Original.Domain)
	}
}
