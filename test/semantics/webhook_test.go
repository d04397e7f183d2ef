package semantics

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/printerrelay/printer-relay/relay/webhook"
	"github.com/printerrelay/printer-relay/test/rig"
	"github.com/printerrelay/printer-relay/test/ticketing"
)

// linesOf are a line a message that it was told of.
func linesOf(s *ticketing.Server) (out []string) {
	for _, p := range s.Told() {
		for _, m := range p.Data.Messages {
			for _, r := range m.Recipients {
				out = append(out, fmt.Sprintf("%s %s %s %d %s", p.Type, r.Address, r.Status, r.Code, r.Text))
			}
		}
	}
	return out
}

// A scan that an upstream refuses is told to the webhook, signed, while mail goes on: a
// receiver that is off, a restart and a rotated secret lose nothing, and no reload
// restarts anything.
func TestWebhook(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{Rcpt: func(to string) error {
		if strings.HasPrefix(to, "nobody") {
			return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "No such user"}
		}
		return nil
	}})
	s := ticketing.Start(t)
	const none = "  delivery: {bounce: {to: None}}\n"
	hook := none + "  webhooks: [{name: tickets, url: '" + s.URL + "/x', secretRef: {name: tickets}, caSecretRef: {name: ca}, allowPrivateHosts: true, requestsPerMinute: 600}]\n"
	manifest := func(spec string) string { return manifests(spec, ownSender, u.YAML("out", "")) }
	r := rig.Start(t, manifest(none))
	r.Write("secrets.yaml", s.Secrets(ticketing.Secret("a")))
	send := func(to string) {
		c := r.Dial()
		defer c.Close()
		c.Want("250", "EHLO copier.test")
		c.Want("250", "MAIL FROM:<mfp@copier.test>")
		c.Want("250", "RCPT TO:<%s@corp.example>", to)
		c.Want("354", "DATA")
		rig.QueueID(t, c.Cmd("%s\r\n.", rig.Scan("mfp@copier.test", to+"@corp.example")))
	}
	told := func(lines ...string) {
		t.Helper()
		r.Eventually(fmt.Sprintf("told of %q", lines), func() bool { return fmt.Sprint(linesOf(s)) == fmt.Sprint(lines) })
	}
	in := func(path string, parts ...string) {
		t.Helper()
		r.Eventually(fmt.Sprintf("%s holds %q", path, parts), func() bool {
			_, body := r.Get(path)
			for _, p := range parts {
				if !strings.Contains(body, p) {
					return false
				}
			}
			return true
		})
	}

	r.Write("relay.yaml", manifest(hook)) // there was none
	in("/state", `"name": "tickets"`)
	send("anna")
	send("nobody1")
	first := "message.failed nobody1@corp.example failed 550 No such user"
	told(first)
	in("/metrics", `printer_relay_webhook_events_sent_total{relay="default/office",webhook="tickets"} 1`, `printer_relay_webhook_working{relay="default/office",webhook="tickets"} 1`)

	s.Answer(http.StatusServiceUnavailable)
	send("nobody2")
	in("/readyz", "webhook tickets cannot be told", "answers 503")
	in("/metrics", `printer_relay_webhook_waiting_events{relay="default/office",webhook="tickets"} 1`, `printer_relay_webhook_working{relay="default/office",webhook="tickets"} 0`)
	if code, body := r.Get("/readyz"); code != 200 {
		t.Errorf("the relay is not ready: %s", body)
	}
	r.Restart()
	s.Answer(0)
	s.Expect(ticketing.Secret("b"))
	in("/readyz", "answers 401", "signing secret")
	r.Write("secrets.yaml", s.Secrets(ticketing.Secret("b")))
	told(first, "message.failed nobody2@corp.example failed 550 No such user")

	r.Write("relay.yaml", manifest(none))
	r.Eventually("the webhook is gone", func() bool { _, body := r.Get("/state"); return !strings.Contains(body, `"tickets"`) })
	send("nobody3")
	idle(r)
	r.Stop()
	if got := linesOf(s); len(got) != 2 {
		t.Errorf("%q", got)
	}
	if strings.Contains(r.Log.String(), "whsec_") {
		t.Error("the log shows a secret")
	}
}

// What a device is refused is told too, where that is asked for: once, with a count, by
// which rule, and without an address that the listener hides. A restart loses nothing.
func TestWebhookOfRefusals(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	s := ticketing.Start(t)
	hook := "  webhooks: [{name: tickets, url: '" + s.URL + "/x', events: [MessageRefused], secretRef: {name: tickets}, caSecretRef: {name: ca}, allowPrivateHosts: true, requestsPerMinute: 600}]\n"
	yaml := strings.Replace(manifests(hook, ownSender, u.YAML("out", "")), "tls: {mode: None}", "tls: {mode: None}, receivedHeader: Redacted", 1)
	yaml = strings.Replace(yaml, "  rules:\n", "  rules:\n  - {name: stolen, match: {clientNetworks: [127.0.0.0/8], senders: [stolen@copier.test]}, action: Reject}\n", 1)
	r := rig.Start(t, yaml)
	r.Write("secrets.yaml", s.Secrets(ticketing.Secret("a")))
	c := r.Dial()
	defer c.Close()
	c.Want("250", "EHLO [127.0.0.1]")
	c.Want("550", "MAIL FROM:<stolen@copier.test>")
	c.Want("503", "RCPT TO:<anna@corp.example>") // follows
	for range 3 {
		c.Want("250", "MAIL FROM:<mfp@copier.test>")
		c.Want("550", "RCPT TO:<anna@elsewhere.example>")
		c.Want("554", "DATA") // follows
		c.Want("250", "RSET")
	}
	r.Restart() // the minute is not over
	r.Eventually("told of the refusals", func() bool { return len(s.Told()) > 0 })
	r.Stop()
	want := []string{
		"message.refused stolen@copier.test [] office/stolen MAIL 550 5.7.1 PR-033 Refused by rule stolen: 1",
		"message.refused mfp@copier.test [{anna@elsewhere.example refused}] office/lan RCPT 550 5.7.1 PR-032 Recipient anna@elsewhere.example not allowed: 3",
	}
	var got []string
	for _, p := range s.Told() {
		for _, m := range p.Data.Messages {
			x := m.Refusal
			to := []string{}
			for _, a := range m.Recipients {
				to = append(to, "{"+a.Address+" "+a.Status+"}")
			}
			got = append(got, fmt.Sprintf("%s %s %s %s %s %d %s %s %s: %d", p.Type, m.Sender, to, m.Rule, x.Step, x.Code, x.Enhanced, x.PRCode, x.Text, x.Count))
			if m.Device != (webhook.Device{}) || strings.Contains(fmt.Sprintf("%+v %+v", m, x), "127.0.0.1") {
				t.Errorf("the address is told: %+v %+v", m, x)
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
