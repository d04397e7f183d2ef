package deploy

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// differences are all that kustomize and Helm may differ in for equal settings.
// Each must still be one.
var differences = []struct {
	why string
	// alike removes the difference from an object and says whether it was there;
	// an object that is left empty is no longer compared.
	alike func(o object) bool
}{
	{
		"helm --create-namespace makes the namespace, and it is not the release's to delete",
		func(o object) bool {
			if o.kind() != "Namespace" {
				return false
			}
			clear(o)
			return true
		},
	},
	{
		"Helm's labels: which chart and version, and that Helm manages it",
		func(o object) bool {
			labels, had := o.at("metadata", "labels"), false
			for _, l := range []string{"helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"} {
				_, ok := labels[l]
				had = had || ok
				delete(labels, l)
			}
			return had
		},
	},
	{
		"helm uninstall keeps the CustomResourceDefinitions; kubectl delete -k has no such thing",
		func(o object) bool {
			annotations := o.at("metadata", "annotations")
			_, had := annotations["helm.sh/resource-policy"]
			delete(annotations, "helm.sh/resource-policy")
			return had && o.kind() == "CustomResourceDefinition"
		},
	},
}

// What one installs must not depend on the tool. These settings are the same in
// testdata/config and testdata/chart.
func TestKustomizeAndHelmAgree(t *testing.T) {
	used := map[string]bool{}
	same := func(objects []object) map[string]object {
		out := map[string]object{}
		for _, o := range objects {
			key := o.key()
			for _, d := range differences {
				used[d.why] = d.alike(o) || used[d.why]
			}
			if len(o) > 0 {
				out[key] = o
			}
		}
		return out
	}
	for setting, namespace := range map[string]string{"default": namespace, "monitoring": namespace, "namespaced": namespace, "moved": "mail-two"} {
		a := same(built(t, filepath.Join("testdata/config", setting)))
		b := same(templated(t, filepath.Join("testdata/chart", setting, "values.yaml"), "--namespace", namespace))
		if x, y := slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b)); !slices.Equal(x, y) {
			t.Errorf("%s: kustomize makes\n%q, Helm\n%q", setting, x, y)
			continue
		}
		for key := range a {
			if !reflect.DeepEqual(a[key], b[key]) {
				t.Errorf("%s: %s\nby kustomize:\n%s\nby Helm:\n%s", setting, key, text(t, []object{a[key]}), text(t, []object{b[key]}))
			}
		}
	}
	for _, d := range differences {
		if !used[d.why] {
			t.Errorf("no longer a difference: %s", d.why)
		}
	}
}
