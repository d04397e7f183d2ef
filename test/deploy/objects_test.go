package deploy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// object is a Kubernetes object as it stands in a manifest.
type object map[string]any

func (o object) kind() string { return o.text("kind") }
func (o object) name() string { return o.at("metadata").text("name") }

// key tells objects apart, as an API server does.
func (o object) key() string {
	return strings.Join([]string{o.text("apiVersion"), o.kind(), o.at("metadata").text("namespace"), o.name()}, " ")
}

func (o object) text(field string) string {
	s, _ := o[field].(string)
	return s
}

// at gives a field that is an object itself; empty if it is not there.
func (o object) at(path ...string) object {
	for _, field := range path {
		next, _ := o[field].(map[string]any)
		o = next
	}
	return o
}

var separator = regexp.MustCompile(`(?m)^---.*\n`)

// parse reads manifests, in the order of their keys. A key of YAML, or an object,
// that is there twice is an error.
func parse(t *testing.T, manifests string) []object {
	t.Helper()
	var out []object
	seen := map[string]bool{}
	for _, document := range separator.Split(manifests, -1) {
		o := object{}
		if err := yaml.UnmarshalStrict([]byte(document), &o); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(o) == 0 {
			continue
		}
		if o.kind() == "" || o.name() == "" || seen[o.key()] {
			t.Fatalf("%q is no object, or there twice", o.key())
		}
		seen[o.key()] = true
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b object) int { return cmp.Compare(a.key(), b.key()) })
	return out
}

// ofKind are the objects of the kinds.
func ofKind(objects []object, kinds ...string) []object {
	var out []object
	for _, o := range objects {
		if slices.Contains(kinds, o.kind()) {
			out = append(out, o)
		}
	}
	return out
}

// one is the only object of a kind with the name.
func one(t *testing.T, objects []object, kind, name string) object {
	t.Helper()
	for _, o := range ofKind(objects, kind) {
		if o.name() == name {
			return o
		}
	}
	t.Fatalf("there is no %s %s among %q", kind, name, keys(objects))
	return nil
}

func keys(objects []object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.key())
	}
	return out
}

// typed reads an object as a Go type of the API, strictly.
func typed[T any](t *testing.T, o object) *T {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	out := new(T)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		t.Fatalf("%s: %v", o.key(), err)
	}
	return out
}

// text is YAML that shows all but the schemas of CustomResourceDefinitions, of
// which config/crd holds the golden ones.
func text(t *testing.T, objects []object) string {
	t.Helper()
	var b strings.Builder
	for _, o := range objects {
		if o.kind() == "CustomResourceDefinition" {
			o = object{"apiVersion": o["apiVersion"], "kind": o["kind"], "metadata": o["metadata"]}
		}
		y, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n")
		b.Write(y)
	}
	return b.String()
}
