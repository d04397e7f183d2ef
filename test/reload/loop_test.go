package reload

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// A relay whose upstream is itself, by mistake, ends the loop and keeps the
// message.
func TestARelayThatSendsToItselfEndsTheLoop(t *testing.T) {
	r := rig.Start(t, setup{upstreams: []string{(&rig.Upstream{Port: 1}).YAML("out", "")}}.yaml())
	own := setup{upstreams: []string{(&rig.Upstream{Port: r.Port}).YAML("out", "")}}
	r.Write("relay.yaml", own.yaml())
	r.Eventually("it leads to itself", func() bool { return strings.Contains(r.Log.String(), "plan applied") })
	rig.QueueID(t, send(r.Dial()))
	r.Eventually("the message waits or has failed for the loop", func() bool {
		_, list := r.Get("/queue")
		return strings.Contains(list, "5.4.6") && strings.Count(list, `"id"`) == 1
	})
	if n := metric(r, `messages_received_total{listener="smtp",relay="default/office"}`); n != "1" && n != "2" && n != "3" {
		t.Errorf("it went round %s times", n)
	}
}
