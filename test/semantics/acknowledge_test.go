package semantics

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

func TestRelayedAllAcceptedIs250(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests(relayed, anyCorp, u.YAML("out", "")))
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
	if n := len(u.Messages()); n != 1 {
		t.Errorf("250 came with %d messages at the upstream", n)
	}
}

func TestRelayedAllRefusedIs5xxWithTheRemotesWordsAndNoDSN(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{Rcpt: rig.Refuse(rig.Reply(550, "5.1.1", "no such user here"), "gone@corp.example")})
	r := rig.Start(t, manifests(relayed+toPostmaster, anyCorp, u.YAML("out", "")))
	got := r.Dial().Send("mfp@copier.test", []string{"gone@corp.example"}, rig.Scan("mfp@copier.test", "gone@corp.example"))
	if got != "550 5.1.1 PR-063 Mail server says: no such user here" {
		t.Errorf("got %q", got)
	}
	idle(r)
	if n := len(u.Messages()); n != 0 {
		t.Errorf("%d messages at the upstream, want no notification", n)
	}
}

func TestRelayedMixIs250WithADSNForTheRefused(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{Rcpt: rig.Refuse(rig.Reply(550, "5.1.1", "no such user here"), "gone@corp.example")})
	r := rig.Start(t, manifests(relayed+toPostmaster, anyCorp, u.YAML("out", "")))
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"gone@corp.example", "a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
	if d := notification(r, u); !strings.Contains(d.Data, "gone@corp.example") {
		t.Errorf("the notification is about something else:\n%s", d.Data)
	}
}

func TestRelayedDeferralIs250Queued(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{Rcpt: func(string) error { return rig.Reply(450, "4.2.0", "greylisted") }})
	r := rig.Start(t, manifests(relayed+toPostmaster, anyCorp, u.YAML("out", "")))
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
	u.Script(rig.Script{})
	arrived(r, u, 1)
}

func TestRelayedTimeoutIs250Queued(t *testing.T) {
	hold := make(chan struct{})
	u := rig.StartUpstream(t, rig.Script{Before: func() { <-hold }})
	r := rig.Start(t, manifests(relayed+"  acknowledgeTimeoutSeconds: 1\n", anyCorp, u.YAML("out", "")))
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
	if n := len(u.Messages()); n != 0 {
		t.Errorf("the upstream was done before the time was over")
	}
	close(hold)
	arrived(r, u, 1)
}

func TestRelayedCopierHangsUpAndTheMessageGoesOn(t *testing.T) {
	hold, came := make(chan struct{}), make(chan struct{}, 1)
	u := rig.StartUpstream(t, rig.Script{Before: func() { came <- struct{}{}; <-hold }})
	r := rig.Start(t, manifests(relayed, anyCorp, u.YAML("out", "")))
	c := r.Dial()
	c.Begin("mfp@copier.test", "a@corp.example")
	c.Write(rig.Scan("mfp@copier.test", "a@corp.example") + "\r\n.\r\n")
	<-came
	c.Close()
	close(hold)
	arrived(r, u, 1)
	idle(r)
	if n := len(u.Messages()); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

// Who hung up was told nothing: a refusal is reported as any other.
func TestRelayedRefusalBehindAHangUpIsADSN(t *testing.T) {
	for _, tls := range []bool{false, true} {
		hold, came := make(chan struct{}), make(chan struct{}, 1)
		u := rig.StartUpstream(t, rig.Script{Rcpt: func(to string) error {
			if to != "gone@corp.example" {
				return nil
			}
			came <- struct{}{}
			<-hold
			return rig.Reply(550, "5.1.1", "no such user here")
		}})
		yaml := manifests(relayed+toPostmaster, anyCorp, u.YAML("out", ""))
		if tls {
			yaml = strings.Replace(yaml, "{mode: None}", "{mode: StartTLS}", 1)
		}
		r := rig.Start(t, yaml)
		c := r.Dial()
		if tls {
			c.StartTLS()
		}
		c.Begin("mfp@copier.test", "gone@corp.example")
		c.Write(rig.Scan("mfp@copier.test", "gone@corp.example") + "\r\n.\r\n")
		<-came
		c.Close()
		r.Eventually("the relay notices", func() bool { return strings.Contains(r.Log.String(), "hung up before it was answered") })
		close(hold)
		if d := notification(r, u); !strings.Contains(d.Data, "gone@corp.example") {
			t.Errorf("the notification is about something else:\n%s", d.Data)
		}
	}
}

// What a copier sends while it waits for the reply is not lost.
func TestRelayedCommandsBehindTheMessageAreAnswered(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests(relayed, anyCorp, u.YAML("out", "")))
	c := r.Dial()
	c.Begin("mfp@copier.test", "a@corp.example")
	c.Write(rig.Scan("mfp@copier.test", "a@corp.example") + "\r\n.\r\nNOOP\r\nQUIT\r\n")
	for _, want := range []string{"250 2.0.0 Relayed as ", "250 2.0.0 ", "221 2.0.0 "} {
		if got := c.Reply(); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestEphemeralSpoolSays451InPlaceOfQueued(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{Rcpt: func(string) error { return rig.Reply(450, "4.2.0", "greylisted") }})
	r := rig.Start(t, manifests(relayed+"  spool: {type: Ephemeral}\n", anyCorp, u.YAML("out", "")))
	got := r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example"))
	if !strings.HasPrefix(got, "451 4.") {
		t.Errorf("got %q", got)
	}
	idle(r)
	if n := len(u.Messages()); n != 0 {
		t.Errorf("a message that was answered with 451 went on")
	}
}

func TestIntakeHoldKeepsUntilReleased(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("  intake: Hold", anyCorp, u.YAML("out", "")))
	id := rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
	r.Eventually("held", func() bool { _, b := r.Get("/state"); return strings.Contains(b, `"held": 1`) })
	if n := len(u.Messages()); n != 0 {
		t.Fatalf("held mail left the relay")
	}
	if code, body := r.Post("/queue/release?relay=default/office&id=" + id); code != 200 || !strings.Contains(body, id) {
		t.Fatalf("release: %d %s", code, body)
	}
	arrived(r, u, 1)
}

func TestIntakeRefuseIs421(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("  intake: Refuse", anyCorp, u.YAML("out", "")))
	c := r.Dial()
	c.Want("250", "EHLO copier.test")
	c.Want("421 4.3.2", "MAIL FROM:<mfp@copier.test>")
	if got := c.Reply(); got != "" {
		t.Errorf("the connection stayed open: %q", got)
	}
}
