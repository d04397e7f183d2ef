package credentials

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

type canary struct {
	name     string
	upstream string // spec; {{API}} is a provider's API, {{SMTP}} a server's port; empty: the server with a login
	secret   map[string]string
	quiet    bool // it is sent to nobody
}

// canaries are Secrets of which no octet may be seen where it is not for: one of each
// kind that an upstream can have. Each is used by a message to NAME.test.
var canaries = []canary{
	{name: "smtp", secret: map[string]string{"username": "relay", "password": "canary-Smtp-7Qx2"}},
	{
		name: "sendgrid", upstream: "{type: SendGrid, allowPrivateHosts: true, sendGrid: {transport: API, endpoint: {{API}}, secretRef: {name: sendgrid}}}",
		secret: map[string]string{"apiKey": "SG.canary-Sendgrid-8Wz3"},
	},
	{
		name: "mailgun", upstream: "{type: Mailgun, allowPrivateHosts: true, mailgun: {transport: API, endpoint: {{API}}, domain: copier.test, secretRef: {name: mailgun}}}",
		secret: map[string]string{"apiKey": "canary-Mailgun-9Vy4"},
	},
	{
		name: "postmark", upstream: "{type: Postmark, allowPrivateHosts: true, postmark: {transport: API, endpoint: {{API}}, secretRef: {name: postmark}}}",
		secret: map[string]string{"apiKey": "canary-Postmark-1Ux5"},
	},
	{
		name: "oauth", upstream: "{type: SMTP, smtp: {host: 127.0.0.1, port: {{SMTP}}, tls: {caSecretRef: {name: ca}}, authentication: {mechanism: XOAuth2, secretRef: {name: oauth}, oauth2: {tokenURL: {{API}}/token, clientID: client}}}}",
		secret: map[string]string{"username": "relay", "clientSecret": "canary-Client-2Tw6"},
	},
	{
		name: "graph", upstream: "{type: Microsoft365, allowPrivateHosts: true, microsoft365: {tenantID: 11111111-1111-1111-1111-111111111111, clientID: 22222222-2222-2222-2222-222222222222, transport: Graph, mailbox: scans@corp.test, authorityHost: {{API}}, endpoint: {{API}}, credentials: {type: Secret, secretRef: {name: graph}}}}",
		secret: map[string]string{"clientSecret": "canary-Graph-3Sv7"},
	},
	{
		name: "ses", upstream: "{type: SES, allowPrivateHosts: true, ses: {region: eu-west-1, endpoint: {{API}}, credentials: {type: Secret, secretRef: {name: ses}}}}",
		secret: map[string]string{"accessKeyID": "AKIACANARY4RU8", "secretAccessKey": "canary-Aws-5Qt9", "sessionToken": "canary-Session-6Ps0"},
		quiet:  true, // the key signs and stays
	},
	{
		name: "dkim", upstream: "{type: SMTP, smtp: {host: 127.0.0.1, port: {{SMTP}}, tls: {caSecretRef: {name: ca}}}, sender: {domain: copier.test}, dkim: {selector: s1, secretRef: {name: dkim}}}",
		secret: map[string]string{"rsa.pem": "-----BEGIN PRIVATE KEY-----\ncanary-Dkim-7Or1\n-----END PRIVATE KEY-----\n"}, quiet: true,
	},
	{
		name: "client", upstream: "{type: SMTP, smtp: {host: 127.0.0.1, port: {{SMTP}}, tls: {caSecretRef: {name: ca}, clientCertificateRef: {name: client}}}}",
		secret: map[string]string{"tls.crt": "canary-Certificate-8Nq2", "tls.key": "canary-Key-9Mp3"}, quiet: true,
	},
}

// echo is the most careless API that there can be: each refusal repeats all of the
// request.
type echo struct {
	mu  sync.Mutex
	got strings.Builder
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head, err := httputil.DumpRequest(r, false)
	if err != nil {
		http.Error(w, "cannot be read", http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 4096))
	if err != nil {
		http.Error(w, "cannot be read", http.StatusBadRequest)
		return
	}
	all := string(head) + string(body)
	plain, _ := url.QueryUnescape(string(body)) //nolint:errcheck // it is no form then
	e.mu.Lock()
	e.got.WriteString(all + plain)
	e.mu.Unlock()
	said := strings.NewReplacer("\r", " ", "\n", " ", `"`, "'", `\`, "/").Replace(r.Header.Get("Authorization") + " " + r.Header.Get("X-Postmark-Server-Token") + " " + r.Header.Get("X-Amz-Security-Token") + " " + plain)
	said = said[:min(len(said), 300)]
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprintf(w, `{"error": "invalid_client", "error_description": %q, "message": %q, "Message": %q, "ErrorCode": 10, "errors": [{"message": %q}]}`, said, said, said, said)
}

func (e *echo) saw(s string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range forms(s) {
		if strings.Contains(e.got.String(), f) {
			return true
		}
	}
	return false
}

// forms are how a text may look: as it is, in hexadecimal, in a URL, and in base64 at
// each of its three offsets, without the ends that depend on what stands beside it.
func forms(s string) []string {
	out := []string{s, hex.EncodeToString([]byte(s)), url.QueryEscape(s)}
	for offset := range 3 {
		b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + s))
		b = strings.TrimRight(b, "=")
		out = append(out, b[min(4, offset*2):len(b)-2])
	}
	return out
}

func TestForms(t *testing.T) {
	const secret = "canary-Smtp-7Qx2"
	for _, around := range []string{"", "a", "ab", "abc", "relay:"} {
		b := base64.StdEncoding.EncodeToString([]byte(around + secret + "zz"))
		found := false
		for _, f := range forms(secret) {
			found = found || strings.Contains(b, f)
		}
		if !found {
			t.Errorf("not found behind %q: %s in %q", around, b, forms(secret))
		}
	}
}

// TestNoSecretAnywhere: whatever a provider says, and wherever the relay repeats it, no
// Secret of any kind is in a log, a metric, the state, the queue, a notification, an
// error or the files of the relay.
func TestNoSecretAnywhere(t *testing.T) {
	api := &echo{}
	web := httptest.NewServer(api)
	t.Cleanup(web.Close)
	wrong := startServer(t, "another password")
	good := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifestsOf(web.URL, wrong, good))
	var to []string
	for _, c := range canaries {
		to = append(to, "a@"+c.name+".test")
	}
	if got := r.Dial().Send("mfp@copier.test", to, rig.Scan("mfp@copier.test", to[0])); !strings.HasPrefix(got, "250") {
		t.Fatal(got)
	}
	for _, c := range canaries {
		r.Eventually("a delivery by "+c.name+" was tried", func() bool {
			return strings.Contains(r.Log.String(), "upstream="+c.name+" reply=")
		})
		if advised := regexp.MustCompile(`upstream=` + c.name + ` reply=.* remedy="`); c.name != "dkim" && c.name != "client" && !advised.MatchString(r.Log.String()) {
			t.Errorf("nothing is said of what to do about the refusal of %s\n%s", c.name, r.Log)
		}
		r.Eventually(c.name+" was checked", func() bool { return health(t, r, c.name).Reachable != "" })
		for _, value := range c.secret {
			if !c.quiet && value != "relay" && !wrong.saw(value) && !api.saw(value) {
				t.Errorf("the Secret of %s was used nowhere: the test proves nothing\n%s", c.name, r.Log)
			}
		}
	}
	seen := map[string]string{}
	for _, path := range []string{"/state", "/readyz", "/metrics", "/queue", "/sessions"} {
		_, seen[path] = r.Get(path)
	}
	id := strings.Split(strings.SplitAfter(seen["/queue"], `"id": "`)[1], `"`)[0]
	_, seen["/queue/ID"] = r.Get("/queue/" + id)
	if code, body := r.Post("/queue/bounce?all=true"); code != http.StatusOK {
		t.Fatal(code, body)
	}
	r.Eventually("the notification arrives", func() bool { return len(good.Messages()) > 0 })
	for _, m := range good.Messages() {
		seen["notification"] += m.Data
	}
	if !strings.Contains(seen["notification"], "Final-Recipient: rfc822; a@smtp.test") {
		t.Errorf("the notification says nothing:\n%s", seen["notification"])
	}
	// What cannot be applied says so without what is in it.
	r.Write("broken.yaml", secret("broken", map[string]string{"k": "canary-Broken-1Lo4"})+"  canary-Broken-1Lo4: [")
	r.Eventually("the broken file is said", func() bool { _, b := r.Get("/readyz"); return strings.Contains(b, "broken.yaml") })
	_, seen["/readyz of a broken file"] = r.Get("/readyz")
	r.Stop()
	seen["log"] = r.Log.String()
	files(t, r.State, seen)
	for _, c := range canaries {
		for key, value := range c.secret {
			if value == "relay" {
				continue
			}
			find(t, seen, c.name+"."+key, value)
		}
	}
}

// find fails the test where a Secret is seen.
func find(t *testing.T, seen map[string]string, name, value string) {
	t.Helper()
	for line := range strings.Lines(value) { // of a key, what is not its frame
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "-----") {
			continue
		}
		for where, text := range seen {
			for _, f := range forms(line) {
				if i := strings.Index(text, f); i >= 0 {
					t.Errorf("%s is in %s: ...%s...", name, where, text[max(0, i-200):min(len(text), i+len(f)+50)])
				}
			}
		}
	}
}

// files are those of the relay's state.
func files(t *testing.T, dir string, into map[string]string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		into[strings.TrimPrefix(path, dir)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func manifestsOf(api string, wrong *server, good *rig.Upstream) string {
	var routes, objects strings.Builder
	for _, c := range canaries {
		fmt.Fprintf(&routes, "  - {name: %s, recipientDomains: [%s.test], upstreamRef: {name: %s}}\n", c.name, c.name, c.name)
		objects.WriteString(secret(c.name, c.secret))
		if c.upstream == "" {
			objects.WriteString(wrong.yaml(c.name, c.name))
			continue
		}
		spec := strings.NewReplacer("{{API}}", api, "{{SMTP}}", fmt.Sprint(wrong.port)).Replace(c.upstream)
		fmt.Fprintf(&objects, "---\napiVersion: printerrelay.dev/v1alpha1\nkind: MailUpstream\nmetadata: {name: %s}\nspec: %s\n", c.name, spec)
	}
	objects.WriteString(secret("ca", map[string]string{"ca.crt": wrong.ca}))
	return `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  upstreamRef: {name: good}
  routes:
` + routes.String() + `  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: {{PORT}}, tls: {mode: None}}]
  delivery: {bounce: {to: Postmaster, postmaster: it@good.test, from: relay@copier.test, upstreamRef: {name: good}}, retry: {initialSeconds: 1, maximumSeconds: 1}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [127.0.0.0/8]}
    recipients: {allowed: ["*@*.test"]}
` + good.YAML("good", "") + objects.String()
}
