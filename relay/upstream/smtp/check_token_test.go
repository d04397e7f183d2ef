package smtp

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/oauth"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// granted is a source of tokens that tells of them.
type granted struct {
	tokens
	grant oauth.Grant
	wrong error // why the credential of now gets none
}

func (s *granted) Inspect(context.Context) (oauth.Grant, error) { return s.grant, s.wrong }

// away is an error of who gives tokens that says nothing of the credential.
type away struct{ error }

func (away) Temporary() bool { return true }

func TestCheckOfTokens(t *testing.T) {
	end := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	exchange := oauth.Claims{Audience: "https://outlook.office365.com", Roles: []string{"SMTP.SendAsApp"}}
	roles := func(r ...string) oauth.Grant {
		g := oauth.Grant{Claims: exchange, CredentialExpires: end}
		g.Roles = r
		return g
	}
	for _, c := range []struct {
		name        string
		takes       bool // the server takes the token
		grant       oauth.Grant
		noToken     error // for anybody
		wrong       error // for the credential of now
		credentials upstream.Verdict
		words, warn string
	}{
		{name: "all is well", takes: true, grant: roles("SMTP.SendAsApp"), credentials: upstream.Good},
		{name: "by Exchange's own roles", takes: true, grant: roles(), credentials: upstream.Good},
		{name: "it may do more", takes: true, grant: roles("Mail.ReadWrite", "SMTP.SendAsApp"), credentials: upstream.Good, warn: "take away Mail.ReadWrite"},
		{name: "no role", grant: roles(), credentials: upstream.Bad, words: "no role SMTP.SendAsApp"},
		{name: "another's token", grant: oauth.Grant{}, credentials: upstream.Bad, words: "535"},
		{name: "the new secret is wrong", takes: true, wrong: errors.New("no token: AADSTS7000215"), credentials: upstream.Bad, words: "AADSTS7000215"},
		{name: "no secret is right", noToken: errors.New("no token: AADSTS7000222"), wrong: errors.New("no token: AADSTS7000222"), credentials: upstream.Bad, words: "AADSTS7000222"},
		{name: "nobody gives tokens now", noToken: away{errors.New("no token: timeout")}, wrong: away{errors.New("no token: timeout")}, words: "timeout"},
		{name: "a warning", takes: true, grant: oauth.Grant{Warning: "the token cannot be renewed"}, credentials: upstream.Good, warn: "cannot be renewed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, "mx.test")
			g := &guard{holds: []string{"right-token"}}
			f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", "AUTH XOAUTH2"}, answer: g.answer}
			source := &granted{tokens: tokens{all: []string{"wrong-token"}, err: c.noToken}, grant: c.grant, wrong: c.wrong}
			if c.takes {
				source.all[0] = "right-token"
			}
			h := f.start(t, byToken(p, "XOAUTH2", &source.tokens), func(o *Config) { o.Tokens = source }).Check(t.Context())
			if h.Reachable != upstream.Good || h.Credentials != c.credentials || !strings.Contains(h.Text, c.words) || c.words == "" && h.Text != "" {
				t.Errorf("%+v, want %v and %q", h, c.credentials, c.words)
			}
			if got := strings.Join(h.Warnings, "; "); !strings.Contains(got, c.warn) || c.warn == "" && got != "" && !strings.Contains(got, "certificate expires") {
				t.Errorf("warnings %q, want %q", got, c.warn)
			}
			if !h.Expires.Equal(c.grant.CredentialExpires) {
				t.Errorf("expires %s", h.Expires)
			}
			if strings.Contains(h.Text, "wrong-token") {
				t.Errorf("the token is in %q", h.Text)
			}
		})
	}
}
