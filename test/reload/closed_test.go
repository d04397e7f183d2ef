package reload

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// What is taken away is no bad edit: nothing new comes in without the policy
// that allows it, and the queue is delivered.
func TestAMissingReferenceFailsClosed(t *testing.T) {
	u := rig.StartUpstream(t, greylist)
	good := setup{upstreams: []string{u.YAML("out", "")}}.yaml()
	r := rig.Start(t, good)
	rig.QueueID(t, send(r.Dial()))
	deferred(r, 1)
	for name, bad := range map[string]string{
		"policy":   strings.Replace(good, "kind: SenderPolicy\nmetadata: {name: office}", "kind: SenderPolicy\nmetadata: {name: other}", 1),
		"upstream": strings.Replace(good, "kind: MailUpstream\nmetadata: {name: out}", "kind: MailUpstream\nmetadata: {name: other}", 1),
	} {
		if bad == good {
			t.Fatalf("%s: the manifests are as before", name)
		}
		open := r.Dial()
		open.Want("250", "EHLO copier.test")
		r.Write("relay.yaml", bad)
		r.Eventually(name+" is missing: no new mail", func() bool {
			c := r.Dial()
			defer c.Close()
			c.Want("250", "EHLO copier.test")
			return strings.HasPrefix(c.Cmd("MAIL FROM:<mfp@copier.test>"), "421 4.3.2 PR-009 ")
		})
		open.Want("421 4.3.2 PR-009 ", "MAIL FROM:<mfp@copier.test>")
		r.Eventually(name+" is missing: /readyz says so", func() bool {
			_, body := r.Get("/readyz")
			return strings.Contains(body, `is not in namespace "default"`) && strings.Contains(body, "is missing: no new mail is taken until it is back")
		})
		if got := metric(r, `intake_closed{relay="default/office"}`); got != "1" {
			t.Errorf("%s: intake_closed %s", name, got)
		}
		r.Write("relay.yaml", good)
		r.Eventually("it is back", func() bool {
			c := r.Dial()
			defer c.Close()
			c.Want("250", "EHLO copier.test")
			return strings.HasPrefix(c.Cmd("MAIL FROM:<mfp@copier.test>"), "250 ")
		})
		r.Eventually("nothing to complain of", func() bool {
			_, body := r.Get("/readyz")
			return body == "ready\n" && metric(r, `intake_closed{relay="default/office"}`) == "0"
		})
	}
	r.Write("relay.yaml", strings.Replace(good, "kind: SenderPolicy\nmetadata: {name: office}", "kind: SenderPolicy\nmetadata: {name: other}", 1))
	r.Eventually("closed", func() bool { return strings.Contains(r.Log.String(), "no new mail is taken until it is back") })
	u.Script(rig.Script{})
	arrived(r, u, 1)
}

const attempt = "AUTH PLAIN AG1mcABzd29yZGZpc2g=" // mfp, swordfish

// A password that was changed or taken away is worth nothing from then on, on
// connections that are open too, and whatever else in the folder is broken.
func TestARevokedLoginIsWorthNothing(t *testing.T) {
	for name, broken := range map[string]bool{"all is well": false, "another file is broken": true} {
		t.Run(name, func(t *testing.T) {
			u := rig.StartUpstream(t, rig.Script{})
			r := rig.Start(t, setup{upstreams: []string{u.YAML("out", "")}}.yaml())
			c, other := r.Dial(), r.Dial()
			c.Want("250", "EHLO copier.test")
			c.Want("235", attempt)
			rig.QueueID(t, c.Send("mfp@copier.test", []string{"a@corp.example"}, scan("mfp@copier.test")))
			if broken {
				r.Write("other.yaml", "kind: [typo")
				r.Eventually("it is noticed", func() bool { _, body := r.Get("/readyz"); return strings.Contains(body, "other.yaml:") })
			}
			r.Write("relay.yaml", setup{upstreams: []string{u.YAML("out", "")}, password: "changed"}.yaml())
			other.Want("250", "EHLO copier.test")
			r.Eventually("the old password is wrong", func() bool {
				c := r.Dial()
				defer c.Close()
				c.Want("250", "EHLO copier.test")
				return strings.HasPrefix(c.Cmd(attempt), "535 ")
			})
			c.Want("421 4.7.0 PR-016", "MAIL FROM:<mfp@copier.test>")
			if got := c.Reply(); got != "" {
				t.Errorf("the session goes on: %q", got)
			}
			other.Want("250", "MAIL FROM:<mfp@copier.test>") // it never used the login
		})
	}
}

// A listener that asks for more asks those that are connected too.
func TestAStricterListenerHoldsForOpenSessions(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	yaml := setup{upstreams: []string{u.YAML("out", "")}}.yaml()
	r := rig.Start(t, yaml)
	c := r.Dial()
	c.Want("250", "EHLO copier.test")
	r.Write("relay.yaml", strings.Replace(yaml, "mode: Optional", "mode: Required", 1))
	r.Eventually("a new session needs a login", func() bool {
		n := r.Dial()
		defer n.Close()
		n.Want("250", "EHLO copier.test")
		return strings.HasPrefix(n.Cmd("MAIL FROM:<mfp@copier.test>"), "530 ")
	})
	c.Want("421 4.7.0 PR-016 ", "MAIL FROM:<mfp@copier.test>") // not 530: what EHLO offered it is over
	if got := c.Reply(); got != "" {
		t.Errorf("the session goes on: %q", got)
	}
}
