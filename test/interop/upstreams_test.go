package interop

import (
	"fmt"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
)

const (
	head = `
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: all}
spec:
  rules:
  - name: this-machine
    match: {clientNetworks: [127.0.0.0/8]}
    recipients: {allowed: ["*@*.example", "*@corp.example"], maximum: 1000}
---
apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.example.test
  senderPolicyRefs: [{name: all}]
  listeners:
  - {name: clear, port: {{CLEAR}}, tls: {mode: None}, limits: {connectionsPerClient: 200}}
  delivery:
    retry: {initialSeconds: 1, maximumSeconds: 2}
    bounce: {to: Postmaster, postmaster: postmaster@corp.example, from: relay@copier.example}
`
	upstreamHead = `---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: %s}
spec:
  type: SMTP
  smtp:
    host: 127.0.0.1
    port: %d
    tls: %s
`
)

func upstream(name string, port int, tls, mechanism string) string {
	s := fmt.Sprintf(upstreamHead, name, port, tls)
	if mechanism != "" {
		s += "    authentication: {mechanism: " + mechanism + ", secretRef: {name: login}}\n"
	}
	return s
}

func swaksTo(t *testing.T, r *relay, s scan, to string) {
	t.Helper()
	env.MustRun(t, "", "swaks", "--server", fmt.Sprintf("127.0.0.1:%d", r.ports["CLEAR"]), "--helo", "mfp", "--from", sender,
		"--to", to, "--suppress-data", "--attach-type", "application/pdf", "--attach-name", scanName, "--attach", "@"+s.file)
}

// Every way to hand mail to a Postfix, one route for each.
func TestUpstreams(t *testing.T) {
	t.Parallel()
	open := postfix.Start(t, postfix.Options{})
	login := map[string]string{"relay@corp.example": "pass word"}
	closed := postfix.Start(t, postfix.Options{RequireAuth: true, Users: login, Hostname: "mx2.example.test"})
	const verify = "serverName: mx.example.test, caSecretRef: {name: ca}"
	const verify2 = "serverName: mx2.example.test, caSecretRef: {name: ca2}"
	cases := []struct {
		name, manifest, with string
		at                   *postfix.Server
	}{
		{"none", upstream("none", open.Port, "{mode: None}", ""), "with ESMTP id ", open},
		{"opportunistic", upstream("opportunistic", open.Port, "{mode: Opportunistic}", ""), "with ESMTPS id ", open},
		{"starttls", upstream("starttls", open.Port, "{mode: StartTLS, "+verify+"}", ""), "with ESMTPS id ", open},
		{"implicit", upstream("implicit", open.TLSPort, "{mode: Implicit, "+verify+"}", ""), "with ESMTPS id ", open},
		{"auto", upstream("auto", closed.Port, "{mode: StartTLS, "+verify2+"}", "Auto"), "with ESMTPSA id ", closed},
		{"plain", upstream("plain", closed.Port, "{mode: StartTLS, "+verify2+"}", "Plain"), "with ESMTPSA id ", closed},
		{"login", upstream("login", closed.Port, "{mode: StartTLS, "+verify2+"}", "Login"), "with ESMTPSA id ", closed},
		{"crammd5", upstream("crammd5", closed.TLSPort, "{mode: Implicit, "+verify2+"}", "CRAMMD5"), "with ESMTPSA id ", closed},
	}
	manifests, upstreams := head+"  upstreamRef: {name: none}\n  routes:\n", ""
	for _, c := range cases {
		manifests += fmt.Sprintf("  - {name: %s, recipientDomains: [%s.example], upstreamRef: {name: %s}}\n", c.name, c.name, c.name)
		upstreams += c.manifest
	}
	r := startRelay(t, manifests+upstreams+secret("ca", "ca.crt", open.CA.PEM)+secret("ca2", "ca.crt", closed.CA.PEM)+
		secret("login", "username", "relay@corp.example", "password", "pass word"), "CLEAR")
	s := newScan(t, 50_000)
	all := make([]string, 0, len(cases))
	for _, c := range cases {
		all = append(all, "it@"+c.name+".example")
	}
	swaksTo(t, r, s, strings.Join(all, ",")) // one message, split by routes
	for _, c := range cases {
		m := c.at.MailFor(t, "it@"+c.name+".example")
		s.arrived(t, m, "ESMTP")
		if !received(m, c.with) {
			t.Errorf("%s: no %q in %q", c.name, c.with, m.Header["Received"])
		}
	}
}

// A certificate that the CA did not issue, or for another name, gets no mail.
func TestUpstreamWithWrongCertificateGetsNothing(t *testing.T) {
	t.Parallel()
	mx := postfix.Start(t, postfix.Options{})
	other := env.NewCA(t, t.TempDir())
	r := startRelay(t, head+"  upstreamRef: {name: ca}\n  routes:\n"+
		"  - {name: name, recipientDomains: [name.example], upstreamRef: {name: name}}\n"+
		upstream("ca", mx.Port, "{mode: StartTLS, serverName: mx.example.test, caSecretRef: {name: other}}", "")+
		upstream("name", mx.TLSPort, "{mode: Implicit, serverName: elsewhere.example, caSecretRef: {name: ca}}", "")+
		secret("ca", "ca.crt", mx.CA.PEM)+secret("other", "ca.crt", other.PEM), "CLEAR")
	swaksTo(t, r, newScan(t, 1000), "it@corp.example,it@name.example")
	env.Eventually(t, "both are deferred", r.Output, func() bool {
		return regexp.MustCompile(`outcome=Deferred.* upstream=ca reply="TLS: .*certificate`).MatchString(r.Output()) &&
			regexp.MustCompile(`outcome=Deferred.* upstream=name reply="TLS: .*elsewhere\.example`).MatchString(r.Output())
	})
	if got := mx.Mail(t); len(got) != 0 {
		t.Errorf("%d mails arrived", len(got))
	}
}

// One of three recipients is refused for good, one for now: the postmaster hears
// of the first, the queue keeps the second, the third has the scan.
func TestUpstreamRefusesRecipients(t *testing.T) {
	t.Parallel()
	mx := postfix.Start(t, postfix.Options{})
	r := startRelay(t, head+"  upstreamRef: {name: open}\n"+upstream("open", mx.Port, "{mode: None}", ""), "CLEAR")
	s := newScan(t, 1000)
	swaksTo(t, r, s, "it@corp.example,"+postfix.Unknown+","+postfix.Greylisted)
	s.arrived(t, mx.MailFor(t, "it@corp.example"), "ESMTP")

	dsn := mx.MailFor(t, "postmaster@corp.example")
	if dsn.Sender != "" {
		t.Errorf("notification from %q, want the null sender", dsn.Sender)
	}
	for _, want := range []string{"Final-Recipient: rfc822;", postfix.Unknown, "Action: failed", "Status: 5.1.1", "550 5.1.1", "no such user here"} {
		if !strings.Contains(string(dsn.Body), want) {
			t.Errorf("no %q in the notification\n%s", want, dsn.Raw)
		}
	}
	if n := strings.Count(string(dsn.Body), "Final-Recipient:"); n != 1 { // the original's To: names all three
		t.Errorf("the notification is about %d recipients, want 1\n%s", n, dsn.Raw)
	}
	if kind := dsn.Header.Get("Content-Type"); !strings.HasPrefix(kind, "multipart/report") {
		t.Errorf("notification of type %s", kind)
	}
	list := r.queue(t, "list", "--status", "deferred", "--json")
	id := regexp.MustCompile(`"id": "([^"]+)"`).FindStringSubmatch(list)
	if id == nil {
		t.Fatalf("nothing is deferred: %s", list)
	}
	if show := r.queue(t, "show", id[1]); !strings.Contains(show, postfix.Greylisted) || !strings.Contains(show, "450 4.7.1") {
		t.Errorf("the queue does not say what became of %s:\n%s", postfix.Greylisted, show)
	}
}

// The upstream is away, the relay is killed, both come back: the scan arrives,
// once.
func TestUpstreamDownAndRelayKilled(t *testing.T) {
	t.Parallel()
	mx := postfix.Start(t, postfix.Options{})
	r := startRelay(t, head+"  upstreamRef: {name: open}\n"+upstream("open", mx.Port, "{mode: None}", ""), "CLEAR")
	s := newScan(t, 300_000)
	mx.Stop()
	swaksTo(t, r, s, "it@corp.example") // taken all the same
	r.Kill()
	r.run(t)
	if !r.Running() {
		t.Fatalf("the relay does not start again:\n%s", r.Output())
	}
	mx.Restart(t)
	s.arrived(t, mx.MailFor(t, "it@corp.example"), "ESMTP")
	env.Eventually(t, "the queue is empty", r.Output, func() bool {
		return !strings.Contains(r.queue(t, "list", "--json"), "it@corp.example")
	})
	mx.MailFor(t, "it@corp.example") // still one
}

// smtp-source with many sessions, through the relay, into smtp-sink.
func TestSourceToSink(t *testing.T) {
	t.Parallel()
	const messages = 300
	sink := postfix.StartSink(t, true)
	r := startRelay(t, head+"  upstreamRef: {name: sink}\n"+upstream("sink", sink.Port, "{mode: None}", ""), "CLEAR")
	out, err := postfix.Source{
		Port: r.ports["CLEAR"], Messages: messages, Size: 20_000, Sessions: 20, From: sender, To: "it@corp.example",
	}.Send(t)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, r.Output())
	}
	env.Eventually(t, fmt.Sprintf("%d mails arrive", messages), r.Output, func() bool { return len(sink.Files(t)) >= messages })
	ids := map[string]bool{}
	for _, file := range sink.Files(t) {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(f)
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(file), err)
		}
		ids[m.Header.Get("Received")] = true
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(ids) != messages {
		t.Errorf("%d different mails, want %d", len(ids), messages)
	}
}
