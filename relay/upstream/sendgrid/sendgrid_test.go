package sendgrid

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance/apifake"
	"github.com/printerrelay/printer-relay/relay/upstream/translated"
)

// TestRequest holds what is sent, whole: testdata/NAME.eml to a@corp.test and
// hidden@corp.test becomes NAME.json.
func TestRequest(t *testing.T) {
	for _, name := range []string{"scan", "newsletter", "bare"} {
		t.Run(name, func(t *testing.T) {
			s := apifake.Start(t, conformance.None, provider(inAnHour))
			apifake.HoldRequest(t, s, transport(t, s.URL, key), name, "14c5d75ce93.dfd.64b469")
		})
	}
}

// Nobody sees a recipient whom the header does not name, and each has one copy.
func TestPersonalizations(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		to     string
		want   string
	}{
		"named":          {"To: A <a@x.test>\nCc: b@x.test\n", "a@x.test b@x.test", `[{"to":[{"email":"a@x.test","name":"A"}],"cc":[{"email":"b@x.test"}]}]`},
		"one is not":     {"To: a@x.test\n", "c@x.test a@x.test", `[{"to":[{"email":"a@x.test"}],"bcc":[{"email":"c@x.test"}]}]`},
		"only Cc":        {"To: z@x.test\nCc: b@x.test\n", "b@x.test c@x.test", `[{"to":[{"email":"b@x.test"}],"bcc":[{"email":"c@x.test"}]}]`},
		"nobody":         {"To: undisclosed-recipients:;\n", "a@x.test b@x.test", `[{"to":[{"email":"a@x.test"}]},{"to":[{"email":"b@x.test"}]}]`},
		"twice":          {"To: a@x.test\nCc: A@x.test\n", "a@x.test A@X.TEST", `[{"to":[{"email":"a@x.test"}]}]`},
		"Unicode domain": {"To: a@büro.test\n", "a@büro.test", `[{"to":[{"email":"a@xn--bro-hoa.test"}]}]`},
	} {
		t.Run(name, func(t *testing.T) {
			s := apifake.Start(t, conformance.None, provider(inAnHour))
			out := transport(t, s.URL, key).Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\n"+c.header+"\nhello\n", strings.Fields(c.to)...))
			for _, o := range out {
				if o.Kind != upstream.Accepted {
					t.Error(o)
				}
			}
			var got struct{ Personalizations json.RawMessage }
			if err := json.Unmarshal(s.Bodies(t)[0], &got); err != nil || string(got.Personalizations) != c.want {
				t.Errorf("%s (%v)", got.Personalizations, err)
			}
		})
	}
}

// More than 1000 recipients are more than one request.
func TestBatches(t *testing.T) {
	var to []string
	for i := range 2001 {
		to = append(to, fmt.Sprintf("u%d@x.test", i))
	}
	s := apifake.Start(t, conformance.None, provider(inAnHour))
	out := transport(t, s.URL, key).Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\nTo: u1500@x.test\n\nhello\n", to...))
	apifake.HoldBatches(t, s, out, 1000, 1000, 1)
}

// What the answers mean. The bodies are those of SendGrid's OpenAPI document and
// of its pages on errors and rate limits.
func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header http.Header
		body   string
		want   string
		text   string
		wait   bool
	}{
		"key":         {401, nil, `{"errors":[{"message":"authorization required","field":"null"}]}`, "Failed/Upstream Failed/Upstream", "authorization required", false},
		"credits":     {401, nil, `{"errors":[{"message":"Maximum credits exceeded","field":null,"help":null}]}`, "Deferred/Upstream Deferred/Upstream", "Maximum credits exceeded", false},
		"identity":    {403, nil, `{"errors":[{"message":"The from address does not match a verified Sender Identity.","field":"from","help":"x"}]}`, "Deferred/Message Deferred/Message", "The from address does not match a verified Sender Identity. (from)", false},
		"invalid":     {400, nil, `{"errors":[{"message":"The subject is required.","field":"subject","help":"x"},{"message":"y","field":null}]}`, "Failed/Message Failed/Message", "The subject is required. (subject); y", false},
		"too large":   {413, nil, `{"errors":[{"message":"content too large","field":"null"}]}`, "Failed/Message Failed/Message", "content too large", false},
		"limit":       {429, http.Header{"X-Ratelimit-Reset": {"99999999999"}}, `{"errors":[{"field":null,"message":"too many requests"}]}`, "Deferred/Upstream Deferred/Upstream", "too many requests", true},
		"limit again": {429, http.Header{"Retry-After": {"30"}}, `{}`, "Deferred/Upstream Deferred/Upstream", "HTTP status 429 Too Many Requests", true},
		"limit only":  {429, nil, `not JSON`, "Deferred/Upstream Deferred/Upstream", "HTTP status 429 Too Many Requests", false},
		"down":        {503, nil, `<html>`, "Deferred/Upstream Deferred/Upstream", "HTTP status 503 Service Unavailable", false},
		"its error":   {500, nil, `{"errors":[{"message":"internal server error"}]}`, "Deferred/Upstream Deferred/Upstream", "internal server error", false},
		"a proxy":     {502, nil, ``, "Unknown/Upstream Unknown/Upstream", "HTTP status 502 Bad Gateway", false},
		"the sandbox": {200, nil, ``, "Unknown/Upstream Unknown/Upstream", "HTTP status 200 OK", false},
		"an echo":     {401, nil, `{"errors":[{"message":"no such key:\n` + key + `"}]}`, "Failed/Upstream Failed/Upstream", "no such key: ***", false},
		"redirect":    {302, http.Header{"Location": {"http://127.0.0.1:1/"}}, ``, "Deferred/Upstream Deferred/Upstream", "the API answered with a redirect, which is not followed: correct the upstream's endpoint", false},
		"all invalid": {400, nil, `{"errors":[{"message":"Does not contain a valid address.","field":"personalizations.0.to.0.email","help":"x"},{"message":"Does not contain a valid address.","field":"personalizations.0.cc.0.email","help":"x"}]}`, "Failed/Recipient Failed/Recipient", "Does not contain a valid address. (a@x.test)", false},
		"no such one": {400, nil, `{"errors":[{"message":"Does not contain a valid address.","field":"personalizations.7.to.0.email"}]}`, "Failed/Message Failed/Message", "Does not contain a valid address. (personalizations.7.to.0.email)", false},
		"nor there":   {400, nil, `{"errors":[{"message":"Does not contain a valid address.","field":"personalizations.0.bcc.3.email"}]}`, "Failed/Message Failed/Message", "Does not contain a valid address. (personalizations.0.bcc.3.email)", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := apifake.Answer(t, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header()[k] = v
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			out := transport(t, s.URL, key).Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\nTo: a@x.test\nCc: b@x.test\n\nhello\n", "a@x.test", "b@x.test"))
			if got := conformance.Kinds(out); got != c.want || out[0].Text != c.text || out[0].Code != c.status || (out[0].RetryIn > 0) != c.wait {
				t.Errorf("%s, %+v", got, out[0])
			}
		})
	}
}

// The domain that all mail leaves from is the account's trouble; the one of a device
// is that device's.
func TestSenderIsNotVerified(t *testing.T) {
	s := apifake.Answer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"errors":[{"message":"The from address does not match a verified Sender Identity.","field":"from"}]}`)
	})
	tr, err := New(translated.Config{
		Endpoint: s.URL, Private: true, Secret: "sendgrid", Domain: "ours.test",
		Secrets: func() secrets.Source { return secrets.Map{"sendgrid": {"apiKey": []byte(key)}} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for from, want := range map[string]string{"m@OURS.test": "Failed/Upstream", "m@ours.test.else": "Deferred/Message"} {
		if got := conformance.Kinds(tr.Deliver(t.Context(), apifake.Scan(t, "From: "+from+"\n\nhello\n", "a@x.test"))); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
}

func TestResetIn(t *testing.T) {
	now := time.Unix(1000, 0)
	for in, want := range map[string]time.Duration{"": 0, "x": 0, "900": 0, "1060": time.Minute, "99999999999": 24 * time.Hour} {
		if got := resetIn(in, now); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// A message that cannot be carried is refused before anything is sent, and so
// are recipients.
func TestRefusedHere(t *testing.T) {
	s := apifake.Start(t, conformance.None, provider(inAnHour))
	tr := transport(t, s.URL, key)
	for header, want := range map[string]string{
		"Resent-To: a@x.test\n":                   "SendGrid's API cannot carry Resent-To: several fields that belong together, in an order that no service keeps: use sendGrid.transport SMTP, which carries it as it is",
		"Content-Type: application/pkcs7-mime\n":  "SendGrid's API cannot carry application/pkcs7-mime: a signature or encryption is over the message as it is: use sendGrid.transport SMTP, which carries it as it is",
		"Content-Transfer-Encoding: x-uuencode\n": "SendGrid's API cannot carry the encoding x-uuencode: use sendGrid.transport SMTP, which carries it as it is",
	} {
		o := tr.Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\n"+header+"\nhello\n", "a@x.test"))[0]
		if o.Kind != upstream.Failed || o.Scope != upstream.ScopeMessage || o.Text != want || o.Code != 554 || o.Enhanced != "5.6.3" {
			t.Errorf("%+v", o)
		}
	}
	if out := tr.Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\n\nhello\n", `"a b"@x.test`, "c@x.test")); conformance.Kinds(out) != "Failed/Message Accepted" {
		t.Errorf("%v", out)
	}
	if n := len(s.Requests()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// A device gives SendGrid no orders.
func TestOrders(t *testing.T) {
	s := apifake.Start(t, conformance.None, provider(inAnHour))
	transport(t, s.URL, key).Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\nx-smtpapi: {\"to\":[\"v@x.test\"]}\nX-SG-EID: 1\nX-Other: 1\n\nhello\n", "a@x.test"))
	r, complaint, _ := parse(s.Bodies(t)[0])
	if complaint != "" || len(r.Headers) != 1 || r.Headers["X-Other"] != "1" {
		t.Errorf("%v %s", r.Headers, complaint)
	}
}

// What is stopped in the middle waits, and is not taken for a message that cannot
// be read.
func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 64<<10)
		cancel()
		<-end
	}))
	defer s.Close()
	defer close(end)
	m := apifake.Scan(t, "From: m@x.test\nContent-Type: image/tiff\n\n"+strings.Repeat("x", 20<<20), "a@x.test", "b@x.test")
	if out := transport(t, s.URL, key).Deliver(ctx, m); conformance.Kinds(out) != "Deferred/Upstream Deferred/Upstream" {
		t.Errorf("%+v", out)
	}
}

// A key that is missing or spoilt makes nothing bounce; a new one is used at once,
// and the one before until the new one is there whole.
func TestKey(t *testing.T) {
	s := apifake.Start(t, conformance.None, provider(inAnHour))
	all := secrets.Map{}
	tr, err := New(translated.Config{Endpoint: s.URL, Private: true, Secret: "sendgrid", Secrets: func() secrets.Source { return all }})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for _, c := range []struct{ key, want string }{{"", "Deferred/Upstream"}, {"SG.x y", "Deferred/Upstream"}, {"SG.old", "Failed/Upstream"}, {key + "\n", "Accepted"}, {"SG.half x", "Accepted"}, {"SG.old", "Failed/Upstream"}} {
		if c.key != "" {
			all["sendgrid"] = map[string][]byte{"apiKey": []byte(c.key)}
		}
		out := tr.Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\n\nhello\n", "a@x.test"))
		if got := conformance.Kinds(out); got != c.want || c.key != "" && strings.Contains(out[0].Text, c.key) {
			t.Errorf("key %q: %s, %s", c.key, got, out[0].Text)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   upstream.Health
	}{
		"may send alone": {200, `{"scopes":["mail.send","2fa_required","sender_verification_eligible"]}`, upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good, Text: "the API key may send"}},
		"may do more": {200, `{"scopes":["mail.send","user.account.read","alerts.create","alerts.read","api_keys.create"]}`, upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good, Text: "the API key may send", Warnings: []string{
			"the API key may do more than send (4 other scopes, such as alerts.create, alerts.read, api_keys.create): make one of Restricted Access with Mail Send alone",
		}}},
		"may not send": {200, `{"scopes":["alerts.read"]}`, upstream.Health{Reachable: upstream.Good, Credentials: upstream.Bad, Text: "the API key may not send: give it the permission Mail Send (mail.send)"}},
		"an echo":      {401, `{"errors":[{"message":"no such key: ` + key + `"}]}`, upstream.Health{Reachable: upstream.Good, Credentials: upstream.Bad, Text: "SendGrid does not take the API key: 401 no such key: ***"}},
		"refused":      {401, `{"errors":[{"message":"authorization required","field":null}]}`, upstream.Health{Reachable: upstream.Good, Credentials: upstream.Bad, Text: "SendGrid does not take the API key: 401 authorization required"}},
		"throttled":    {429, `{}`, upstream.Health{Reachable: upstream.Good, Text: "SendGrid did not tell what the API key may do: 429"}},
		"no API":       {200, `<html>`, upstream.Health{Reachable: upstream.Good, Text: "SendGrid did not tell what the API key may do: 200"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := apifake.Answer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/v3/scopes" || r.Header.Get("Authorization") != "Bearer "+key {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			var checker upstream.Checker = transport(t, s.URL, key)
			if got := checker.Check(t.Context()); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	if h := transport(t, s.URL, key).Check(t.Context()); h.Reachable != upstream.Bad || h.Credentials != upstream.Untold || h.Text == "" {
		t.Errorf("nobody listens: %+v", h)
	}
	if h := transport(t, s.URL, "").Check(t.Context()); h.Credentials != upstream.Bad {
		t.Errorf("no key: %+v", h)
	}
}
