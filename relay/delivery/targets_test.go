package delivery

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/preflight"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// A print changes with what a check depends on, and with nothing else.
func TestTargets(t *testing.T) {
	r := newRig(t)
	have := secrets.Map{"login": {"username": []byte("u"), "password": []byte("hunter2")}, "ca": {"ca.crt": []byte("x")}, "other": {"k": []byte("v")}}
	r.Secrets = func() secrets.Source { return have }
	up := plan.Upstream{Name: "mta", Type: "SMTP", Connections: 1, SMTP: &plan.SMTP{Host: "one.example", Port: 25, CASecret: "ca", Auth: &plan.SMTPAuth{Secret: "login"}}}
	target := func() preflight.Target {
		t.Helper()
		now := up
		if err := r.Update(&plan.Plan{Namespace: "ns", Hostname: "relay.test", Upstreams: map[string]*plan.Upstream{
			"mta": &now, "file": {Name: "file", Type: "Maildir", Maildir: &plan.Maildir{Path: "box"}},
		}}); err != nil {
			t.Fatal(err)
		}
		all := r.Targets()
		if len(all) != 1 || all[0].Name != "mta" || all[0].Type != "SMTP" || all[0].Checker == nil {
			t.Fatalf("targets %v", all)
		}
		return all[0]
	}
	t.Cleanup(r.Close)
	last := target().Print
	for _, c := range []struct {
		what    string
		change  func()
		changes bool
	}{
		{"nothing", func() {}, false},
		{"the identity", func() { up.Sender = &plan.Sender{Domain: "x.example"} }, false},
		{"the signature", func() { up.DKIM = &plan.DKIM{Secret: "other"} }, false},
		{"another Secret", func() { have["other"] = map[string][]byte{"k": []byte("w")} }, false},
		{"the host", func() {
			up.SMTP = &plan.SMTP{Host: "two.example", Port: 25, CASecret: "ca", Auth: &plan.SMTPAuth{Secret: "login"}}
		}, true},
		{"the password", func() { have["login"] = map[string][]byte{"username": []byte("u"), "password": []byte("hunter3")} }, true},
		{"what was the user's is the password's", func() { have["login"] = map[string][]byte{"username": []byte("uhunter3"), "password": nil} }, true},
		{"the authority", func() { have["ca"] = map[string][]byte{"ca.crt": []byte("y")} }, true},
		{"a Secret that is gone", func() { delete(have, "login") }, true},
		{"a Secret that is back", func() { have["login"] = map[string][]byte{"password": []byte("hunter3")} }, true},
	} {
		c.change()
		now := target().Print
		if (now != last) != c.changes {
			t.Errorf("%s: changed %t, want %t", c.what, now != last, c.changes)
		}
		if strings.Contains(now, "hunter") || len(now) != 64 {
			t.Errorf("%s: %q", c.what, now)
		}
		last = now
	}
	up.Suspend = true
	now := up
	if err := r.Update(&plan.Plan{Upstreams: map[string]*plan.Upstream{"mta": &now}}); err != nil {
		t.Fatal(err)
	}
	if all := r.Targets(); len(all) != 0 {
		t.Errorf("a suspended upstream is checked: %v", all)
	}
}

func TestSecretsIn(t *testing.T) {
	got := secretsIn([]byte(`{"a": {"secret": "x", "caSecret": "y", "oauth": {"secret": "x"}}, "list": [{"certSecret": "z"}], "secrets": "no", "secretly": 1}`))
	if strings.Join(got, " ") != "x y z" {
		t.Errorf("%q", got)
	}
}

// What comes of an attempt is heard, but for those that reached no transport.
func TestSaw(t *testing.T) {
	r := newRig(t)
	var heard []string
	r.Saw = func(name string, outs []upstream.Outcome) { heard = append(heard, name+" "+outs[0].Kind.String()) }
	r.has("out", nil)
	r.attempt("out", r.stored("A", head, body))
	r.attempt("nowhere", r.stored("B", head, body))
	if strings.Join(heard, ",") != "out Accepted" {
		t.Errorf("%q", heard)
	}
}
