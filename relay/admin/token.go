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
func Bearer(allowed func() (access.Access, error)) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			return "", errors.New("state and queue control need a bearer token: kubectl create token RELAY-queue --audience " + access.Audience)
		}
		a, err := allowed()
		if err != nil {
			return "", fmt.Errorf("nobody is let in: %w", err)
		}
		return verify(a, strings.TrimSpace(token), time.Now())
	}
}

// verify checks a token (RFC 7519 7.2), and gives whose it is: its subject, and its
// ID where it has one, which the API server's audit log has with who asked for it.
// Its errors name no part of the token but who it says it is for.
func verify(a access.Access, token string, now time.Time) (string, error) {
	if len(token) > maxToken {
		return "", errors.New("the token is too long")
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return "", errors.New("the token is no signed JWT of a ServiceAccount")
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(a.Keys, &keys); err != nil {
		return "", errors.New("the issuer keys in " + access.File + " cannot be read")
	}
	var claims jwt.Claims
	if err := parsed.Claims(&keys, &claims); err != nil {
		return "", errors.New("the token is signed by none of the cluster's issuer keys")
	}
	if claims.Expiry == nil {
		return "", errors.New("the token has no expiry: make one with kubectl create token")
	}
	err = claims.ValidateWithLeeway(jwt.Expected{Issuer: a.Issuer, AnyAudience: a.Audiences, Time: now}, leeway)
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return "", errors.New("the token has expired: make a new one")
	case errors.Is(err, jwt.ErrInvalidAudience):
		return "", errors.New("the token is for another audience: kubectl create token --audience " + access.Audience)
	case err != nil:
		return "", fmt.Errorf("the token is not valid: %w", err)
	}
	if !slices.Contains(a.Subjects, claims.Subject) {
		return "", fmt.Errorf("%q may not use this relay: one of %s may", claims.Subject, strings.Join(a.Subjects, ", "))
	}
	if claims.ID != "" {
		return claims.Subject + " token " + claims.ID, nil
	}
	return claims.Subject, nil
}
