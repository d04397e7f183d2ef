package queue

import (
	"context"
	"net/netip"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Message is what the queue keeps of one message beside its body: the Meta of
// its spool entry, as JSON. It does not change once it is submitted; what
// becomes of it is in the state records.
type Message struct {
	ID      string    `json:"id"`      // queue ID: that of the spool entry
	Arrived time.Time `json:"arrived"` // Submit sets it where it is zero
	*Origin           // Submit sets it where it is nil

	Recipients []Recipient `json:"recipients"`

	Size       int64  `json:"size"`              // octets of the spooled message
	HeaderSize int64  `json:"headerSize"`        // octets of its header, with the empty line
	MaxLine    int    `json:"maxLine,omitempty"` // octets of the longest line, without CRLF
	EightBit   bool   `json:"eightBit,omitempty"`
	UTF8       bool   `json:"utf8,omitempty"`      // headers or an address need SMTPUTF8
	Relayed    bool   `json:"relayed,omitempty"`   // acknowledge: Relayed, the client waits for the first attempt
	MessageID  string `json:"messageID,omitempty"` // the header field, for the log
	Subject    string `json:"subject,omitempty"`   // the header field, decoded, where the history is to keep it

	NotBefore time.Time `json:"notBefore,omitzero"` // no attempt earlier (rateLimit Pace)
	Held      string    `json:"held,omitempty"`     // why it waits for a release (intake, rule or rate Hold); empty: it does not
	DSNOf     string    `json:"dsnOf,omitempty"`    // a notification about this queue ID; there is never one about it
}

// Origin is what messages of one device and sender under one rule have in
// common: the queue keeps it once for all of them.
type Origin struct {
	Relay    string `json:"relay,omitempty"`
	Listener string `json:"listener,omitempty"`
	Client   Client `json:"client,omitzero"`

	Policy         string           `json:"policy,omitempty"` // the rule that let it in
	Rule           string           `json:"rule,omitempty"`
	Sender         envelope.Address `json:"sender"`                   // after address completion; null: a bounce
	SenderCovered  bool             `json:"senderCovered,omitempty"`  // the rule's allowed senders name it: it may hear of a failure
	SenderSecret   bool             `json:"senderSecret,omitempty"`   // a password is in it: logs and the history do not show it
	ForceIdentity  bool             `json:"forceIdentity,omitempty"`  // the rule wants the upstream's identity in place of the sender
	Identity       policy.Identity  `json:"identity,omitzero"`        // the rule's, under the upstream's domain
	ReplyToAllowed bool             `json:"replyToAllowed,omitempty"` // the original From may become Reply-To
}

// Client is who handed a message over.
type Client struct {
	Addr netip.Addr `json:"addr,omitzero"`
	// Hidden: Addr is not the client's own, but a load balancer's or a node's; no
	// network matches it.
	Hidden bool   `json:"hidden,omitempty"`
	HELO   string `json:"helo,omitempty"`
	User   string `json:"user,omitempty"` // authenticated as; empty: not
	// Redacted: nobody outside is to see Addr (the listener's receivedHeader).
	Redacted bool   `json:"redacted,omitempty"`
	TLS      uint16 `json:"tls,omitempty"` // crypto/tls version; 0: clear text
}

// Recipient is one recipient of a message.
type Recipient struct {
	Address  envelope.Address `json:"address"`
	Original envelope.Address `json:"original,omitzero"` // as the client gave it, where a rewrite changed it
	Copy     bool             `json:"copy,omitempty"`    // added by `copies`, not by the client
}

// Attempt is one delivery to make: a message, for some of its recipients, by
// one upstream. Message is shared and must not be changed.
type Attempt struct {
	Upstream   string
	Message    *Message
	Recipients []envelope.Address // at least one
	Number     int                // 1 for the first attempt of the message
}

// Deliverer makes attempts. Deliver returns one Outcome per recipient of a, in
// their order, and returns soon after ctx ends. It is called concurrently, for
// an upstream at most as often at once as that one's limit.
type Deliverer interface {
	Deliver(ctx context.Context, a Attempt) []upstream.Outcome
}
