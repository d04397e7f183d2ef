package semantics

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// A password that somebody typed as the device's name, or as its sender, stands neither
// in the log nor in the history, whether the mail is taken or refused; nor in the trace
// of the mail that leaves.
func TestAPasswordInAWrongFieldIsShownNowhere(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	yaml := strings.Replace(manifests("", ownSender, u.YAML("out", "")), "tls: {mode: None}", "tls: {mode: None}, authentication: {mode: Optional, plaintext: Allow, secretRef: {name: logins}}", 1) +
		"---\napiVersion: v1\nkind: Secret\nmetadata: {name: logins}\nstringData: {mfp: swordfish-9, other: $2a$04$XYkBKxwGfW5cNzfMm2z0ouRjqxDSUQz8kRc4LVvDqIAdVFb0m0g7m}\n"
	r := rig.Start(t, yaml)
	for _, dialogue := range []func(c *rig.Client){
		func(c *rig.Client) {
			c.Want("250", "EHLO Swordfish-9.local")
			c.Want("250", "MAIL FROM:<swordfish-9@copier.test>")
			c.Want("250", "RCPT TO:<a@corp.example>")
			c.Want("354", "DATA")
			rig.QueueID(t, c.Cmd("%s\r\n.", rig.Scan("mfp@copier.test", "a@corp.example")))
		},
		func(c *rig.Client) {
			c.Want("250", "EHLO swordfish-9")
			c.Want("550", "MAIL FROM:<swordfish-9@elsewhere.test>")
			c.Want("550", "MAIL FROM:<scan@swordfish-9.test>")
			c.Want("250", "MAIL FROM:<mfp@copier.test>")
			c.Want("550", "RCPT TO:<swordfish-9@elsewhere.test>")
		},
		func(c *rig.Client) {
			c.Want("250", "EHLO mfp")
			c.Want("535", "AUTH PLAIN %s", b64("\x00nobody\x00guppy-77"))
			c.Want("250", "EHLO guppy-77")
			c.Want("550", "MAIL FROM:<guppy-77@elsewhere.test>")
			c.Want("250", "MAIL FROM:<guppy-77@copier.test>")
			c.Want("250", "RCPT TO:<a@corp.example>")
			c.Want("354", "DATA")
			rig.QueueID(t, c.Cmd("%s\r\n.", rig.Scan("mfp@copier.test", "a@corp.example")))
		},
	} {
		c := r.Dial()
		dialogue(c)
		c.Close()
	}
	for _, m := range arrived(r, u, 2) {
		if trace := header(m); strings.Contains(strings.ToLower(trace), "from swordfish") || strings.Contains(trace, "from guppy") {
			t.Errorf("the trace shows it:\n%s", trace)
		}
	}
	r.Eventually("both are in the history, with the refusals", func() bool {
		_, body := r.Get("/messages")
		return strings.Count(body, `"accepted"`) >= 2 && strings.Count(body, `"refusal"`) >= 4
	})
	_, history := r.Get("/messages")
	for where, text := range map[string]string{"log": r.Log.String(), "history": history} {
		for line := range strings.Lines(text) {
			if low := strings.ToLower(line); strings.Contains(low, "swordfish") || strings.Contains(low, "guppy") {
				t.Errorf("%s: %s", where, line)
			}
		}
		if !strings.Contains(text, "not shown: a password is in it") {
			t.Errorf("the %s does not say that something is left out", where)
		}
	}
}
