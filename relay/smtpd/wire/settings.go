// Package wire stands between a client's socket and go-smtp: it bounds and
// repairs what a client may do to the SMTP library, and what the library may do
// to a client. It owns TLS, the framing of DATA, and every deadline.
//
// go-smtp reads a Conn, which gives it one well-formed command line at a time.
// wire may import relay/envelope, relay/reply, relay/share, relay/transcript and
// the standard library.
package wire

import (
	"crypto/tls"
	"time"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// Bounds of one connection.
const (
	firstBuffer    = 512       // what an idle connection holds; RFC 5321 4.5.3.1.4 asks for lines of so many octets
	commandLine    = 2 << 10   // the longest command: 512 and what extensions add
	authLine       = 12288     // the longest line of an AUTH exchange (RFC 4954 4)
	endlessLine    = 256 << 10 // no line at all: the connection ends
	outBuffer      = 4 << 10   // replies that wait for a client that does not read them
	writeTimeout   = 3 * time.Minute
	handshakeTime  = 30 * time.Second
	lingerTime     = time.Second
	wrapTime       = 2 * time.Second // a second line of base64 is not further behind the first
	maxFailures    = 20              // replies 4yz and 5yz between two accepted messages
	maxCommands    = 100             // other than RCPT, between two accepted messages: NOOP must not hold a connection for ever
	lineBareLF     = "BareLF"
	lineReject     = "Reject"
	startTLSBroken = "listener has no usable certificate"
)

// Settings are what a listener wants of one connection.
type Settings struct {
	Hostname     string      // greeting, EHLO
	TLS          *tls.Config // nil: no TLS
	NoCert       bool        // TLS is configured, but its certificate cannot be had: STARTTLS is 454, Implicit closes
	Implicit     bool        // TLS from the first octet
	HideStartTLS bool
	Lenient      bool   // commands are repaired
	Domain       string // completes addresses without a domain
	LineEndings  string // Normalize | Reject | BareLF: LF.LF ends a message in a session of bare LF only
	Idle         time.Duration

	// Capabilities gives the lines of the EHLO reply behind the first, but for
	// STARTTLS.
	Capabilities func(*Conn) []string
	// Refused, if set, hears of each refusal that is not the session's own.
	Refused func(c *Conn, verb string, r *reply.Reply, cause string)
}

func (s *Settings) offersTLS() bool {
	return (s.TLS != nil || s.NoCert) && !s.Implicit && !s.HideStartTLS
}
