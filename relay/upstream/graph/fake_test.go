package graph

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

// fake is Microsoft Graph for one mailbox, as the vendor's reference has it
// (learn.microsoft.com/graph/api/): user-sendmail, user-post-messages,
// message-post-attachments, attachment-createuploadsession, message-send,
// message-delete, graph/outlook-large-attachments, graph/errors. It is strict: what
// the reference does not allow fails the test or is refused as the reference says.
type fake struct {
	t       testing.TB
	api     *httptest.Server
	outlook *httptest.Server // where upload sessions are: another host
	fault   conformance.Fault
	reached chan struct{}
	ended   chan struct{}

	// answer, if set, is asked first; true: it has answered.
	answer func(w http.ResponseWriter, r *http.Request) bool

	mu         sync.Mutex
	token      string // that is valid
	issued     int
	rejected   []string
	noDrafts   bool
	minSession int64 // octets below which an upload session is refused
	unit       int64 // that the pieces of one are multiples of
	sendAs     []string
	mailbox    string
	seen       []string // requests: method and path below the mailbox
	mail       []conformance.Received
	drafts     map[string]*draftMail
	sent       []*draftMail
	next       int
}

const (
	mailbox  = "mfp@copier.test"
	tokenKey = "s3cr3t-signature"
)

// tokenWith is an access token as Entra gives it, with the application's roles.
func tokenWith(n int, roles ...string) string {
	enc := base64.RawURLEncoding.EncodeToString
	claims, err := json.Marshal(map[string]any{"aud": "https://graph.microsoft.com", "roles": roles, "uti": n})
	if err != nil {
		panic(err)
	}
	return enc([]byte(`{"typ":"JWT","alg":"RS256"}`)) + "." + enc(claims) + "." + enc([]byte(tokenKey+strconv.Itoa(n)))
}

func startFake(t testing.TB, fault conformance.Fault) *fake {
	t.Helper()
	return startFakeBy(t, fault, fault == conformance.Downgrades)
}

// startFakeBy starts one with TLS or without: crypto/tls allocates under the race
// detector what it reuses otherwise, and the suite counts.
func startFakeBy(t testing.TB, fault conformance.Fault, secure bool) *fake {
	t.Helper()
	f := &fake{
		t: t, fault: fault, reached: make(chan struct{}), ended: make(chan struct{}),
		mailbox: mailbox, unit: 320 << 10, sendAs: []string{mailbox, "relay@copier.test"}, drafts: map[string]*draftMail{},
	}
	f.issue("Mail.Send", "Mail.ReadWrite")
	f.api, f.outlook = serve(f.graph, secure), serve(f.upload, secure)
	t.Cleanup(func() { close(f.ended); f.api.Close(); f.outlook.Close() })
	return f
}

// serve starts a server whose kernel takes little that it has not read yet: else a
// message is gone before somebody can hang up in its middle.
func serve(h http.HandlerFunc, secure bool) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Listener = conformance.Narrow{Listener: s.Listener}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	return s
}

// issue makes a token the valid one.
func (f *fake) issue(roles ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.issued++
	f.token = tokenWith(f.issued, roles...)
}

// transport is one to the fake, with a source that always has the valid token, but
// for the faults that are about tokens.
func (f *fake) transport(change ...func(*Config)) *Transport {
	f.t.Helper()
	pool := x509.NewCertPool()
	if c := f.api.Certificate(); c != nil {
		pool.AddCert(c)
	}
	c := Config{Graph: plan.Graph{Endpoint: f.api.URL, Mailbox: mailbox}, Private: true, MaxIdle: 3, RootCAs: pool, Tokens: &source{f: f}}
	for _, ch := range change {
		ch(&c)
	}
	tr, err := New(c)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { tr.Close() })
	return tr
}

// small is a transport for which 30 kB are a lot, so that tests are fast.
func (f *fake) small() *Transport {
	tr := f.transport()
	tr.limits = limits{sendMail: 30_000, session: 30_000, span: 40 << 10}
	f.unit = 40 << 10
	return tr
}

// graph answers at the endpoint.
func (f *fake) graph(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("request-id", "7fb2a1c0-0000-4000-8000-000000000001")
	rest, ok := strings.CutPrefix(r.URL.Path, "/v1.0/users/"+f.mailbox)
	if !ok {
		f.t.Errorf("%s %s is not of the mailbox", r.Method, r.URL)
	}
	f.note(r.Method + " " + rest)
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token != f.valid() {
		refuse(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "Access token has expired or is not yet valid: "+token)
		return
	}
	if f.answer != nil && f.answer(w, r) {
		return
	}
	if f.fault == conformance.Throttles {
		w.Header().Set("Retry-After", "17")
		refuse(w, http.StatusTooManyRequests, "ApplicationThrottled", "Application is over its MailboxConcurrency limit.")
		return
	}
	if r.ContentLength > 4<<20 {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	switch {
	case r.Method == http.MethodPost && rest == "/sendMail":
		f.sendMail(w, r)
	case strings.HasPrefix(rest, "/messages"):
		f.messages(w, r, strings.TrimPrefix(rest, "/messages"))
	default:
		f.t.Errorf("%s %s is not in the reference", r.Method, r.URL)
		refuse(w, http.StatusNotFound, "ResourceNotFound", "Resource could not be discovered.")
	}
}

func (f *fake) valid() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.token
}

func (f *fake) note(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, s)
}

func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}

// refuse answers with an error as graph/errors has it.
func refuse(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{ //nolint:errcheck // the client may be gone
		"code": code, "message": text, "innerError": map[string]string{"request-id": "7fb2a1c0-0000-4000-8000-000000000001", "date": "2026-11-25T22:00:00"},
	}})
}

var errMIME = errors.New("not a message")

// sendMail takes MIME in base64, and the recipients from its header.
func (f *fake) sendMail(w http.ResponseWriter, r *http.Request) {
	if ct := r.Header.Get("Content-Type"); ct != "text/plain" || len(r.TransferEncoding) > 0 {
		f.t.Errorf("sendMail with Content-Type %q, Transfer-Encoding %q", ct, r.TransferEncoding)
	}
	m, err := readMIME(base64.NewDecoder(base64.StdEncoding.Strict(), oneLine{r.Body}))
	switch {
	case err != nil:
		refuse(w, http.StatusBadRequest, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.")
	case !slices.Contains(f.sendAs, m.Sender):
		refuse(w, http.StatusForbidden, "ErrorSendAsDenied", "The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account., Cannot submit message.")
	case len(m.Recipients) == 0:
		refuse(w, http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient is not valid., A message can't be sent because it contains no recipients.")
	case slices.Contains(m.Recipients, conformance.Refused):
		refuse(w, http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient is not valid.")
	case f.fault == conformance.RefusesMessage:
		refuse(w, http.StatusBadRequest, "ErrorMimeContentInvalid", "The MIME content is invalid.")
	default:
		f.submit(w, r, m)
	}
}

// submit takes a message and answers, or does not.
func (f *fake) submit(w http.ResponseWriter, r *http.Request, m conformance.Received) {
	if f.fault == conformance.Stalls {
		close(f.reached)
		select {
		case <-f.ended:
		case <-r.Context().Done():
		}
	}
	f.mu.Lock()
	f.mail = append(f.mail, m)
	f.mu.Unlock()
	if f.fault == conformance.CutsLate {
		hangUp(f.t, w)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func hangUp(t testing.TB, w http.ResponseWriter) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	c.Close()
}

func (f *fake) received(*testing.T) []conformance.Received {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.mail)
}

// oneLine lets nothing but base64 pass: Go's decoder skips line ends.
type oneLine struct{ io.Reader }

func (r oneLine) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if bytes.ContainsAny(p[:n], "\r\n") {
		return 0, errMIME
	}
	return n, err
}

// readMIME reads a message as Exchange does: the recipients are all mailboxes of
// To, Cc and Bcc, the sender is From. The body is not held.
func readMIME(src io.Reader) (conformance.Received, error) {
	var m conformance.Received
	r := bufio.NewReaderSize(src, 16<<10)
	sum := sha256.New()
	head, err := hashHeader(r, sum)
	if err != nil {
		return m, err
	}
	msg, err := mail.ReadMessage(bytes.NewReader(head))
	if err != nil {
		return m, err
	}
	from, err := mail.ParseAddress(msg.Header.Get("From"))
	if err != nil {
		return m, err
	}
	m.Sender = from.Address
	for name := range msg.Header {
		if strings.HasPrefix(name, "Resent-") {
			return m, errMIME
		}
	}
	for _, name := range []string{"To", "Cc", "Bcc"} {
		for _, v := range msg.Header[name] {
			list, err := mail.ParseAddressList(v)
			if err != nil {
				return m, err
			}
			for _, a := range list {
				m.Recipients = append(m.Recipients, a.Address)
			}
		}
	}
	m.Size, err = io.Copy(sum, r)
	sum.Sum(m.Sum[:0])
	return m, err
}

// hashHeader reads a header with its empty line, and hashes all of it but the
// fields of recipients.
func hashHeader(r *bufio.Reader, sum hash.Hash) ([]byte, error) {
	var head []byte
	of := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, errMIME
		}
		head = append(head, line...)
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := strings.Cut(line, ":")
			of = strings.ToLower(strings.TrimSpace(name))
		}
		switch {
		case line == "\r\n":
			fmt.Fprint(sum, line)
			return head, nil
		case of != "to" && of != "cc" && of != "bcc" && !strings.HasPrefix(of, "resent-"):
			fmt.Fprint(sum, line)
		}
	}
}

// digest is of all that Graph gets of a message beside its recipients: header
// fields and body, octet for octet.
func digest(content io.Reader) (out [sha256.Size]byte, err error) {
	sum := sha256.New()
	r := bufio.NewReader(content)
	if _, err = hashHeader(r, sum); err == nil {
		_, err = io.Copy(sum, r)
	}
	sum.Sum(out[:0])
	return out, err
}

// source gives tokens as relay/oauth does.
type source struct{ f *fake }

func (s *source) Token(ctx context.Context) (string, error) {
	f := s.f
	switch {
	case f.fault == conformance.WrongCredentials:
		return tokenWith(999, "Mail.Send"), nil
	case f.fault == conformance.ExpiresToken && len(f.rejectedTokens()) == 0:
		return tokenWith(998, "Mail.Send"), nil
	}
	return f.valid(), ctx.Err()
}

func (s *source) Close() error { return nil }

func (s *source) Reject(token string) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.rejected = append(s.f.rejected, token)
}

func (f *fake) rejectedTokens() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.rejected)
}
