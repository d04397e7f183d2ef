package kinds

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
)

// BadValues are refused by the rules with these messages, wherever they stand.
var BadValues = map[string]any{
	"must be a network in CIDR notation, such as 10.20.3.0/24 or 10.20.3.7/32":        "10.20.3.7",
	"must be *, *@domain, *@*.domain or local@domain":                                 "corp.example",
	"must be one address: local@domain":                                               "nobody",
	"must be a domain without a dot at its end, such as corp.example":                 "corp.example.",
	"must be a domain, such as corp.example, or *.corp.example":                       "*corp.example",
	"must be lower-case letters, digits and hyphens, such as floor-3":                 "Floor_3",
	"must be what stands before the @ of an address, such as scans":                   "a@b",
	"must be one line without control characters":                                     "a\nb",
	"must be a URL without user, query and fragment, such as https://api.example.com": "https://me@api.example",
	"must be an AWS region, such as eu-central-1":                                     "Frankfurt",
	"must be letters, digits, dots and hyphens, such as scans1":                       "_dmarc.",
	"must be a host name or an IP address, without brackets and port":                 "[::1]:25",
	"must be a media type in lower case, such as application/pdf":                     "PDF",
	"must not contain ..": "a/../b",
}

// walker makes the changes of everything that the schemas say of fields.
type walker struct {
	root  map[string]any // the good object
	cases []Case
	seen  map[string]bool // schema paths with a value
	all   map[string]bool // every schema path
}

func (w *walker) walk(s *Schema, name string, path []any, v any) {
	w.all[name] = true
	if v == nil {
		w.absent(s, name)
		return
	}
	w.seen[name] = true
	w.scalar(s, path, v)
	for _, rule := range s.XValidations {
		if bad, ok := BadValues[rule.Message]; ok {
			w.set(path, bad, rule.Message)
		}
	}
	if s.Default != nil {
		w.defaulted(s, path)
	}
	switch v := v.(type) {
	case map[string]any:
		w.object(s, name, path, v)
	case []any:
		w.list(s, name, path, v)
	}
}

// absent notes the fields below one that is not set.
func (w *walker) absent(s *Schema, name string) {
	for key := range s.Properties {
		p := s.Properties[key]
		w.all[name+"."+key] = true
		w.absent(&p, name+"."+key)
	}
	if s.Items != nil && s.Items.Schema != nil {
		w.absent(s.Items.Schema, name)
	}
}

func (w *walker) scalar(s *Schema, path []any, v any) {
	wrong := map[string]any{"string": int64(5), "integer": "x", "boolean": "x", "object": "x", "array": "x"}[s.Type]
	if s.XIntOrString {
		w.set(path, true, "must be a size in octets, such as 40Mi or 25M")
		w.set(path, "40 MB", "must be a size in octets, such as 40Mi or 25M")
	} else {
		w.set(path, wrong, "must be of type "+s.Type)
	}
	if len(s.Enum) > 0 {
		w.set(path, "Nonsense", "supported values: ")
	}
	for _, e := range s.Enum {
		var x any
		if err := json.Unmarshal(e.Raw, &x); err != nil {
			panic(err)
		}
		w.set(path, x, "")
	}
	if m := s.Minimum; m != nil {
		w.set(path, int64(*m), "")
		w.set(path, int64(*m)-1, fmt.Sprintf("should be greater than or equal to %d", int64(*m)))
	}
	if m := s.Maximum; m != nil {
		w.set(path, int64(*m), "")
		w.set(path, int64(*m)+1, fmt.Sprintf("should be less than or equal to %d", int64(*m)))
	}
	if m := s.MinLength; m != nil {
		w.set(path, strings.Repeat("a", int(*m)-1), fmt.Sprintf("should be at least %d chars long", *m))
	}
	if m := s.MaxLength; m != nil && len(s.Enum) == 0 {
		w.set(path, strings.Repeat("a", int(*m)+1), fmt.Sprintf("may not be more than %d", *m))
	}
}

func (w *walker) object(s *Schema, name string, path []any, v map[string]any) {
	if s.MaxProperties != nil {
		many := map[string]any{}
		for i := range *s.MaxProperties + 1 {
			many[fmt.Sprint("k", i)] = "v"
		}
		w.set(path, many, fmt.Sprintf("must have at most %d items", *s.MaxProperties))
	}
	if len(s.Properties) == 0 || name == "PrinterRelay.spec.pod" {
		for key := range s.Properties {
			w.all[name+"."+key] = true
			w.seen[name+"."+key] = v[key] != nil
		}
		return // what is below is Kubernetes' own
	}
	w.set(append(slices.Clone(path), "nonsense"), "x", "is no field of this kind: check its spelling and indentation")
	for _, key := range s.Required {
		without := maps.Clone(v)
		delete(without, key)
		w.setAt(path, without, append(slices.Clone(path), key), "Required value")
	}
	for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[key]
		w.walk(&p, name+"."+key, append(slices.Clone(path), key), v[key])
	}
}

func (w *walker) list(s *Schema, name string, path []any, v []any) {
	if s.MinItems != nil {
		w.set(path, []any{}, fmt.Sprintf("should have at least %d items", *s.MinItems))
	}
	if s.MaxItems != nil {
		many := []any{}
		for range *s.MaxItems + 1 {
			many = append(many, v[0])
		}
		w.set(path, many, fmt.Sprintf("must have at most %d items", *s.MaxItems))
	}
	if t := s.XListType; t != nil && *t != "atomic" {
		w.setAt(path, append(slices.Clone(v), v[0]), append(slices.Clone(path), len(v)), "Duplicate value")
	}
	for i, item := range v {
		w.walk(s.Items.Schema, name, append(slices.Clone(path), i), item)
	}
}

// defaulted leaves the field out and looks for the default in its place.
func (w *walker) defaulted(s *Schema, path []any) {
	var want any
	if err := json.Unmarshal(s.Default.Raw, &want); err != nil {
		panic(err)
	}
	obj := runtime.DeepCopyJSON(w.root)
	parent := at(obj, path[:len(path)-1]).(map[string]any)
	delete(parent, path[len(path)-1].(string))
	w.cases = append(w.cases, Case{
		Name: fmt.Sprintf("%v default of %s", w.root["kind"], dotted(path)), Object: obj, Field: dotted(path),
		Check: func(t *testing.T, after map[string]any) {
			got := at(after, path)
			if m, ok := want.(map[string]any); ok { // its fields have defaults too
				for k, v := range m {
					if !same(got.(map[string]any)[k], v) {
						t.Errorf("%s.%s is %v, want %v", dotted(path), k, got.(map[string]any)[k], v)
					}
				}
			} else if !same(got, want) {
				t.Errorf("%s is %v, want %v", dotted(path), got, want)
			}
		},
	})
}

func same(a, b any) bool {
	number := func(v any) any {
		if n, ok := v.(float64); ok && n == float64(int64(n)) {
			return int64(n) // fmt writes a large one in another way
		}
		return v
	}
	return reflect.DeepEqual(fmt.Sprint(number(a)), fmt.Sprint(number(b)))
}

// set changes the field at path to v and wants it refused with the message
// want, or accepted where want is empty.
func (w *walker) set(path []any, v any, want string) { w.setAt(path, v, path, want) }

func (w *walker) setAt(path []any, v any, problem []any, want string) {
	obj := runtime.DeepCopyJSON(w.root)
	last := path[len(path)-1]
	switch parent := at(obj, path[:len(path)-1]).(type) {
	case map[string]any:
		parent[last.(string)] = v
	case []any:
		parent[last.(int)] = v
	}
	text := fmt.Sprintf("%v", v)
	w.cases = append(w.cases, Case{
		Name: fmt.Sprintf("%v %s=%.20s %.30s", w.root["kind"], dotted(path), text, want), Object: obj, Field: dotted(problem), Want: want,
	})
}

func at(v any, path []any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			v = v.(map[string]any)[step]
		case int:
			v = v.([]any)[step]
		}
	}
	return v
}

func dotted(path []any) string {
	var b strings.Builder
	for i, step := range path {
		if n, ok := step.(int); ok {
			fmt.Fprintf(&b, "[%d]", n)
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		fmt.Fprint(&b, step)
	}
	return b.String()
}
