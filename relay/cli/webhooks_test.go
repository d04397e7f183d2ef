package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/webhook"
	"github.com/printerrelay/printer-relay/test/ticketing"
)

// took are the types of what hook was told.
func took(hook *ticketing.Server) string {
	var types []string
	for _, p := range hook.Told() {
		types = append(types, string(p.Type))
	}
	return strings.Join(types, " ")
}

// withWebhooks are manifests of a relay with two webhooks: one at hook, and one without a Secret.
func withWebhooks(hook *ticketing.Server) string {
	hooks := "  webhooks:\n  - {name: tickets, url: '" + hook.URL + "/x', events: [MessageFailed, MessageAccepted], secretRef: {name: tickets}, caSecretRef: {name: ca}, allowPrivateHosts: true, requestsPerMinute: 600}\n" +
		"  - {name: chat, secretRef: {name: later}}\n"
	return strings.Replace(sending, "  senderPolicyRefs", hooks+"  senderPolicyRefs", 1) + hook.Secrets(ticketing.Secret("a"))
}

// TestWebhooks: who runs a relay tries its webhooks, sees what waits for one that does
// not take it, and why; one that takes a test is told at once.
func TestWebhooks(t *testing.T) {
	hook := ticketing.Start(t)
	r := start(t, folder(t, "office.yaml", withWebhooks(hook)), t.TempDir())
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
	if got := took(hook); got != "webhook.test webhook.test" {
		t.Errorf("it took %q", got)
	}
	wants("another name", test("nobody"), 1, `"nobody": no such webhook is in spec.webhooks`)
	wants("another form", asks("test", "-o", "xml"), 2, "want table, wide, json, yaml")
	var tests []webhook.Tested
	if err := json.Unmarshal([]byte(test("tickets", "-o", "json").out), &tests); err != nil || len(tests) != 1 || !tests[0].OK || tests[0].Reply.Text != "noted" {
		t.Errorf("%v %+v", err, tests)
	}

	hook.Answer(http.StatusServiceUnavailable)
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
	hook.Answer(0)
	wants("a test", test("tickets"), 0, "ok ")
	eventually(t, "what waited is told", func() bool { return strings.HasSuffix(took(hook), "message.accepted") })
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
