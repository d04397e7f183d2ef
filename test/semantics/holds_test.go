package semantics

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/test/rig"
)

// verb uses a verb of the admin port, and gives what it did.
func verb(t *testing.T, r *rig.Relay, call string) admin.Changed {
	t.Helper()
	var done admin.Changed
	if code, body := r.Post("/queue/" + call); code != 200 {
		t.Fatalf("%s: %d %s", call, code, body)
	} else if err := json.Unmarshal([]byte(body), &done); err != nil {
		t.Fatal(err)
	}
	return done
}

func listed(t *testing.T, r *rig.Relay, f queue.Filter) []queue.Summary {
	t.Helper()
	_, body := r.Get("/queue?" + admin.Query(f).Encode())
	var p queue.Page
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err)
	}
	return p.Messages
}

// The kill switch: mail of a sender domain is taken and kept as soon as the manifests
// say so, with no restart; nothing lets it go but a person, and then the policy of that
// moment has to allow it.
func TestAHoldIsLetGoByAPersonAndThePolicyOfTheMoment(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	const hold = "  holds: [{name: stolen, senders: ['*@copier.test'], reason: ticket 4711}]\n"
	free := manifests("", ownSender, u.YAML("out", ""))
	held := strings.Replace(free, "  listeners:", hold+"  listeners:", 1)
	r := rig.Start(t, held)
	send := func(from, header string) string {
		c := r.Dial()
		defer c.Close()
		c.Want("250", "EHLO copier.test")
		c.Want("250", "MAIL FROM:<%s>", from)
		c.Want("250", "RCPT TO:<a@corp.example>")
		c.Want("354", "DATA")
		return rig.QueueID(t, c.Cmd("%s\r\n.", rig.Scan(header, "a@corp.example")))
	}
	first, second := send("mfp@copier.test", "mfp@copier.test"), send("mfp@copier.test", "mfp@copier.test")
	all := listed(t, r, queue.Filter{HeldBy: "stolen"})
	if len(all) != 2 || all[0].State != queue.Held || all[0].Reason != "hold stolen: ticket 4711" {
		t.Fatalf("%+v", all)
	}
	r.Eventually("the metrics count what is held", func() bool {
		_, metrics := r.Get("/metrics")
		return strings.Contains(metrics, `printer_relay_held_messages{hold="stolen",relay="default/office"} 2`)
	})
	only := func(id string) string { return url.Values{"id": {id}}.Encode() }
	if d := verb(t, r, "release?"+only(first)); len(d.Changed) != 0 || len(d.Kept) != 1 || !strings.Contains(d.Kept[0].Why, "spec.holds") {
		t.Errorf("released past the hold: %+v", d)
	}

	// The hold goes, and the policy does not allow the sender any more.
	r.Write("relay.yaml", strings.Replace(free, "*@copier.test", "*@other.test", 1))
	r.Eventually("the policy is in force", func() bool {
		d := verb(t, r, "release?"+only(first))
		return len(d.Kept) == 1 && strings.Contains(d.Kept[0].Why, "PR-031")
	})
	if n := len(u.Messages()); n != 0 {
		t.Fatalf("%d messages left while they were held", n)
	}
	if d := verb(t, r, "reroute?to=out&"+only(first)); len(d.Kept) != 1 {
		t.Errorf("rerouted past the policy: %+v", d)
	}
	// Who insists is named.
	if d := verb(t, r, "release?override-policy=true&"+only(first)); len(d.Changed) != 1 {
		t.Errorf("not released: %+v", d)
	}
	arrived(r, u, 1)
	if log := r.Log.String(); !strings.Contains(log, "the policy is overridden by hand") || !strings.Contains(log, "by=loopback") {
		t.Error("the log does not say who overrode the policy")
	}

	// The policy allows it again: what stayed goes, when a person says so.
	r.Write("relay.yaml", free)
	r.Eventually("the second one is released", func() bool { return len(verb(t, r, "release?"+only(second)).Changed) == 1 })
	arrived(r, u, 2)
}

// Somebody is told: the postmaster gets one mail when a hold begins to keep mail back,
// by the way that mail takes.
func TestThePostmasterIsToldOfAHold(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("  holds: [{name: stolen, clientNetworks: [127.0.0.0/8], reason: ticket 4711}]\n"+toPostmaster, ownSender, u.YAML("out", "")))
	var ids []string
	for range 3 {
		ids = append(ids, rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example"))))
	}
	got := arrived(r, u, 1)[0]
	if got.From != "" || len(got.To) != 1 || got.To[0] != "it@corp.example" {
		t.Errorf("from %q to %q", got.From, got.To)
	}
	for _, want := range []string{"Subject: Mail is held in default/office: hold stolen\r\n", "ticket 4711", ids[0], "--held-by stolen"} {
		if !strings.Contains(got.Data, want) {
			t.Errorf("it does not say %q:\n%s", want, got.Data)
		}
	}
	_, body := r.Get("/messages/" + ids[0])
	if !strings.Contains(body, `"notification"`) {
		t.Errorf("the history does not know of it: %s", body)
	}
	if all := listed(t, r, queue.Filter{HeldBy: "stolen"}); len(all) != 3 {
		t.Errorf("%+v", all)
	}
}

// What the policy of the moment looks at in a message that is in the queue.
func TestWhatIsAskedOfAHeldMessage(t *testing.T) {
	for name, change := range map[string]struct{ old, now, why string }{
		"the device's network": {"127.0.0.0/8", "10.0.0.0/8", "PR-030"},
		"MAIL FROM":            {`["*@copier.test"]`, `["*@other.test"]`, "PR-031"},
		"the recipient":        {`["*@corp.example"]`, `["*@elsewhere.example"]`, "PR-032"},
		"the rule's action":    {"action: Allow", "action: Reject", "PR-033"},
		"From":                 {`["*@copier.test"]`, `[mfp@copier.test]`, "PR-034"},
		"a rewrite":            {`["*@copier.test"]`, `[mfp@copier.test], otherwise: Rewrite`, "replaces its sender now"},
		"TLS":                  {"action: Allow", "action: Allow\n    connection: {tls: Required}", "PR-020"},
		"the size":             {"action: Allow", "action: Allow\n    content: {messageSize: 10}", "content.messageSize"},
		"the login":            {"mfp: swordfish", "other: swordfish", `no listener has the login "mfp"`},
	} {
		t.Run(name, func(t *testing.T) {
			u := rig.StartUpstream(t, rig.Script{})
			yaml := strings.Replace(manifests("  intake: Hold\n", ownSender, u.YAML("out", "  sender: {domain: relay.example}")), "tls: {mode: None}", "tls: {mode: None}, authentication: {mode: Optional, plaintext: Allow, secretRef: {name: logins}}", 1) +
				"---\napiVersion: v1\nkind: Secret\nmetadata: {name: logins}\nstringData: {mfp: swordfish}\n"
			r := rig.Start(t, yaml)
			c := r.Dial()
			c.Want("250", "EHLO copier.test")
			c.Want("235", "AUTH PLAIN %s", b64("\x00mfp\x00swordfish"))
			c.Want("250", "MAIL FROM:<mfp@copier.test>")
			c.Want("250", "RCPT TO:<a@corp.example>")
			c.Want("354", "DATA")
			rig.QueueID(t, c.Cmd("%s\r\n.", rig.Scan("another@copier.test", "a@corp.example")))
			changed := strings.Replace(yaml, change.old, change.now, 1)
			if changed == yaml {
				t.Fatal("nothing is changed")
			}
			renamed(r, changed)
			if d := verb(t, r, "release?all=true"); len(d.Kept) != 1 || !strings.Contains(d.Kept[0].Why, change.why) {
				t.Errorf("%+v, want kept: %s", d, change.why)
			}
			if d := verb(t, r, "bounce?all=true"); len(d.Changed) != 1 {
				t.Errorf("what may not go can be given up: %+v", d)
			}
		})
	}
}
