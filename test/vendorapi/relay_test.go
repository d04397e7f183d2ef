package vendorapi

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/rig"
)

const relay = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  acknowledge: Relayed
  upstreamRef: {name: NAME}
  fallbackUpstreamRefs: [{name: second}]
  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: {{PORT}}, tls: {mode: None}}]
  delivery: {bounce: {to: None}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [127.0.0.0/8]}
    recipients: {allowed: ["*@corp.test"]}
---
apiVersion: v1
kind: Secret
metadata: {name: NAME}
stringData: {apiKey: a-key-of-the-tests}
---
`

const signed = "From: mfp@copier.example.com\r\nSubject: signed\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b; micalg=sha-256; protocol=\"application/pkcs7-signature\"\r\n\r\n" +
	"--b\r\n\r\none\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\nx\r\n--b--"

// A whole relay with each sample: a scan is taken by the API, with the sample's
// sender; what the API cannot carry goes by the next upstream as it is.
func TestSamples(t *testing.T) {
	for name, c := range map[string]struct{ document, own string }{
		"sendgrid": {"sendgrid/tsg_mail_v3.json", "sendGrid:\n"},
		"postmark": {"postmark/openapi.yaml", "postmark:\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := env.Root(t)
			b, err := os.ReadFile(filepath.Join(root, "config", "samples", "upstreams", name+"-api.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			doc, err := os.ReadFile(filepath.Join(root, "docs", "upstreams", name+".md"))
			if err != nil {
				t.Fatal(err)
			}
			manifest, _, _ := strings.Cut(string(b), "---\n") // the Secret is below
			_, sample, _ := strings.Cut(manifest, "apiVersion")
			if sample = "apiVersion" + sample; !strings.Contains(string(doc), "```yaml\n"+sample+"```") {
				t.Errorf("docs/upstreams/%s.md shows another sample than config/samples/upstreams", name)
			}
			own := strings.Replace(sample, c.own, c.own+"    endpoint: "+serve(t, c.document)+"\n", 1)
			own = strings.Replace(own, "\nspec:\n", "\nspec:\n  allowPrivateHosts: true\n", 1)
			second := rig.StartUpstream(t, rig.Script{})
			r := rig.Start(t, strings.ReplaceAll(relay, "NAME", name)+own+second.YAML("second", ""))

			if got := r.Dial().Send("mfp@inside.test", []string{"a@corp.test", "b@corp.test"}, rig.Scan("mfp@inside.test", "a@corp.test")); !strings.HasPrefix(got, "250") {
				t.Errorf("%s\n%s", got, r.Log)
			}
			taken := regexp.MustCompile("outcome=Accepted .* recipients=2 .* upstream=" + name + " ")
			r.Eventually("the API has taken it for both", func() bool { return taken.MatchString(r.Log.String()) })
			if n := len(second.Messages()); n != 0 {
				t.Errorf("%d messages at the second upstream\n%s", n, r.Log)
			}
			if got := r.Dial().Send("mfp@copier.example.com", []string{"a@corp.test"}, signed); !strings.HasPrefix(got, "250") {
				t.Errorf("%s\n%s", got, r.Log)
			}
			if m := second.Messages(); len(m) != 1 || !strings.Contains(m[0].Data, signed[strings.Index(signed, "\r\n\r\n"):]) {
				t.Errorf("%d messages at the second upstream\n%s", len(m), r.Log)
			}
			r.Eventually("the log says why", func() bool { return strings.Contains(r.Log.String(), "cannot carry multipart/signed") })
		})
	}
}
