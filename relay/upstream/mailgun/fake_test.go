package mailgun

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

const (
	sendingKey = "fake-sending-key-of-the-tests"
	accountKey = "fake-account-key-of-the-tests"
	domain     = "mg.corp.test"
)

// options are those of a request, by Mailgun's API reference "Send an email in
// MIME format" (November 2026), as far as they take yes, no, true or false.
var options = []string{"o:tracking", "o:require-tls", "o:skip-verification", "o:testmode", "o:dkim"}

// server takes requests as strictly as Mailgun is known to, and misbehaves as the
// suite wants. It reads them with Go's mime/multipart, part by part.
type server struct {
	*httptest.Server
	fault   conformance.Fault
	reached chan struct{}
	ended   chan struct{}
	busy    sync.RWMutex // read-locked by requests under way

	mu      sync.Mutex
	mail    []conformance.Received
	options []map[string]string // of each message that was taken
	calls   []string
	trial   string // the only recipient that the account may send to; empty: any
	state   string // of the domain
}

func start(t testing.TB, f conformance.Fault) *server {
	t.Helper()
	s := &server{fault: f, reached: make(chan struct{}), ended: make(chan struct{}), state: "active"}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/{domain}/messages.mime", s.send)
	mux.HandleFunc("GET /v3/domains/{domain}", s.about)
	s.Server = httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(func() { close(s.ended); s.Close() })
	return s
}

func (s *server) transport(t testing.TB, key string, change func(*Config)) *Transport {
	t.Helper()
	roots := x509.NewCertPool()
	if s.fault != conformance.Downgrades {
		roots.AddCert(s.Certificate())
	}
	c := Config{
		Mailgun: plan.Mailgun{Endpoint: s.URL, Domain: domain, Secret: "mailgun"}, Private: true, MaxIdle: 4, RootCAs: roots,
		Secrets: func() secrets.Source { return secrets.Map{"mailgun": {"apiKey": []byte(key)}} },
	}
	if change != nil {
		change(&c)
	}
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

func says(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": message}) //nolint:errcheck // the client sees
}

// known answers where the key or the domain is not Mailgun's, as that does.
func (s *server) known(w http.ResponseWriter, r *http.Request, keys ...string) bool {
	s.mu.Lock()
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	name, key, _ := r.BasicAuth()
	switch {
	case name != "api" || !slices.Contains(keys, key) || s.fault == conformance.WrongCredentials:
		http.Error(w, "Forbidden: "+key, http.StatusUnauthorized) // it must not be shown on
	case r.PathValue("domain") != domain:
		says(w, http.StatusNotFound, "Domain not found: "+r.PathValue("domain"))
	default:
		return true
	}
	return false
}

func (s *server) about(w http.ResponseWriter, r *http.Request) {
	if s.known(w, r, accountKey) {
		fmt.Fprintf(w, `{"domain":{"name":%q,"state":%q,"is_disabled":false},"sending_dns_records":[]}`, domain, s.state)
	}
}

func (s *server) send(w http.ResponseWriter, r *http.Request) {
	s.busy.RLock()
	defer s.busy.RUnlock()
	if s.fault == conformance.CutsEarly {
		io.CopyN(io.Discard, r.Body, 64<<10) //nolint:errcheck // it is cut
		s.cut(w)
		return
	}
	if !s.known(w, r, sendingKey, accountKey) {
		return
	}
	m, opts, complaint, err := take(r)
	switch {
	case err != nil:
		return // the client went away: nothing was taken
	case complaint != "":
		says(w, http.StatusBadRequest, complaint)
		return
	}
	if s.trial != "" && slices.ContainsFunc(m.Recipients, func(to string) bool { return to != s.trial }) {
		says(w, http.StatusBadRequest, "Sandbox subdomains are for test purposes only. Please add your own domain or add the address to authorized recipients in Account Settings.")
		return
	}
	switch s.fault {
	case conformance.RefusesMessage:
		says(w, http.StatusRequestEntityTooLarge, "Maximum message size exceeded")
		return
	case conformance.Throttles:
		w.Header().Set("Retry-After", "30")
		says(w, http.StatusTooManyRequests, "Too many requests")
		return
	case conformance.Stalls:
		close(s.reached)
		select {
		case <-r.Context().Done():
		case <-s.ended:
		}
		return
	}
	s.mu.Lock()
	s.mail, s.options = append(s.mail, m), append(s.options, opts)
	n := len(s.mail)
	s.mu.Unlock()
	if s.fault == conformance.CutsLate {
		s.cut(w)
		return
	}
	fmt.Fprintf(w, `{"id":"<20261125101010.1.%d@%s>","message":"Queued. Thank you."}`, n, domain)
}

func (s *server) cut(w http.ResponseWriter) {
	if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
		conn.Close()
	}
}

// take reads a request to its end and gives Mailgun's complaint.
func take(r *http.Request) (m conformance.Received, opts map[string]string, complaint string, err error) {
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) //nolint:errcheck // shows in the kind
	if kind != "multipart/form-data" {
		if err := r.ParseForm(); err != nil {
			return m, nil, "", err
		}
		return m, nil, "'to' parameter is missing", nil // as for a form without anything in it
	}
	opts = map[string]string{}
	parts := multipart.NewReader(r.Body, params["boundary"])
	var from []*mail.Address
	message := false
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return m, nil, "", err
		}
		switch name := p.FormName(); {
		case name == "message" && p.FileName() == "":
			return m, nil, "'message' parameter is not a file", nil
		case name == "message" && !message:
			head := &headOf{}
			if err := m.Read(io.TeeReader(p, head)); err != nil {
				return m, nil, "", err
			}
			message = true
			from, _ = mail.Header(head.parse()).AddressList("From") //nolint:errcheck // none, then
		case name == "to":
			b, err := io.ReadAll(io.LimitReader(p, 1<<20))
			if err != nil {
				return m, nil, "", err
			}
			list, err := mail.ParseAddressList(string(b))
			if err != nil || slices.ContainsFunc(list, func(a *mail.Address) bool { return a.Address == conformance.Refused }) {
				complaint = "'to' parameter is not a valid address. please check documentation"
			}
			for _, a := range list {
				m.Recipients = append(m.Recipients, a.Address)
			}
		case slices.Contains(options, name):
			b, err := io.ReadAll(io.LimitReader(p, 16))
			if err != nil {
				return m, nil, "", err
			}
			if !slices.Contains([]string{"yes", "no", "true", "false"}, string(b)) {
				return m, nil, name + " is not yes or no", nil
			}
			opts[name] = string(b)
		default:
			return m, nil, "unknown parameter " + name, nil
		}
	}
	switch {
	case complaint != "":
	case len(m.Recipients) == 0:
		complaint = "'to' parameter is missing"
	case len(m.Recipients) > 1000:
		complaint = "Too many recipients; max is 1000"
	case !message:
		complaint = "'message' parameter is missing"
	}
	if len(from) > 0 {
		m.Sender = from[0].Address
	}
	return m, opts, complaint, nil
}

// headOf keeps the first octets of a message.
type headOf struct{ b []byte }

func (h *headOf) Write(p []byte) (int, error) {
	if room := 64<<10 - len(h.b); room > 0 {
		h.b = append(h.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (h *headOf) parse() textproto.MIMEHeader {
	out := textproto.MIMEHeader{}
	head, _, _ := strings.Cut(string(h.b), "\r\n\r\n")
	for _, line := range strings.Split(head, "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			out.Add(name, strings.TrimSpace(value))
		}
	}
	return out
}

func (s *server) received(*testing.T) []conformance.Received {
	s.busy.Lock()
	defer s.busy.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mail)
}
