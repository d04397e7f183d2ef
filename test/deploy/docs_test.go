package deploy

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay"
)

// The samples are what the README's tutorial applies.
func TestSamplesAreValid(t *testing.T) {
	c, err := relay.LoadConfiguration(root+"/config/samples/cluster", "")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Plans) != 1 || len(c.Warnings) != 0 {
		t.Errorf("%d plans, %q", len(c.Plans), c.Warnings)
	}
	kinds := ofKind(built(t, root+"/config/samples"), "PrinterRelay", "MailUpstream", "SenderPolicy", "Secret")
	if len(kinds) != 5 {
		t.Errorf("config/samples holds %q", keys(kinds))
	}
}

// The overlay that docs/install.md shows is a case of TestKustomizeIsGolden, but
// for where config/default comes from.
func TestDocumentedOverlayIsTested(t *testing.T) {
	_, block, _ := strings.Cut(read(t, root+"/docs/install.md"), "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	_, tested, _ := strings.Cut(read(t, "testdata/config/moved/kustomization.yaml"), "\n") // its comment
	strip := func(s string) (out []string) {
		for line := range strings.SplitSeq(strings.TrimSpace(s), "\n") {
			if !strings.HasSuffix(line, "config/default") && !strings.Contains(line, "config/default?ref=v") {
				out = append(out, line)
			}
		}
		return out
	}
	if a, b := strings.Join(strip(block), "\n"), strings.Join(strip(tested), "\n"); a != b || a == "" {
		t.Errorf("docs/install.md shows\n%s\ntested is\n%s", block, tested)
	}
}

// The rights and namespaces that the documentation of the installation names
// are there.
func TestDocumentedNames(t *testing.T) {
	doc := read(t, root+"/docs/install.md")
	for _, o := range ofKind(templated(t, ""), "CustomResourceDefinition") {
		if !strings.Contains(doc, o.name()) {
			t.Errorf("docs/install.md does not say that %s is left", o.name())
		}
	}
	for _, n := range []string{namespace, name + "-metrics-reader"} {
		if !strings.Contains(doc, n) {
			t.Errorf("docs/install.md does not name %s", n)
		}
	}
	one(t, templated(t, ""), "ClusterRole", name+"-metrics-reader")
}
