package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sending = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  upstreamRef: {name: a}
  senderPolicyRefs: [{name: office}]
  listeners:
  - {name: smtp, port: 2525, authentication: {mode: Optional, secretRef: {name: logins}}}
  delivery: {bounce: {to: None}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: a}
spec: {type: Maildir, maildir: {path: a}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: down}
spec: {type: SMTP, smtp: {host: 127.0.0.1, port: 1, tls: {mode: None}}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - {name: floor, match: {clientNetworks: [10.20.0.0/16]}, senders: {allowed: ["*@copier.test"]}, recipients: {allowed: ["*@corp.example"]}}
  - {name: login, match: {users: [mfp-1]}, recipients: {allowed: ["*@corp.example"]}}
---
apiVersion: v1
kind: Secret
metadata: {name: logins}
stringData: {mfp-1: swordfish}
`

// TestSend tries a relay as devices that its policy lets in, and as others: each step
// is printed, and the one that fails is the last.
func TestSend(t *testing.T) {
	twoWays := strings.Replace(sending, "  senderPolicyRefs", "  routes: [{name: d, recipientDomains: [down.example], upstreamRef: {name: down}}]\n  senderPolicyRefs", 1)
	r := start(t, folder(t, "office.yaml", twoWays), t.TempDir())
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("swordfish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		want []string
		last string
	}{
		"a device of the floor":    {[]string{"--client", "10.20.3.7", "--from", "mfp@copier.test"}, 0, []string{"ok      tls        TLS 1.3\n", "ok      sender ", "ok      message    250 "}, "ok      upstream   a: "},
		"by a login":               {[]string{"--user", "mfp-1", "--password-file", password, "--from", "mfp@copier.test"}, 0, []string{"ok      login      235"}, "ok      upstream   a: "},
		"in JSON":                  {[]string{"--client", "10.20.3.7", "--from", "mfp@copier.test", "--json"}, 0, []string{`{"step":"sender","ok":true`}, `{"step":"upstream","ok":true`},
		"nobody that a rule names": {[]string{"--from", "mfp@copier.test"}, 1, []string{"ok      connect"}, "FAILED  sender     530 5.7.0 PR-022"},
		"a sender of others":       {[]string{"--client", "10.20.3.7", "--from", "ceo@corp.example"}, 1, []string{"docs/replies.md says what to do about PR-031"}, "FAILED  sender     550 5.7.1 PR-031"},
		"an upstream that is down": {[]string{"--client", "10.20.3.7", "--from", "mfp@copier.test", "--via", "down"}, 1, []string{"ok      message"}, "waits   upstream   down: "},
		"a wrong listener":         {[]string{"--client", "10.20.3.7", "--from", "mfp@copier.test", "--listener", "none"}, 1, nil, ""},
		"no address":               {[]string{"--client", "floor 3", "--from", "mfp@copier.test"}, 2, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got result
			eventually(t, "a test may begin", func() bool {
				got = command(t, append([]string{"send", "--admin", r.admin, "--to", "pat@corp.example"}, tc.args...)...)
				return !strings.Contains(got.stderr, "a test has just begun")
			})
			if got.code != tc.code {
				t.Errorf("exit status %d, want %d: %s%s", got.code, tc.code, got.out, got.stderr)
			}
			contains(t, "the steps", got.out, tc.want...)
			lines := strings.Split(got.out, "\n")
			last := ""
			for _, l := range lines {
				if l != "" && !strings.Contains(l, "what to do") {
					last = l
				}
			}
			if !strings.HasPrefix(last, tc.last) {
				t.Errorf("the last step is %q, want %q", last, tc.last)
			}
		})
	}
	// What a test did says nothing about the device: suggest would ask of it what it never did.
	if got := command(t, "copiers", "list", "--admin", r.admin, "-o", "csv"); got.code != 0 || strings.Contains(got.out, "10.20.3.7") || strings.Contains(got.out, "127.0.0.1") {
		t.Errorf("exit status %d: a test is among the copiers: %s%s", got.code, got.out, got.stderr)
	}
}

// A listener where TLS comes first is tried as any other.
func TestSendWhereTLSComesFirst(t *testing.T) {
	r := start(t, folder(t, "office.yaml", strings.Replace(sending, "port: 2525,", "port: 2525, tls: {mode: Implicit},", 1)), t.TempDir())
	got := command(t, "send", "--admin", r.admin, "--to", "pat@corp.example", "--client", "10.20.3.7", "--from", "mfp@copier.test")
	if got.code != 0 {
		t.Errorf("exit status %d: %s", got.code, got.stderr)
	}
	contains(t, "the steps", got.out, "ok      tls        TLS 1.3\nok      connect ", "ok      message    250 ", "ok      upstream   a: ")
}

// What keeps a test back on purpose is said at once: by which field of which object, and
// what lets it go. It has an exit status of its own.
func TestSendSaysWhatKeepsItBack(t *testing.T) {
	in := func(old, now string) func(string) string {
		return func(yaml string) string { return strings.Replace(yaml, old, now, 1) }
	}
	suspended := in("maildir: {path: a}", "maildir: {path: a}, suspend: true")
	relay := func(field string) func(string) string {
		return in("  senderPolicyRefs", "  "+field+"\n  senderPolicyRefs")
	}
	both := func(fs ...func(string) string) func(string) string {
		return func(yaml string) string {
			for _, f := range fs {
				yaml = f(yaml)
			}
			return yaml
		}
	}
	const release = "printer-relay queue release "
	for name, tc := range map[string]struct {
		change func(string) string
		to     string
		code   int
		last   string // step, and what it says
		remedy string
	}{
		"upstream":                 {suspended, "pat@corp.example", 3, "held    suspended  MailUpstream default/a: spec.suspend is true", "set spec.suspend: false, and it goes by itself; or printer-relay queue reroute --to UPSTREAM "},
		"one with a fallback":      {both(suspended, relay("fallbackUpstreamRefs: [{name: b}]")), "pat@corp.example", 0, "ok      upstream   b: ", ""},
		"for one recipient of two": {both(suspended, relay("routes: [{name: b, recipientDomains: [b.corp.example], upstreamRef: {name: b}}]"), in("[\"*@corp.example\"]", "[\"*@corp.example\", \"*@b.corp.example\"]")), "pat@corp.example,kim@b.corp.example", 3, "held    suspended  MailUpstream default/a: ", "spec.suspend"},
		"device":                   {relay("holds: [{name: stolen, clientNetworks: [10.20.3.7/32], reason: ticket 4711}]"), "pat@corp.example", 3, "held    held       PrinterRelay default/office: spec.holds: hold stolen: ticket 4711", "take hold stolen out of spec.holds; then " + release},
		"relay":                    {relay("intake: Hold"), "pat@corp.example", 3, "held    held       PrinterRelay default/office: spec.intake is Hold", "set spec.intake: Accept for what comes next; " + release},
		"relay altogether":         {relay("intake: Refuse"), "pat@corp.example", 1, "FAILED  sender     421 4.3.2 PR-009", "PrinterRelay default/office: spec.intake is Refuse: set it to Accept"},
		"rule":                     {in("{name: floor,", "{name: floor, action: Hold,"), "pat@corp.example", 3, "held    held       SenderPolicy default/office: spec.rules, rule \"floor\": action is Hold", release},
		"rate":                     {in("{name: floor,", "{name: floor, rateLimit: {recipientsPerDay: 1, per: Client, exceeded: Hold},"), "pat@corp.example,kim@corp.example", 3, "held    held       SenderPolicy default/office: spec.rules, rule \"floor\": rateLimit.exceeded is Hold", release},
	} {
		t.Run(name, func(t *testing.T) {
			yaml := tc.change(sending + "---\napiVersion: printerrelay.dev/v1alpha1\nkind: MailUpstream\nmetadata: {name: b}\nspec: {type: Maildir, maildir: {path: b}}\n")
			r := start(t, folder(t, "office.yaml", yaml), t.TempDir())
			// A command has less time than a message is followed at most.
			got := command(t, "send", "--admin", r.admin, "--to", tc.to, "--client", "10.20.3.7", "--from", "mfp@copier.test")
			if got.code != tc.code {
				t.Errorf("exit status %d, want %d: %s%s", got.code, tc.code, got.out, got.stderr)
			}
			lines := strings.Split(strings.TrimSpace(got.out), "\n")
			if tc.remedy != "" {
				contains(t, "what to do", lines[len(lines)-1], "what to do: ", tc.remedy)
				lines = lines[:len(lines)-1]
			}
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, tc.last) {
				t.Errorf("the last step is %q, want %q", last, tc.last)
			}
		})
	}
}
