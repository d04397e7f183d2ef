package reload

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// What is known of failed sessions outlives a reload, even one under which the port
// changes hands, and no restart; the relay's questions to itself are none of it.
func TestTranscriptsOutliveAReload(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	manifests := func(s setup) string { // this machine has addresses that no rule names: the relay can ask itself
		s.upstreams = []string{u.YAML("out", "")}
		return strings.Replace(s.yaml(), "127.0.0.0/8", "127.0.0.1/32", 1)
	}
	r := rig.Start(t, manifests(setup{}))
	sessions := func() string { _, body := r.Get("/sessions?format=text"); return body }
	r.Eventually("the relay asked itself", func() bool { return strings.Contains(r.Log.String(), "self-probe: refused, as it has to be") })
	c := r.Dial()
	c.Want("250", "EHLO floor3")
	c.Want("250", "MAIL FROM:<mfp@copier.test>")
	c.Want("550", "RCPT TO:<a@elsewhere.example>")
	c.Want("221", "QUIT")
	r.Eventually("the session is kept", func() bool { return strings.Contains(sessions(), "floor3") })
	if got := sessions(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "127.0.0.1 ") {
		t.Errorf("more than the one session is kept:\n%s", got)
	}
	r.Write("relay.yaml", manifests(setup{hostname: "renamed.test"}))
	called(r, "renamed.test")
	code, body := r.Get("/sessions/127.0.0.1?format=text")
	for _, want := range []string{"S: 220 relay.test ESMTP", "C: RCPT TO:<a@elsewhere.example>", "S: 550 5.7.1 PR-032", "listener smtp"} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("after the reload: %d, %q is not in\n%s", code, want, body)
		}
	}
	r.Restart()
	if got := sessions(); strings.Contains(got, "floor3") {
		t.Errorf("after the restart:\n%s", got)
	}
}
