package interop

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
)

// exchange stands in for Microsoft Graph: it takes tokens that the authorization
// server has signed with the key of the day, and mail as the mailbox alone. Who
// receives is what the header says.
type exchange struct {
	a *authority

	mu       sync.Mutex
	mail     []postfix.Message
	to       [][]string
	refused  int // tokens
	noDrafts int
}

func startExchange(t *testing.T, a *authority) (e *exchange, url string) {
	t.Helper()
	e = &exchange{a: a}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, code := e.serve(t, r)
		w.Header().Set("request-id", "0000-1")
		w.WriteHeader(status)
		if code != "" {
			fmt.Fprintf(w, `{"error":{"code":%q,"message":"as the reference says"}}`, code)
		}
	}))
	t.Cleanup(s.Close)
	return e, s.URL
}

func (e *exchange) serve(t *testing.T, r *http.Request) (status int, code string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.signed(t, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
		e.refused++
		return http.StatusUnauthorized, "InvalidAuthenticationToken"
	}
	switch r.Method + " " + r.URL.Path {
	case "POST /v1.0/users/" + mailbox + "/messages":
		e.noDrafts++
		return http.StatusForbidden, "ErrorAccessDenied"
	case "POST /v1.0/users/" + mailbox + "/sendMail":
	default:
		t.Errorf("%s %s", r.Method, r.URL)
		return http.StatusNotFound, "ResourceNotFound"
	}
	if r.ContentLength > 4<<20 || r.Header.Get("Content-Type") != "text/plain" {
		return http.StatusRequestEntityTooLarge, ""
	}
	raw, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding.Strict(), r.Body))
	if err != nil {
		return http.StatusBadRequest, "ErrorMimeContentInvalidBase64String"
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return http.StatusBadRequest, "ErrorMimeContentInvalid"
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		return http.StatusBadRequest, "ErrorMimeContentInvalid"
	}
	from, err := mail.ParseAddress(m.Header.Get("From"))
	if err != nil || from.Address != mailbox {
		return http.StatusForbidden, "ErrorSendAsDenied"
	}
	var to []string
	for _, name := range []string{"To", "Cc", "Bcc"} {
		list, err := m.Header.AddressList(name)
		if err != nil && m.Header.Get(name) != "" {
			t.Errorf("%s: %v", name, err)
		}
		for _, a := range list {
			to = append(to, name+" "+a.Address)
		}
	}
	e.mail, e.to = append(e.mail, postfix.Message{Header: m.Header, Body: body, Raw: raw}), append(e.to, to)
	return http.StatusAccepted, ""
}

// signed tells whether a token has a signature by one of the server's keys.
func (e *exchange) signed(t *testing.T, token string) bool {
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(e.a.request(t, http.MethodGet, "/jwks"), &keys); err != nil {
		t.Error(err)
		return false
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return false
	}
	return slices.ContainsFunc(keys.Keys, func(k jose.JSONWebKey) bool {
		_, err := jws.Verify(k)
		return err == nil
	})
}

func (e *exchange) got() (m []postfix.Message, to [][]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.mail), slices.Clone(e.to)
}

// no tells how many tokens and drafts were refused.
func (e *exchange) no() (tokens, drafts int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.refused, e.noDrafts
}

// Microsoft 365 by Graph, with swaks for a copier and oauth2-mock-server for Entra ID:
// the envelope decides, a key that changes costs nothing, and what is too large for
// an application without drafts goes by the next upstream as it is.
func TestMicrosoft365Graph(t *testing.T) {
	t.Parallel()
	a := startAuthority(t, map[string]any{"secret": secret1, "claims": map[string]any{"roles": []string{"Mail.Send"}}})
	e, url := startExchange(t, a)
	next := postfix.Start(t, postfix.Options{})
	r := startRelay(t, head+"  upstreamRef: {name: m365}\n  fallbackUpstreamRefs: [{name: next}]\n"+fmt.Sprintf(`---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: m365}
spec:
  type: Microsoft365
  allowPrivateHosts: true
  microsoft365:
    transport: Graph
    tenantID: %s
    clientID: %s
    mailbox: %s
    authorityHost: %s
    endpoint: %s
    credentials: {type: Secret, secretRef: {name: app}}
  sender: {domain: corp.example, localPart: scans, rewrite: Always}
`, tenant, clientID, mailbox, a.url, url)+upstream("next", next.Port, "{mode: None}", "")+secret("app", "clientSecret", secret1), "CLEAR")

	small := newScan(t, 1_000_000)
	swaks := func(s scan) {
		t.Helper()
		env.MustRun(t, "", "swaks", "--server", fmt.Sprintf("127.0.0.1:%d", r.ports["CLEAR"]), "--helo", "mfp", "--from", sender,
			"--to", "it@corp.example,boss@corp.example", "--header", "To: IT <it@corp.example>, stranger@corp.example", "--header", "Bcc: victim@corp.example",
			"--suppress-data", "--attach-type", "application/pdf", "--attach-name", scanName, "--attach", "@"+s.file)
	}
	swaks(small)
	if n := a.issued(t); n > 1 {
		t.Errorf("%d tokens were issued", n)
	}
	a.request(t, http.MethodPost, "/rotate")
	swaks(small)
	var got []postfix.Message
	var to [][]string
	env.Eventually(t, "Graph has taken both scans", r.Output, func() bool { got, to = e.got(); return len(got) == 2 })
	for i, m := range got {
		if fmt.Sprint(to[i]) != "[To it@corp.example Bcc boss@corp.example]" {
			t.Errorf("%d: it would go to %q", i, to[i])
		}
		if content, err := m.Attachment(scanName); err != nil || sum(content) != small.sum {
			t.Errorf("%d: the scan is another: %v", i, err)
		}
	}
	if tokens, _ := e.no(); tokens == 0 {
		t.Error("no token was refused: nothing shows that one was replaced")
	}

	large := newScan(t, 4_000_000)
	swaks(large)
	for _, to := range []string{"it@corp.example", "boss@corp.example"} {
		large.arrived(t, next.MailFor(t, to), "ESMTP")
	}
	got, _ = e.got()
	if _, drafts := e.no(); len(got) != 2 || drafts == 0 {
		t.Errorf("%d messages at Graph, %d drafts asked for", len(got), drafts)
	}
	if log := r.Output(); !strings.Contains(log, "Mail.ReadWrite") || strings.Contains(log, secret1) {
		t.Error("the log does not say what is missing, or shows a secret")
	}
}
