// Package kinds is what tests know of the three kinds: objects that have every
// field, and each of them changed in every way that the schemas and their rules
// speak of, with the verdict. The loader of manifests and a real API server are
// both held to it.
//
// Only tests import it; it imports config/crd and Kubernetes' types alone.
package kinds

import (
	_ "embed"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/config/crd"
)

// Full holds objects that have, together, every field of the kinds.
//
//go:embed full.yaml
var Full string

// Schema is the OpenAPI schema of a kind or of a field.
type Schema = apiextensionsv1.JSONSchemaProps

// Case is one object and the verdict on it.
type Case struct {
	Name   string
	Old    map[string]any // what is there already; nil: the object is new
	Object map[string]any // as a person wrote it, without defaults
	Field  string         // of the problem: "spec.listeners[0].port"; empty: Want may be anywhere
	Want   string         // part of what the loader says of it; empty: there is no problem at Field
	Check  func(t *testing.T, after map[string]any)
}

// All gives every case.
func All(t testing.TB) []Case {
	t.Helper()
	out := append(Changes(t), Updates(t)...)
	for _, name := range slices.Sorted(maps.Keys(Edits)) {
		out = append(out, Case{Name: name, Object: edited(t, name, Edits[name]), Want: Edits[name].Want})
	}
	return out
}

// Changes gives each object of Full with one field changed, for everything that
// the schemas say of fields, and fails the test where Full lacks a field.
func Changes(t testing.TB) []Case {
	t.Helper()
	schemas := Schemas(t)
	w := &walker{seen: map[string]bool{}, all: map[string]bool{}}
	for _, obj := range Objects(t) {
		kind := obj["kind"].(string)
		w.root = obj
		spec := schemas[kind].Properties["spec"]
		w.walk(&spec, kind+".spec", []any{"spec"}, obj["spec"])
	}
	for path := range w.all {
		if !w.seen[path] {
			t.Errorf("full.yaml has no %s", path)
		}
	}
	if len(w.cases) < 500 {
		t.Errorf("%d changes only: the schemas are not read as they should be", len(w.cases))
	}
	return w.cases
}

// Updates change an object that is there.
func Updates(t testing.TB) []Case {
	t.Helper()
	const field = "spec.spool.persistentVolume"
	out := []Case{}
	for _, c := range []struct {
		name          string
		before, after map[string]any
		field, want   string
	}{
		{"the same size and class", map[string]any{"size": "5Gi", "storageClassName": "a"}, map[string]any{"size": "5120Mi", "storageClassName": "a"}, "", ""},
		{"a volume grows", map[string]any{"size": "5Gi"}, map[string]any{"size": int64(6 << 30)}, "", ""},
		{"a volume shrinks", map[string]any{"size": "5Gi"}, map[string]any{"size": "5G"}, field + ".size", "Invalid value: \"5G\": a volume cannot shrink"},
		{"another class", map[string]any{"size": "5Gi", "storageClassName": "a"}, map[string]any{"size": "5Gi", "storageClassName": "b"}, field, "storageClassName of a volume cannot change"},
		{"the class is new", map[string]any{"size": "5Gi"}, map[string]any{"size": "5Gi", "storageClassName": "b"}, field, "storageClassName of a volume cannot change"},
		{"the class is gone", map[string]any{"size": "5Gi", "storageClassName": "a"}, map[string]any{"size": "5Gi"}, field, "storageClassName of a volume cannot change"},
	} {
		set := func(volume map[string]any) map[string]any {
			return with(t, volume, "persistentVolume", "spec", "spool")
		}
		out = append(out, Case{Name: c.name, Old: set(c.before), Object: set(c.after), Field: c.field, Want: c.want})
	}
	return append(out, services(t)...)
}

// services are changes of spec.service that a Service cannot follow, or can.
func services(t testing.TB) (out []Case) {
	const class = "loadBalancerClass of a Service cannot change"
	for _, c := range []struct {
		name          string
		before, after map[string]any
		want          string
	}{
		{"the class of a load balancer stays", map[string]any{"loadBalancerClass": "a.example/b"}, map[string]any{"loadBalancerClass": "a.example/b"}, ""},
		{"another class of load balancer", map[string]any{"loadBalancerClass": "a.example/b"}, map[string]any{"loadBalancerClass": "a.example/c"}, class},
		{"a class for a load balancer without", map[string]any{}, map[string]any{"loadBalancerClass": "a.example/c"}, class},
		{"the class of a load balancer goes", map[string]any{"loadBalancerClass": "a.example/b"}, map[string]any{}, class},
		{"a load balancer with a class becomes another type", map[string]any{"loadBalancerClass": "a.example/b"}, map[string]any{"type": "ClusterIP"}, ""},
		{"another type becomes a load balancer with a class", map[string]any{"type": "NodePort"}, map[string]any{"loadBalancerClass": "a.example/b"}, ""},
	} {
		one := Case{Name: c.name, Old: with(t, c.before, "service", "spec"), Object: with(t, c.after, "service", "spec"), Want: c.want}
		if c.want != "" {
			one.Field = "spec.service"
		}
		out = append(out, one)
	}
	return out
}

// with is the PrinterRelay of full.yaml with another value of a field.
func with(t testing.TB, value any, field string, path ...any) map[string]any {
	t.Helper()
	for _, obj := range Objects(t) {
		if obj["kind"] == "PrinterRelay" {
			at(obj, path).(map[string]any)[field] = value
			return obj
		}
	}
	t.Fatal("full.yaml has no PrinterRelay")
	return nil
}

// Objects gives the objects of Full, new at each call.
func Objects(t testing.TB) []map[string]any {
	t.Helper()
	return documents(t, Full)
}

// Minimal gives the objects of Good, new at each call.
func Minimal(t testing.TB) []map[string]any {
	t.Helper()
	return documents(t, Good)
}

func documents(t testing.TB, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for doc := range strings.SplitSeq(text, "\n---\n") {
		obj := map[string]any{}
		if err := yaml.Unmarshal([]byte(doc), &obj); err != nil {
			t.Fatal(err)
		}
		out = append(out, runtime.DeepCopyJSON(wholeNumbers(obj).(map[string]any)))
	}
	return out
}

// wholeNumbers makes int64 of the numbers, as Kubernetes has them.
func wholeNumbers(v any) any {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case map[string]any:
		for k := range v {
			v[k] = wholeNumbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = wholeNumbers(v[i])
		}
	}
	return v
}

// Schemas gives the schema of each kind.
func Schemas(t testing.TB) map[string]*Schema {
	t.Helper()
	files, err := fs.Glob(crd.Files, "bases/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*Schema{}
	for _, file := range files {
		b, err := crd.Files.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v1 := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(b, v1); err != nil {
			t.Fatal(err)
		}
		out[v1.Spec.Names.Kind] = v1.Spec.Versions[0].Schema.OpenAPIV3Schema
	}
	return out
}
