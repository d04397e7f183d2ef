package smtpd

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/reply"
)

const (
	maxLoginFailures = 3           // of one connection
	failureDelay     = time.Second // before the reply to a wrong password
)

// AuthMechanisms gives those that can work on this connection now. It
// implements go-smtp's AuthSession.
func (s *session) AuthMechanisms() []string {
	a := &s.listener.Auth
	if a.Mode == plan.AuthNone || s.logins() == nil {
		return nil
	}
	wanted := a.Mechanisms
	if s.override != nil && len(s.override.Mechanisms) > 0 {
		wanted = s.override.Mechanisms
	}
	var out []string
	for _, m := range wanted {
		if m == "CRAM-MD5" && !s.logins().plain {
			continue
		}
		if m != "CRAM-MD5" && s.conn.TLS() == nil && !a.Plaintext {
			continue
		}
		out = append(out, m)
	}
	return out
}

// logins reads the Secret once a session; nil where it is missing.
func (s *session) logins() *logins {
	if s.users == nil && s.usersErr == nil {
		s.users, s.usersErr = readLogins(s.srv.secrets(), s.listener.Auth.Secret)
		if s.usersErr != nil {
			s.log.Error("logins cannot be read: nobody can authenticate", "listener", s.listener.Name, "cause", s.usersErr)
		}
	}
	return s.users
}

// Auth begins one exchange. It implements go-smtp's AuthSession.
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	if !slices.Contains(s.AuthMechanisms(), mechanism) {
		return nil, s.refuse("AUTH", reply.AuthMechanism(), "mechanism "+reply.Line(mechanism, 32))
	}
	switch mechanism {
	case "PLAIN":
		return sasl.NewPlainServer(func(_, user, password string) error {
			return s.login("PLAIN", user, func() (string, bool) { return s.srv.verify.plain(s.logins(), user, password) })
		}), nil
	case "LOGIN":
		return &loginServer{done: func(user, password string) error {
			return s.login("LOGIN", user, func() (string, bool) { return s.srv.verify.plain(s.logins(), user, password) })
		}}, nil
	}
	return &cramServer{challenge: s.challenge(), done: func(challenge, response string) error {
		user, _, _ := strings.Cut(response, " ")
		return s.login("CRAM-MD5", user, func() (string, bool) { return s.srv.verify.cram(s.logins(), challenge, response) })
	}}, nil
}

// login takes the verdict on one try. A failure costs time, and the third one
// the connection (CWE-307).
func (s *session) login(mechanism, user string, check func() (string, bool)) error {
	name, ok := check()
	result := "failed"
	if ok {
		result = "ok"
	}
	s.srv.Metrics.AuthAttempts.WithLabelValues(s.listener.Name, mechanism, result).Inc()
	if ok {
		s.user = name
		return nil
	}
	s.loginFailures++
	s.srv.pause(failureDelay)
	if s.loginFailures >= maxLoginFailures {
		s.conn.Hangup()
		return s.refuse("AUTH", reply.AuthTooMany(), fmt.Sprintf("user %q, third failure", reply.Line(user, 64)))
	}
	return s.refuse("AUTH", reply.AuthFailed(), fmt.Sprintf("user %q", reply.Line(user, 64)))
}

func (s *session) challenge() string {
	var b [12]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	return fmt.Sprintf("<%s.%d@%s>", hex.EncodeToString(b[:]), time.Now().Unix(), s.plan.Hostname)
}

// loginServer is AUTH LOGIN, which no RFC defines: two challenges in the words
// that every client knows, since some quit on any other.
type loginServer struct {
	user string
	step int
	done func(user, password string) error
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	if l.step == 0 && response == nil {
		l.step = 1
		return []byte("Username:"), false, nil
	}
	response = bytes.TrimRight(response, "\x00\r\n") // some send the terminator of their string along
	if l.step < 2 {
		l.user, l.step = string(response), 2
		return []byte("Password:"), false, nil
	}
	return nil, true, l.done(l.user, string(response))
}

// cramServer is CRAM-MD5 (RFC 2195).
type cramServer struct {
	challenge string
	asked     bool
	done      func(challenge, response string) error
}

func (c *cramServer) Next(response []byte) ([]byte, bool, error) {
	if !c.asked {
		c.asked = true
		return []byte(c.challenge), false, nil
	}
	return nil, true, c.done(c.challenge, string(response))
}
