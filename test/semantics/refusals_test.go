package semantics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// A refusal is one line that a copier's panel can show, with a stable code.
func panelLine(t *testing.T, reply string) {
	t.Helper()
	if strings.Contains(reply, "\n") || len(reply) > 80+len("550 5.7.1 ") || !strings.Contains(reply, "PR-") {
		t.Errorf("not one short line with a code: %q", reply)
	}
}

func TestRefusals(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("", `    senders: {allowed: ["*@copier.test"]}
    recipients: {allowed: ["*@corp.example"], maximum: 2}
    content: {messageSize: 20Ki}
    rateLimit: {messagesPerMinute: 2, per: Client, exceeded: Refuse}`, u.YAML("out", "")))
	greet := func(t *testing.T) *rig.Client {
		c := r.Dial()
		c.Want("250", "EHLO copier.test")
		return c
	}
	t.Run("sender not allowed", func(t *testing.T) {
		panelLine(t, greet(t).Want("550 5.7.1 ", "MAIL FROM:<md@corp.example>"))
	})
	t.Run("recipient not allowed", func(t *testing.T) {
		c := greet(t)
		c.Want("250", "MAIL FROM:<mfp@copier.test>")
		panelLine(t, c.Want("550 5.7.1 ", "RCPT TO:<x@else.example>"))
	})
	t.Run("open relay shapes", func(t *testing.T) {
		c := greet(t)
		c.Want("250", "MAIL FROM:<mfp@copier.test>")
		for _, a := range []string{"x%else.example@corp.example", "else.example!x@corp.example", "@corp.example:x@else.example", `"x@else.example"@corp.example`} {
			c.Want("5", "RCPT TO:<%s>", a)
		}
	})
	t.Run("too many recipients", func(t *testing.T) {
		c := greet(t)
		c.Want("250", "MAIL FROM:<mfp@copier.test>")
		c.Want("250", "RCPT TO:<a@corp.example>")
		c.Want("250", "RCPT TO:<b@corp.example>")
		panelLine(t, c.Want("452 4.5.3 ", "RCPT TO:<c@corp.example>"))
	})
	t.Run("declared too large", func(t *testing.T) {
		got := greet(t).Want("552 5.3.4 ", "MAIL FROM:<mfp@copier.test> SIZE=3000000")
		panelLine(t, got)
		if !strings.Contains(got, "20") { // both figures
			t.Errorf("the limit is not in %q", got)
		}
	})
	t.Run("too large", func(t *testing.T) {
		c := greet(t)
		got := c.Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")+strings.Repeat("\r\nfill fill fill fill fill", 1000))
		if !strings.HasPrefix(got, "552 5.3.4 ") {
			t.Errorf("got %q", got)
		}
		c.Want("250", "NOOP") // in step
	})
	t.Run("second MAIL", func(t *testing.T) {
		c := greet(t)
		c.Want("250", "MAIL FROM:<mfp@copier.test>")
		c.Want("503 5.5.1", "MAIL FROM:<mfp@copier.test>")
	})
	t.Run("rate", func(t *testing.T) {
		for range 2 {
			rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
		}
		var got string
		for i := 0; i < 2 && !strings.HasPrefix(got, "450 4.7.1 "); i++ { // a minute may have begun
			got = r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example"))
		}
		if !strings.HasPrefix(got, "450 4.7.1 ") {
			t.Errorf("got %q", got)
		}
		panelLine(t, got)
	})
}

func TestNoPolicyNoMail(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, strings.Replace(manifests("", anyCorp, u.YAML("out", "")), "127.0.0.0/8", "10.0.0.0/8", 1))
	c := r.Dial()
	c.Want("250", "EHLO copier.test")
	panelLine(t, c.Want("550 5.7.1 ", "MAIL FROM:<mfp@copier.test>"))
}

func TestAuthenticationRequiredIs530(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	m := strings.Replace(manifests("", anyCorp, u.YAML("out", "")), "tls: {mode: None}", "tls: {mode: None}, authentication: {mode: Required, plaintext: Allow, secretRef: {name: logins}}", 1)
	r := rig.Start(t, m+`---
apiVersion: v1
kind: Secret
metadata: {name: logins}
stringData: {users: "mfp:secret-canary"}
`)
	c := r.Dial()
	c.Want("250", "EHLO copier.test")
	panelLine(t, c.Want("530 5.7.0 ", "MAIL FROM:<mfp@copier.test>"))
	panelLine(t, c.Want("535 5.7.8 ", "AUTH PLAIN AG1mcAB3cm9uZw=="))
	c.Want("235", "AUTH PLAIN AG1mcABzZWNyZXQtY2FuYXJ5")
	c.Want("250", "MAIL FROM:<mfp@copier.test>")
	if strings.Contains(r.Log.String(), "secret-canary") {
		t.Error("the password is in the log")
	}
}

func TestRateExceededHoldAndPaceAre250(t *testing.T) {
	for exceeded, state := range map[string]string{"Hold": `"held": 1`, "Pace": `"pending": 1`} {
		t.Run(exceeded, func(t *testing.T) {
			u := rig.StartUpstream(t, rig.Script{})
			r := rig.Start(t, manifests("", anyCorp+fmt.Sprintf("\n    rateLimit: {messagesPerMinute: 1, per: Client, exceeded: %s}", exceeded), u.YAML("out", "")))
			for range 2 {
				rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
			}
			r.Eventually(state, func() bool { _, b := r.Get("/state"); return strings.Contains(b, state) })
		})
	}
}
