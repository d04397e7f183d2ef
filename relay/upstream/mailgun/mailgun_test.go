package mailgun

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Start: func(t *testing.T, f conformance.Fault) *conformance.Upstream {
			s := start(t, f)
			return &conformance.Upstream{Transport: s.transport(t, sendingKey, nil), Received: s.received, Reached: s.reached}
		},
		// RefusesSome is not there: Mailgun takes a request for all recipients or for none.
		// What it does where it dislikes one is in TestInvalidAddress. A key does not expire.
		Faults: []conformance.Fault{
			conformance.RefusesMessage, conformance.CutsEarly, conformance.CutsLate, conformance.Stalls,
			conformance.WrongCredentials, conformance.Throttles, conformance.Downgrades,
		},
		Secrets:      []string{sendingKey},
		HeaderSender: true, PlainAddresses: true, RetryAfter: true,
	})
}

func BenchmarkDeliver(b *testing.B) {
	conformance.Benchmark(b, start(b, conformance.None).transport(b, sendingKey, nil))
}

// message is one to the recipients.
func message(t *testing.T, to ...string) *upstream.Message {
	t.Helper()
	return conformance.Mail(t, "From: <mfp@copier.test>\r\n\r\nhello\r\n", to...)
}

// One address that Mailgun finds invalid, it does not say which, keeps the mail
// from nobody else, and nobody gets it twice.
func TestInvalidAddress(t *testing.T) {
	s := start(t, conformance.None)
	tr := s.transport(t, sendingKey, nil)
	out := tr.Deliver(t.Context(), message(t, "a@corp.test", "b@corp.test", conformance.Refused, "c@corp.test", "d@corp.test"))
	if got := conformance.Kinds(out); got != "Accepted Accepted Failed/Recipient Accepted Accepted" {
		t.Errorf("%s: %+v", got, out)
	}
	if !strings.HasPrefix(out[2].Text, "'to' parameter is not a valid address") {
		t.Errorf("%q", out[2].Text)
	}
	var got []string
	for _, m := range s.received(t) {
		got = append(got, m.Recipients...)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"a@corp.test", "b@corp.test", "c@corp.test", "d@corp.test"}) {
		t.Errorf("%q", got)
	}
}

// An account for trials sends to some recipients only. The others wait, and stop
// nobody's mail.
func TestSandbox(t *testing.T) {
	s := start(t, conformance.None)
	s.trial = "a@corp.test"
	out := s.transport(t, sendingKey, nil).Deliver(t.Context(), message(t, "b@corp.test", "a@corp.test", "c@corp.test"))
	if got := conformance.Kinds(out); got != "Deferred/Message Accepted Deferred/Message" {
		t.Errorf("%s: %+v", got, out)
	}
}

// More recipients than a request takes go by several.
func TestBatches(t *testing.T) {
	s := start(t, conformance.None)
	var to []string
	for i := range 2001 {
		to = append(to, fmt.Sprintf("user-%d@corp.test", i))
	}
	out := s.transport(t, sendingKey, nil).Deliver(t.Context(), message(t, to...))
	if i := slices.IndexFunc(out, func(o upstream.Outcome) bool { return o.Kind != upstream.Accepted }); i >= 0 {
		t.Errorf("%s: %+v", to[i], out[i])
	}
	var got []string
	for _, m := range s.received(t) {
		got = append(got, m.Recipients...)
	}
	if !slices.Equal(got, to) || len(s.received(t)) != 3 {
		t.Errorf("%d recipients in %d messages", len(got), len(s.received(t)))
	}
}

// The outcome has Mailgun's words and its name for the message; nothing is tracked,
// and TLS is wanted of the next server where that is configured.
func TestAccepted(t *testing.T) {
	s := start(t, conformance.None)
	o := s.transport(t, sendingKey, nil).Deliver(t.Context(), message(t, "a@corp.test"))[0]
	if o.Kind != upstream.Accepted || o.Code != 200 || o.Text != "Queued. Thank you." || o.RemoteID != "20261125101010.1.1@"+domain {
		t.Errorf("%+v", o)
	}
	s.transport(t, sendingKey, func(c *Config) { c.Mailgun.RequireTLS = true }).Deliver(t.Context(), message(t, "a@corp.test"))
	if got := fmt.Sprint(s.options); got != "[map[o:tracking:no] map[o:require-tls:true o:skip-verification:false o:tracking:no]]" {
		t.Error(got)
	}
}

// After a request that broke off the next batch waits, and it is known that it does.
func TestBatchAfterUnknown(t *testing.T) {
	s := start(t, conformance.CutsLate)
	var to []string
	for i := range 1001 {
		to = append(to, fmt.Sprintf("user-%d@corp.test", i))
	}
	out := s.transport(t, sendingKey, nil).Deliver(t.Context(), message(t, to...))
	if got := conformance.Kinds(out[999:]); got != "Unknown/Upstream Deferred/Upstream" || len(s.received(t)) != 1 {
		t.Errorf("%s; %d arrived", got, len(s.received(t)))
	}
}

// What Mailgun answers, by its page "API Response Codes" and what its API is seen
// to say.
func TestResult(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   string
		text   string
	}{
		{200, `{"id":"<1@mg>","message":"Queued. Thank you."}`, "Accepted", "Queued. Thank you."},
		{200, `{"id":"<1@mg>"}`, "Accepted", "queued"},
		{200, `{"message":"Queued. Thank you."}`, "Unknown/Upstream", "Queued. Thank you."},
		{200, "<html>captive portal</html>", "Unknown/Upstream", "HTTP status 200 OK"},
		{202, `{"id":"<1@mg>","message":"x"}`, "Unknown/Upstream", "x"},
		{400, `{"message":"'from' parameter is missing"}`, "Failed/Message", "'from' parameter is missing"},
		{400, `{"message":"Sandbox subdomains are for test purposes only. Please add your own domain or add the address to authorized recipients in Account Settings."}`, "Deferred/Message", "Sandbox subdomains"},
		{400, `not json`, "Failed/Message", "not json"},
		{401, "Forbidden", "Failed/Upstream", "Forbidden: check the API key in the Secret"},
		{401, "Invalid key " + sendingKey, "Failed/Upstream", "Invalid key ***"},
		{402, `{"message":"Payment required"}`, "Failed/Upstream", "Payment required"},
		{403, `{"message":"Domain mg.corp.test is not allowed to send: The domain is unverified and requires DNS configuration."}`, "Failed/Upstream", "Domain mg.corp.test is not allowed"},
		{403, `{"message":"Domain mg.corp.test is not allowed to send: recipient limit exceeded. Try again after Wed, 25 Nov 2026."}`, "Deferred/Upstream", "Domain mg.corp.test is not allowed"},
		{404, `{"message":"Domain not found: mg.corp.test"}`, "Failed/Upstream", "Domain not found: mg.corp.test: check mailgun.domain"},
		{413, "<html>\r\n<head><title>413 Request Entity Too Large</title></head>", "Failed/Message", "HTTP status 413 Request Entity Too Large"},
		{420, `{"message":"Request limit exceeded"}`, "Deferred/Upstream", "Request limit exceeded"},
		{429, `{"message":"Too many requests"}`, "Deferred/Upstream", "Too many requests"},
		{500, "", "Deferred/Upstream", "HTTP status 500 Internal Server Error"},
		{502, "", "Unknown/Upstream", "HTTP status 502 Bad Gateway"},
		{503, "", "Deferred/Upstream", "HTTP status 503 Service Unavailable"},
		{307, "", "Deferred/Upstream", "the API answered with a redirect"},
	} {
		o, some := result(&httpapi.Response{Status: c.status, Body: []byte(c.body), Header: http.Header{}}, sendingKey)
		if got := conformance.Kinds([]upstream.Outcome{o}); got != c.want || !strings.HasPrefix(o.Text, c.text) || some != strings.HasPrefix(c.text, "Sandbox") {
			t.Errorf("%d %s: %s %q, some %v; want %s %q", c.status, c.body, got, o.Text, some, c.want, c.text)
		}
	}
}

// A key that cannot be used is the upstream's trouble, and is not shown.
func TestKey(t *testing.T) {
	s := start(t, conformance.None)
	for name, source := range map[string]secrets.Map{
		"no Secret": {},
		"no key":    {"mailgun": {"password": []byte("x")}},
		"two lines": {"mailgun": {"apiKey": []byte("fake-key-1\nfake-key-2")}},
	} {
		tr := s.transport(t, "", func(c *Config) { c.Secrets = func() secrets.Source { return source } })
		o := tr.Deliver(t.Context(), message(t, "a@corp.test"))[0]
		if conformance.Kinds([]upstream.Outcome{o}) != "Deferred/Upstream" || strings.Contains(o.Text, "fake-key") || o.Text == "" {
			t.Errorf("%s: %+v", name, o)
		}
		if h := tr.Check(t.Context()); h.Credentials != upstream.Bad || h.Text != o.Text {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if len(s.calls) > 0 {
		t.Errorf("%q", s.calls)
	}
	// The key before is used until the new one is there whole.
	now := secrets.Map{"mailgun": {"apiKey": []byte(sendingKey)}}
	tr := s.transport(t, "", func(c *Config) { c.Secrets = func() secrets.Source { return now } })
	for i, want := range []string{"Accepted", "Accepted", "Deferred/Upstream"} {
		switch i {
		case 1:
			now = secrets.Map{"mailgun": {"other": []byte("x")}}
		case 2:
			now = secrets.Map{}
		}
		if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, "a@corp.test"))); got != want {
			t.Errorf("step %d: %s, want %s", i, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		key, domain, state     string
		fault                  conformance.Fault
		reachable, credentials upstream.Verdict
		text                   string
		warnings               []string
	}{
		"sending key":                {sendingKey, domain, "active", conformance.None, upstream.Good, upstream.Good, "the key may send by domain mg.corp.test", nil},
		"account key":                {accountKey, domain, "active", conformance.None, upstream.Good, upstream.Good, "the key may send", []string{"the API key can read the account"}},
		"unverified":                 {accountKey, domain, "unverified", conformance.None, upstream.Good, upstream.Good, "the key may send", []string{"the API key can read the account", "domain mg.corp.test is unverified at Mailgun"}},
		"disabled":                   {accountKey, domain, "disabled", conformance.None, upstream.Good, upstream.Bad, "domain mg.corp.test is disabled at Mailgun", []string{"the API key can read the account"}},
		"wrong key":                  {"fake-other-key", domain, "active", conformance.None, upstream.Good, upstream.Bad, "Mailgun: 401 Forbidden: ***: check the API key", nil},
		"another domain":             {sendingKey, "elsewhere.test", "active", conformance.None, upstream.Good, upstream.Bad, "Mailgun: 404 Domain not found: elsewhere.test", nil},
		"no TLS that can be trusted": {sendingKey, domain, "active", conformance.Downgrades, upstream.Bad, upstream.Untold, "127.0.0.1", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, c.fault)
			s.state = c.state
			h := s.transport(t, c.key, func(x *Config) { x.Mailgun.Domain = c.domain }).Check(t.Context())
			if h.Reachable != c.reachable || h.Credentials != c.credentials || !strings.HasPrefix(h.Text, c.text) {
				t.Errorf("%+v", h)
			}
			if !slices.EqualFunc(h.Warnings, c.warnings, strings.HasPrefix) {
				t.Errorf("%q", h.Warnings)
			}
			if strings.Contains(fmt.Sprint(h), c.key) {
				t.Errorf("the key is in %+v", h)
			}
			if len(s.received(t)) > 0 {
				t.Error("a check sent a message")
			}
		})
	}
}

// The service's own trouble says nothing of the key.
func TestCheckUntold(t *testing.T) {
	s := start(t, conformance.None)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { says(w, http.StatusTooManyRequests, "Too many requests") })
	if h := s.transport(t, sendingKey, nil).Check(t.Context()); h.Reachable != upstream.Good || h.Credentials != upstream.Untold || !strings.Contains(h.Text, "429") {
		t.Errorf("%+v", h)
	}
}

func TestUTF8IsRefused(t *testing.T) {
	s := start(t, conformance.None)
	m := message(t, "a@corp.test")
	m.UTF8 = true
	if o := s.transport(t, sendingKey, nil).Deliver(t.Context(), m)[0]; conformance.Kinds([]upstream.Outcome{o}) != "Failed/Message" || len(s.received(t)) > 0 {
		t.Errorf("%+v", o)
	}
}
