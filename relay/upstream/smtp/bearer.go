package smtp

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// maxResponse is what a server has to be able to take of a SASL message, in base64
// (RFC 4954 4).
const maxResponse = 12288

// tokenError is a token that the server refused.
type tokenError struct {
	*replyError
	token string
}

// Unwrap gives the reply, which makes the outcome.
func (e *tokenError) Unwrap() error { return e.replyError }

// authenticateByToken logs in with an OAuth access token, by XOAUTH2 or OAUTHBEARER
// (RFC 7628). It is sent to nobody else than the server that the certificate names.
func (s *session) authenticateByToken(ctx context.Context) error {
	a := s.t.c.SMTP.Auth
	mechanism := cmp.Or(a.Mechanism, "XOAUTH2")
	if !s.verified() {
		return fmt.Errorf("AUTH %s: a token is sent only inside TLS with a verified certificate: use tls.mode StartTLS or Implicit", mechanism)
	}
	if _, err := chooseMechanism(mechanism, s.mechanisms(), true); err != nil {
		return err
	}
	user, err := s.user(s.t.c.Secrets())
	if err != nil {
		return err
	}
	if strings.ContainsAny(user, "\x00\x01\r\n") {
		return errors.New("the user name holds a control character, which no mechanism can send")
	}
	if s.t.c.Tokens == nil {
		return errors.New("there is nobody to ask for a token")
	}
	token, err := s.t.c.Tokens.Token(ctx)
	if err != nil {
		return fmt.Errorf("AUTH %s: %w", mechanism, err)
	}
	response := s.bearer(mechanism, user, token)
	if len(response) > maxResponse {
		return fmt.Errorf("AUTH %s: the token has %d octets, more than servers take: let the authorization server put less into it", mechanism, len(token))
	}
	r, judged, err := s.offerToken(mechanism, response)
	if err != nil {
		return fmt.Errorf("AUTH %s: %w", mechanism, tell(ctx, err))
	}
	if r.Code == 235 {
		s.t.took.Store(true)
		return nil
	}
	r.Text = scrubAll(r.Text, response, token, b64(token))
	refusal := &replyError{r, fmt.Sprintf("AUTH %s as %s with a token of client %s", mechanism, reply.Line(user, 256), a.OAuth.ClientID)}
	if r.Code/100 != 5 && !judged { // it is busy, and says nothing of the token
		return refusal
	}
	s.t.c.Tokens.Reject(token)
	return &tokenError{refusal, token}
}

// bearer is the client's message, in base64.
func (s *session) bearer(mechanism, user, token string) string {
	if mechanism == "OAUTHBEARER" {
		o := &s.t.c.SMTP
		name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) // saslname (RFC 5801 4)
		return b64(fmt.Sprintf("n,a=%s,\x01host=%s\x01port=%d\x01auth=Bearer %s\x01\x01", name, cmp.Or(o.ServerName, o.Host), o.Port, token))
	}
	return b64("user=" + user + "\x01auth=Bearer " + token + "\x01\x01")
}

// offerToken sends the client's message: with the command where its line has the
// room, as RFC 4954 4 bounds it, and most tokens have not, else after the challenge.
// A server that does not take the token says why in a challenge, and wants an
// answer to it before it refuses (RFC 7628 3.2.3): judged tells that it did.
func (s *session) offerToken(mechanism, response string) (r Reply, judged bool, err error) {
	limit := s.t.c.Timeouts.Command
	if len(response) <= maxInitial {
		r, err = s.command(limit, "AUTH "+mechanism+" "+response)
	} else {
		r, err = s.answer("AUTH "+mechanism, response)
	}
	if err != nil || r.Code != 334 {
		return r, false, err
	}
	why := reason(r)
	acknowledge := "" // XOAUTH2: an empty line
	if mechanism == "OAUTHBEARER" {
		acknowledge = "AQ==" // RFC 7628 3.2.3: %x01
	}
	if r, err = s.command(limit, acknowledge); err != nil {
		return r, true, err
	}
	if r.Code == 334 {
		return r, true, errReply
	}
	if r.Code/100 != 2 && why != "" {
		r.Text = reply.Line(r.Text+" ("+why+")", maxReplyText)
	}
	return r, true, nil
}

// reason reads the challenge in which a server says why it does not take a token
// (RFC 7628 3.2.2): JSON in base64.
func reason(r Reply) string {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Lines[0]))
	if err != nil {
		return ""
	}
	var said struct {
		Status any    `json:"status"` // a string, and from some servers a number
		Scope  string `json:"scope"`
	}
	if json.Unmarshal(b, &said) != nil || said.Status == nil {
		return ""
	}
	out := "status " + reply.Line(fmt.Sprint(said.Status), 64)
	if said.Scope != "" {
		out += ", scope " + reply.Line(said.Scope, 128)
	}
	return out
}

// anotherToken tells whether a refused token may have been at fault, one of ours
// having been accepted before, and another one can be had.
func (t *Transport) anotherToken(ctx context.Context, e *tokenError) bool {
	if !t.took.Load() || ctx.Err() != nil {
		return false
	}
	token, err := t.c.Tokens.Token(ctx)
	return err == nil && token != e.token
}
