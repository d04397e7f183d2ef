package semantics

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// A relay asks itself at start, and anew after a change, whether it would relay
// for a stranger.
func TestSelfProbe(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	m := strings.Replace(manifests("", anyCorp, u.YAML("out", "")), "127.0.0.0/8", "127.0.0.1/32", 1)
	r := rig.Start(t, m)
	asked := func(n int) func() bool {
		return func() bool { return strings.Count(r.Log.String(), "self-probe: refused, as it has to be") >= n }
	}
	r.Eventually("it asked itself", asked(1))
	r.Write("relay.yaml", strings.Replace(m, "action: Allow", "action: Hold", 1))
	r.Eventually("it asked itself again", asked(2))
	if _, body := r.Get("/metrics"); !strings.Contains(body, `printer_relay_open_relay_listeners{relay="default/office"} 0`) {
		t.Error("no metric")
	} else if strings.Contains(body, "printer_relay_refusals_total{") {
		t.Error("its own questions count as refusals")
	}
	for path, nothing := range map[string]string{"/messages": `"entries": []`, "/copiers": `"copiers": []`} {
		if code, body := r.Get(path); code != 200 || !strings.Contains(body, nothing) {
			t.Errorf("%s has its own questions: %d %s", path, code, body)
		}
	}
	if code, body := r.Get("/readyz"); code != 200 {
		t.Errorf("%d %s", code, body)
	}
}
