package manifest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/test/kinds"
)

// TestEveryConstraint: what the schemas say of each field, types, enums,
// bounds, lists, required fields, rules and defaults, is shown to accept and to
// refuse, with file, line, field and what to do.
func TestEveryConstraint(t *testing.T) {
	for _, obj := range kinds.Objects(t) {
		if _, problems := verdict(t, obj); len(problems) > 0 {
			t.Fatal(problems)
		}
	}
	for _, c := range kinds.Changes(t) {
		t.Run(c.Name, func(t *testing.T) { try(t, c) })
	}
}

var indexed = regexp.MustCompile(`\[\d+\]$`)

func try(t *testing.T, c kinds.Case) {
	text, problems := verdict(t, c.Object)
	at := slices.IndexFunc(problems, func(p Problem) bool {
		return p.Field == c.Field && (c.Want == "" || strings.Contains(p.Message, c.Want))
	})
	switch {
	case c.Want == "" && at >= 0:
		t.Errorf("refused: %v", problems[at])
	case c.Want != "" && at < 0:
		t.Errorf("want %q at %s, got:\n%v", c.Want, c.Field, problems)
	case c.Want != "" && c.Want != "Required value" && !indexed.MatchString(c.Field):
		line := strings.Split(text, "\n")[problems[at].Line-1]
		if key := c.Field[strings.LastIndexByte(c.Field, '.')+1:]; problems[at].File != "m.yaml" || !strings.Contains(line, key+":") {
			t.Errorf("%v: that line is %q", problems[at], line)
		}
	}
	for _, p := range problems {
		if strings.Contains(p.Message, "should match") {
			t.Errorf("a pattern is nothing that a person can act on: %v", p)
		}
	}
	if c.Check != nil {
		after := runtime.DeepCopyJSON(c.Object)
		if _, _, err := Validate(after, nil); err != nil {
			t.Fatal(err)
		}
		c.Check(t, after)
	}
}

// verdict gives what the loader says of one object, and its YAML.
func verdict(t *testing.T, obj map[string]any) (string, Problems) {
	t.Helper()
	b, err := yaml.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	vs, err := validators()
	if err != nil {
		t.Fatal(err)
	}
	l := &loader{validators: vs, seen: map[string]string{}, set: &Set{Secrets: map[string]secrets.Map{}}}
	l.file("m.yaml", b)
	return string(b), l.problems
}
