package plan_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/manifest"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// The whole manifests that docs/upstreams shows are such that a relay runs them.
func TestDocumentedUpstreamsAreValid(t *testing.T) {
	pages, err := filepath.Glob("../../docs/upstreams/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	seen := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
			block, _, _ = strings.Cut(block, "```")
			if !strings.HasPrefix(block, "apiVersion:") || !strings.Contains(block, "kind: MailUpstream") {
				continue // a part of one
			}
			seen++
			dir := t.TempDir()
			relay, _, _ := strings.Cut(small, "---\napiVersion: printerrelay.dev/v1alpha1\nkind: MailUpstream")
			_, policy, _ := strings.Cut(small, "  smtp: {host: mail.example}\n")
			if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(relay+policy+"---\n"+block), 0o600); err != nil {
				t.Fatal(err)
			}
			set, problems, err := manifest.Load(dir)
			if err != nil || len(problems) > 0 {
				t.Errorf("%s: %v %v\n%s", page, err, problems, block)
				continue
			}
			in := input(set)
			if len(set.Upstreams) == 0 {
				t.Errorf("%s: no MailUpstream is read\n%s", page, block)
				continue
			}
			in.Upstreams["out"] = set.Upstreams[0]
			if _, found := plan.Compile(in); found.Failed() {
				t.Errorf("%s: %v\n%s", page, found, block)
			}
		}
	}
	if seen == 0 {
		t.Error("no page shows a whole MailUpstream")
	}
}
