package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const scanning = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.corp.example
  upstreamRef: {name: out}
  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: 25}]
  delivery: {bounce: {to: None}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [10.0.0.0/8]}
    senders: {allowed: ["*@copier.corp.example"]}
    recipients: {allowed: ["*@corp.example"]}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: out}
spec:
  type: Mailgun
  allowPrivateHosts: true
  mailgun: {domain: copier.corp.example, endpoint: ENDPOINT, secretRef: {name: mailgun}}
  sender: {domain: copier.corp.example, rewrite: Always}
---
apiVersion: v1
kind: Secret
metadata: {name: mailgun}
stringData: {apiKey: key-of-the-manifests}
`

// mailgun answers as Mailgun does to a key of the account.
func mailgun(t *testing.T, account string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, key, _ := r.BasicAuth()
		switch {
		case key != account && key != "sending":
			http.Error(w, "Forbidden", http.StatusUnauthorized)
		case r.Method == http.MethodPost:
			http.Error(w, `{"message":"'to' parameter is missing"}`, http.StatusBadRequest)
		case key == account:
			w.Write([]byte(`{"domain":{"state":"active"}}`))
		default:
			http.Error(w, "Forbidden", http.StatusUnauthorized)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestLeastPrivilege(t *testing.T) {
	dir := folder(t, "m.yaml", strings.Replace(scanning, "ENDPOINT", "https://api.eu.mailgun.net", 1))
	r := command(t, "least-privilege", "out", "-f", dir)
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("%d: %s", r.code, r.stderr)
	}
	golden(t, "least-privilege.golden", r.out)
	var a struct {
		Upstream, Type, Language, Document string
		Need                               struct{ Senders, Recipients []string }
	}
	r = command(t, "least-privilege", "default/out", "-f", dir, "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &a); err != nil || a.Upstream != "default/out" || a.Language != "sh" || !strings.Contains(a.Document, "role=sending") ||
		len(a.Need.Senders) != 1 || a.Need.Senders[0] != "scans@copier.corp.example" || a.Need.Recipients[0] != "*@corp.example" {
		t.Errorf("%v: %s", err, r.out)
	}
}

// With --check the provider says whether the credential may do more; the Secret is
// that of the manifests, or of a folder as a Pod has it.
func TestLeastPrivilegeChecks(t *testing.T) {
	dir := folder(t, "m.yaml", strings.Replace(scanning, "ENDPOINT", mailgun(t, "key-of-the-manifests"), 1))
	r := command(t, "least-privilege", "out", "-f", dir, "--check")
	contains(t, "stdout", r.out, "The present credential: the credential is good: the key may send by domain copier.corp.example. Beyond this:\n  - the API key can read the account")
	mounted := t.TempDir()
	for key, want := range map[string]string{
		"sending": "The present credential: the credential is good: the key may send by domain copier.corp.example\n",
		"other":   "The present credential: the credential is refused: Mailgun: 401 Forbidden: check the API key",
	} {
		if err := os.MkdirAll(filepath.Join(mounted, "mailgun"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mounted, "mailgun", "apiKey"), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
		r = command(t, "least-privilege", "out", "-f", dir, "--check", "--secrets", mounted)
		contains(t, "stdout", r.out, want)
		if strings.Contains(r.out, "Beyond this") || strings.Contains(r.out+r.stderr, "key-of-the-manifests") {
			t.Errorf("%s: %s", key, r.out)
		}
	}
}

// Of who gets no token it says why, and what to do.
func TestLeastPrivilegeWithoutToken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		w.Write([]byte(`{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys for app '0000' are expired.\r\nTrace ID: 1"}`))
	}))
	defer s.Close()
	head, _, _ := strings.Cut(scanning, "  type: Mailgun\n")
	dir := folder(t, "m.yaml", head+`  type: Microsoft365
  allowPrivateHosts: true
  microsoft365:
    transport: Graph
    tenantID: 11111111-2222-3333-4444-555555555555
    clientID: 66666666-7777-8888-9999-000000000000
    mailbox: scans@copier.corp.example
    authorityHost: `+s.URL+`
    endpoint: `+s.URL+`
    credentials: {type: Secret, secretRef: {name: app}}
  sender: {domain: copier.corp.example, localPart: scans, rewrite: Always}
---
apiVersion: v1
kind: Secret
metadata: {name: app}
stringData: {clientSecret: secret-of-the-app}
`)
	r := command(t, "least-privilege", "out", "-f", dir, "--check")
	contains(t, "stdout", r.out, "The present credential: the credential is refused: no token: AADSTS7000222: The provided client secret keys for app '0000' are expired.; the client secret has expired; what to do: make a new one")
}

func TestLeastPrivilegeFailures(t *testing.T) {
	one := strings.Replace(scanning, "ENDPOINT", "https://api.mailgun.net", 1)
	north := strings.NewReplacer("{name: office}\n", "{name: office, namespace: north}\n", "{name: out}\nspec", "{name: out, namespace: north}\nspec", "{name: mailgun}\nstring", "{name: mailgun, namespace: north}\nstring").Replace(one)
	dir := folder(t, "south.yaml", one, "north.yaml", north)
	for line, want := range map[string]string{
		"out":         "MailUpstream out is in several namespaces: write one of default/out, north/out",
		"gone":        "MailUpstream gone: no PrinterRelay of the folder sends by it",
		"west/out":    "MailUpstream west/out: no PrinterRelay of the folder sends by it",
		"out -o yaml": `--output "yaml": want text or json`,
		"a b":         "accepts 1 arg",
	} {
		r := command(t, append([]string{"least-privilege", "-f", dir}, strings.Fields(line)...)...)
		if r.code == 0 || r.out != "" || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: %d %q %q", line, r.code, r.out, r.stderr)
		}
	}
	if r := command(t, "least-privilege", "north/out", "-f", dir); r.code != 0 || !strings.HasPrefix(r.out, "MailUpstream north/out (Mailgun)\n  used by     north/office\n") {
		t.Errorf("%d %q %q", r.code, r.out, r.stderr)
	}
}
