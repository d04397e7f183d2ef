// Package transcript keeps what was said in the SMTP sessions that failed, so
// that an administrator sees why a device cannot scan: a Recorder takes one
// session's dialogue as it goes, without messages and without what a client
// sends to log in, and a Store keeps the last failed ones of each device, in
// bounded memory.
//
// It may import relay/envelope.
package transcript

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Failure is how a session failed.
type Failure string

// The ways in which a session fails. The first four end it; a refusal need not.
const (
	TLSFailed     Failure = "TLSFailed"     // no handshake
	BrokenOff     Failure = "BrokenOff"     // in the middle of a message
	LoginLeft     Failure = "LoginLeft"     // in the middle of AUTH
	TimedOut      Failure = "TimedOut"      // the client fell silent
	Refused       Failure = "Refused"       // a command was answered with 4yz or 5yz
	NotUnderstood Failure = "NotUnderstood" // what came was no SMTP
)

// Session is the transcript of one session, and what it was about. The fields
// that name a device are those that an inventory of devices has too.
type Session struct {
	ID       string     `json:"id"` // as in the log
	Listener string     `json:"listener"`
	Client   netip.Addr `json:"client"`
	Hidden   bool       `json:"hidden,omitempty"` // Client is not the device's own address
	HELO     string     `json:"helo,omitempty"`
	User     string     `json:"user,omitempty"` // a login that the relay has; of others no name is shown
	TLS      string     `json:"tls,omitempty"`
	Began    time.Time  `json:"began"`
	Ended    time.Time  `json:"ended"`
	Failure  Failure    `json:"failure"`
	Reply    string     `json:"reply,omitempty"`    // the refusal, where it is one
	Cause    string     `json:"cause,omitempty"`    // what the relay knows of why
	Accepted int        `json:"accepted,omitempty"` // messages, in the same session
	LeftOut  int        `json:"leftOut,omitempty"`  // lines that there was no room for, in the middle
	Lines    []Line     `json:"lines,omitempty"`

	encoded []byte // Lines, as a Store keeps them
	middle  int    // where in encoded lines are left out
}

// Line is one line of a dialogue. What is not printable ASCII is escaped as in
// Go's strings.
type Line struct {
	Milliseconds int64  `json:"ms"`   // since the session began
	From         string `json:"from"` // client, server, or relay: a remark
	Text         string `json:"text"`
}

// Who a Line is from.
const (
	Client = "client"
	Server = "server"
	Relay  = "relay"
)

// kind is what an entry of a recording is.
type kind byte

const (
	command  kind = 'C' // of the client, in whose argument may be anything
	told     kind = 'c' // about what the client sent, in our words
	answer   kind = 'S' // of ours
	echo     kind = 's' // of ours, in which may be what the client said
	remark   kind = '#' // in our words
	evidence kind = 'e' // a remark in which may be what the client said
)

// appendEntry encodes one entry.
func appendEntry[T string | []byte](b []byte, k kind, ms int64, text T) []byte {
	b = append(b, byte(k))
	b = binary.AppendUvarint(b, uint64(max(ms, 0)))
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

// entry decodes the first one of b; n is its size, 0 at the end.
func entry(b []byte) (k kind, ms int64, text string, n int) {
	if len(b) == 0 {
		return 0, 0, "", 0
	}
	at, i := binary.Uvarint(b[1:])
	size, j := binary.Uvarint(b[1+i:])
	n = 1 + i + j
	return kind(b[0]), int64(at), string(b[n : n+int(size)]), n + int(size) //nolint:gosec // appendEntry wrote them: both are small
}

// from says whose an entry is.
func (k kind) from() string {
	switch k {
	case command, told:
		return Client
	case answer, echo:
		return Server
	case remark, evidence:
	}
	return Relay
}

// decode gives s with its Lines.
func (s Session) decode() Session {
	s.Lines = nil
	for at := 0; ; {
		k, ms, text, n := entry(s.encoded[at:])
		if n == 0 {
			break
		}
		if at == s.middle && s.LeftOut > 0 {
			s.Lines = append(s.Lines, Line{ms, Relay, leftOut(s.LeftOut)})
		}
		s.Lines = append(s.Lines, Line{ms, k.from(), escape(text)})
		at += n
	}
	s.encoded = nil
	return s
}
