package deploy

import "testing"

// The dashboard that is installed, by either tool, is the one that test/dashboard
// asks Prometheus about, and Grafana's sidecar finds it.
func TestInstalledDashboard(t *testing.T) {
	want := read(t, root+"/config/grafana/printer-relay.json")
	for tool, objects := range map[string][]object{
		"kustomize": built(t, "testdata/dashboard"),
		"Helm":      templated(t, "testdata/dashboard/values.yaml"),
	} {
		m := one(t, objects, "ConfigMap", "printer-relay-dashboard")
		if got, _ := m.at("data")["printer-relay.json"].(string); got != want {
			t.Errorf("%s: %s", tool, difference(want, got))
		}
		if got := m.at("metadata", "labels")["grafana_dashboard"]; got != "1" {
			t.Errorf("%s: label grafana_dashboard %v", tool, got)
		}
	}
	if of := ofKind(templated(t, ""), "ConfigMap"); len(of) != 0 {
		t.Errorf("without being asked for: %v", of)
	}
}
