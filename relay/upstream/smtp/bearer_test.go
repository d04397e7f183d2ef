package smtp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance/smtpfake"
)

// tokens is a source that a test fills. Each Reject brings the next token, the last
// one stays.
type tokens struct {
	mu       sync.Mutex
	all      []string
	err      error
	rejected []string
	closed   bool
}

func (s *tokens) Token(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return "", s.err
	}
	return s.all[0], nil
}

func (s *tokens) Reject(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected = append(s.rejected, token)
	if token == s.all[0] && len(s.all) > 1 {
		s.all = s.all[1:]
	}
}

func (s *tokens) Close() error { s.closed = true; return nil }

// guard is the server's side of XOAUTH2 and OAUTHBEARER: it takes the tokens that
// hold.
type guard struct {
	mu       sync.Mutex
	holds    []string
	refusing bool // the challenge was given that says why
	next     string
	status   string
}

func (g *guard) answer(line string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	verb, rest, _ := strings.Cut(line, " ")
	switch {
	case g.refusing && (line == "" || line == "AQ=="):
		g.refusing = false
		if (line == "AQ==") != (g.next == "OAUTHBEARER") {
			return "501 5.5.4 that is not how it is answered"
		}
		return "535 5.7.8 no, not " + g.holds[0] + "x"
	case verb == "AUTH":
		g.next, rest, _ = strings.Cut(rest, " ")
		if rest == "" {
			return "334 "
		}
		return g.judge(rest)
	case g.next != "" && len(line) > 100:
		return g.judge(line)
	}
	return ""
}

func (g *guard) judge(response string) string {
	for _, token := range g.holds {
		want := b64("user=scans@corp.test\x01auth=Bearer " + token + "\x01\x01")
		if g.next == "OAUTHBEARER" {
			want = b64("n,a=scans@corp.test,\x01host=mx.test\x01port=25\x01auth=Bearer " + token + "\x01\x01")
		}
		if response == want {
			return "235 2.7.0 welcome"
		}
	}
	g.refusing = true
	return "334 " + b64(g.status)
}

func byToken(p *peer, mechanism string, source *tokens) func(*Config) {
	return func(c *Config) {
		p.use(plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca", Auth: &plan.SMTPAuth{
			Mechanism: mechanism, User: "scans@corp.test", OAuth: &plan.OAuth{ClientID: "client"},
		}})(c)
		c.Tokens = source
	}
}

var bearers = []string{"XOAUTH2", "OAUTHBEARER"}

// A short token goes with the command, a long one after the challenge: no command
// line is longer than 512 octets (RFC 4954 4).
func TestTokenIsSent(t *testing.T) {
	for _, mechanism := range bearers {
		for _, token := range []string{"short", strings.Repeat("t", 2000)} {
			p := newPeer(t, "mx.test")
			g := &guard{holds: []string{token}}
			f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", "AUTH PLAIN " + mechanism}, answer: g.answer}
			source := &tokens{all: []string{token}}
			tr := f.start(t, byToken(p, mechanism, source))
			if out := tr.Deliver(t.Context(), message(t, text)); conformance.Kinds(out) != "Accepted" {
				t.Errorf("%s, token of %d: %v", mechanism, len(token), out[0])
			}
			commands, _, _, _ := f.seen()
			for _, line := range commands {
				if strings.HasPrefix(line, "AUTH") && len(line) > 510 {
					t.Errorf("an AUTH line of %d octets", len(line))
				}
			}
			if tr.Close(); !source.closed || source.rejected != nil {
				t.Errorf("closed %v, rejected %v", source.closed, source.rejected)
			}
		}
	}
}

// The user may be in the Secret; its commas and equals signs are written as
// RFC 5801 4 says.
func TestUserOfASecret(t *testing.T) {
	p := newPeer(t, "mx.test")
	p.secrets["login"]["username"] = []byte("a=b,c")
	f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", "AUTH OAUTHBEARER"}, answer: func(line string) string {
		if strings.HasPrefix(line, "AUTH") {
			if line == "AUTH OAUTHBEARER "+b64("n,a=a=3Db=2Cc,\x01host=mx.test\x01port=25\x01auth=Bearer tok\x01\x01") {
				return "235 2.7.0 welcome"
			}
			return "535 5.7.8 no"
		}
		return ""
	}}
	out := f.start(t, byToken(p, "OAUTHBEARER", &tokens{all: []string{"tok"}}), func(c *Config) {
		c.SMTP.Auth.User, c.SMTP.Auth.Secret = "", "login"
	}).Deliver(t.Context(), message(t, text))
	if conformance.Kinds(out) != "Accepted" {
		t.Error(out[0])
	}
}

// A refusal is heard to its end: the challenge that says why is answered, and what it
// says is in the reason. The token, which the server repeats, is not.
func TestTokenIsRefused(t *testing.T) {
	const token = "canary-of-a-token"
	for _, mechanism := range bearers {
		for status, want := range map[string]string{
			`{"status":"invalid_token","schemes":"bearer","scope":"mail"}`: "(status invalid_token, scope mail)",
			`{"status":401}`:                   "(status 401)",
			`{"status":"` + token + `"}`:       "(status ***)",
			`{"status":"a\r\n250 ok"}`:         "(status a  250 ok)",
			`not JSON`:                         "",
			strings.Repeat("x", 3000):          "",
			`{"status":"` + b64(token) + `"}`:  "(status ***)",
			`{"scope":"x"}`:                    "",
			`{"status":"` + token[:10] + "\"}": "",
		} {
			p := newPeer(t, "mx.test")
			g := &guard{holds: []string{token[:len(token)-1]}, status: status} // so that "holds + x" is not the token
			f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", "AUTH " + mechanism}, answer: func(line string) string {
				return strings.ReplaceAll(g.answer(line), "no, not", "no, not "+token+" and not")
			}}
			source := &tokens{all: []string{token, "another-token"}}
			out := f.start(t, byToken(p, mechanism, source)).Deliver(t.Context(), message(t, text))
			o := out[0]
			if conformance.Kinds(out) != "Deferred/Upstream" || o.Code != 535 || o.Enhanced != "5.7.8" || !strings.Contains(o.Text, want) ||
				!strings.Contains(o.Text, "AUTH "+mechanism+" as scans@corp.test with a token of client client") {
				t.Errorf("%s, %s: %+v", mechanism, status, o)
			}
			for _, s := range []string{o.Text, o.Cause.Error()} {
				if strings.Contains(s, token) || strings.Contains(s, b64(token)) || strings.ContainsAny(s, "\r\n") {
					t.Errorf("%s, %s: %q", mechanism, status, s)
				}
			}
			if !slices.Equal(source.rejected, []string{token}) {
				t.Errorf("rejected %q", source.rejected)
			}
			if _, _, _, dials := f.seen(); dials != 1 {
				t.Errorf("%d connections for a token that was never accepted", dials)
			}
		}
	}
}

// A token that was accepted before may have expired or been revoked: another one is
// tried at once, and no message waits for it.
func TestTokenExpires(t *testing.T) {
	for _, mechanism := range bearers {
		p := newPeer(t, "mx.test")
		g := &guard{holds: []string{"first"}, status: `{"status":"invalid_token"}`}
		f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", "AUTH " + mechanism}, answer: g.answer}
		source := &tokens{all: []string{"first", "second"}}
		tr := f.start(t, byToken(p, mechanism, source), func(c *Config) { c.MaxMessages = 1 }) // a connection for each
		for i, holds := range []string{"first", "second", "none"} {
			g.mu.Lock()
			g.holds = []string{holds}
			g.mu.Unlock()
			want := "Accepted"
			if holds == "none" {
				want = "Deferred/Upstream"
			}
			if out := tr.Deliver(t.Context(), message(t, text)); conformance.Kinds(out) != want {
				t.Errorf("%s, %s: %v", mechanism, holds, out[0])
			}
			if _, _, _, dials := f.seen(); dials != []int{1, 3, 4}[i] {
				t.Errorf("%s, %s: %d connections", mechanism, holds, dials)
			}
		}
		if !slices.Equal(source.rejected, []string{"first", "second"}) {
			t.Errorf("rejected %q", source.rejected)
		}
	}
}

// A server that is busy says nothing of the token.
func TestBusyAtAUTH(t *testing.T) {
	p := newPeer(t, "mx.test")
	f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", "AUTH XOAUTH2"}, answer: func(line string) string {
		if strings.HasPrefix(line, "AUTH") {
			return "454 4.7.0 try later"
		}
		return ""
	}}
	source := &tokens{all: []string{"tok-of-mine"}}
	out := f.start(t, byToken(p, "XOAUTH2", source)).Deliver(t.Context(), message(t, text))
	if conformance.Kinds(out) != "Deferred/Upstream" || out[0].Code != 454 || source.rejected != nil {
		t.Errorf("%+v, rejected %v", out[0], source.rejected)
	}
}

// A connection on which the server wants a login again is replaced by one that has
// it; a first refusal is one.
func TestLoggedOut(t *testing.T) {
	for _, words := range []string{"530 5.7.57 client not authenticated", "535 5.7.3 token expired"} {
		p := newPeer(t, "mx.test")
		g := &guard{holds: []string{"tok"}}
		mails := 0
		f := &fake{tcp: true, tls: p.server, ext: []string{"PIPELINING", "STARTTLS", "AUTH XOAUTH2"}, answer: func(line string) string {
			if strings.HasPrefix(line, "MAIL") {
				if mails++; mails == 2 || mails > 3 {
					return words
				}
			}
			return g.answer(line)
		}}
		tr := f.start(t, byToken(p, "XOAUTH2", &tokens{all: []string{"tok"}}))
		for i, want := range []string{"Accepted", "Accepted", "Failed/Upstream"} {
			if out := tr.Deliver(t.Context(), message(t, text)); conformance.Kinds(out) != want {
				t.Errorf("%s, %d: %v", words, i, out[0])
			}
		}
	}
}

// Nobody but a server that is known gets a token, and no token is fetched for another.
func TestTokenStaysAtHome(t *testing.T) {
	for name, c := range map[string]struct {
		tls     plan.TLSMode
		ca      string
		offered string
		token   string
		err     error
		want    string
	}{
		"in clear":           {plan.TLSNone, "", "AUTH XOAUTH2", "tok", nil, "only inside TLS with a verified certificate"},
		"opportunistic":      {plan.TLSOpportunistic, "", "AUTH XOAUTH2", "tok", nil, "only inside TLS with a verified certificate"},
		"another authority":  {plan.TLSStartTLS, "", "AUTH XOAUTH2", "tok", nil, "TLS: "},
		"not offered":        {plan.TLSStartTLS, "ca", "AUTH PLAIN", "tok", nil, "it has PLAIN, we have XOAUTH2"},
		"too long":           {plan.TLSStartTLS, "ca", "AUTH XOAUTH2", strings.Repeat("t", 10_000), nil, "has 10000 octets"},
		"there is no token":  {plan.TLSStartTLS, "ca", "AUTH XOAUTH2", "", errors.New("no token: AADSTS7000222: expired"), "AUTH XOAUTH2: no token: AADSTS7000222: expired"},
		"user of a fake RFC": {plan.TLSStartTLS, "ca", "AUTH XOAUTH2", "tok", nil, "control character"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, "mx.test")
			f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", c.offered}, answer: func(line string) string {
				if strings.HasPrefix(line, "AUTH") {
					return "235 2.7.0 welcome"
				}
				return ""
			}}
			out := f.start(t, byToken(p, "XOAUTH2", &tokens{all: []string{c.token}, err: c.err}), func(k *Config) {
				k.SMTP.TLS, k.SMTP.CASecret = c.tls, c.ca
				if name == "user of a fake RFC" {
					k.SMTP.Auth.User = "a\x01auth=Bearer b"
				}
			}).Deliver(t.Context(), message(t, text))
			if conformance.Kinds(out) != "Deferred/Upstream" || !strings.Contains(out[0].Text, c.want) {
				t.Errorf("%s: %+v, want %q", name, out[0], c.want)
			}
			commands, _, _, _ := f.seen()
			if slices.ContainsFunc(commands, func(l string) bool { return strings.HasPrefix(l, "AUTH") }) {
				t.Errorf("%s: %q", name, commands)
			}
		})
	}
}

// The common suite by OAUTHBEARER, against a server that is not ours.
func TestConformanceByToken(t *testing.T) {
	const old, valid = "token-of-yesterday", "token-of-today"
	conformance.Run(t, conformance.Harness{
		Start: func(t *testing.T, f conformance.Fault) *conformance.Upstream {
			s := smtpfake.Start(t, f, smtpfake.Options{Login: bearerLogin(valid)})
			source := &tokens{all: []string{valid}}
			switch f {
			case conformance.WrongCredentials:
				source.all = []string{old}
			case conformance.ExpiresToken:
				source.all = []string{old, valid}
			}
			return s.Upstream(toServer(t, s, func(c *Config) {
				c.SMTP.Auth = &plan.SMTPAuth{Mechanism: "OAUTHBEARER", User: "relay", OAuth: &plan.OAuth{ClientID: "client"}}
				c.Tokens = source
			}))
		},
		Faults: []conformance.Fault{conformance.WrongCredentials, conformance.ExpiresToken, conformance.CutsLate, conformance.Downgrades},
		UTF8:   true,
		Secrets: []string{
			old, valid, b64(old), b64(valid),
			b64(fmt.Sprintf("n,a=relay,\x01host=mx.test\x01auth=Bearer %s\x01\x01", old)),
		},
	})
}

// bearerLogin takes the one token.
func bearerLogin(token string) *smtpfake.Login {
	return &smtpfake.Login{Mechanism: sasl.OAuthBearer, Server: func(port int, granted func(bool)) sasl.Server {
		return sasl.NewOAuthBearerServer(func(o sasl.OAuthBearerOptions) *sasl.OAuthBearerError {
			ok := o.Username == "relay" && o.Token == token && o.Host == "mx.test" && o.Port == port
			if granted(ok); !ok {
				return &sasl.OAuthBearerError{Status: "invalid_token " + o.Token, Schemes: "bearer"}
			}
			return nil
		})
	}}
}

// Who gives tokens may ask to wait.
func TestNoTokenForAWhile(t *testing.T) {
	p := newPeer(t, "mx.test")
	f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", "AUTH XOAUTH2"}}
	source := &tokens{err: fmt.Errorf("no token: %w", busy{errors.New("asked too often")})}
	tr := f.start(t, byToken(p, "XOAUTH2", source))
	if o := tr.Deliver(t.Context(), message(t, text))[0]; conformance.Kinds([]upstream.Outcome{o}) != "Deferred/Upstream" || o.RetryIn != 9*time.Second {
		t.Errorf("%+v", o)
	}
}

// busy says how long there is no token.
type busy struct{ error }

func (busy) Wait() time.Duration { return 9 * time.Second }
