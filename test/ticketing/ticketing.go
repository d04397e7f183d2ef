// Package ticketing is a server of somebody's that webhooks post to. It verifies what it
// is told by a library of Standard Webhooks.
//
// Only tests import it. It may import relay/webhook.
package ticketing

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/printerrelay/printer-relay/relay/webhook"
)

// Secret is a signing secret, made of one letter.
func Secret(letter string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
}

// Server takes what is signed with Secret("a"), until Expect says otherwise.
type Server struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	status int
	told   []webhook.Payload
}

// Start starts one, over TLS on loopback, which ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{secret: Secret("a")}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := io.ReadAll(q.Body)
	var verifier *standardwebhooks.Webhook
	if err == nil {
		verifier, err = standardwebhooks.NewWebhook(s.secret)
	}
	if err == nil {
		err = verifier.Verify(b, q.Header)
	}
	var p webhook.Payload
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusUnauthorized)
	case s.status != 0:
		http.Error(w, "come \x1b[31mlater", s.status)
	default:
		s.told = append(s.told, p)
		fmt.Fprint(w, "noted")
	}
}

// Answer has it answer what is signed with a status of HTTP, and hostile words; 0: it
// takes it.
func (s *Server) Answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// Expect has it take what is signed with another secret.
func (s *Server) Expect(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret = secret
}

// Told is what it took.
func (s *Server) Told() []webhook.Payload {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

// Secrets is the YAML of the Secrets that a relay needs to tell it: tickets, to sign with,
// and ca.
func (s *Server) Secrets(signing string) string {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: tickets}\ndata: {signingSecret: %s}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: ca}\ndata: {ca.crt: %s}\n",
		base64.StdEncoding.EncodeToString([]byte(signing)), base64.StdEncoding.EncodeToString(ca))
}
