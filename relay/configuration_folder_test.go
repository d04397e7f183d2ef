package relay_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay"
)

const folderOfTwo = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: a}
spec: {hostname: a.example, replicas: 2, upstreamRef: {name: both}, senderPolicyRefs: [{name: lan}], listeners: [{name: smtp, port: 25}]}
---
apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: b}
spec: {hostname: b.example, upstreamRef: {name: own}, fallbackUpstreamRefs: [{name: both}], senderPolicyRefs: [{name: lan}], listeners: [{name: smtp, port: 26}]}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: both}
spec: {type: Maildir, maildir: {path: x}, limits: {connections: 9, messagesPerMinute: 60}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: own}
spec: {type: Maildir, maildir: {path: y}, limits: {connections: 9}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: lan}
spec: {rules: [{name: lan, match: {clientNetworks: [10.0.0.0/8]}, recipients: {allowed: ["*@corp.example"]}}]}
`

func load(t *testing.T, text string) *relay.Configuration {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := relay.LoadConfiguration(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRelaysOfAFolderShareTheLimitsOfAnUpstream(t *testing.T) {
	for _, p := range load(t, folderOfTwo).Plans {
		if u := p.Upstreams["both"]; u.Connections != 4 || u.PerMinute != 30 {
			t.Errorf("%s: %d connections, %d a minute, want half of each: a process runs one instance of each relay", p.Name, u.Connections, u.PerMinute)
		}
		if u := p.Upstreams["own"]; u != nil && u.Connections != 9 {
			t.Errorf("%s: %d connections where nobody else has any", p.Name, u.Connections)
		}
	}
}

// What only the plan finds is said with file and line, like all else.
func TestFindingsOfThePlanHaveFileAndLine(t *testing.T) {
	dir := t.TempDir()
	text := strings.Replace(folderOfTwo, "kind: MailUpstream\nmetadata: {name: own}\nspec: {type: Maildir, maildir: {path: y}",
		"kind: MailUpstream\nmetadata: {name: own}\nspec:\n  type: MX\n  mx: {}\n  dns: {vendorRecords: [{name: a.example, type: A, value: x}]", 1)
	text = strings.Replace(text, "value: x}], limits: {connections: 9}}", "value: x}]}\n  limits: {messageSize: 0}", 1)
	text = strings.Replace(text, "senderPolicyRefs: [{name: lan}], listeners: [{name: smtp, port: 26}]", "senderPolicyRefs: [{name: nosuch}], listeners: [{name: smtp, port: 26}]", 1)
	if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := relay.LoadConfiguration(dir, "")
	const want = `m.yaml:23: MailUpstream default/own: spec.limits.messageSize: "0" is not a size: give octets as 40Mi or 25M
m.yaml:9: PrinterRelay default/b: spec.senderPolicyRefs[0]: SenderPolicy "nosuch" is not in namespace "default": create it, or correct the name`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	const warning = `m.yaml:22: MailUpstream default/own: spec.dns.vendorRecords[0].value: "x" is no value of type A: write an IPv4 address, such as 192.0.2.25`
	if !slices.Contains(c.Warnings, warning) {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// What nobody refers to does nothing, and that is said: it may be in the wrong
// namespace, or of a type that this build has not.
func TestObjectsThatNoRelayUsesAreNamed(t *testing.T) {
	const more = `---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: ses, namespace: mail}
spec: {type: SES, ses: {region: eu-central-1}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: spare}
spec: {rules: [{name: lan, match: {clientNetworks: [10.0.0.0/8]}, recipients: {allowed: ["*@corp.example"]}}]}
`
	unused := func(c *relay.Configuration) (out []string) {
		for _, w := range c.Warnings {
			if strings.Contains(w, "no PrinterRelay") {
				out = append(out, w)
			}
		}
		return out
	}
	want := []string{
		`MailUpstream mail/ses: no PrinterRelay of namespace "mail" refers to it: it is not used`,
		`SenderPolicy default/spare: no PrinterRelay of namespace "default" refers to it: it is not used`,
	}
	if got := unused(load(t, folderOfTwo+more)); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := unused(load(t, folderOfTwo)); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}
