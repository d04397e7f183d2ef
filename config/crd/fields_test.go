package crd

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden file; read the difference")

// TestFields holds the kinds to testdata/fields.txt, a line a field: manifests
// out in the world depend on names, values, bounds and defaults, so a change of
// one is to be seen in a review, and not only in the middle of a schema.
func TestFields(t *testing.T) {
	var b strings.Builder
	files, err := fs.Glob(Files, "bases/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(text, crd); err != nil {
			t.Fatal(err)
		}
		root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
		for _, part := range []string{"spec", "status"} {
			p := root.Properties[part]
			fields(&b, crd.Spec.Names.Kind+"."+part, &p, slices.Contains(root.Required, part))
		}
	}
	if *update {
		if err := os.WriteFile("testdata/fields.txt", []byte(b.String()), 0o644); err != nil { //nolint:gosec // it is read by everybody
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/fields.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, old := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
	for _, line := range old {
		if !slices.Contains(got, line) {
			t.Errorf("- %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(old, line) {
			t.Errorf("+ %s", line)
		}
	}
	if t.Failed() {
		t.Log("if the kinds are meant to change: go test ./config/crd -update")
	}
}

func fields(b *strings.Builder, path string, s *apiextensionsv1.JSONSchemaProps, required bool) {
	fmt.Fprintln(b, line(path, s, required))
	item := s
	if s.Items != nil && s.Items.Schema != nil {
		path, item = path+"[]", s.Items.Schema
		fmt.Fprintln(b, line(path, item, false))
	}
	if strings.HasPrefix(path, "PrinterRelay.spec.pod.") {
		return // what is below is Kubernetes' own
	}
	for _, key := range slices.Sorted(maps.Keys(item.Properties)) {
		p := item.Properties[key]
		fields(b, path+"."+key, &p, slices.Contains(item.Required, key))
	}
}

// line is one field with all that its schema says of it but the description.
func line(path string, s *apiextensionsv1.JSONSchemaProps, required bool) string {
	words := []string{path, s.Type}
	add := func(format string, a ...any) { words = append(words, fmt.Sprintf(format, a...)) }
	if s.XIntOrString {
		add("quantity")
	}
	if s.Format != "" {
		add("%s", s.Format)
	}
	if required {
		add("required")
	}
	var enum []string
	for _, e := range s.Enum {
		enum = append(enum, strings.Trim(string(e.Raw), `"`))
	}
	if enum != nil {
		add("%s", strings.Join(enum, "|"))
	}
	if s.Minimum != nil {
		add(">=%.0f", *s.Minimum)
	}
	if s.Maximum != nil {
		add("<=%.0f", *s.Maximum)
	}
	for _, x := range []struct {
		name string
		n    *int64
	}{{"minLength", s.MinLength}, {"maxLength", s.MaxLength}, {"minItems", s.MinItems}, {"maxItems", s.MaxItems}, {"maxProperties", s.MaxProperties}} {
		if x.n != nil {
			add("%s=%d", x.name, *x.n)
		}
	}
	if s.XListType != nil {
		add("%s", strings.TrimSuffix(*s.XListType+" by "+strings.Join(s.XListMapKeys, "+"), " by "))
	}
	if s.Default != nil {
		add("default=%s", s.Default.Raw)
	}
	if n := len(s.XValidations); n > 0 {
		add("rules=%d", n)
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}
