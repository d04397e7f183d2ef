package deploy

import (
	"strings"
	"testing"
)

// What Artifact Hub shows of the chart is what the chart installs.
func TestArtifactHub(t *testing.T) {
	var c struct {
		AppVersion  string            `json:"appVersion"`
		Annotations map[string]string `json:"annotations"`
	}
	unmarshal(t, read(t, chart+"/Chart.yaml"), &c)
	annotation := func(name string, into any) {
		t.Helper()
		unmarshal(t, c.Annotations["artifacthub.io/"+name], into)
	}

	var images []struct{ Name, Image string }
	annotation("images", &images)
	installed := one(t, templated(t, ""), "Deployment", "printer-relay-operator").at("spec", "template", "spec")
	container := installed["containers"].([]any)[0].(map[string]any)
	if len(images) != 1 || images[0].Image != container["image"] || !strings.HasSuffix(images[0].Image, ":"+c.AppVersion) {
		t.Errorf("images %v; installed is %v", images, container["image"])
	}

	var crds []struct{ Kind, Version, Name, Description string }
	annotation("crds", &crds)
	definitions := ofKind(templated(t, ""), "CustomResourceDefinition")
	if len(crds) != len(definitions) {
		t.Errorf("%d of %d kinds", len(crds), len(definitions))
	}
	for _, k := range crds {
		d := one(t, definitions, "CustomResourceDefinition", k.Name)
		version := d.at("spec")["versions"].([]any)[0].(map[string]any)["name"]
		if d.at("spec", "names")["kind"] != k.Kind || version != k.Version || k.Description == "" {
			t.Errorf("%+v; installed are %v, %v", k, d.at("spec", "names"), version)
		}
	}

	var examples []map[string]any
	annotation("crdsExamples", &examples)
	samples := ofKind(built(t, root+"/config/samples"), "PrinterRelay", "MailUpstream", "SenderPolicy")
	if len(examples) != len(crds) || len(examples) != len(samples) {
		t.Errorf("%d examples, %d samples", len(examples), len(samples))
	}
	for _, e := range examples {
		kind, _ := e["kind"].(string)
		of := ofKind(samples, kind)
		if len(of) != 1 {
			t.Fatalf("%d samples of kind %q", len(of), kind)
		}
		if a, b := marshal(t, map[string]any(of[0])["spec"]), marshal(t, e["spec"]); a != b {
			t.Errorf("the example of %s is not config/samples/cluster: %s", kind, difference(a, b))
		}
	}
}
