// Package policy decides who may send as whom, to whom, how much and over what
// connection. A Set is compiled from SenderPolicies (by package plan); its
// methods are pure functions of the set and of what the session knows, and
// every decision can say which rule made it and why. The Limiter is the one
// part with memory; it takes the time as an argument.
//
// It may import relay/envelope and relay/reply.
package policy

import (
	"net/netip"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// Action is what a rule does with the messages that it matches.
type Action string

// The actions of a rule.
const (
	Allow  Action = "Allow"
	Reject Action = "Reject"
	Hold   Action = "Hold" // 250, kept in the queue until released
)

// Set is the ordered list of policies of one relay. An empty Set allows nothing.
type Set []Policy

// Policy is one compiled SenderPolicy.
type Policy struct {
	Name   string `json:"name"`
	DryRun bool   `json:"dryRun,omitempty"` // reports what it would decide, decides nothing
	Rules  []Rule `json:"rules"`
}

// Rule is one compiled rule. Policy and Name identify it in logs.
type Rule struct {
	Policy      string     `json:"policy"`
	Name        string     `json:"name"`
	Match       Match      `json:"match"`
	Action      Action     `json:"action"`
	Connection  Connection `json:"connection,omitzero"`
	Senders     Senders    `json:"senders,omitzero"`
	Identity    Identity   `json:"identity,omitzero"`
	Recipients  Recipients `json:"recipients,omitzero"`
	MessageSize int64      `json:"messageSize,omitempty"` // octets; 0: the listener's limit
	Attachments []string   `json:"attachments,omitempty"` // allowed media types, lower case; empty: any
	Rate        *Rate      `json:"rate,omitempty"`
}

// Match selects messages at MAIL. Networks and Users are alternatives within
// themselves and are both required where both are given; so are Senders.
type Match struct {
	Networks []netip.Prefix     `json:"networks,omitempty"`
	Users    []string           `json:"users,omitempty"`
	Senders  []envelope.Pattern `json:"senders,omitempty"`
}

// Connection is what a matched connection must fulfil.
type Connection struct {
	TLSRequired   bool   `json:"tlsRequired,omitempty"`
	MinimumTLS    uint16 `json:"minimumTLS,omitempty"` // crypto/tls version; 0: any
	Authenticated bool   `json:"authenticated,omitempty"`
}

// Senders are the addresses a message may come from. Empty Allowed: any.
type Senders struct {
	Allowed      []envelope.Pattern `json:"allowed,omitempty"`
	EnvelopeOnly bool               `json:"envelopeOnly,omitempty"` // check: Envelope; else From: and Sender: too
	Rewrite      bool               `json:"rewrite,omitempty"`      // otherwise: Rewrite; else Reject
}

// Identity is as whom the upstream sends what this rule let through, under the
// upstream's own domain.
type Identity struct {
	LocalPart   string `json:"localPart,omitempty"`
	DisplayName string `json:"displayName,omitempty"`
}

// Recipients are the addresses a message may go to. Empty Allowed: any, which
// the kinds allow only for rules with users. Maximum 0: the listener's limit.
type Recipients struct {
	Allowed []envelope.Pattern `json:"allowed,omitempty"`
	Maximum int                `json:"maximum,omitempty"`
}

// Per is what a rate limit counts by.
type Per string

// The keys of a rate limit.
const (
	PerClient Per = "Client"
	PerUser   Per = "User"
	PerRule   Per = "Rule"
)

// Exceeded is what happens to a message over its rate.
type Exceeded string

// What a rate limit does.
const (
	Pace       Exceeded = "Pace"   // 250, delivered later
	HoldExcess Exceeded = "Hold"   // 250, kept until released
	Refuse     Exceeded = "Refuse" // 450 4.7.1
)

// Rate is a rule's rate limit; a zero figure is no limit.
type Rate struct {
	MessagesPerMinute int      `json:"messagesPerMinute,omitempty"`
	RecipientsPerDay  int      `json:"recipientsPerDay,omitempty"`
	Per               Per      `json:"per"`
	Exceeded          Exceeded `json:"exceeded"`
}

// Client is what a session knows of its peer when it asks for a decision.
type Client struct {
	Addr       netip.Addr // unmapped; the real client's behind a trusted proxy
	Hidden     bool       // the address is not the client's own: no rule on networks lets it in, and each may reject it
	User       string     // authenticated as; empty: not
	TLSVersion uint16     // 0: clear text
}

// Verdict is a rate limiter's answer for one message.
type Verdict struct {
	Over     bool          // a limit is exceeded
	Delay    time.Duration // for Pace: how long to keep the message before its first attempt
	Exceeded Exceeded
}
