package interop

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/pki"
	"github.com/printerrelay/printer-relay/test/postfix"
)

// authority is npm's oauth2-mock-server, run by oauth/server.js.
type authority struct {
	*env.Process
	file string
	url  string
}

// The client and its mailbox.
const (
	clientID = "66666666-7777-8888-9999-000000000000"
	tenant   = "11111111-2222-3333-4444-555555555555"
	mailbox  = "scans@corp.example"
	secret1  = "s3cret-0ne ~&+"
	secret2  = "s3cret-tw0 ~&+"
)

func startAuthority(t *testing.T, set map[string]any) *authority {
	t.Helper()
	dir := filepath.Join(env.Root(t), "test/interop/oauth")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatalf("oauth2-mock-server is not installed, and this test runs it: run `make test-deps`: %v", err)
	}
	a := &authority{file: filepath.Join(t.TempDir(), "settings.json")}
	a.set(t, set)
	a.Process = env.Start(t, dir, "node", filepath.Join(dir, "server.js"), a.file)
	var port []string
	env.Eventually(t, "the authorization server listens", a.Output, func() bool {
		port = regexp.MustCompile(`listening on (\d+)\n`).FindStringSubmatch(a.Output())
		return port != nil || !a.Running()
	})
	if port == nil {
		t.Fatalf("the authorization server does not start:\n%s", a.Output())
	}
	a.url = "http://127.0.0.1:" + port[1]
	return a
}

// set changes what the server takes; it is in effect at once.
func (a *authority) set(t *testing.T, set map[string]any) {
	t.Helper()
	all := map[string]any{"clientID": clientID, "claims": map[string]any{"sub": clientID, "email": mailbox, "roles": []string{"SMTP.SendAsApp"}}}
	for k, v := range set {
		all[k] = v
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(a.file+".new", a.file); err != nil {
		t.Fatal(err)
	}
}

func (a *authority) request(t *testing.T, method, path string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r, err := (&http.Client{Timeout: env.Wait}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %v\n%s", method, path, r.Status, err, a.Output())
	}
	return b
}

// keys gives the server's public keys as Dovecot reads them.
func (a *authority) keys(t *testing.T) map[string]string {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(a.request(t, http.MethodGet, "/jwks"), &set); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, k := range set.Keys {
		der, err := x509.MarshalPKIXPublicKey(k.Key)
		if err != nil {
			t.Fatal(err)
		}
		out[k.KeyID] = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	if len(out) == 0 {
		t.Fatal("the authorization server has no key")
	}
	return out
}

// rotate gives the server another key, which Dovecot alone then trusts: all tokens of
// before are worth nothing.
func (a *authority) rotate(t *testing.T, mx *postfix.Server) {
	t.Helper()
	a.request(t, http.MethodPost, "/rotate")
	mx.TrustKeys(t, a.keys(t))
}

func (a *authority) issued(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(string(a.request(t, http.MethodGet, "/issued")))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// tokenMX is a Postfix that takes mail from whoever has a token of a.
func tokenMX(t *testing.T, a *authority) *postfix.Server {
	t.Helper()
	mx := postfix.Start(t, postfix.Options{RequireAuth: true, Tokens: true})
	mx.TrustKeys(t, a.keys(t))
	return mx
}

func tokenUpstream(name, mechanism string, mx *postfix.Server, a *authority) string {
	return fmt.Sprintf(upstreamHead, name, mx.Port, "{mode: StartTLS, serverName: mx.example.test, caSecretRef: {name: ca}}") +
		fmt.Sprintf("    authentication: {mechanism: %s, secretRef: {name: app}, oauth2: {tokenURL: \"%s/%s/oauth2/v2.0/token\", clientID: %s, scopes: [\"https://mail.example/.default\"]}}\n",
			mechanism, a.url, tenant, clientID)
}

// Both mechanisms, by a client secret: Dovecot verifies the tokens by itself.
func TestOAuth(t *testing.T) {
	t.Parallel()
	a := startAuthority(t, map[string]any{"secret": secret1})
	mx := tokenMX(t, a)
	r := startRelay(t, head+"  upstreamRef: {name: xoauth2}\n  routes:\n  - {name: b, recipientDomains: [bearer.example], upstreamRef: {name: bearer}}\n"+
		tokenUpstream("xoauth2", "XOAuth2", mx, a)+tokenUpstream("bearer", "OAuthBearer", mx, a)+
		secret("ca", "ca.crt", mx.CA.PEM)+secret("app", "username", mailbox, "clientSecret", secret1), "CLEAR")
	s := newScan(t, 200_000)
	swaksTo(t, r, s, "it@corp.example,it@bearer.example")
	for _, to := range []string{"it@corp.example", "it@bearer.example"} {
		m := mx.MailFor(t, to)
		s.arrived(t, m, "ESMTP")
		if !received(m, "with ESMTPSA id ") || !strings.Contains(m.Header.Get("Received"), "Authenticated sender: "+mailbox) {
			t.Errorf("%s: not logged in: %q", to, m.Header["Received"])
		}
	}
	if n := a.issued(t); n != 2 { // one for each upstream
		t.Errorf("%d tokens were issued, want 2", n)
	}
}

// Microsoft 365 as its type makes it, at an authority and a mail server of the test's
// own: with a certificate (RFC 7523), and with the Pod's token.
func TestMicrosoft365SMTP(t *testing.T) {
	t.Parallel()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	client := pki.Self(t, pki.Options{Key: private}, "relay")
	crt, key := client.PEM(), client.KeyPEM()
	pod := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(pod, []byte("token-of-the-pod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		credentials, manifest string
		settings              map[string]any
	}{
		"certificate": {"{type: Secret, secretRef: {name: app}}", secret("app", "tls.crt", crt, "tls.key", key), map[string]any{"certificate": crt}},
		"pod":         {"{type: WorkloadIdentity}", "", map[string]any{"federated": "token-of-the-pod"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startAuthority(t, c.settings)
			mx := tokenMX(t, a)
			manifests := head + "  upstreamRef: {name: m365}\n" + fmt.Sprintf(`---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: m365}
spec:
  type: Microsoft365
  allowPrivateHosts: true
  microsoft365:
    tenantID: %s
    clientID: %s
    mailbox: %s
    authorityHost: %s
    endpoint: smtp://127.0.0.1:%d
    credentials: %s
`, tenant, clientID, mailbox, a.url, mx.Port, c.credentials) + c.manifest
			ca := filepath.Join(t.TempDir(), "ca.crt")
			if err := os.WriteFile(ca, []byte(mx.CA.PEM), 0o600); err != nil {
				t.Fatal(err)
			}
			r := startRelayIn(t, []string{"SSL_CERT_FILE=" + ca, "AZURE_FEDERATED_TOKEN_FILE=" + pod}, manifests, "CLEAR")
			s := newScan(t, 50_000)
			swaksTo(t, r, s, "it@corp.example")
			m := mx.MailFor(t, "it@corp.example")
			s.arrived(t, m, "ESMTP")
			if !strings.Contains(m.Header.Get("Received"), "Authenticated sender: "+mailbox) {
				t.Errorf("not logged in as the mailbox: %q", m.Header["Received"])
			}
		})
	}
}

// The authorization server changes its key in the middle of the day: tokens that are
// still young are worth nothing, and the next scan goes all the same.
func TestTokenRevoked(t *testing.T) {
	t.Parallel()
	a := startAuthority(t, map[string]any{"secret": secret1})
	mx := tokenMX(t, a)
	r := startRelay(t, head+"  upstreamRef: {name: out}\n"+tokenUpstream("out", "XOAuth2", mx, a)+
		secret("ca", "ca.crt", mx.CA.PEM)+secret("app", "username", mailbox, "clientSecret", secret1), "CLEAR")
	s := newScan(t, 50_000)
	swaksTo(t, r, s, "first@corp.example")
	s.arrived(t, mx.MailFor(t, "first@corp.example"), "ESMTP")
	a.rotate(t, mx)
	swaksTo(t, r, s, "second@corp.example")
	s.arrived(t, mx.MailFor(t, "second@corp.example"), "ESMTP")
	if n := a.issued(t); n != 2 {
		t.Errorf("%d tokens were issued, want 2", n)
	}
	if log := mx.Log(); !strings.Contains(log, "oauth2 failed") { // the old token was tried, and Dovecot refused it
		t.Errorf("Dovecot refused nothing:\n%s", log)
	}
	if strings.Contains(r.Output(), "outcome=Deferred") {
		t.Errorf("the scan had to wait for another attempt:\n%s", r.Output())
	}
}

// A wrong client secret holds the mail and says what to do; the right one, written into
// the Secret, lets it go, without a restart. No word and no file shows a secret or a
// token.
func TestClientSecretIsRotated(t *testing.T) {
	t.Parallel()
	a := startAuthority(t, map[string]any{"secret": secret2})
	mx := tokenMX(t, a)
	manifests := head + "  upstreamRef: {name: out}\n" + tokenUpstream("out", "OAuthBearer", mx, a) + secret("ca", "ca.crt", mx.CA.PEM)
	r := startRelay(t, manifests+secret("app", "username", mailbox, "clientSecret", secret1), "CLEAR")
	s := newScan(t, 50_000)
	swaksTo(t, r, s, "it@corp.example")
	env.Eventually(t, "the reason is in the log", r.Output, func() bool {
		return strings.Contains(r.Output(), "outcome=Deferred") && strings.Contains(r.Output(), "no token: AADSTS7000215: Invalid client secret provided: ***") &&
			strings.Contains(r.Output(), `remedy="the client secret is wrong; what to do: put the secret's Value, not its ID,`)
	})
	text := manifests
	for name, port := range r.ports {
		text = strings.ReplaceAll(text, "{{"+name+"}}", fmt.Sprint(port))
	}
	env.WriteFile(t, filepath.Join(r.dir, "manifests", "relay.yaml"), text+secret("app", "username", mailbox, "clientSecret", secret2))
	s.arrived(t, mx.MailFor(t, "it@corp.example"), "ESMTP")
	for _, canary := range []string{secret1, secret2, "eyJ"} {
		if strings.Contains(r.Output(), canary) {
			t.Errorf("%q is in the log:\n%s", canary, r.Output())
		}
	}
}
