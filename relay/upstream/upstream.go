// Package upstream is the contract between delivery and the ways out: a
// Transport offers one message to some recipients and says, for each, what
// became of it. There is one package per type below this one.
//
// It may import relay/envelope and relay/reply.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// Kind is what became of one recipient in one attempt.
type Kind uint8

// The kinds of outcome. We say "accepted by", never "delivered": nobody knows that.
const (
	Accepted Kind = iota + 1
	Deferred
	Failed
	Unknown // the connection broke after the final dot: a retry may duplicate
)

// String is the kind's name.
func (k Kind) String() string {
	return [...]string{"none", "Accepted", "Deferred", "Failed", "Unknown"}[k]
}

// Scope is what an outcome speaks of.
type Scope uint8

// The scopes of an outcome.
const (
	ScopeRecipient Scope = iota + 1 // greylisting, no such user: the same upstream later, or a DSN
	ScopeMessage                    // too large, content: the next upstream that can carry it
	ScopeUpstream                   // authentication, quota, its own 5xx, no connection: circuit breaker, fallback, never an immediate bounce
)

// String is the scope's name.
func (s Scope) String() string {
	return [...]string{"none", "Recipient", "Message", "Upstream"}[s]
}

// Outcome is the result for one recipient. Text is the remote's words, or ours
// where no reply came, in one line without secrets.
type Outcome struct {
	Kind     Kind
	Scope    Scope  // of what is not Accepted
	Code     int    // SMTP reply or HTTP status; 0: none came
	Enhanced string // RFC 3463 "5.1.1"; empty: none came
	Text     string
	Remote   string        // who answered: host name and address
	RemoteID string        // the message's name there, where the reply tells it
	RetryIn  time.Duration // the remote asks to wait at least so long; 0: it does not
	Cause    error         // for the log only; not persisted
}

// String is the outcome for a log line.
func (o Outcome) String() string {
	if o.Code == 0 {
		return fmt.Sprintf("%s: %s", o.Kind, o.Text)
	}
	return fmt.Sprintf("%s: %d %s %s", o.Kind, o.Code, o.Enhanced, o.Text)
}

// ErrUnencoded is the Cause of an outcome for a message that could be taken if its
// parts were encoded: it holds 8-bit text or long lines, and the remote takes none.
var ErrUnencoded = errors.New("it takes no 8-bit text, or no long lines")

// Message is one message as it leaves: identity applied, headers rewritten.
type Message struct {
	ID         string             // queue ID
	Sender     envelope.Address   // null for a DSN
	Recipients []envelope.Address // at least one; all still pending
	Size       int64              // octets of Open's content, before dot-stuffing
	EightBit   bool               // the body holds octets over 127
	UTF8       bool               // the headers or an address need SMTPUTF8
	MaxLine    int                // octets of the longest line, without CRLF

	// Open gives the content from its start: header, empty line, body, CRLF
	// line ends, a CRLF at the end. Each call gives the same octets. A read
	// error (a corrupt spool entry) must end the attempt so that the remote
	// does not take the message.
	Open func() (io.ReadCloser, error)
}

// Capabilities is what a transport is known to carry. The zero value knows of
// no limit; UTF8 false means that SMTPUTF8 mail cannot pass for certain.
type Capabilities struct {
	MaxSize   int64   // octets
	UTF8      bool    // SMTPUTF8
	PerSecond float64 // messages that the account may send, all its senders together; 0: not told
}

// Verdict is what was found of something that can be good or bad.
type Verdict uint8

// The verdicts.
const (
	Untold Verdict = iota // it was not looked at, or nobody tells
	Good
	Bad
)

// String is the verdict's name.
func (v Verdict) String() string { return [...]string{"Unknown", "Good", "Bad"}[v] }

// Health is what an upstream's credential and account were found to be, without a
// message being sent.
type Health struct {
	Reachable   Verdict // the server or API answers
	Credentials Verdict // it takes the credential, and lets it send
	Text        string  // the reason of what is Bad, or what was seen; one line, without secrets
	// Warnings are what works today and needs a person: the sandbox of an account,
	// a credential that may do more than it needs to.
	Warnings []string
	Expires  time.Time // of the credential; zero: not known, or never
	Quota    Quota
}

// Quota is what a provider tells of its limits. Zero values are unknown.
type Quota struct {
	PerSecond  float64 // messages or recipients, as the provider counts
	DailyLimit int64
	DailyUsed  int64
}

// Checker is a Transport that can look at its credential and account without
// sending mail. Check is cheap, and ends soon after ctx does.
type Checker interface {
	Check(ctx context.Context) Health
}

// Transport offers messages to one upstream. It is safe for concurrent use; the
// queue calls Deliver at most as often at once as the upstream's limit allows.
type Transport interface {
	// Deliver offers m and returns one Outcome per recipient, in their order. The
	// content goes as Open gives it or not at all: a DKIM signature may cover it, so
	// what the remote cannot carry is refused, never converted; with ErrUnencoded it
	// is offered again, converted before it is signed.
	// It returns soon after ctx ends; a transaction that is past the final dot
	// is then Unknown.
	Deliver(ctx context.Context, m *Message) []Outcome
	// Capabilities tells what is known now; it may grow with the first session.
	Capabilities() Capabilities
	// Close drops idle connections; deliveries under way end by their own.
	Close() error
}

// All gives n times the same outcome.
func All(n int, o Outcome) []Outcome {
	out := make([]Outcome, n)
	for i := range out {
		out[i] = o
	}
	return out
}
