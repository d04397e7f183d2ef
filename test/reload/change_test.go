package reload

import (
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/rig"
)

func dials(port int) bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func TestListenersChangeWithMailInTheQueue(t *testing.T) {
	u := rig.StartUpstream(t, greylist)
	s := setup{upstreams: []string{u.YAML("out", "")}}
	r := rig.Start(t, s.yaml())
	rig.QueueID(t, send(r.Dial()))
	deferred(r, 1)
	open := r.Dial() // on the port that stays
	second := rig.FreePort(t)
	s.listeners = fmt.Sprintf("  - {name: second, port: %d, tls: {mode: None}}", second)
	r.Write("relay.yaml", s.yaml())
	r.Eventually("the second port is open", func() bool { return dials(second) })
	s.listeners = ""
	r.Write("relay.yaml", s.yaml())
	r.Eventually("the second port is closed", func() bool { return !dials(second) })
	rig.QueueID(t, send(open)) // it went through both reloads
	u.Script(rig.Script{})
	arrived(r, u, 2)
}

func TestATransactionGoesOnThroughAReload(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	s := setup{upstreams: []string{u.YAML("out", "")}}
	r := rig.Start(t, s.yaml())
	c := r.Dial()
	c.Begin("mfp@copier.test", "a@corp.example")
	c.Write("Subject: half\r\n")
	s.hostname, s.senders = "other.test", "*@else.example"
	r.Write("relay.yaml", s.yaml())
	called(r, "other.test")
	c.Write("From: mfp@copier.test\r\n\r\npage\r\n.\r\n")
	rig.QueueID(t, c.Reply()) // what was allowed at MAIL stays allowed
	arrived(r, u, 1)
	c.Want("550 5.7.1", "MAIL FROM:<mfp@copier.test>") // the next one is under the new policy
	c.Want("250", "MAIL FROM:<mfp@else.example>")
}

func TestUpstreamsChangeWithMailInTheQueue(t *testing.T) {
	first, second := rig.StartUpstream(t, greylist), rig.StartUpstream(t, rig.Script{})
	s := setup{upstreams: []string{first.YAML("out", "")}}
	r := rig.Start(t, s.yaml())
	c := r.Dial()
	for range 3 {
		rig.QueueID(t, send(c))
	}
	deferred(r, 3)
	s.upstreams = []string{second.YAML("out", "")} // the same name leads elsewhere
	r.Write("relay.yaml", s.yaml())
	arrived(r, second, 3)

	first.Script(rig.Script{})
	second.Script(greylist)
	rig.QueueID(t, send(c))
	deferred(r, 1)
	s.upstream, s.upstreams = "new", []string{first.YAML("new", "")} // and another name
	r.Write("relay.yaml", s.yaml())
	arrived(r, first, 1)
	if n := len(second.Messages()); n != 3 {
		t.Errorf("%d messages at the second upstream, want 3", n)
	}
	r.Eventually("one upstream in the metrics", func() bool {
		return metric(r, `upstream_circuit_state{relay="default/office",state="closed",upstream="new"}`) == "1" &&
			metric(r, `upstream_circuit_state{relay="default/office",state="closed",upstream="out"}`) == ""
	})
}

func TestSecretsChange(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	s := setup{upstreams: []string{u.YAML("out", "")}}
	r := rig.Start(t, s.yaml())
	login := func(password string) string {
		c := r.Dial()
		defer c.Close()
		c.Want("250", "EHLO copier.test")
		return c.Cmd("AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00mfp\x00"+password)))
	}
	if got := login("swordfish"); !strings.HasPrefix(got, "235") {
		t.Fatalf("before: %s", got)
	}
	before, _ := planHash(r)
	s.password = "marlin"
	r.Write("relay.yaml", s.yaml())
	r.Eventually("the new password works", func() bool { return strings.HasPrefix(login("marlin"), "235") })
	if got := login("swordfish"); !strings.HasPrefix(got, "535 5.7.8") {
		t.Errorf("the old password: %s", got)
	}
	if hash, _ := planHash(r); hash != before {
		t.Error("the plan's hash follows from a Secret's value")
	}
}

func TestARenamedRelayGetsThePort(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	s := setup{upstreams: []string{u.YAML("out", "")}}
	r := rig.Start(t, s.yaml())
	r.Write("relay.yaml", strings.Replace(s.yaml(), "kind: PrinterRelay\nmetadata: {name: office}", "kind: PrinterRelay\nmetadata: {name: renamed}", 1))
	r.Eventually("the renamed relay runs alone", func() bool {
		_, state := r.Get("/state")
		_, ready := r.Get("/readyz")
		return strings.Contains(state, `"name": "renamed"`) && !strings.Contains(state, `"name": "office"`) && ready == "ready\n"
	})
	rig.QueueID(t, send(r.Dial()))
	arrived(r, u, 1)
	if _, b := r.Get("/metrics"); strings.Contains(b, `relay="default/office"`) {
		t.Error("the metrics of the one before stay")
	}
}

// A full spool is no place for mail: the Service sends it elsewhere until
// there is room.
func TestAFullSpoolIsNotReady(t *testing.T) {
	u := rig.StartUpstream(t, greylist)
	r := rig.Start(t, setup{relay: "  spool: {type: PersistentVolume, persistentVolume: {size: 1Mi}}", upstreams: []string{u.YAML("out", "")}}.yaml())
	// Each leaves something for those who have less; together they leave next to nothing.
	for _, scans := range []struct {
		client string
		lines  int // of 72 octets
	}{{"127.0.0.1", 4600}, {"127.0.0.1", 4600}, {"127.0.0.2", 3500}, {"127.0.0.3", 1200}} {
		c := r.DialFrom(scans.client)
		c.Begin("mfp@copier.test", "a@corp.example")
		c.Write(scan("mfp@copier.test") + "\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", scans.lines) + ".\r\n")
		rig.QueueID(t, c.Reply())
		c.Close()
	}
	code, body := r.Get("/readyz")
	if code != 503 || !strings.HasPrefix(body, "not ready\n") || !strings.Contains(body, "default/office: the spool is full: ") {
		t.Errorf("%d %s", code, body)
	}
	if code, body := r.Post("/queue/remove?all=true"); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	r.Eventually("ready again", func() bool { code, _ := r.Get("/readyz"); return code == 200 })
}

func TestTheSpoolsSizeIsTakenAtAReload(t *testing.T) {
	u := rig.StartUpstream(t, greylist)
	s := setup{relay: "  spool: {type: PersistentVolume, persistentVolume: {size: 300Ki}}", upstreams: []string{u.YAML("out", "")}}
	r := rig.Start(t, s.yaml())
	c := r.Dial()
	c.Want("250", "EHLO copier.test")
	c.Want("452 4.3.1", "MAIL FROM:<mfp@copier.test> SIZE=400000")
	s.relay, s.hostname = "  spool: {type: PersistentVolume, persistentVolume: {size: 1Mi}}", "larger.test"
	r.Write("relay.yaml", s.yaml())
	called(r, "larger.test")
	c.Want("250", "MAIL FROM:<mfp@copier.test> SIZE=400000")
}
