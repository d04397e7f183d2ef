package deploy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// exception is a line of testdata/kube-score.yaml.
type exception struct {
	Check   string   `json:"check"`
	Summary string   `json:"summary"`
	Of      []string `json:"of"`
	Why     string   `json:"why"`
}

// scored is what we read of kube-score's JSON.
type scored struct {
	ObjectName string `json:"object_name"`
	Checks     []struct {
		Check struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"check"`
		Grade    int  `json:"grade"`
		Skipped  bool `json:"skipped"`
		Comments []struct {
			Summary string `json:"summary"`
		} `json:"comments"`
	} `json:"checks"`
}

// allOK is kube-score's best grade.
const allOK = 10

// finding is a check that failed, by whom and in what words.
type finding struct{ of, check, summary string }

// findings in manifests, and how many checks ran.
func findings(t *testing.T, of, manifests string) (out []finding, checks int) {
	t.Helper()
	stdout, stderr, err := run(t, kubeScore, []byte(manifests), "score", "--kubernetes-version", "v1.31", "--output-format", "json", "-")
	var objects []scored
	if e := json.Unmarshal([]byte(stdout), &objects); e != nil {
		t.Fatalf("kube-score: %v, %v\n%s", err, e, stderr)
	}
	for _, o := range objects {
		for _, c := range o.Checks {
			if c.Skipped {
				continue
			}
			checks++
			if c.Grade >= allOK {
				continue
			}
			summaries := []string{c.Check.Name}
			for i, comment := range c.Comments {
				if i == 0 {
					summaries = nil
				}
				summaries = append(summaries, comment.Summary)
			}
			for _, s := range summaries {
				out = append(out, finding{of, c.Check.ID, s})
			}
		}
	}
	return out, checks
}

// The operator's manifests, and the relays' as the operator renders them.
func TestKubeScore(t *testing.T) {
	var exceptions []exception
	if err := yaml.UnmarshalStrict([]byte(read(t, "testdata/kube-score.yaml")), &exceptions); err != nil {
		t.Fatal(err)
	}
	var all []finding
	score := func(of, manifests string) {
		found, checks := findings(t, of, manifests)
		if checks < 20 {
			t.Errorf("kube-score ran %d checks only", checks)
		}
		all = append(all, found...)
	}
	for _, setting := range []string{"default", "monitoring", "digest"} {
		score("operator", text(t, templated(t, filepath.Join("testdata/chart", setting, "values.yaml"))))
	}
	for _, relay := range []string{"minimal", "replicas", "ephemeral"} {
		b, err := os.ReadFile(filepath.Join(root, "controllers/render/testdata", relay, "objects.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		score("relay", string(b))
	}

	needed := map[finding]bool{}
	for _, f := range all {
		excepted := slices.ContainsFunc(exceptions, func(e exception) bool {
			return e.Check == f.check && e.Summary == f.summary && slices.Contains(e.Of, f.of)
		})
		if !excepted && !needed[f] {
			t.Errorf("kube-score finds in the %s: %s: %s", f.of, f.check, f.summary)
		}
		needed[f] = true
	}
	for _, e := range exceptions {
		if strings.TrimSpace(e.Why) == "" {
			t.Errorf("testdata/kube-score.yaml does not say why %s", e.Check)
		}
		for _, of := range e.Of {
			if !needed[finding{of, e.Check, e.Summary}] {
				t.Errorf("testdata/kube-score.yaml: %s (%s) is no longer found in the %s: remove it", e.Check, e.Summary, of)
			}
		}
	}
}
