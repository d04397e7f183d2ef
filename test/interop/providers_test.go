package interop

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
)

// provider is a MailUpstream of a provider, at an endpoint of the test.
func provider(name, kind, block string) string {
	return fmt.Sprintf(`---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: %s}
spec:
  type: %s
  allowPrivateHosts: true
  %s
`, name, kind, block)
}

// trusting is the environment of a relay for which a CA is one of the system's.
func trusting(t *testing.T, ca *env.CA) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "roots.pem")
	env.WriteFile(t, file, ca.PEM)
	return []string{"SSL_CERT_FILE=" + file}
}

// orders are what a device could tell the providers.
const orders = "X-SMTPAPI: {\"to\": [\"victim@corp.example\"]}\r\nX-Mailgun-Drop-Message: yes\r\nX-PM-Message-Stream: broadcasts\r\nX-PM-Tag: device\r\n"

// The providers' SMTP services, each played by a Postfix that knows the login that
// the provider gives, by STARTTLS or TLS from the start.
func TestProvidersBySMTP(t *testing.T) {
	t.Parallel()
	const sendGridKey, mailgunPassword, postmarkToken = "SG.fake-key.of-the-tests", "fake password of mailgun", "fake-9e5dcd3f-token"
	mx := postfix.Start(t, postfix.Options{RequireAuth: true, Users: map[string]string{
		"apikey": sendGridKey, "scans@mg.example": mailgunPassword, postmarkToken: postmarkToken,
	}})
	starttls, implicit := fmt.Sprintf("smtp://127.0.0.1:%d", mx.Port), fmt.Sprintf("smtps://127.0.0.1:%d", mx.TLSPort)
	cases := []struct {
		name, manifest string
		header         map[string][]string
	}{
		{
			"sendgrid", provider("sendgrid", "SendGrid", `sendGrid: {endpoint: "`+starttls+`", secretRef: {name: sendgrid}}`),
			map[string][]string{"X-Smtpapi": {`{"filters":{"clicktrack":{"settings":{"enable":0}},"opentrack":{"settings":{"enable":0}},"subscriptiontrack":{"settings":{"enable":0}}}}`}, "X-Pm-Tag": {"device"}},
		},
		{
			"mailgun", provider("mailgun", "Mailgun", `mailgun: {transport: SMTP, endpoint: "`+implicit+`", domain: mg.example, requireTLS: true, secretRef: {name: mailgun}}`),
			map[string][]string{"X-Mailgun-Drop-Message": nil, "X-Mailgun-Track": {"no"}, "X-Mailgun-Require-Tls": {"true"}, "X-Mailgun-Skip-Verification": {"false"}},
		},
		{
			"postmark", provider("postmark", "Postmark", `postmark: {endpoint: "`+starttls+`", messageStream: scans, secretRef: {name: postmark}}`),
			map[string][]string{"X-Pm-Message-Stream": {"scans"}, "X-Pm-Tag": nil, "X-Mailgun-Drop-Message": {"yes"}},
		},
		{
			"default", provider("default", "Postmark", `postmark: {endpoint: "`+implicit+`", secretRef: {name: postmark}}`),
			map[string][]string{"X-Pm-Message-Stream": nil, "X-Pm-Tag": nil},
		},
	}
	manifests, upstreams := head+"  upstreamRef: {name: sendgrid}\n  routes:\n", ""
	for _, c := range cases {
		manifests += fmt.Sprintf("  - {name: %s, recipientDomains: [%s.example], upstreamRef: {name: %s}}\n", c.name, c.name, c.name)
		upstreams += c.manifest
	}
	r := startRelayIn(t, trusting(t, mx.CA), manifests+upstreams+secret("sendgrid", "apiKey", sendGridKey)+
		secret("mailgun", "username", "scans@mg.example", "password", mailgunPassword)+secret("postmark", "apiKey", postmarkToken), "CLEAR")
	s := newScan(t, 50_000)
	file := s.message(t, "it@sendgrid.example", "\r\n")
	ordered(t, file)
	args := []string{"--server", fmt.Sprintf("127.0.0.1:%d", r.ports["CLEAR"]), "--helo", "mfp", "--from", sender, "--data", "@" + file, "--to"}
	var to []string
	for _, c := range cases {
		to = append(to, "it@"+c.name+".example")
	}
	env.MustRun(t, "", "swaks", append(args, strings.Join(to, ","))...)
	for _, c := range cases {
		m := mx.MailFor(t, "it@"+c.name+".example")
		s.arrived(t, m, "ESMTP")
		if !received(m, "with ESMTPSA id ") {
			t.Errorf("%s: %q", c.name, m.Header["Received"])
		}
		for name, want := range c.header {
			if got := m.Header[name]; !slices.Equal(got, want) {
				t.Errorf("%s: %s: %q, want %q", c.name, name, got, want)
			}
		}
	}
	for _, m := range mx.Mail(t) {
		if strings.HasPrefix(m.Recipient, "victim") {
			t.Error("a device's X-SMTPAPI was heard")
		}
	}
	for _, key := range []string{sendGridKey, mailgunPassword, postmarkToken} {
		if strings.Contains(r.Output(), key) {
			t.Errorf("%q is in the log", key)
		}
	}
}

// ordered puts orders on top of a message.
func ordered(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append([]byte(orders), b...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A login that the provider does not take is the upstream's trouble: the scan waits.
func TestProviderWithWrongLogin(t *testing.T) {
	t.Parallel()
	mx := postfix.Start(t, postfix.Options{RequireAuth: true, Users: map[string]string{"apikey": "SG.another"}})
	r := startRelayIn(t, trusting(t, mx.CA), head+"  upstreamRef: {name: sendgrid}\n"+
		provider("sendgrid", "SendGrid", fmt.Sprintf(`sendGrid: {endpoint: "smtp://127.0.0.1:%d", secretRef: {name: sendgrid}}`, mx.Port))+
		secret("sendgrid", "apiKey", "SG.fake-key.of-the-tests"), "CLEAR")
	swaksTo(t, r, newScan(t, 1000), "it@corp.example")
	env.Eventually(t, "it is deferred", r.Output, func() bool {
		return regexp.MustCompile(`upstream=sendgrid reply="535 5\.7\.8 AUTH PLAIN as the user of secret .*authentication failed`).MatchString(r.Output())
	})
	if list := r.queue(t, "list", "--json"); !strings.Contains(list, `"state": "deferred"`) || len(mx.Mail(t)) > 0 {
		t.Errorf("the queue has %s; %d arrived", list, len(mx.Mail(t)))
	}
}

// A request as Mailgun's API wants it, read by a parser of multipart/form-data that
// is not Go's: the recipients of the envelope, and the message octet for octet.
func TestMailgunAPIReadByNode(t *testing.T) {
	t.Parallel()
	const key = "fake-sending-key-of-the-tests"
	folder := t.TempDir()
	node := env.Start(t, folder, "node", filepath.Join(env.Root(t), "test/interop/mailgun/server.js"), folder)
	var port []string
	env.Eventually(t, "node listens", node.Output, func() bool {
		port = regexp.MustCompile(`listening on (\d+)\n`).FindStringSubmatch(node.Output())
		return port != nil || !node.Running()
	})
	if port == nil {
		t.Fatalf("node does not start:\n%s", node.Output())
	}
	r := startRelay(t, head+"  upstreamRef: {name: mailgun}\n"+
		provider("mailgun", "Mailgun", `mailgun: {endpoint: "http://127.0.0.1:`+port[1]+`", domain: mg.example, requireTLS: true, secretRef: {name: mailgun}}`)+
		secret("mailgun", "apiKey", key), "CLEAR")
	s := newScan(t, 5_000_000)
	file := s.message(t, "nobody@header.example", "\r\n")
	ordered(t, file)
	env.MustRun(t, "", "swaks", "--server", fmt.Sprintf("127.0.0.1:%d", r.ports["CLEAR"]), "--helo", "mfp", "--from", sender,
		"--data", "@"+file, "--to", "it@corp.example,it@floor3.example")
	var said struct {
		URL, Authorization string
		Fields             [][2]string
		File               struct{ Field, Name, Type string }
	}
	env.Eventually(t, "the request is there", r.Output, func() bool {
		b, err := os.ReadFile(filepath.Join(folder, "1.json"))
		return err == nil && json.Unmarshal(b, &said) == nil
	})
	want := [][2]string{{"to", "it@corp.example"}, {"to", "it@floor3.example"}, {"o:tracking", "no"}, {"o:require-tls", "true"}, {"o:skip-verification", "false"}}
	if said.URL != "/v3/mg.example/messages.mime" || said.Authorization != "Basic "+base64.StdEncoding.EncodeToString([]byte("api:"+key)) || !slices.Equal(said.Fields, want) || said.File.Field != "message" {
		t.Errorf("%+v", said)
	}
	raw, err := os.ReadFile(filepath.Join(folder, "1.eml"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	s.arrived(t, postfix.Message{Sender: sender, Header: m.Header, Body: body, Raw: raw}, "ESMTP")
	original, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, rest, _ := bytes.Cut(original, []byte("\r\n\r\n")); !bytes.Equal(body, append(rest, "\r\n"...)) { // swaks ends with a line of its own
		t.Errorf("the body of %d octets is not the one of %d that was sent", len(body), len(rest))
	}
	if got := m.Header.Get("X-Mailgun-Drop-Message"); got != "" || m.Header.Get("X-Pm-Tag") != "device" {
		t.Errorf("%q", m.Header)
	}
	env.Eventually(t, "the queue is empty", r.Output, func() bool { return !strings.Contains(r.queue(t, "list", "--json"), `"state"`) })
	if strings.Contains(r.Output(), key) {
		t.Error("the key is in the log")
	}
}
