package cli

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/printerrelay/printer-relay/relay/webhook"
)

// receiver is a server of somebody's, with a library of Standard Webhooks.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int      // that it answers what is signed; 0: 200
	types  []string // of what it took
}

const signingSecret = "whsec_YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="

func receive(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := io.ReadAll(q.Body)
	var verifier *standardwebhooks.Webhook
	if err == nil {
		verifier, err = standardwebhooks.NewWebhook(signingSecret)
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
	case r.status != 0:
		http.Error(w, "come \x1b[31mlater", r.status)
	default:
		r.types = append(r.types, string(p.Type))
		fmt.Fprint(w, "noted")
	}
}

func (r *receiver) answers(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) took() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.types, " ")
}

// manifests are those of a relay with two webhooks: one at r, and one without a Secret.
func (r *receiver) manifests() string {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
	hooks := "  webhooks:\n  - {name: tickets, url: '" + r.URL + "/x', events: [MessageFailed, MessageAccepted], secretRef: {name: tickets}, caSecretRef: {name: ca}, allowPrivateHosts: true, requestsPerMinute: 600}\n" +
		"  - {name: chat, secretRef: {name: later}}\n"
	return strings.Replace(sending, "  senderPolicyRefs", hooks+"  senderPolicyRefs", 1) + fmt.Sprintf(`---
apiVersion: v1
kind: Secret
metadata: {name: tickets}
stringData: {signingSecret: %s}
---
apiVersion: v1
kind: Secret
metadata: {name: ca}
data: {ca.crt: %s}
`, signingSecret, base64.StdEncoding.EncodeToString(ca))
}

// TestWebhooks: who runs a relay tries its webhooks, sees what waits for one that does
// not take it, and why; one that takes a test is told at once.
func TestWebhooks(t *testing.T) {
	hook := receive(t)
	r := start(t, folder(t, "office.yaml", hook.manifests()), t.TempDir())
	asks := func(args ...string) result {
		t.Helper()
		return command(t, append(append([]string{"webhooks"}, args...), "--admin", r.admin)...)
	}
	wants := func(what string, got result, code int, parts ...string) {
		t.Helper()
		if got.code != code {
			t.Errorf("%s: status %d\n%s%s", what, got.code, got.out, got.stderr)
		}
		for _, p := range parts {
			if !strings.Contains(got.out+got.stderr, p) {
				t.Errorf("%s lacks %q:\n%s%s", what, p, got.out, got.stderr)
			}
		}
		if strings.Contains(got.out, "\x1b") {
			t.Errorf("%s: %q", what, got.out)
		}
	}
	// A test each second: the next one is tried until it may be.
	test := func(args ...string) (got result) {
		t.Helper()
		eventually(t, "a test may begin", func() bool {
			got = asks(append([]string{"test"}, args...)...)
			return !strings.Contains(got.stderr, "has just begun")
		})
		return got
	}
	host := strings.TrimPrefix(hook.URL, "https://")
	wants("a test", test("tickets"), 0, "ok      tickets    "+host+": 200 OK (noted), after ")
	wants("all", test(), 1, "ok      tickets    ", "FAILED  chat       ", `PrinterRelay default/office, spec.webhooks[1].secretRef: secret "later": not found`, `what to do: put key url into Secret "later"`)
	if got := hook.took(); got != "webhook.test webhook.test" {
		t.Errorf("it took %q", got)
	}
	wants("another name", test("nobody"), 1, `"nobody": no such webhook is in spec.webhooks`)
	wants("another form", asks("test", "-o", "xml"), 2, "want table, wide, json, yaml")
	var tests []webhook.Tested
	if err := json.Unmarshal([]byte(test("tickets", "-o", "json").out), &tests); err != nil || len(tests) != 1 || !tests[0].OK || tests[0].Reply.Text != "noted" {
		t.Errorf("%v %+v", err, tests)
	}

	hook.answers(http.StatusServiceUnavailable)
	wants("a scan", command(t, "send", "--admin", r.admin, "--client", "10.20.3.7", "--from", "mfp@copier.test", "--to", "it@corp.example"), 0)
	var all []webhook.Status
	eventually(t, "what waits was tried", func() bool {
		got := asks("list", "-o", "json")
		all = nil
		return json.Unmarshal([]byte(got.out), &all) == nil && len(all) == 2 && len(all[1].Pending) == 1 && all[1].Pending[0].Tries > 0 && all[1].Reply != nil
	})
	if p := all[1].Pending[0]; all[1].Reply.Status != 503 || all[1].Host != host || p.Type != "message.accepted" || p.Device != "10.20.3.7" || p.Sender != "mfp@copier.test" || len(p.Recipients) != 1 || p.ID == "" {
		t.Errorf("%+v", all[1])
	}
	wants("the table", asks("list"), 0, "WEBHOOK", "LAST REPLY", "503 Service Unavailable (come", "answers 503 Service Unavailable; what to do:", "put key url into Secret", "message.accepted", all[1].Pending[0].ID, "<it@corp.example>")
	wants("YAML", command(t, "webhook", "list", "-o", "yaml", "--admin", r.admin), 0, "tries: ", "status: 503\n")
	wants("a test that fails", test("tickets"), 1, "FAILED  tickets    "+host+": 503 Service Unavailable (come", "PrinterRelay default/office: "+host+" answers 503", "what to do: ")
	hook.answers(0)
	wants("a test", test("tickets"), 0, "ok ")
	eventually(t, "what waited is told", func() bool { return strings.HasSuffix(hook.took(), "message.accepted") })
	if out := command(t, "__complete", "webhooks", "test", "--admin", r.admin, "").out; !strings.HasPrefix(out, "chat\ntickets\n") {
		t.Errorf("completion: %s", out)
	}
}

// TestNoWebhooks: a relay without them says so.
func TestNoWebhooks(t *testing.T) {
	r := start(t, folder(t, "office.yaml", sending), t.TempDir())
	if got := command(t, "webhooks", "list", "--admin", r.admin); got.code != 0 || !strings.HasPrefix(got.out, "there is no webhook") {
		t.Errorf("%+v", got)
	}
	if got := command(t, "webhooks", "list", "-o", "json", "--admin", r.admin); got.out != "[]\n" {
		t.Errorf("%+v", got)
	}
	if got := command(t, "webhooks", "test", "--admin", r.admin); got.code != 1 || !strings.Contains(got.stderr, "there is no webhook to test") {
		t.Errorf("%+v", got)
	}
}
