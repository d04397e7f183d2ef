package kinds

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Rule is a CEL rule where it stands.
type Rule struct {
	Kind, Field   string // Field as a problem has it, without the indexes of lists; empty: the whole object
	Rule, Message string
}

// Rules gives every rule of the kinds.
func Rules(t testing.TB) []Rule {
	t.Helper()
	var out []Rule
	for kind, s := range Schemas(t) {
		rules(s, "", func(field string, r apiextensionsv1.ValidationRule) {
			out = append(out, Rule{Kind: kind, Field: field, Rule: r.Rule, Message: r.Message})
		})
	}
	if len(out) < 50 {
		t.Errorf("%d rules only: the schemas are not read as they should be", len(out))
	}
	return out
}

func rules(s *Schema, field string, fn func(field string, r apiextensionsv1.ValidationRule)) {
	for _, r := range s.XValidations {
		fn(field, r)
	}
	for key := range s.Properties {
		p := s.Properties[key]
		rules(&p, strings.TrimPrefix(field+"."+key, "."), fn)
	}
	if s.Items != nil && s.Items.Schema != nil {
		rules(s.Items.Schema, field, fn)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		rules(s.AdditionalProperties.Schema, field, fn)
	}
}

// Said is what cases were refused with, by kind and field.
type Said map[string][]string

var index = regexp.MustCompile(`\[\d+\]`)

// Add notes one thing that was said of a case.
func (s Said) Add(c Case, field, message string) {
	if field == "<nil>" { // of the whole object
		field = ""
	}
	kind, _ := c.Object["kind"].(string)
	key := kind + " " + index.ReplaceAllString(field, "")
	s[key] = append(s[key], message)
}

// Missing gives the rules that refused nothing, and those without a message of
// their own, which nobody could tell.
func (s Said) Missing(t testing.TB) []Rule {
	t.Helper()
	return slices.DeleteFunc(Rules(t), func(r Rule) bool {
		return r.Message != "" && slices.ContainsFunc(s[r.Kind+" "+r.Field], func(said string) bool { return strings.HasSuffix(said, r.Message) })
	})
}
