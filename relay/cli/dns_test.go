package cli

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/admin"
)

// Upstreams about which no DNS has to be asked; what is asked is in test/interop.
const dnsUpstreams = `apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: folder}
spec: {type: Maildir, maildir: {path: mail}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: any}
spec: {type: SMTP, smtp: {host: mail.example}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: twice, namespace: a}
spec: {type: Maildir, maildir: {path: mail}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: twice, namespace: b}
spec: {type: Maildir, maildir: {path: mail}}
`

func TestDNSStatus(t *testing.T) {
	dir := folder(t, "m.yaml", dnsUpstreams)
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"folder", "-f", dir}, 0, "it needs no record"},
		{[]string{"folder", "-f", dir, "-o", "yaml"}, 0, "upstream: default/folder\nrecords: []\n"},
		{[]string{"a/twice", "-f", dir, "-o", "zone"}, 0, "; MailUpstream a/twice"},
		{[]string{"any", "-f", dir}, 1, "note: spec.sender.domain is not set"},
		{[]string{"any", "-f", dir, "--black-hole"}, 1, "note: spec.sender.domain is not set"},
		{[]string{"twice", "-f", dir}, 2, `holds 2 MailUpstreams "twice": write NAMESPACE/NAME`},
		{[]string{"none", "-f", dir}, 2, `holds no MailUpstream "none" that is valid; there are: default/folder, default/any, a/twice, b/twice`},
		{[]string{"folder", "-f", filepath.Join(dir, "nosuch")}, 2, "no such file"},
		{[]string{"folder", "-f", dir, "-o", "xml"}, 2, `--output "xml": want text, json, yaml or zone`},
		{[]string{"-f", dir}, 2, "accepts 1 arg"},
	} {
		r := command(t, append([]string{"dns"}, tc.args...)...)
		if r.code != tc.code || !strings.Contains(r.out+r.stderr, tc.want) {
			t.Errorf("%q: status %d, want %d and %q:\n%s%s", tc.args, r.code, tc.code, tc.want, r.out, r.stderr)
		}
	}
}

// A manifest that is broken is told with what is wrong.
func TestDNSOfABrokenUpstream(t *testing.T) {
	r := command(t, "dns", "folder", "-f", folder(t, "m.yaml", strings.Replace(dnsUpstreams, "path: mail", "pth: mail", 1)))
	if r.code != 2 || !strings.Contains(r.stderr, "spec.maildir.pth: is no field of this kind") {
		t.Errorf("status %d: %s", r.code, r.stderr)
	}
}

// The relay tells the record of its key, as `dns` does: by that the operator knows
// it, which reads no Secret.
func TestStateHasThePublicKey(t *testing.T) {
	seed := make([]byte, ed25519.SeedSize)
	key := ed25519.NewKeyFromSeed(seed)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	manifests := folder(t, "m.yaml", `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.example
  upstreamRef: {name: out}
  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: 2525, tls: {mode: None}}]
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec: {rules: [{name: lan, match: {clientNetworks: [10.0.0.0/8]}, recipients: {allowed: ["*@corp.example"]}}]}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: out}
spec: {type: Maildir, maildir: {path: mail}, sender: {domain: copier.example}, dkim: {selector: s1, secretRef: {name: dkim}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: dkim}, data: {ed25519.pem: `+base64.StdEncoding.EncodeToString(text)+`}}
`)
	r := start(t, manifests, t.TempDir())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.admin+"/state", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: wait}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var st admin.State
	if err := json.Unmarshal(body, &st); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	want := "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	if k := st.Relays[0].Upstreams[0].DKIM; len(k) != 1 || k[0].Name != "s1-ed25519._domainkey.copier.example" || k[0].Value != want {
		t.Errorf("%+v, want %s", k, want)
	}
	if strings.Contains(string(body), "PRIVATE") || strings.Contains(string(body), base64.StdEncoding.EncodeToString(seed)) {
		t.Error("the state has the key")
	}
}

// --secrets is a folder as a Pod has it.
func TestDNSKeysOfAFolder(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	mounted := t.TempDir()
	if err := os.Mkdir(filepath.Join(mounted, "dkim"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mounted, "dkim", "ed25519.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	o := dnsFlags{dir: folder(t, "m.yaml", `{apiVersion: printerrelay.dev/v1alpha1, kind: MailUpstream, metadata: {name: out}, spec: {type: SMTP, smtp: {host: a.example}, sender: {domain: a.example}, dkim: {selector: s1, secretRef: {name: dkim}}}}`)}
	for _, tc := range []struct{ secrets, want, note string }{
		{mounted, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)), ""},
		{"", "", "is not in the manifests"},
		{t.TempDir(), "", "is not in the manifests"},
	} {
		o.secrets = tc.secrets
		needs, note, err := o.needs("out")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, n := range needs.Records {
			if n.Purpose == "DKIM" {
				got = n.Value
			}
		}
		if got != tc.want || !strings.Contains(note, tc.note) {
			t.Errorf("%q: %q, %q", tc.secrets, got, note)
		}
	}
}
