package oauth

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// answer is what the authorization server gave.
type answer struct {
	token    string
	life     time.Duration
	inParams bool // how it took the secret
}

// assertionType says that client_assertion is a JWT (RFC 7523 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// request asks for a token. A secret goes into a field of the header, as every
// server has to take it (RFC 6749 2.3.1), or into the form where it does not.
func (s *Source) request(ctx context.Context, cred *credential, inParams bool) (answer, error) {
	o := &s.c.OAuth
	tokenURL, err := s.tokenURL()
	if err != nil {
		return answer{}, err
	}
	entra := plan.CloudOf(tokenURL) != nil || o.Entra
	c := clientcredentials.Config{ClientID: o.ClientID, TokenURL: tokenURL, Scopes: o.Scopes, AuthStyle: oauth2.AuthStyleInParams}
	hidden := cred.secret
	switch {
	case cred.federated:
		if hidden, err = s.projected(); err != nil {
			return answer{}, err
		}
	case cred.key != nil:
		now := time.Now()
		if err := cred.outdated(o.Secret, now); err != nil {
			return answer{}, err
		}
		if hidden, err = cred.assertion(o.ClientID, tokenURL, entra, now); err != nil {
			return answer{}, &Error{words: fmt.Sprintf("secret %q: nothing can be signed with tls.key: use an RSA key of 2048 bits or more", o.Secret)}
		}
	default:
		c.ClientSecret = cred.secret
		if inParams = inParams || entra; !inParams {
			c.AuthStyle = oauth2.AuthStyleInHeader
		}
	}
	if cred.secret == "" {
		c.EndpointParams = url.Values{"client_assertion_type": {assertionType}, "client_assertion": {hidden}}
	}
	a, err := s.ask(ctx, &c)
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && c.AuthStyle == oauth2.AuthStyleInHeader && maybeStyle(refused) {
		c.AuthStyle, inParams = oauth2.AuthStyleInParams, true
		a, err = s.ask(ctx, &c)
	}
	if err != nil {
		return answer{}, explain(err, hidden)
	}
	a.inParams = inParams
	return a, nil
}

// maybeStyle tells whether a server may have refused a secret for the place that it
// stood in.
func maybeStyle(e *oauth2.RetrieveError) bool {
	return e.ErrorCode == "invalid_client" || e.ErrorCode == "invalid_request" || e.Response.StatusCode == http.StatusUnauthorized
}

// tokenURL is the plan's. Where the manifest names no authority, the one of the
// Pod's environment counts; a whole other cloud has to be named in the manifest,
// since mail server and scope are others there too.
func (s *Source) tokenURL() (string, error) {
	o := &s.c.OAuth
	if !o.AuthorityOfPod {
		return o.TokenURL, nil
	}
	env := strings.TrimRight(s.c.Getenv(envAuthority), "/")
	if env == "" {
		return o.TokenURL, nil
	}
	if cloud := plan.CloudOf(env); cloud != nil && cloud != plan.CloudOf(o.TokenURL) {
		return "", &Error{words: fmt.Sprintf("the Pod's %s is %s, another cloud than the upstream's: set microsoft365.authorityHost to it, or to https://login.microsoftonline.com", envAuthority, env)}
	}
	u, err := url.Parse(o.TokenURL)
	if err != nil {
		return "", err
	}
	return env + u.Path, nil
}

// roots are the authorities to trust, read anew each time; nil: the system's.
func (s *Source) roots() (*x509.CertPool, error) {
	name := s.c.OAuth.CASecret
	if name == "" {
		return nil, nil //nolint:nilnil // as crypto/tls has it
	}
	ca, err := secrets.Key(s.c.Secrets(), name, "ca.crt")
	if err != nil {
		return nil, &Error{words: err.Error(), cause: err}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(ca)) {
		return nil, &Error{words: fmt.Sprintf("secret %q: ca.crt holds no certificate in PEM form", name)}
	}
	return pool, nil
}

// client is for one request: they are an hour apart.
func (s *Source) client(tokenURL string, roots *x509.CertPool) (*http.Client, error) {
	if s.c.Transport != nil {
		return &http.Client{Transport: s.c.Transport}, nil
	}
	c, err := httpapi.New(httpapi.Config{
		Endpoint: tokenURL, Private: s.c.Private, RootCAs: roots,
		Timeouts: httpapi.Timeouts{Connect: 10 * time.Second, Stall: 10 * time.Second, Answer: 20 * time.Second},
	})
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport: bounded{c, strings.HasSuffix(tokenURL, "/")},
		// A redirect would carry the credential to whom it names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// bounded makes the requests of package oauth2 by the client of our own: by the
// upstream's rules for addresses, within time limits and bounds.
type bounded struct {
	c     *httpapi.Client
	slash bool // the URL ends with one, which some servers insist on
}

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body) // a form, in memory already
	req.Body.Close()                  //nolint:errcheck // read-only
	if err != nil {
		return nil, err
	}
	q := &httpapi.Request{Header: req.Header, Length: int64(len(body)), Body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }}
	if b.slash {
		q.Path = "/"
	}
	defer b.c.Close() //nolint:errcheck // drops the connection
	r, err := b.c.Do(req.Context(), q)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: r.Status, Header: r.Header, Body: io.NopCloser(bytes.NewReader(r.Body)), Request: req}, nil
}

// ask makes one request.
func (s *Source) ask(ctx context.Context, c *clientcredentials.Config) (answer, error) {
	roots, err := s.roots()
	if err != nil {
		return answer{}, err
	}
	client, err := s.client(c.TokenURL, roots)
	if err != nil {
		return answer{}, err
	}
	t, err := c.Token(context.WithValue(ctx, oauth2.HTTPClient, client))
	if err != nil {
		return answer{}, err
	}
	if !strings.EqualFold(t.Type(), "Bearer") {
		return answer{}, errors.New("the authorization server gave a token that is no bearer token")
	}
	if !sendable(t.AccessToken) {
		return answer{}, errors.New("the authorization server gave a token that holds what no token may (RFC 6750 2.1)")
	}
	return answer{token: t.AccessToken, life: life(t, time.Now())}, nil
}

// sendable tells whether a token is of the form of RFC 6750 2.1, so that it cannot
// break out of a header field or a SASL message.
func sendable(token string) bool {
	for _, c := range []byte(token) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return token != ""
}

// life of a token: as the server tells, and no longer than the token itself says.
func life(t *oauth2.Token, now time.Time) time.Duration {
	d := unknownLife
	if !t.Expiry.IsZero() {
		d = t.Expiry.Sub(now)
	}
	if exp := DecodeClaims(t.AccessToken).Expires; !exp.IsZero() && exp.After(now) {
		d = min(d, exp.Sub(now))
	}
	d = min(d, maxLife)
	return d - min(d/10, 30*time.Second) // it is to arrive before it expires
}
