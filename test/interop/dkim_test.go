package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
	"github.com/printerrelay/printer-relay/test/rig"
)

// keys are made, and their records found, with the commands of docs/dkim.md.
type keys struct {
	dir     string
	records map[string]string // name -> TXT
}

func newKeys(t *testing.T) *keys { return &keys{dir: t.TempDir(), records: map[string]string{}} }

// secret makes new keys for a domain and publishes them.
func (k *keys) secret(t *testing.T, name, domain string, kinds ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(env.Root(t), "docs", "dkim.md"))
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	var pairs []string
	for _, kind := range kinds {
		file := filepath.Join(k.dir, name+"-"+kind)
		create, public, record := "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out ", " -pubout -outform DER | base64 -w0", "scans1._domainkey."
		if kind == "ed25519.pem" {
			create, public, record = "openssl genpkey -algorithm ed25519 -out ", " -pubout -outform DER | tail -c 32 | base64 -w0", "scans1-ed25519._domainkey."
		}
		for _, command := range []string{create + kind, "openssl pkey -in " + kind + public, record} {
			if !strings.Contains(doc, command) {
				t.Errorf("docs/dkim.md does not say %s", command)
			}
		}
		env.MustRun(t, "", "bash", "-c", create+file+" 2>&1")
		k.records[record+domain] = "v=DKIM1; k=" + strings.TrimSuffix(kind, ".pem") + "; p=" + env.MustRun(t, "", "bash", "-c", "openssl pkey -in "+file+public)
		key, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, kind, string(key))
	}
	return secret(name, pairs...)
}

// verdicts are what two programs say of the signatures of a message: "ok" and
// the domain, or what is wrong.
func (k *keys) verdicts(t *testing.T, message []byte) (goMsgauth, dkimpy []string) {
	t.Helper()
	vs, err := dkim.VerifyWithOptions(bytes.NewReader(message), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if r, ok := k.records[name]; ok {
			return []string{r}, nil
		}
		return nil, errors.New("no record " + name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vs {
		if v.Err != nil {
			goMsgauth = append(goMsgauth, v.Err.Error())
			continue
		}
		goMsgauth = append(goMsgauth, "ok "+v.Domain)
	}
	records, err := json.Marshal(k.records)
	if err != nil {
		t.Fatal(err)
	}
	env.WriteFile(t, filepath.Join(k.dir, "records.json"), string(records))
	file := filepath.Join(k.dir, "message.eml")
	if err := os.WriteFile(file, message, 0o600); err != nil {
		t.Fatal(err)
	}
	// Debian's own Python, which Debian's python3-dkim is for.
	out := env.MustRun(t, "", "/usr/bin/python3", "dkim_verify.py", filepath.Join(k.dir, "records.json"), file)
	if out = strings.TrimSpace(out); out != "" {
		dkimpy = strings.Split(out, "\n")
	}
	return goMsgauth, dkimpy
}

// want fails the test unless both programs say the same of a message: each of n
// signatures is the domain's and valid.
func (k *keys) want(t *testing.T, message []byte, domain string, n int) {
	t.Helper()
	want := slices.Repeat([]string{"ok " + domain}, n)
	if a, b := k.verdicts(t, message); !slices.Equal(a, want) || !slices.Equal(b, want) {
		t.Errorf("go-msgauth says %q, dkimpy %q, want %q\n%.3000s", a, b, want, message)
	}
}

// onWire is a mail as it was sent: a Maildir has LF.
func onWire(m postfix.Message) []byte { return bytes.ReplaceAll(m.Raw, []byte("\n"), []byte("\r\n")) }

func signing(name string, port int, domain, key string) string {
	return upstream(name, port, "{mode: None}", "") + "  sender: {domain: " + domain + "}\n  dkim: {selector: scans1, secretRef: {name: " + key + "}}\n"
}

const eightBit = "From: =?utf-8?q?Kopierer_im_3=2E_St=C3=B6ck?=\r\n <" + sender + ">\r\nTo: it@both.example,\r\n\tit@rsa.example,\r\n" +
	" \"Boss,\tthe\" <it@ed25519.example>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe_aus?=\r\n\t =?utf-8?q?_dem_Drucker?=  \r\nX-Folded:\r\n  a\r\n\tb\r\n" +
	"Reply-To: it@corp.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain;\r\n\tcharset=\"utf-8\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
	"gr\xc3\xbc\xc3\x9fe  \t aus\r\n\r\n  dem \t\r\n\tDrucker \xe9\xff\r\n \r\nend\t\r\n\r\n \r\n"

// What a Postfix received verifies, with RSA, Ed25519 and both, 10 MB and 8-bit,
// also where the header is folded and encoded; what was changed since does not.
func TestDKIM(t *testing.T) {
	t.Parallel()
	mx, k := postfix.Start(t, postfix.Options{}), newKeys(t)
	manifests := head + "  upstreamRef: {name: both}\n  routes:\n" +
		"  - {name: rsa, recipientDomains: [rsa.example], upstreamRef: {name: rsa}}\n" +
		"  - {name: ed25519, recipientDomains: [ed25519.example], upstreamRef: {name: ed25519}}\n" +
		signing("rsa", mx.Port, "rsa.example", "rsa") + signing("ed25519", mx.Port, "ed25519.example", "ed25519") + signing("both", mx.Port, "both.example", "both") +
		k.secret(t, "rsa", "rsa.example", "rsa.pem") + k.secret(t, "ed25519", "ed25519.example", "ed25519.pem") + k.secret(t, "both", "both.example", "rsa.pem", "ed25519.pem")
	r := startRelay(t, manifests, "CLEAR")
	scan, err := os.ReadFile(newScan(t, 10<<20).message(t, "it@both.example", "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{"rsa": 1, "ed25519": 1, "both": 2}
	for name, message := range map[string]string{"scan": string(scan), "eight-bit": eightBit} {
		to := make([]string, 0, len(count))
		for way := range count {
			to = append(to, name+"@"+way+".example")
		}
		if got := rig.Connect(t, r.ports["CLEAR"]).Send(sender, to, message); !strings.HasPrefix(got, "250 ") {
			t.Fatalf("%s: %s", name, got)
		}
		for way, n := range count {
			t.Run(name+", "+way, func(t *testing.T) {
				got := mx.MailFor(t, name+"@"+way+".example")
				if want := "scans@" + way + ".example"; got.Sender != want || !strings.Contains(got.Header.Get("From"), want) {
					t.Errorf("from %q, %q, want %s", got.Sender, got.Header.Get("From"), want)
				}
				k.want(t, onWire(got), way+".example", n)
			})
		}
	}
	good := onWire(mx.MailFor(t, "eight-bit@both.example"))
	for what, change := range map[string][2]string{
		"the body": {"Drucker \xe9", "Drucker \xe8"}, "the end of the body": {"end", "end\r\nmore"}, "Subject": {"aus?=", "von?="},
		"From": {"<scans@both", "<md@both"}, "another From": {"X-Folded:", "From: md@corp.example\r\nX-Folded:"},
		"another From on top": {"Return-Path:", "From: md@corp.example\r\nReturn-Path:"}, "another Subject on top": {"Return-Path:", "Subject: Hello\r\nReturn-Path:"}, "Reply-To": {"Reply-To: it@", "Reply-To: md@"},
	} {
		t.Run("changed "+what, func(t *testing.T) {
			bad := bytes.ReplaceAll(good, []byte(change[0]), []byte(change[1]))
			if bytes.Equal(bad, good) {
				t.Fatalf("%q is not in\n%s", change[0], good)
			}
			a, b := k.verdicts(t, bad)
			if len(a) != 2 || len(b) != 2 {
				t.Errorf("go-msgauth says %q, dkimpy %q", a, b)
			}
			for _, v := range slices.Concat(a, b) {
				if strings.HasPrefix(v, "ok") {
					t.Errorf("go-msgauth says %q, dkimpy %q", a, b)
				}
			}
		})
	}
}

// Mail that goes by the second upstream is signed as the second's domain.
func TestDKIMAfterFailover(t *testing.T) {
	t.Parallel()
	away, mx, k := postfix.Start(t, postfix.Options{}), postfix.Start(t, postfix.Options{}), newKeys(t)
	away.Stop()
	r := startRelay(t, head+"  upstreamRef: {name: first}\n  fallbackUpstreamRefs: [{name: second}]\n"+
		signing("first", away.Port, "first.example", "first")+signing("second", mx.Port, "second.example", "second")+
		k.secret(t, "first", "first.example", "rsa.pem", "ed25519.pem")+k.secret(t, "second", "second.example", "rsa.pem", "ed25519.pem"), "CLEAR")
	if got := rig.Connect(t, r.ports["CLEAR"]).Send(sender, []string{"it@corp.example"}, eightBit); !strings.HasPrefix(got, "250 ") {
		t.Fatal(got)
	}
	got := onWire(mx.MailFor(t, "it@corp.example"))
	k.want(t, got, "second.example", 2)
	if bytes.Contains(got, []byte("first.example")) {
		t.Errorf("it speaks of the first upstream:\n%s", got)
	}
}

// Without its Secret mail waits, and says why; with a Secret that changes, the
// next mail has the new signature. The relay is not restarted.
func TestDKIMKeysComeAndChange(t *testing.T) {
	t.Parallel()
	mx, k := postfix.Start(t, postfix.Options{}), newKeys(t)
	r := startRelay(t, head+"  upstreamRef: {name: out}\n"+signing("out", mx.Port, "copier.example", "key"), "CLEAR")
	send := func(to string) {
		t.Helper()
		if got := rig.Connect(t, r.ports["CLEAR"]).Send(sender, []string{to}, eightBit); !strings.HasPrefix(got, "250 ") {
			t.Fatal(got)
		}
	}
	send("first@corp.example")
	const why = `DKIM: Secret \"key\" of spec.dkim.secretRef: it is not found: create it`
	env.Eventually(t, "the log says why it waits", r.Output, func() bool { return strings.Contains(r.Output(), why) })
	if list := r.queue(t, "list", "--json"); !strings.Contains(list, why) {
		t.Errorf("the queue does not say why it waits:\n%s", list)
	}
	if got := mx.Mail(t); len(got) != 0 {
		t.Fatalf("it left as\n%s", got[0].Raw)
	}
	file := filepath.Join(r.dir, "manifests", "key.yaml")
	for i, to := range []string{"first@corp.example", "second@corp.example"} {
		env.WriteFile(t, file, k.secret(t, "key", "copier.example", "rsa.pem"))
		record := k.records["scans1._domainkey.copier.example"]
		if i > 0 {
			env.Eventually(t, "the Secret is read", r.Output, func() bool {
				probe := fmt.Sprintf("probe%d@corp.example", len(mx.Mail(t)))
				send(probe)
				a, _ := k.verdicts(t, onWire(mx.MailFor(t, probe)))
				return slices.Equal(a, []string{"ok copier.example"})
			})
			send(to)
		}
		k.want(t, onWire(mx.MailFor(t, to)), "copier.example", 1)
		if !strings.Contains(r.Output(), record) {
			t.Errorf("the log does not tell the record %s\n%s", record, r.Output())
		}
	}
	if strings.Contains(r.Output(), "PRIVATE KEY") {
		t.Error("the log shows a key")
	}
}
