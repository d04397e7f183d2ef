package admin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/printerrelay/printer-relay/relay/admin/access"
)

const queueAccount = "system:serviceaccount:mail:office-queue"

// issuer signs tokens as an API server does.
type issuer struct {
	signer jose.Signer
	access access.Access
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{signer, access.Access{
		Issuer: "https://kubernetes.default.svc", Keys: set,
		Subjects: []string{queueAccount}, Audiences: []string{access.Audience, access.AudienceOf("mail", "office")},
	}}
}

func (i *issuer) token(t *testing.T, change func(*jwt.Claims)) string {
	t.Helper()
	now := time.Now()
	c := jwt.Claims{
		Issuer: i.access.Issuer, ID: "7", Subject: queueAccount, Audience: jwt.Audience{access.Audience},
		Expiry: jwt.NewNumericDate(now.Add(time.Hour)), NotBefore: jwt.NewNumericDate(now), IssuedAt: jwt.NewNumericDate(now),
	}
	if change != nil {
		change(&c)
	}
	s, err := jwt.Signed(i.signer).Claims(c).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBearer(t *testing.T) {
	own, other := newIssuer(t), newIssuer(t)
	now := time.Now()
	none := "eyJhbGciOiJub25lIn0." + strings.Split(own.token(t, nil), ".")[1] + "."
	for name, tc := range map[string]struct{ header, want string }{
		"good":                    {"Bearer " + own.token(t, nil), ""},
		"lower case":              {"bearer " + own.token(t, nil), ""},
		"audience of this relay":  {"Bearer " + own.token(t, func(c *jwt.Claims) { c.Audience = jwt.Audience{"printer-relay:mail/office"} }), ""},
		"nothing":                 {"", "need a bearer token"},
		"basic":                   {"Basic eDp5", "need a bearer token"},
		"no token":                {"Bearer x.y.z", "no signed JWT"},
		"unsigned":                {"Bearer " + none, "no signed JWT"},
		"other issuer's key":      {"Bearer " + other.token(t, nil), "none of the cluster's issuer keys"},
		"other issuer":            {"Bearer " + own.token(t, func(c *jwt.Claims) { c.Issuer = "https://elsewhere" }), "not valid"},
		"expired":                 {"Bearer " + own.token(t, func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(now.Add(-time.Minute)) }), "has expired"},
		"for ever":                {"Bearer " + own.token(t, func(c *jwt.Claims) { c.Expiry = nil }), "no expiry"},
		"not yet":                 {"Bearer " + own.token(t, func(c *jwt.Claims) { c.NotBefore = jwt.NewNumericDate(now.Add(time.Hour)) }), "not valid"},
		"audience of the cluster": {"Bearer " + own.token(t, func(c *jwt.Claims) { c.Audience = jwt.Audience{"https://kubernetes.default.svc"} }), "another audience"},
		"another relay's":         {"Bearer " + own.token(t, func(c *jwt.Claims) { c.Audience = jwt.Audience{"printer-relay:mail/other"} }), "another audience"},
		"another account":         {"Bearer " + own.token(t, func(c *jwt.Claims) { c.Subject = "system:serviceaccount:mail:default" }), "may not use this relay"},
		"endless":                 {"Bearer " + strings.Repeat("x", maxToken+1), "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{"Authorization": {tc.header}}}
			who, err := Bearer(func() (access.Access, error) { return own.access, nil })(r)
			switch {
			case err == nil && who != queueAccount+" token 7":
				t.Errorf("it is %q", who)
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %q", err, tc.want)
			case err != nil && strings.Contains(err.Error(), "eyJ"):
				t.Errorf("the error holds a part of the token: %v", err)
			}
		})
	}
}

// Keys rotate, and what cannot be read lets nobody in.
func TestBearerAsksEachTime(t *testing.T) {
	a, b := newIssuer(t), newIssuer(t)
	now, fail := a.access, error(nil)
	check := Bearer(func() (access.Access, error) { return now, fail })
	r := &http.Request{Header: http.Header{"Authorization": {"Bearer " + b.token(t, nil)}}}
	if _, err := check(r); err == nil {
		t.Error("a token by a key that is not there yet passed")
	}
	now = b.access
	if _, err := check(r); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
	fail = errors.New("no file")
	if _, err := check(r); err == nil {
		t.Error("passed without a file to judge by")
	}
}
