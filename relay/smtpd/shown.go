package smtpd

import (
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// A password that somebody types where the device wants its name or its sender comes in
// HELO or MAIL. What is logged, and what is kept in history, inventory and transcripts,
// goes by one question: whether a text holds a password that is known, or was sent in
// the session.

// maxHarmless bounds the texts of which the answer is known.
const maxHarmless = 4096

// hides tells whether a password is in a text. The texts of most devices are the same
// for years: of those it is known, and costs nothing.
func (s *session) hides(text string) bool {
	if text == "" {
		return false
	}
	// The password of a login that is in the Secret as it is needs no second look.
	plain := s.user != "" && s.loginFailures == 0 && !s.proof.hashed
	if !plain && s.conn.Heard() {
		return s.Hides(text)
	}
	return s.srv.users.Load().holdsPassword(s.srv.Plan(), text)
}

// shown is a text as it may be logged and kept.
func (s *session) shown(text string) string {
	if s.hides(text) {
		return transcript.NotShown
	}
	return text
}

// name is what the device calls itself, as it may be logged and kept.
func (s *session) name() string { return s.shown(reply.Line(s.gs.Hostname(), 128)) }

// shownAddress is an address as it may be logged and kept.
func (s *session) shownAddress(a envelope.Address) envelope.Address {
	if a.IsNull() || !s.hides(a.String()) {
		return a
	}
	out := envelope.Address{Local: transcript.NotShown}
	if !s.hides(a.Domain) {
		out.Domain = a.Domain
	}
	return out
}

// holdsPassword tells whether a plain password of one of p's logins is in a text.
func (c *loginCache) holdsPassword(p *plan.Plan, text string) bool {
	c.mu.Lock()
	known := c.harmless[text]
	c.mu.Unlock()
	if known {
		return false
	}
	for i := range p.Listeners {
		if name := p.Listeners[i].Auth.Secret; name != "" && c.secrets(name).Holds(text) {
			return true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.harmless) >= maxHarmless || c.harmless == nil {
		c.harmless = map[string]bool{}
	}
	c.harmless[text] = true
	return false
}
