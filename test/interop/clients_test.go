package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
)

const (
	sender   = "scan@copier.example"
	user     = `DOM\mfp3@corp.example` // no key of a Secret could be this
	password = `p:a ss"w\or%d`         // smtplib takes no more than ASCII
)

// clientManifests: three listeners, one for each way to begin TLS; whoever
// authenticates may send to corp.example, and so may this machine, but only to
// clear.corp.example.
const clientManifests = `
apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.example.test
  upstreamRef: {name: postfix}
  senderPolicyRefs: [{name: office}]
  listeners:
  - name: clear
    port: {{CLEAR}}
    tls: {mode: None}
    authentication: {mode: Optional, mechanisms: [Plain, Login, CRAMMD5], plaintext: Allow, secretRef: {name: logins}}
  - name: starttls
    port: {{STARTTLS}}
    tls: {mode: StartTLS, certificateRefs: [{name: relay-tls}]}
    authentication: {mode: Required, mechanisms: [Plain, Login, CRAMMD5], secretRef: {name: logins}}
  - name: implicit
    port: {{IMPLICIT}}
    tls: {mode: Implicit, certificateRefs: [{name: relay-tls}]}
    authentication: {mode: Optional, mechanisms: [Plain, Login, CRAMMD5], secretRef: {name: logins}}
  delivery: {bounce: {to: None}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: postfix}
spec:
  type: SMTP
  smtp:
    host: 127.0.0.1
    port: %d
    tls: {mode: StartTLS, serverName: mx.example.test, caSecretRef: {name: upstream-ca}}
    authentication: {mechanism: Auto, secretRef: {name: upstream-login}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: logins
    match: {users: ['DOM\mfp3@corp.example']}
    senders: {allowed: ["*@copier.example"]}
    recipients: {allowed: ["*@corp.example"]}
  - name: this-machine
    match: {clientNetworks: [127.0.0.0/8]}
    senders: {allowed: ["*@copier.example"]}
    recipients: {allowed: ["*@clear.corp.example"]}
`

// office is a relay with a Postfix behind it, for all clients.
type office struct {
	*relay
	mx   *postfix.Server
	ca   string // file
	scan scan
}

func newOffice(t *testing.T) *office {
	t.Helper()
	login := map[string]string{"relay": "up:stream password"}
	o := &office{mx: postfix.Start(t, postfix.Options{RequireAuth: true, Users: login}), scan: newScan(t, 700_001)}
	ca := env.NewCA(t, t.TempDir())
	o.ca = filepath.Join(ca.Dir, "ca.crt")
	cert, key := ca.Issue(t, "localhost", "127.0.0.1")
	o.relay = startRelay(t, fmt.Sprintf(clientManifests, o.mx.Port)+
		secret("logins", "users", user+":"+password)+
		tlsSecret(t, "relay-tls", cert, key)+
		secret("upstream-ca", "ca.crt", o.mx.CA.PEM)+
		secret("upstream-login", "username", "relay", "password", login["relay"]),
		"CLEAR", "STARTTLS", "IMPLICIT")
	return o
}

// way is one way to connect to the relay.
type way struct {
	name     string
	port     string // of startRelay's
	auth     string // mechanism; empty: none
	protocol string // in Received
}

// Ways to connect. Without a login only clear.corp.example may be sent to.
var (
	clearText = way{"clear", "CLEAR", "", "ESMTP"}
	implicit  = way{"implicit", "IMPLICIT", "", "ESMTPS"}
	ways      = []way{
		clearText, implicit,
		{"clear-plain", "CLEAR", "PLAIN", "ESMTPA"},
		{"clear-login", "CLEAR", "LOGIN", "ESMTPA"},
		{"clear-cram-md5", "CLEAR", "CRAM-MD5", "ESMTPA"},
		{"starttls-plain", "STARTTLS", "PLAIN", "ESMTPSA"},
		{"starttls-login", "STARTTLS", "LOGIN", "ESMTPSA"},
		{"starttls-cram-md5", "STARTTLS", "CRAM-MD5", "ESMTPSA"},
		{"implicit-plain", "IMPLICIT", "PLAIN", "ESMTPSA"},
		{"implicit-login", "IMPLICIT", "LOGIN", "ESMTPSA"},
		{"implicit-cram-md5", "IMPLICIT", "CRAM-MD5", "ESMTPSA"},
	}
)

// recipient is an address that only this client's mail goes to.
func (w way) recipient(client string) string {
	if w.auth == "" {
		return client + "-" + w.name + "@clear.corp.example"
	}
	return client + "-" + w.name + "@corp.example"
}

// client is a program that sends the scan to one address, and fails unless the
// relay takes it.
type client struct {
	name string
	ways []way
	send func(t *testing.T, o *office, w way, to string)
}

func TestClients(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	clients := []client{
		{"swaks", ways, sendSwaks},
		{"smtplib", ways, sendSMTPLib},
		{"msmtp", ways, sendMsmtp},
		{"curl", ways, sendCurl},
		{"nodemailer", ways, sendNodemailer},
	}
	t.Run("all", func(t *testing.T) { // returns when all clients have ended
		for _, c := range clients {
			for _, w := range c.ways {
				t.Run(c.name+"/"+w.name, func(t *testing.T) {
					t.Parallel()
					to := w.recipient(c.name)
					c.send(t, o, w, to)
					o.scan.arrived(t, o.mx.MailFor(t, to), w.protocol)
				})
			}
		}
	})
	if n, want := len(o.mx.Mail(t)), len(clients)*len(ways); n != want {
		t.Errorf("%d mails arrived, want %d", n, want)
	}
	if s := o.queue(t, "list", "--json"); strings.Contains(s, "@corp.example") {
		t.Errorf("the queue is not empty: %s", s)
	}
	if strings.Contains(o.Output(), "ss\"w") {
		t.Error("a password is in the log")
	}
}

func (o *office) address(w way) string { return fmt.Sprintf("127.0.0.1:%d", o.ports[w.port]) }

func swaksArgs(o *office, w way, to string) []string {
	args := []string{
		"--server", o.address(w), "--helo", "mfp", "--from", sender, "--to", to, "--suppress-data",
		"--attach-type", "application/pdf", "--attach-name", scanName, "--attach", "@" + o.scan.file,
	}
	switch w.port {
	case "STARTTLS":
		args = append(args, "--tls", "--tls-verify", "--tls-ca-path", o.ca)
	case "IMPLICIT":
		args = append(args, "--tls-on-connect", "--tls-verify", "--tls-ca-path", o.ca)
	}
	if w.auth != "" {
		args = append(args, "--auth", w.auth, "--auth-user", user, "--auth-password", password)
	}
	return args
}

func sendSwaks(t *testing.T, o *office, w way, to string) {
	env.MustRun(t, "", "swaks", swaksArgs(o, w, to)...)
}

func sendSMTPLib(t *testing.T, o *office, w way, to string) {
	env.MustRun(t, "", "python3", "clients/send_smtplib.py", strconv.Itoa(o.ports[w.port]), strings.ToLower(w.port), o.ca,
		w.auth, user, password, sender, to, o.scan.file)
}

func sendNodemailer(t *testing.T, o *office, w way, to string) {
	if _, err := os.Stat("clients/node_modules/nodemailer"); err != nil {
		t.Fatalf("nodemailer is not installed: run `make test-deps` (%v)", err)
	}
	env.MustRun(t, "", "node", "clients/send_nodemailer.js", strconv.Itoa(o.ports[w.port]), strings.ToLower(w.port), o.ca,
		w.auth, user, password, sender, to, o.scan.file)
}

func sendMsmtp(t *testing.T, o *office, w way, to string) {
	message, err := os.ReadFile(o.scan.message(t, to, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--file=/dev/null", "--host=127.0.0.1", fmt.Sprintf("--port=%d", o.ports[w.port]), "--from=" + sender, "--domain=mfp"}
	switch w.port {
	case "STARTTLS":
		args = append(args, "--tls=on", "--tls-starttls=on", "--tls-trust-file="+o.ca)
	case "IMPLICIT":
		args = append(args, "--tls=on", "--tls-starttls=off", "--tls-trust-file="+o.ca)
	}
	if w.auth != "" {
		secretFile := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(secretFile, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--auth="+strings.ToLower(w.auth), "--user="+user, "--passwordeval=cat "+secretFile)
	}
	env.MustRun(t, string(message), "msmtp", append(args, "--", to)...)
}

func sendCurl(t *testing.T, o *office, w way, to string) {
	scheme := "smtp"
	if w.port == "IMPLICIT" {
		scheme = "smtps"
	}
	args := []string{
		"--silent", "--show-error", "--cacert", o.ca, "--mail-from", sender, "--mail-rcpt", to,
		"--upload-file", o.scan.message(t, to, "\r\n"), "--url", scheme + "://" + o.address(w) + "/mfp",
	}
	if w.port == "STARTTLS" {
		args = append(args, "--ssl-reqd")
	}
	if w.auth != "" {
		// --user would split the login at its first colon, as it should.
		args = append(args, "--user", user+":"+password, "--login-options", "AUTH="+w.auth)
	}
	env.MustRun(t, "", "curl", args...)
}
