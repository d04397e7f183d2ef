package queue

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// State is where a message stands.
type State string

// The states of a message. Kept in this order of precedence: a held message is
// Held whatever else is true of it.
const (
	Pending  State = "pending"  // waits for its turn, or is being tried
	Deferred State = "deferred" // waits for another try, or for an upstream that is down
	Held     State = "held"     // waits for a release
	Failed   State = "failed"   // given up; kept for keepFailed
)

// Filter selects messages. Its parts must all match; an empty Filter selects
// nothing, so that no verb acts on everything by accident: set All for that.
type Filter struct {
	IDs       []string
	Upstream  string        // a recipient waits for this upstream
	Sender    string        // an address, a pattern ("*@corp.example"), or "<>"
	Client    string        // an address, a network in CIDR notation, or the user it authenticated as
	OlderThan time.Duration // since its arrival
	State     State
	HeldBy    string // the name of a hold of the manifests, or ByIntake
	All       bool

	Limit  int    // List: at most so many; 0: 100, never more than 1000
	Cursor string // List: continue behind this ID
}

// ErrNoSelection says that a Filter selects nothing.
var ErrNoSelection = errors.New("no message is selected: name queue IDs, or use --upstream, --sender, --client, --older-than, --status, --held-by or --all")

// ErrNotFound says that no message has the ID.
var ErrNotFound = errors.New("no message in the queue has this ID")

// Summary is one message in a list.
type Summary struct {
	ID         string    `json:"id"`
	State      State     `json:"state"`
	Arrived    time.Time `json:"arrived"`
	Size       int64     `json:"size"`
	Client     string    `json:"client,omitempty"`
	User       string    `json:"user,omitempty"`
	Sender     string    `json:"sender"`
	Recipients int       `json:"recipients"` // all of them
	Waiting    int       `json:"waiting"`    // without a final result
	Rule       string    `json:"rule,omitempty"`
	Upstreams  []string  `json:"upstreams,omitempty"` // that recipients wait for
	Attempts   int       `json:"attempts"`
	Next       time.Time `json:"next,omitzero"`    // of the next attempt; zero: none is due, or it waits for its turn
	Reason     string    `json:"reason,omitempty"` // why it is held, deferred or failed
	Remedy     string    `json:"remedy,omitempty"` // what the reason means, and what to do, where that is known
}

// Page is one page of a list.
type Page struct {
	Messages []Summary `json:"messages"`
	Next     string    `json:"next,omitempty"` // Cursor of the next page; empty: this is the last
}

// Detail is everything known about one message.
type Detail struct {
	Summary
	Message    *Message          `json:"message"`
	Recipients []RecipientDetail `json:"recipientStates"`
	History    []Event           `json:"history"` // the last ones, oldest first
}

// RecipientDetail is what became of one recipient so far.
type RecipientDetail struct {
	Address  string    `json:"address"`
	Status   string    `json:"status"` // pending, accepted, failed
	Upstream string    `json:"upstream,omitempty"`
	Attempts int       `json:"attempts"`
	Next     time.Time `json:"next,omitzero"`
	Reply    string    `json:"reply,omitempty"`
	Remedy   string    `json:"remedy,omitempty"` // what the reply means, and what to do, where that is known
}

// Event is one line of a message's history.
type Event struct {
	At         time.Time `json:"at"`
	Event      string    `json:"event"` // attempt, hold, release, retry, reroute, bounce, expire, warn, remove
	Upstream   string    `json:"upstream,omitempty"`
	Recipients []string  `json:"recipients,omitempty"`
	By         string    `json:"by,omitempty"` // the person who did it
	Text       string    `json:"text,omitempty"`
}

type matcher struct {
	Filter
	ids     map[string]bool
	sender  envelope.Pattern
	null    bool
	network netip.Prefix
	before  time.Time
}

func (f Filter) compile(now time.Time) (*matcher, error) {
	m := &matcher{Filter: f}
	if len(f.IDs) > 0 {
		m.ids = make(map[string]bool, len(f.IDs))
		for _, id := range f.IDs {
			m.ids[id] = true
		}
	}
	switch f.State {
	case "", Pending, Deferred, Held, Failed:
	default:
		return nil, fmt.Errorf("state %q does not exist: use pending, deferred, held or failed", f.State)
	}
	if f.Sender == "<>" {
		m.null = true
	} else if f.Sender != "" {
		p, err := envelope.ParsePattern(f.Sender)
		if err != nil {
			return nil, fmt.Errorf("sender: %w", err)
		}
		m.sender = p
	}
	if strings.Contains(f.Client, "/") {
		p, err := netip.ParsePrefix(f.Client)
		if err != nil {
			return nil, fmt.Errorf("client %q is not a network: write 10.20.3.0/24", f.Client)
		}
		m.network = p.Masked()
	}
	if f.OlderThan > 0 {
		m.before = now.Add(-f.OlderThan)
	}
	return m, nil
}

// empty tells that nothing was said about which messages are meant.
func (f Filter) empty() bool {
	return !f.All && len(f.IDs) == 0 && f.Upstream == "" && f.Sender == "" && f.Client == "" && f.OlderThan <= 0 && f.State == "" && f.HeldBy == ""
}

// matches wants q.mu held.
func (m *matcher) matches(q *Queue, it *item) bool {
	msg := it.msg
	switch {
	case m.ids != nil && !m.ids[msg.ID],
		m.HeldBy != "" && (it.ended != 0 || !isHeldBy(it.held, m.HeldBy)),
		m.State != "" && q.stateOf(it) != m.State,
		m.null && !msg.Sender.IsNull(),
		m.Sender != "" && !m.null && !m.sender.Match(msg.Sender),
		!m.before.IsZero() && !msg.Arrived.Before(m.before):
		return false
	}
	if m.network.IsValid() {
		if !m.network.Contains(msg.Client.Addr.Unmap()) {
			return false
		}
	} else if m.Client != "" && m.Client != msg.Client.User && m.Client != msg.Client.Addr.String() {
		return false
	}
	return m.Upstream == "" || q.waitsFor(it, m.Upstream)
}

// replyText is the reply of an outcome in a line, with who gave it.
func replyText(o *upstream.Outcome) string {
	if o == nil {
		return ""
	}
	s := o.Text
	if o.Enhanced != "" {
		s = o.Enhanced + " " + s
	}
	if o.Code != 0 {
		s = strconv.Itoa(o.Code) + " " + s
	}
	if o.Remote != "" {
		s += " (" + o.Remote + ")"
	}
	return s
}
