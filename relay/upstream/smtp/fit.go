package smtp

import (
	"fmt"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// fit tells whether the server can take the message at all, before anything
// is sent, and gives it in a form that it takes.
func (s *session) fit(m *upstream.Message) (*upstream.Message, *upstream.Outcome) {
	if s.size > 0 && m.Size > s.size {
		return m, cannot(552, "5.3.4", "the message has %d octets, the server takes %d", m.Size, s.size)
	}
	if m.EightBit && !s.offers("8BITMIME") {
		o := cannot(554, "5.6.3", "the message holds 8-bit text, which the server does not take (no 8BITMIME)")
		o.Cause = upstream.ErrUnencoded
		return m, o
	}
	if m.UTF8 && !s.offers("SMTPUTF8") {
		return m, cannot(553, "5.6.7", "an address or a header needs SMTPUTF8, which the server does not offer")
	}
	return m, nil
}

func cannot(code int, enhanced, format string, a ...any) *upstream.Outcome {
	return &upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeMessage, Code: code, Enhanced: enhanced, Text: fmt.Sprintf(format, a...)}
}
