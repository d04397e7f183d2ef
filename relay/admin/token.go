package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/printerrelay/printer-relay/relay/admin/access"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// algorithms are those that a cluster signs ServiceAccount tokens with. None
// is symmetric: the keys are public.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512}

// leeway between the clocks of the API server and of this machine.
const leeway = 30 * time.Second

// maxToken bounds a bearer token, in octets.
const maxToken = 8 << 10

// Bearer admits callers with a token that allowed accepts, at the time of the
// call: keys rotate. It asks nobody: the relay faces the copiers' network and has
// no way to the API server.
func Bearer(allowed func() (access.Access, error)) func(*http.Request) error {
	return func(r *http.Request) error {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			return errors.New("state and queue control need a bearer token: kubectl create token RELAY-queue --audience " + access.Audience)
		}
		a, err := allowed()
		if err != nil {
			return fmt.Errorf("nobody is let in: %w", err)
		}
		return verify(a, strings.TrimSpace(token), time.Now())
	}
}

// subjectOf is whom a request's token names; empty: nobody. It verifies nothing:
// Authorize did.
func subjectOf(r *http.Request) string {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if len(token) > maxToken {
		return ""
	}
	parsed, err := jwt.ParseSigned(strings.TrimSpace(token), algorithms)
	if err != nil {
		return ""
	}
	var claims jwt.Claims
	if parsed.UnsafeClaimsWithoutVerification(&claims) != nil {
		return ""
	}
	return reply.Line(claims.Subject, 200)
}

// verify checks a token (RFC 7519 7.2). Its errors name no part of the token
// but who it says it is for.
func verify(a access.Access, token string, now time.Time) error {
	if len(token) > maxToken {
		return errors.New("the token is too long")
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return errors.New("the token is no signed JWT of a ServiceAccount")
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(a.Keys, &keys); err != nil {
		return errors.New("the issuer keys in " + access.File + " cannot be read")
	}
	var claims jwt.Claims
	if err := parsed.Claims(&keys, &claims); err != nil {
		return errors.New("the token is signed by none of the cluster's issuer keys")
	}
	if claims.Expiry == nil {
		return errors.New("the token has no expiry: make one with kubectl create token")
	}
	err = claims.ValidateWithLeeway(jwt.Expected{Issuer: a.Issuer, AnyAudience: a.Audiences, Time: now}, leeway)
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return errors.New("the token has expired: make a new one")
	case errors.Is(err, jwt.ErrInvalidAudience):
		return errors.New("the token is for another audience: kubectl create token --audience " + access.Audience)
	case err != nil:
		return fmt.Errorf("the token is not valid: %w", err)
	}
	if !slices.Contains(a.Subjects, claims.Subject) {
		return fmt.Errorf("%q may not use this relay: one of %s may", claims.Subject, strings.Join(a.Subjects, ", "))
	}
	return nil
}
