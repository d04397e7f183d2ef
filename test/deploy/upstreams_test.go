package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/manifest"
)

// user is a relay that sends by the upstream NAME.
const user = `
---
apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.example.com
  upstreamRef: {name: NAME}
  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: 25, limits: {messageSize: 2Mi}}]
  delivery: {bounce: {to: None}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules: [{name: lan, match: {clientNetworks: [10.0.0.0/8]}, recipients: {allowed: ["*@example.com"]}}]
`

// compiled is what a relay makes of manifests with one MailUpstream or more: as the
// API server would take them, and by the plan, which has to find no fault. Its
// warnings count for nothing: a page shows what a relay warns of, too.
func compiled(t *testing.T, manifests string) (all []*relay.Configuration) {
	t.Helper()
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(manifests)
	set, problems, err := manifest.Load(dir)
	if err != nil || len(problems) > 0 || len(set.Upstreams) == 0 {
		t.Fatalf("%d MailUpstreams: %v\n%v", len(set.Upstreams), err, problems)
	}
	for _, u := range set.Upstreams {
		write(manifests + strings.ReplaceAll(user, "NAME", u.Name))
		c, err := relay.LoadConfiguration(dir, "default/office")
		if err != nil || len(c.Plans) != 1 {
			t.Fatalf("MailUpstream %s: %d plans: %v", u.Name, len(c.Plans), err)
		}
		all = append(all, c)
	}
	return all
}

// Every sample of an upstream can be applied as it is, with the Secrets that it
// names, and a page says what it is for.
func TestUpstreamSamples(t *testing.T) {
	files, err := filepath.Glob(root + "/config/samples/upstreams/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%q: %v", files, err)
	}
	pages := ""
	for _, doc := range documented(t) {
		pages += doc
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			for _, c := range compiled(t, read(t, file)) {
				for _, name := range c.Plans[0].SecretRefs {
					if _, ok := c.Secrets["default"][name]; !ok {
						t.Errorf("Secret %q is not in the file", name)
					}
				}
				for _, w := range c.Warnings {
					t.Errorf("warning: %s", w)
				}
			}
			if !strings.Contains(pages, "config/samples/upstreams/"+filepath.Base(file)) {
				t.Error("no page of docs/upstreams names it")
			}
		})
	}
}

// What the pages of upstreams show can be applied.
func TestDocumentedUpstreams(t *testing.T) {
	n := 0
	for file, doc := range documented(t) {
		for _, block := range strings.Split(doc, "```yaml\n")[1:] {
			block, _, _ = strings.Cut(block, "```")
			if !strings.HasPrefix(block, "apiVersion: ") || !strings.Contains(block, "kind: MailUpstream\n") {
				continue
			}
			n++
			t.Run(filepath.Base(file), func(t *testing.T) { compiled(t, block) })
		}
	}
	if n == 0 {
		t.Error("no page shows a MailUpstream")
	}
}

func documented(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(root + "/docs/upstreams/*.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range files {
		out[f] = read(t, f)
	}
	return out
}
