// Package semantics holds the design's "Mail semantics" as tests: each line
// of it has one here, named after it, against a whole relay and a scripted
// upstream.
package semantics

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/test/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// manifests makes the YAML of one relay "office" that sends to the upstream
// "out". relay and rule are further lines of their specs.
func manifests(relay, rule string, upstreams ...string) string {
	return fmt.Sprintf(`apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  upstreamRef: {name: out}
  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: {{PORT}}, tls: {mode: None}}]
%s
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [127.0.0.0/8]}
    action: Allow
%s
`, relay, rule) + strings.Join(upstreams, "")
}

const (
	toPostmaster = "  delivery: {retry: {initialSeconds: 1, maximumSeconds: 1}, bounce: {to: Postmaster, postmaster: it@corp.example, from: relay@corp.example}}"
	toSender     = "  delivery: {retry: {initialSeconds: 1, maximumSeconds: 1}, bounce: {to: OriginalSender, postmaster: it@corp.example, from: relay@corp.example}}"
	relayed      = "  acknowledge: Relayed\n"
	anyCorp      = `    recipients: {allowed: ["*@corp.example"]}`
	ownSender    = `    senders: {allowed: ["*@copier.test"]}` + "\n" + anyCorp
)

// arrived waits until the upstream has n messages and gives them.
func arrived(r *rig.Relay, u *rig.Upstream, n int) []rig.Received {
	r.Eventually(fmt.Sprintf("%d messages at the upstream", n), func() bool { return len(u.Messages()) >= n })
	return u.Messages()
}

// notification waits for the first message from the null sender.
func notification(r *rig.Relay, u *rig.Upstream) rig.Received {
	var found rig.Received
	r.Eventually("a notification at the upstream", func() bool {
		for _, m := range u.Messages() {
			if m.From == "" {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// idle waits until the relay has nothing to do for anybody.
func idle(r *rig.Relay) {
	r.Eventually("an idle queue", func() bool {
		_, body := r.Get("/state")
		return strings.Contains(body, `"pending": 0`) && strings.Contains(body, `"deferred": 0`)
	})
}

func TestEnvelopeAloneDecidesWhoReceives(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("", anyCorp, u.YAML("out", "")))
	scan := strings.Replace(rig.Scan("mfp@copier.test", "a@corp.example"), "To: <a@corp.example>", "To: <a@corp.example>, <b@corp.example>\r\nCc: c@corp.example", 1)
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, scan))
	got := arrived(r, u, 1)[0]
	if want := "[a@corp.example]"; fmt.Sprint(got.To) != want {
		t.Errorf("recipients %v, want %s", got.To, want)
	}
}

func TestBccIsStrippedAtIntake(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("", anyCorp, u.YAML("out", "")))
	scan := "Bcc: secret@corp.example,\r\n other@corp.example\r\n" + rig.Scan("mfp@copier.test", "a@corp.example")
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, scan))
	if got := arrived(r, u, 1)[0].Data; strings.Contains(got, "secret@") || strings.Contains(got, "other@") {
		t.Errorf("Bcc left the relay:\n%s", got)
	}
}

func TestFailoverToAnotherDomainRewritesFromTheOriginal(t *testing.T) {
	first := rig.StartUpstream(t, rig.Script{Mail: func(string) error { return rig.Reply(530, "5.7.0", "authentication required") }})
	second := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("  fallbackUpstreamRefs: [{name: second}]", anyCorp,
		first.YAML("out", "  sender: {domain: first.example, localPart: scans}"),
		second.YAML("second", "  sender: {domain: second.example, localPart: scans}")))
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
	got := arrived(r, second, 1)[0]
	if got.From != "scans@second.example" || !strings.Contains(got.Data, "<scans@second.example>") || strings.Contains(got.Data, "first.example") {
		t.Errorf("MAIL FROM %s, header:\n%s", got.From, header(got))
	}
}

func header(m rig.Received) string {
	h, _, _ := strings.Cut(m.Data, "\r\n\r\n")
	return h
}

func TestEveryFromAndSenderAddressIsChecked(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("", ownSender, u.YAML("out", "")))
	for name, h := range map[string]string{
		"From":                  "From: Managing Director <md@corp.example>",
		"second From address":   "From: mfp@copier.test, md@corp.example",
		"second From field":     "From: mfp@copier.test\r\nFrom: md@corp.example",
		"Sender":                "From: mfp@copier.test\r\nSender: md@corp.example",
		"folded and encoded":    "From: =?utf-8?q?mfp=40copier=2Etest?=\r\n <md@corp.example>",
		"group":                 "From: boss: md@corp.example;",
		"comment hides address": "From: (mfp@copier.test) md@corp.example",
		"quoted local part":     `From: "mfp@copier.test" <"md"@corp.example>`,
	} {
		t.Run(name, func(t *testing.T) {
			got := r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, h+"\r\nSubject: pay\r\n\r\nplease")
			if !strings.HasPrefix(got, "550 5.7.1 ") {
				t.Errorf("got %q", got)
			}
		})
	}
	if n := len(u.Messages()); n != 0 {
		t.Errorf("%d messages left the relay", n)
	}
}

func TestRewritingStripsSignaturesAndNotificationRequests(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("", anyCorp, u.YAML("out", "  sender: {domain: out.example, localPart: scans}")))
	scan := "DKIM-Signature: v=1; a=rsa-sha256;\r\n b=abc\r\nReturn-Path: <x@y.example>\r\nDisposition-Notification-To: mfp@copier.test\r\n" + rig.Scan("mfp@copier.test", "a@corp.example")
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, scan))
	h := strings.ToLower(header(arrived(r, u, 1)[0]))
	for _, field := range []string{"dkim-signature", "return-path", "disposition-notification-to", "b=abc"} {
		if strings.Contains(h, field) {
			t.Errorf("%s left the relay:\n%s", field, h)
		}
	}
}

func TestRecipientRefusalIsADSNToThePostmasterOnly(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{Rcpt: rig.Refuse(rig.Reply(550, "5.1.1", "no such user here"), "gone@corp.example")})
	r := rig.Start(t, manifests(toPostmaster, anyCorp, u.YAML("out", "")))
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"gone@corp.example", "a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
	d := notification(r, u)
	if fmt.Sprint(d.To) != "[it@corp.example]" {
		t.Errorf("notification to %v", d.To)
	}
	for _, want := range []string{"no such user here", "gone@corp.example", "multipart/report", "Final-Recipient: rfc822; gone@corp.example", "Status: 5.1.1", "Auto-Submitted: auto-"} {
		if !strings.Contains(d.Data, want) {
			t.Errorf("the notification lacks %q:\n%s", want, d.Data)
		}
	}
	idle(r)
	if n := len(u.Messages()); n != 2 {
		t.Errorf("%d messages at the upstream, want the scan and one notification", n)
	}
}

func TestOriginalSenderHearsOnlyIfTheRuleCoveredIt(t *testing.T) {
	for name, tc := range map[string]struct{ rule, want string }{
		"covered":     {ownSender, "[mfp@copier.test]"},
		"not covered": {`    senders: {allowed: ["*@elsewhere.example"], otherwise: Rewrite}` + "\n" + anyCorp, "[it@corp.example]"},
	} {
		t.Run(name, func(t *testing.T) {
			u := rig.StartUpstream(t, rig.Script{Rcpt: rig.Refuse(rig.Reply(550, "5.1.1", "no"), "gone@corp.example")})
			r := rig.Start(t, manifests(toSender, tc.rule, u.YAML("out", "  sender: {domain: copier.test, localPart: scans}")))
			rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"gone@corp.example"}, rig.Scan("mfp@copier.test", "gone@corp.example")))
			if d := notification(r, u); fmt.Sprint(d.To) != tc.want {
				t.Errorf("notification to %v, want %s", d.To, tc.want)
			}
		})
	}
}

func TestNoDSNAboutADSN(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{Rcpt: rig.Refuse(rig.Reply(550, "5.1.1", "no"), "gone@corp.example", "it@corp.example")})
	r := rig.Start(t, manifests(toPostmaster, anyCorp, u.YAML("out", "")))
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"gone@corp.example"}, rig.Scan("mfp@copier.test", "gone@corp.example")))
	r.Eventually("both kept as failed", func() bool {
		_, body := r.Get("/state")
		return strings.Contains(body, `"failed": 2`)
	})
	if n := len(u.Messages()); n != 0 {
		t.Errorf("%d messages at the upstream, want none", n)
	}
}

func TestMessageScopeGoesToTheNextUpstream(t *testing.T) {
	first := rig.StartUpstream(t, rig.Script{Data: func(rig.Received) error { return rig.Reply(552, "5.3.4", "message too big") }})
	second := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("  fallbackUpstreamRefs: [{name: second}]", anyCorp, first.YAML("out", ""), second.YAML("second", "")))
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
	arrived(r, second, 1)
	idle(r)
	if n := len(first.Messages()); n != 1 {
		t.Errorf("the first upstream was asked %d times, want once", n)
	}
}

func TestUpstreamScopeIsNeverAnImmediateBounce(t *testing.T) {
	refuse := rig.Script{Mail: func(string) error {
		return rig.Reply(550, "5.7.30", "Basic authentication is not supported for Client Submission")
	}}
	u := rig.StartUpstream(t, refuse)
	r := rig.Start(t, manifests(toPostmaster, anyCorp, u.YAML("out", "")))
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
	r.Eventually("deferred", func() bool { _, b := r.Get("/state"); return strings.Contains(b, `"deferred": 1`) })
	u.Script(rig.Script{})
	arrived(r, u, 1)
	idle(r)
	if n := len(u.Messages()); n != 1 {
		t.Errorf("%d messages at the upstream, want the scan alone", n)
	}
}

func TestRestartResumesEverything(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{Rcpt: func(string) error { return rig.Reply(450, "4.2.0", "greylisted") }})
	r := rig.Start(t, manifests(toPostmaster, anyCorp, u.YAML("out", "")))
	c := r.Dial()
	for range 5 {
		rig.QueueID(t, c.Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
	}
	r.Stop()
	u.Script(rig.Script{})
	r.Restart()
	arrived(r, u, 5)
	idle(r)
	if n := len(u.Messages()); n != 5 {
		t.Errorf("%d messages, want 5", n)
	}
}

func TestRoutesSplitAMessageAndCopiesAreAdded(t *testing.T) {
	out, internal := rig.StartUpstream(t, rig.Script{}), rig.StartUpstream(t, rig.Script{})
	spec := `  addresses: {defaultDomain: corp.example, recipients: [{from: "*@old.example", to: ["*@corp.example"]}]}
  copies: [{name: archive, senders: ["*"], to: [journal@corp.example]}]
  routes: [{name: internal, recipientDomains: [corp.example], upstreamRef: {name: internal}}]`
	r := rig.Start(t, manifests(spec, `    recipients: {allowed: ["*@corp.example", "*@else.example"]}`, out.YAML("out", ""), internal.YAML("internal", "")))
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@old.example", "b@else.example"}, rig.Scan("mfp@copier.test", "a@old.example")))
	if got := arrived(r, out, 1)[0].To; fmt.Sprint(got) != "[b@else.example]" {
		t.Errorf("out got %v", got)
	}
	if got := arrived(r, internal, 1)[0].To; fmt.Sprint(got) != "[a@corp.example journal@corp.example]" {
		t.Errorf("internal got %v", got)
	}
}
