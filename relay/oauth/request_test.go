package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // x5t
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/remedy"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/test/pki"
)

// newCertificate gives a certificate and its key, in PEM.
func newCertificate(t *testing.T, kind string, life time.Duration) (crt, key string) {
	t.Helper()
	var signer crypto.Signer
	var err error
	switch kind {
	case "rsa":
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	case "p256":
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := pki.Self(t, pki.Options{Key: signer, From: time.Now().Add(-48 * time.Hour), Until: time.Now().Add(life)}, "relay")
	return p.PEM(), p.KeyPEM()
}

func TestClientSecret(t *testing.T) {
	const other = "https://login.example/realms/a/token"
	for name, c := range map[string]struct {
		url, secret string
		takes       func(r request) bool
		form        bool // the secret ends in the form
		requests    int
	}{
		"Entra ID":             {entraURL, "a b&c", func(request) bool { return true }, true, 1},
		"header":               {other, "a b&c", func(r request) bool { return r.basic }, false, 1},
		"only the form":        {other, "a b&c", func(r request) bool { return !r.basic }, true, 2},
		"a line end behind it": {entraURL, "a b&c\n", func(request) bool { return true }, true, 1},
		"slash at the end":     {other + "/", "a b&c", func(r request) bool { return strings.HasSuffix(r.url, "/token/") }, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vault{}
			v.put("clientSecret", c.secret)
			srv := &server{}
			srv.answer = func(r request) (int, string) {
				if !c.takes(r) {
					return refuse(401, "invalid_client", "")(r)
				}
				return 0, ""
			}
			s := newSource(t, srv, v, func(c2 *Config) { c2.OAuth.TokenURL = c.url })
			for range 2 {
				if _, err := s.Token(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			r := srv.last()
			if r.Get("grant_type") != "client_credentials" || r.Get("scope") != "https://outlook.office365.com/.default" || srv.count() != c.requests {
				t.Errorf("%d requests: %v", srv.count(), r.Values)
			}
			got := r.Get("client_id") + "/" + r.Get("client_secret")
			if !c.form {
				got = r.user + "/" + r.password
			}
			if want := "client/a b&c"; got != want && got != "client/a+b%26c" { // x/oauth2 encodes it for the header (RFC 6749 2.3.1)
				t.Errorf("the client is %q, want %q", got, want)
			}
			// How the server took it is known from now on.
			s.Reject(fmt.Sprintf("token-%d", c.requests))
			if _, err := s.Token(t.Context()); err != nil || srv.count() != c.requests+1 {
				t.Errorf("%d requests, %v", srv.count(), err)
			}
		})
	}
}

func TestCertificate(t *testing.T) {
	for name, c := range map[string]struct {
		kind, url string
		want      jose.SignatureAlgorithm
	}{
		"Entra ID": {"rsa", entraURL, jose.PS256},
		"other":    {"rsa", "https://login.example/token", jose.RS256},
		"P-256":    {"p256", "https://login.example/token", jose.ES256},
	} {
		t.Run(name, func(t *testing.T) {
			crt, key := newCertificate(t, c.kind, 24*time.Hour)
			v := &vault{}
			v.put("tls.crt", crt, "tls.key", key, "clientSecret", "not used beside a certificate")
			srv := &server{}
			s := newSource(t, srv, v, func(c2 *Config) { c2.OAuth.TokenURL = c.url })
			mustToken(t, s, "token-1")
			r := srv.last()
			if r.Get("client_id") != "client" || r.Has("client_secret") || r.basic || r.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
				t.Errorf("%v", r.Values)
			}
			block, _ := pem.Decode([]byte(crt))
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			token, err := jwt.ParseSigned(r.Get("client_assertion"), []jose.SignatureAlgorithm{c.want})
			if err != nil {
				t.Fatal(err)
			}
			var claims jwt.Claims
			if err := token.Claims(cert.PublicKey, &claims); err != nil {
				t.Fatal(err)
			}
			if err := claims.Validate(jwt.Expected{Issuer: "client", Subject: "client", AnyAudience: jwt.Audience{c.url}, Time: time.Now()}); err != nil {
				t.Error(err)
			}
			life := claims.Expiry.Time().Sub(claims.IssuedAt.Time())
			if claims.ID == "" || life > 10*time.Minute || claims.NotBefore == nil {
				t.Errorf("claims %+v", claims)
			}
			sum256, sum1 := sha256.Sum256(block.Bytes), sha1.Sum(block.Bytes) //nolint:gosec // x5t
			h := token.Headers[0].ExtraHeaders
			if h["x5t#S256"] != base64.RawURLEncoding.EncodeToString(sum256[:]) || h["x5t"] != base64.RawURLEncoding.EncodeToString(sum1[:]) || h["typ"] != "JWT" {
				t.Errorf("header %v", h)
			}
			if g, err := s.Inspect(t.Context()); err != nil || !g.CredentialExpires.Equal(cert.NotAfter) {
				t.Errorf("%v, want the certificate's end %v: %v", g.CredentialExpires, cert.NotAfter, err)
			}
		})
	}
	t.Run("P-384", func(t *testing.T) {
		crt, key := newCertificate(t, "p384", time.Hour)
		v := &vault{}
		v.put("tls.crt", crt, "tls.key", key)
		if _, err := newSource(t, &server{}, v).Token(t.Context()); err == nil || !strings.Contains(err.Error(), "make one of RSA") {
			t.Error(err)
		}
	})
	t.Run("expired", func(t *testing.T) {
		crt, key := newCertificate(t, "rsa", -time.Hour)
		v := &vault{}
		v.put("tls.crt", crt, "tls.key", key)
		srv := &server{}
		if _, err := newSource(t, srv, v).Token(t.Context()); err == nil || !strings.Contains(err.Error(), "expired on") || srv.count() > 0 {
			t.Errorf("%v, %d requests", err, srv.count())
		}
	})
}

// The Pod's token is read at each request: the kubelet writes it anew.
func TestWorkloadIdentity(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	env := map[string]string{}
	federated := func(c *Config) {
		c.OAuth.Secret, c.OAuth.AuthorityOfPod = "", true
		c.Getenv = func(k string) string { return env[k] }
	}
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	srv := &server{}
	fails := func(want string) {
		t.Helper()
		if _, err := newSource(t, srv, &vault{}, federated).Token(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	fails("there is no AZURE_FEDERATED_TOKEN_FILE")
	env["AZURE_FEDERATED_TOKEN_FILE"] = file
	fails("no such file")
	write("\n")
	fails("is empty")
	env["AZURE_AUTHORITY_HOST"] = "https://login.microsoftonline.us/"
	write("first\n")
	fails("set microsoft365.authorityHost")
	if srv.count() > 0 {
		t.Fatalf("%d requests", srv.count())
	}

	env["AZURE_AUTHORITY_HOST"] = "https://login.windows.net/"
	s := newSource(t, srv, &vault{}, federated)
	mustToken(t, s, "token-1")
	if r := srv.last(); r.Get("client_assertion") != "first" || r.url != "https://login.windows.net/t/oauth2/v2.0/token" || r.Get("client_id") != "client" {
		t.Errorf("%s %v", r.url, r.Values)
	}
	write("second")
	s.Reject("token-1")
	mustToken(t, s, "token-2")
	if got := srv.last().Get("client_assertion"); got != "second" {
		t.Errorf("the assertion is %q", got)
	}

	// The manifest names an authority: the environment counts for nothing.
	s = newSource(t, srv, &vault{}, federated, func(c *Config) { c.OAuth.AuthorityOfPod = false })
	mustToken(t, s, "token-3")
	if got := srv.last().url; got != entraURL {
		t.Errorf("asked at %s", got)
	}
}

// Each refusal has the server's code and words, which relay/remedy knows, and no word
// gives away the secret, although servers repeat it.
func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		code, said string
		want       string // all of the words
		wantCode   string
		cause      string // that relay/remedy gives
	}{
		"wrong secret":       {401, "invalid_client", "AADSTS7000215: Invalid client secret provided. Trace ID: x", "AADSTS7000215: Invalid client secret provided.", "AADSTS7000215", "the client secret is wrong"},
		"expired secret":     {401, "invalid_client", "AADSTS7000222: The provided client secret keys for app 'client' are expired.", "AADSTS7000222: The provided client secret keys for app 'client' are expired.", "AADSTS7000222", "the client secret has expired"},
		"unknown app":        {400, "unauthorized_client", "AADSTS700016: Application with identifier 'client' was not found in the directory 'T'.\r\nTrace ID: 1\r\n", "AADSTS700016: Application with identifier 'client' was not found in the directory 'T'.", "AADSTS700016", "the tenant knows no such app"},
		"wrong scope":        {400, "invalid_scope", "AADSTS70011: The provided value for the input parameter 'scope' is not valid.", "AADSTS70011: The provided value for the input parameter 'scope' is not valid.", "AADSTS70011", "the scope is wrong for client credentials"},
		"a code of tomorrow": {400, "invalid_request", "AADSTS999999: Something " + canary + "\r\nTrace ID: 1", "AADSTS999999: Something ***", "AADSTS999999", "the authorization server gives no token"},
		"a code inside":      {400, "invalid_request", "See AADSTS999998.", "AADSTS999998: See AADSTS999998.", "AADSTS999998", "the authorization server gives no token"},
		"RFC 6749":           {401, "invalid_client", "", "invalid_client", "invalid_client", "the authorization server does not take the client and its credential"},
		"with words":         {401, "invalid_client", "Invalid client credentials", "invalid_client: Invalid client credentials", "invalid_client", "the authorization server does not take the client and its credential"},
		"client":             {400, "unauthorized_client", "", "unauthorized_client", "unauthorized_client", "the client may not use the client-credentials grant"},
		"scope":              {400, "invalid_scope", "", "invalid_scope", "invalid_scope", "the authorization server does not give the scope"},
		"a code of many":     {400, "bad\r\n" + canary + strings.Repeat("x", 99), "", "bad", "bad", "the authorization server gives no token"},
		"the secret as code": {400, canary, "", "***", "***", "the authorization server gives no token"},
		"the secret, cut":    {400, "x", strings.Repeat("y", maxSaid-10) + canary, "x: " + strings.Repeat("y", maxSaid-10) + "***", "x", "the authorization server gives no token"},
		"many words":         {400, "x", strings.Repeat("y", 9999), "x: " + strings.Repeat("y", maxSaid), "x", "the authorization server gives no token"},
		"redirect":           {302, "", "", "the authorization server answered with a redirect, which is not followed", "", "no token is given at the token URL"},
		"not found":          {404, "", "", "the authorization server knows no such URL (HTTP 404)", "", "no token is given at the token URL"},
		"no reason":          {403, "", "", "the authorization server refused with HTTP 403 and did not say why", "", "the authorization server gives no token, and does not say why"},
		"its own trouble":    {502, "", "", "the authorization server has trouble of its own (HTTP 502): it is asked again later", "", "the authorization server has trouble of its own"},
		"too often":          {429, "", "", "the authorization server was asked too often: it is asked again later", "", "the authorization server gives no more tokens for a while"},
		"error with 200":     {200, "access_denied", "no", "access_denied: no", "access_denied", "the authorization server gives no token"},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vault{}
			v.put("clientSecret", canary)
			srv := &server{answer: refuse(c.status, c.code, c.said)}
			_, err := newSource(t, srv, v).Token(t.Context())
			e, ok := err.(*Error) //nolint:errorlint // as it is
			if !ok || err.Error() != "no token: "+c.want || e.Code != c.wantCode || e.Status != c.status {
				t.Fatalf("%+v, want %q", err, c.want)
			}
			for _, kind := range []string{"", "SMTP", "Microsoft365"} {
				if a, _ := remedy.Find(remedy.Failure{Type: kind, Text: "AUTH XOAUTH2: " + err.Error()}); a.Cause != c.cause {
					t.Errorf("type %q: the cause is %q, want %q", kind, a.Cause, c.cause)
				}
			}
		})
	}
}

// A server that repeats what it got may do so as it stood in the form.
func TestEncodedSecret(t *testing.T) {
	const secret = "a b&c/d+e"
	v := &vault{}
	v.put("clientSecret", secret)
	srv := &server{answer: refuse(401, "invalid_client", "got "+url.QueryEscape(secret)+", "+url.PathEscape(secret)+" and "+secret)}
	if _, err := newSource(t, srv, v).Token(t.Context()); err == nil || err.Error() != "no token: invalid_client: got ***, *** and ***" {
		t.Error(err)
	}
}

// A token lives as long as the server tells, and no longer than the token itself
// says; a little less, so that it arrives before its end.
func TestLife(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("k", 32))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ told, says, want time.Duration }{
		{time.Hour, 0, time.Hour - 30*time.Second},
		{time.Minute, 0, 54 * time.Second},
		{time.Hour, 20 * time.Minute, 20*time.Minute - 30*time.Second},
		{20 * time.Minute, time.Hour, 20*time.Minute - 30*time.Second},
		{time.Hour, -time.Minute, time.Hour - 30*time.Second}, // a clock that is wrong: the server counts
		{0, 0, unknownLife - 30*time.Second},
		{30 * 24 * time.Hour, 0, maxLife - 30*time.Second},
	} {
		token := &oauth2.Token{AccessToken: "opaque"}
		if c.told > 0 {
			token.Expiry = now.Add(c.told)
		}
		if c.says != 0 {
			if token.AccessToken, err = jwt.Signed(signer).Claims(jwt.Claims{Expiry: jwt.NewNumericDate(now.Add(c.says))}).Serialize(); err != nil {
				t.Fatal(err)
			}
		}
		if got := life(token, now); got != c.want {
			t.Errorf("told %s, says %s: %s, want %s", c.told, c.says, got, c.want)
		}
	}
}

// What is no token is none.
func TestStrangeAnswers(t *testing.T) {
	for body, want := range map[string]string{
		`<html>`:                      "no token: ",
		`{}`:                          "access_token",
		`{"access_token":"a b"}`:      "holds what no token may",
		`{"access_token":"a\u0001b"}`: "holds what no token may",
		`{"access_token":"é"}`:        "holds what no token may",
		`{"access_token":"x","token_type":"mac"}`: "no bearer token",
	} {
		v := &vault{}
		v.put("clientSecret", canary)
		srv := &server{answer: func(request) (int, string) { return 200, body }}
		if got, err := newSource(t, srv, v).Token(t.Context()); err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\x01\n") {
			t.Errorf("%s: %q, %v; want %q", body, got, err, want)
		}
	}
}

// By sockets: where the server is, what it sends, and how much of it.
func TestNetwork(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"x","token_type":"Bearer","expires_in":60}`)
	})
	mux.HandleFunc("/slash/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slash/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"x"}`)
	})
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/token", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"x":"`+strings.Repeat("x", 1<<20)+`","access_token":"x"}`)
	})
	plain, secure := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	defer plain.Close()
	defer secure.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	for _, c := range []struct {
		url     string
		private bool
		ca      string // Secret
		want    string // of the error; empty: there is a token
	}{
		{plain.URL + "/token", true, "", ""},
		{plain.URL + "/slash/", true, "", ""},
		{plain.URL + "/token", false, "", "set allowPrivateHosts"},
		{plain.URL + "/elsewhere", true, "", "a redirect, which is not followed"},
		{plain.URL + "/huge", true, "", "no token: "},
		{plain.URL + "/none", true, "", "no such URL (HTTP 404)"},
		{secure.URL + "/token", true, "ca", ""},
		{secure.URL + "/token", true, "", "TLS: "},
		{secure.URL + "/token", true, "junk", `secret "junk": ca.crt holds no certificate`},
		{secure.URL + "/token", true, "gone", `secret "gone": not found`},
		{"http://192.0.2.1/token", true, "", "use https"}, // a public address is not even dialled
	} {
		s := newSource(t, nil, nil, func(k *Config) {
			k.Transport, k.Private, k.OAuth.CASecret, k.OAuth.TokenURL = nil, c.private, c.ca, c.url
			k.Secrets = func() secrets.Source {
				return secrets.Map{"app": {"clientSecret": []byte(canary)}, "ca": {"ca.crt": ca}, "junk": {"ca.crt": []byte("junk")}}
			}
		})
		got, err := s.Token(t.Context())
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || err == nil && got != "x" {
			t.Errorf("%s: %q, %v; want %q", c.url, got, err, c.want)
		}
	}
	if _, err := New(Config{OAuth: plan.OAuth{TokenURL: "login.example"}}); err == nil {
		t.Error("a token URL that is none")
	}
}

func TestClaims(t *testing.T) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("k", 32))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"aud": "https://outlook.office365.com", "appid": "client", "tid": "tenant", "roles": []string{"SMTP.SendAsApp", "Mail.Send"}, "exp": 2_000_000_000,
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	c := DecodeClaims(token)
	if !slices.Equal(c.Roles, []string{"SMTP.SendAsApp", "Mail.Send"}) || c.AppID != "client" || c.Tenant != "tenant" ||
		c.Audience != "https://outlook.office365.com" || c.Expires.Unix() != 2_000_000_000 {
		t.Errorf("%+v", c)
	}
	for _, s := range []string{"", "opaque", "a.b.c", token[:len(token)/2], "e30.e30.e30"} {
		if c := DecodeClaims(s); c.AppID != "" || c.Roles != nil {
			t.Errorf("%q: %+v", s, c)
		}
	}
}
