// Package history keeps what became of messages, and why others were refused, in a
// database that can be searched: metadata only, for a time, within a size.
//
// What it keeps is derived. Nothing of it is needed to deliver mail, so mail never
// waits for it: what happens is put into a channel with a bound, one goroutine
// writes it in batches, and where the database cannot be used the relay goes on
// without.
//
// It may import relay/queue, spool (its IDs), envelope, reply, upstream and atomicfile, and
// go.etcd.io/bbolt.
package history

import (
	"errors"
	"time"
)

// Kind is what an entry is about.
type Kind string

// The kinds of entries.
const (
	Message Kind = "message"
	Refusal Kind = "refusal" // of a command; there may have been no message yet
)

// State is where a message stands, or stood when it left the queue.
type State string

// The states. The first three are of messages that were in the queue when the last
// thing happened to them.
const (
	Waiting  State = "waiting"
	Deferred State = "deferred"
	Held     State = "held"
	Accepted State = "accepted" // by upstreams, for every recipient
	Failed   State = "failed"   // for a recipient at least
	Removed  State = "removed"  // by hand
	Refused  State = "refused"  // the client was told no
	Lost     State = "lost"     // its spool entry was gone while recipients waited
	Unknown  State = "unknown"  // it left the queue, and of how nothing was noted
)

// States are all states, in the order in which they are documented.
var States = []State{Waiting, Deferred, Held, Accepted, Failed, Removed, Refused, Lost, Unknown}

// Entry is a message, or a refusal, in a list.
type Entry struct {
	ID       string    `json:"id"` // queue ID; of a refusal: its own
	Kind     Kind      `json:"kind"`
	State    State     `json:"state"`
	At       time.Time `json:"at"`      // when it came in, or was refused
	Changed  time.Time `json:"changed"` // when something happened to it last
	Listener string    `json:"listener,omitempty"`
	Client   string    `json:"client,omitempty"`       // address; empty: the relay wrote it
	Hidden   bool      `json:"clientHidden,omitempty"` // the address is a node's or a load balancer's
	User     string    `json:"user,omitempty"`         // authenticated as
	HELO     string    `json:"helo,omitempty"`
	TLS      string    `json:"tls,omitempty"`  // version; empty: clear text
	Rule     string    `json:"rule,omitempty"` // policy/rule

	Sender         string      `json:"sender"` // of the envelope; empty: <>
	Recipients     []Recipient `json:"recipients"`
	RecipientCount int         `json:"recipientCount"` // of which the first twenty are in recipients
	AcceptedCount  int         `json:"acceptedCount,omitempty"`
	FailedCount    int         `json:"failedCount,omitempty"`
	Size           int64       `json:"size,omitempty"` // octets; of a refusal: as MAIL announced it
	MessageID      string      `json:"messageID,omitempty"`
	Subject        string      `json:"subject,omitempty"`        // where the relay is to keep it
	NotificationOf string      `json:"notificationOf,omitempty"` // queue ID of the message that this notification is about

	Attempts  int      `json:"attempts,omitempty"`
	Upstreams []string `json:"upstreams,omitempty"` // that were tried
	Reply     string   `json:"reply,omitempty"`     // the last words: a server's, or why it is held; of a refusal: ours

	// Of refusals.
	Step  string `json:"step,omitempty"`  // the command: MAIL, RCPT, DATA, AUTH
	Cause string `json:"cause,omitempty"` // why, for who runs the relay
	Count int    `json:"count,omitempty"` // times within a minute that the same was refused to the same; Changed is the last

	Instance string `json:"instance,omitempty"` // that tells of it, where several were asked; none keeps this
}

// Recipient is one recipient of an entry.
type Recipient struct {
	Address  string `json:"address"`
	Original string `json:"original,omitempty"` // as the client gave it, where a rewrite changed it
	Status   string `json:"status,omitempty"`   // pending, accepted, failed; empty of a refusal
}

// Detail is an entry with all that happened to it.
type Detail struct {
	Entry
	Events        []Event `json:"events"`                  // the first ones and the last ones, oldest first
	EventsOmitted int     `json:"eventsOmitted,omitempty"` // between them
}

// Event is one thing that happened to a message.
type Event struct {
	At       time.Time     `json:"at"`
	Event    string        `json:"event"` // arrived, attempt, hold, release, retry, reroute, bounce, expire, warn, told, remove, lost, notification, forgotten, left
	Upstream string        `json:"upstream,omitempty"`
	Number   int           `json:"attempt,omitempty"`
	Took     time.Duration `json:"tookNanoseconds,omitempty"`
	By       string        `json:"by,omitempty"`   // who did it, of what a person does
	Text     string        `json:"text,omitempty"` // why it is held or given up; the ID of a notification
	Results  []Result      `json:"results,omitempty"`
}

// Result is what an event made of the recipients that share it.
type Result struct {
	Outcome        string    `json:"outcome"`            // Accepted, Deferred, Failed, Unknown; none: the queue decided
	Status         string    `json:"status"`             // of the recipients since: pending, accepted, failed
	Code           int       `json:"code,omitempty"`     // of the server's reply
	Enhanced       string    `json:"enhanced,omitempty"` // RFC 3463
	Text           string    `json:"text,omitempty"`     // the server's own words
	Remote         string    `json:"remote,omitempty"`   // who said so
	RemoteID       string    `json:"remoteID,omitempty"` // the server's own ID of the message
	Remedy         string    `json:"remedy,omitempty"`   // what the reply means, and what to do, where that is known
	Next           time.Time `json:"next,omitzero"`      // of the next attempt
	Recipients     []string  `json:"recipients"`
	RecipientCount int       `json:"recipientCount"` // of which those kept of the message are named
}

// Filter selects entries. Its parts must all match; an empty one selects all.
type Filter struct {
	Since, Until time.Time // when it came in; zero: no bound. Until itself is not in it
	Client       string    // an address, a network in CIDR notation, or a user or HELO name
	Sender       string    // an address, a pattern ("*@corp.example"), a domain, or "<>"
	Recipient    string    // an address, a pattern or a domain
	Upstream     string    // that was tried
	State        State
	Kind         Kind
	Text         string // somewhere in IDs, addresses, subject and the words of servers, whatever the case

	Limit  int    // at most so many; 0: 100, never more than 1000
	Cursor string // continue behind this ID
}

// Page is one page of a list, the newest first.
type Page struct {
	Entries []Entry `json:"entries"`
	Next    string  `json:"next,omitempty"` // Cursor of the next page; empty: this is the last
	// Incomplete: the time for one search was over before the page was full; Next goes on.
	Incomplete bool `json:"incomplete,omitempty"`
}

// ErrNotFound says that nothing is known of an ID.
var ErrNotFound = errors.New("the history knows no message or refusal with this ID: it may be older than what is kept")

// ErrOff says that there is no history to ask.
var ErrOff = errors.New("this relay keeps no history")
