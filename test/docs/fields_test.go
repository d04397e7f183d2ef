package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/test/env"
)

// node is a place in the schema of a kind.
type node struct {
	Properties           map[string]*node `json:"properties"`
	Items                *node            `json:"items"`
	AdditionalProperties *node            `json:"additionalProperties"`
	Unknown              bool             `json:"x-kubernetes-preserve-unknown-fields"`
}

// schemas gives the kinds by name, and every place in them that has fields.
func schemas(t *testing.T) (kinds map[string]*node, all []*node) {
	t.Helper()
	kinds = map[string]*node{}
	files, err := filepath.Glob(filepath.Join(env.Root(t), "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Schema struct {
						OpenAPIV3Schema *node `json:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(b, &crd); err != nil {
			t.Fatal(err)
		}
		root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
		root.Properties["metadata"] = &node{Unknown: true}
		kinds[crd.Spec.Names.Kind] = root
		all = append(all, root.below()...)
	}
	return kinds, all
}

// below gives n and what is in it, as far as it has fields.
func (n *node) below() (all []*node) {
	if n == nil {
		return nil
	}
	if len(n.Properties) > 0 {
		all = append(all, n)
	}
	for _, p := range n.Properties {
		all = append(all, p.below()...)
	}
	return append(append(all, n.Items.below()...), n.AdditionalProperties.below()...)
}

// misses names a field of value that n has not; empty if it has all.
func (n *node) misses(value any, path string) string {
	switch v := value.(type) {
	case []any:
		for _, e := range v {
			if n.Items == nil {
				return path
			}
			if m := n.Items.misses(e, path+"[]"); m != "" {
				return m
			}
		}
	case map[string]any:
		for name, e := range v {
			p := n.Properties[name]
			switch {
			case p == nil && n.AdditionalProperties != nil:
				p = n.AdditionalProperties
			case p == nil && (n.Unknown || len(n.Properties) == 0): // quantities, affinities
				continue
			case p == nil:
				return path + "." + name
			}
			if m := p.misses(e, path+"."+name); m != "" {
				return m
			}
		}
	}
	return ""
}

// has says whether a path of fields begins at n; lists are passed through.
func (n *node) has(path []string) bool {
	for n != nil && n.Items != nil {
		n = n.Items
	}
	if len(path) == 0 || n == nil {
		return n != nil
	}
	return n.Properties[path[0]].has(path[1:])
}

// pages are those for users: the README and what is below docs, but what is to come
// and what is generated.
func pages(t *testing.T) (names []string) {
	t.Helper()
	for _, file := range markdown(t) {
		name, err := filepath.Rel(env.Root(t), file)
		if err != nil {
			t.Fatal(err)
		}
		if name == "README.md" || strings.HasPrefix(name, "docs"+string(filepath.Separator)) && filepath.Base(name) != "TODO.md" && filepath.Base(name) != "api.md" {
			names = append(names, name)
		}
	}
	return names
}

// TestManifestsHaveSuchFields: every field in a manifest that a page shows, whole or
// in part, is a field of the kinds.
func TestManifestsHaveSuchFields(t *testing.T) {
	t.Parallel()
	kinds, all := schemas(t)
	checked := 0
	for _, name := range pages(t) {
		for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```|<<'YAML'\n(.*?)\nYAML\n").FindAllStringSubmatch(strings.ReplaceAll(text(t, name), "\n  ```", "\n```"), -1) {
			for _, document := range regexp.MustCompile(`(?m)^---.*$`).Split(m[1]+m[2], -1) {
				var parsed any
				if err := yaml.Unmarshal([]byte(document), &parsed); err != nil {
					t.Errorf("%s: %v\n%s", name, err, document)
				}
				value, _ := parsed.(map[string]any)                                     //nolint:errcheck // a list is none
				if value == nil || value["data"] != nil || value["syncPolicy"] != nil { // alerts, Argo CD's own
					continue
				}
				kind, _ := value["kind"].(string)
				switch {
				case kinds[kind] != nil:
					checked++
					if missing := kinds[kind].misses(value, kind); missing != "" {
						t.Errorf("%s: there is no %s in\n%s", name, missing, document)
					}
				case kind == "" && slices.ContainsFunc(all, func(n *node) bool {
					for key := range value {
						if n.Properties[key] == nil {
							return false
						}
					}
					return n.misses(value, "") == ""
				}):
					checked++
				case kind == "":
					t.Errorf("%s: no kind has all of these fields:\n%s", name, document)
				}
			}
		}
	}
	if checked < 25 {
		t.Errorf("only %d manifests were found", checked)
	}
}

// other is what looks like a path of fields: files, keys of Secrets, hosts, events,
// a Node's field, a resource of a Pod.
var other = regexp.MustCompile(`\.(crt|key|json|damaged|go|com|net|org)$|^spec\.podCIDRs$|^message\.|\bresources\.limits\.memory$`)

// TestFieldsInTextExist: where a page names a path of fields, it is there.
func TestFieldsInTextExist(t *testing.T) {
	t.Parallel()
	_, all := schemas(t)
	begins := map[string]bool{}
	for _, n := range all {
		for name := range n.Properties {
			begins[name] = true
		}
	}
	checked := 0
	for _, name := range pages(t) {
		for _, m := range regexp.MustCompile("`([a-z][A-Za-z0-9]*(?:\\[\\])?(?:\\.[a-z][A-Za-z0-9]*(?:\\[\\])?)+)(?:: [^`]*)?`").FindAllStringSubmatch(text(t, name), -1) {
			path := strings.Split(strings.ReplaceAll(m[1], "[]", ""), ".")
			if !begins[path[0]] || other.MatchString(m[1]) {
				continue
			}
			checked++
			if !slices.ContainsFunc(all, func(n *node) bool { return n.has(path) }) {
				t.Errorf("%s names %s, and no kind has such a field", name, m[1])
			}
		}
	}
	if checked < 150 {
		t.Errorf("only %d fields were found", checked)
	}
}
