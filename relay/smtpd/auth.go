package smtpd

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

const maxLoginFailures = 3 // of one connection

// nobody is said of a name that no login has, in place of the name.
const nobody = "the Secret has no login of the name that the device gives (it is not shown: it may be a password)"

// AuthMechanisms gives those that can work on this connection now. It
// implements go-smtp's AuthSession.
func (s *session) AuthMechanisms() []string {
	a := &s.listener.Auth
	if a.Mode == plan.AuthNone {
		return nil
	}
	logins := s.logins()
	if logins == nil {
		return nil
	}
	var out []string
	for _, m := range s.configuredMechanisms() {
		if m == "CRAM-MD5" && !logins.plain() {
			continue
		}
		if m != "CRAM-MD5" && s.conn.TLS() == nil && !a.Plaintext {
			continue
		}
		out = append(out, m)
	}
	return out
}

// configuredMechanisms are those that this client may use, on some connection.
func (s *session) configuredMechanisms() []string {
	if s.override != nil && len(s.override.Mechanisms) > 0 {
		return s.override.Mechanisms
	}
	return s.listener.Auth.Mechanisms
}

// needsTLS tells whether it is only for want of TLS that the client cannot log
// in with a mechanism; "" asks for any.
func (s *session) needsTLS(mechanism string) bool {
	a := &s.listener.Auth
	return a.Mode != plan.AuthNone && !a.Plaintext && s.conn.TLS() == nil && s.listener.TLS.Mode != plan.TLSNone &&
		(mechanism == "" && len(s.AuthMechanisms()) == 0 || slices.Contains(s.configuredMechanisms(), mechanism))
}

// logins are those of the listener's Secret; nil where it is missing.
func (s *session) logins() *logins { return s.srv.users.Load().get(s.listener.Auth.Secret) }

// Auth begins one exchange. It implements go-smtp's AuthSession.
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	if s.current() != nil { // RFC 4954 4
		return nil, s.refuse("AUTH", reply.BadSequence("AUTH comes before MAIL"), "AUTH within a transaction")
	}
	if !slices.Contains(s.AuthMechanisms(), mechanism) {
		if s.needsTLS(mechanism) {
			return nil, s.refuse("AUTH", reply.TLSRequired(), "mechanism "+mechanism+" would show the password in clear text (authentication.plaintext)")
		}
		return nil, s.refuse("AUTH", reply.AuthMechanism(), "mechanism "+reply.Line(mechanism, 32)+" is not offered on this connection")
	}
	if !s.conn.Hidden && s.srv.guard.locked(time.Now(), s.conn.Addr.Addr()) { // behind a hidden address may be every copier there is
		s.conn.Hangup()
		return nil, s.refuse("AUTH", reply.AuthTooMany(), "the client has guessed too often, and nobody ever logged in from it: it is turned away for "+guardMemory.String())
	}
	switch mechanism {
	case "PLAIN":
		return &plainServer{s: s}, nil
	case "LOGIN":
		return &loginServer{s: s}, nil
	}
	return &cramServer{s: s, challenge: s.challenge()}, nil
}

// password takes one try with a password.
func (s *session) password(mechanism, user, password string) error {
	l := s.logins()
	if l == nil {
		return s.refuse("AUTH", reply.AuthMechanism(), "the Secret with the logins is gone")
	}
	name, ok, err := s.srv.verify.password(s.srv.ctx, l, user, password)
	if err != nil {
		return s.refuse("AUTH", reply.AuthBusy(), err.Error())
	}
	return s.login(mechanism, l, user, name, ok, "")
}

// login takes the verdict on one try. A failure costs time, the same for every
// cause, and the third one the connection (CWE-307).
func (s *session) login(mechanism string, l *logins, said, name string, ok bool, why string) error {
	result := "failed"
	if ok {
		result = "ok"
	}
	s.srv.Metrics.AuthAttempts.WithLabelValues(s.listener.Name, mechanism, result).Inc()
	known, _, exists := l.find(said)
	auth := inventory.Auth{Mechanism: mechanism, OK: ok}
	switch {
	case ok:
		auth.User = name
	case exists: // a name that no login has may be a password
		auth.User = known
	}
	s.mu.Lock()
	s.auth = auth
	s.mu.Unlock()
	if ok {
		if !s.conn.Placed() {
			s.srv.loggedIn(s.conn.Addr.Addr())
		}
		s.user, s.proof, s.mechanism = name, l.users[name], mechanism
		s.conn.Record(func(r *transcript.Recorder) { r.LoggedIn(name) })
		return nil
	}
	s.conn.Record(func(r *transcript.Recorder) { l.because(r, said, why) })
	s.loginFailures++
	client, user := s.guesser(said)
	s.srv.pause(s.srv.guard.failed(time.Now(), client, user))
	cause := cmp.Or(why, nobody)
	if name, _, ok := l.find(said); ok {
		cause = fmt.Sprintf("user %q: %s", reply.Line(name, 64), cmp.Or(why, "the password is wrong"))
	}
	if s.loginFailures >= maxLoginFailures {
		s.conn.Hangup()
		return s.refuse("AUTH", reply.AuthTooMany(), cause)
	}
	return s.refuse("AUTH", reply.AuthFailed(), cause)
}

// guesser is for whom and for which user a failed login counts. A test counts for
// tests, which are slowed as guessing is: the device whose place it takes did nothing,
// and must not be turned away for it.
func (s *session) guesser(said string) (netip.Addr, string) {
	if s.conn.Placed() {
		return netip.IPv6Unspecified(), "\x00test"
	}
	return s.conn.Addr.Addr(), said
}

func (s *session) challenge() string {
	var b [12]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	return fmt.Sprintf("<%s.%d@%s>", hex.EncodeToString(b[:]), time.Now().Unix(), s.conn.Settings.Hostname)
}

// plainServer is PLAIN (RFC 4616). Some copiers leave the authorization
// identity and its NUL off, or end the message in one.
type plainServer struct{ s *session }

func (p *plainServer) Next(response []byte) ([]byte, bool, error) {
	if response == nil {
		return nil, false, nil
	}
	parts := bytes.Split(bytes.TrimSuffix(response, []byte{0}), []byte{0})
	if len(parts) == 2 {
		parts = append([][]byte{nil}, parts...)
	}
	if len(parts) != 3 {
		return nil, true, p.s.refuse("AUTH", reply.AuthEncoding(), "not a PLAIN message (RFC 4616)")
	}
	return nil, true, p.s.password("PLAIN", string(parts[1]), string(parts[2]))
}

// loginServer is LOGIN, which no RFC defines: two challenges in the words that
// every client knows, since some quit on any other.
type loginServer struct {
	s     *session
	user  string
	asked bool // for the password
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	if !l.asked && response == nil {
		return []byte("Username:"), false, nil
	}
	response = bytes.TrimRight(response, "\x00\r\n") // some send the terminator of their string along
	if !l.asked {
		l.user, l.asked = string(response), true
		return []byte("Password:"), false, nil
	}
	return nil, true, l.s.password("LOGIN", l.user, string(response))
}

// cramServer is CRAM-MD5 (RFC 2195).
type cramServer struct {
	s         *session
	challenge string
	asked     bool
}

func (c *cramServer) Next(response []byte) ([]byte, bool, error) {
	if !c.asked { // an initial response cannot answer it
		c.asked = true
		return []byte(c.challenge), false, nil
	}
	l := c.s.logins()
	if l == nil {
		return nil, true, c.s.refuse("AUTH", reply.AuthMechanism(), "the Secret with the logins is gone")
	}
	name, ok, why := c.s.srv.verify.cram(l, c.challenge, string(response))
	said := response[:max(bytes.LastIndexByte(response, ' '), 0)] // a name may hold spaces
	return nil, true, c.s.login("CRAM-MD5", l, string(said), name, ok, why)
}
