package interop

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/transcript"
	"github.com/printerrelay/printer-relay/test/env"
)

const sessionsManifests = `
apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.example.test
  upstreamRef: {name: folder}
  senderPolicyRefs: [{name: office}]
  listeners:
  - name: clear
    port: {{CLEAR}}
    tls: {mode: None}
    authentication: {mode: Optional, mechanisms: [Plain, Login, CRAMMD5], plaintext: Allow, secretRef: {name: logins}}
  - name: starttls
    port: {{STARTTLS}}
    tls: {mode: StartTLS, profile: Modern}
    authentication: {mode: Required, mechanisms: [Plain, Login, CRAMMD5], secretRef: {name: logins}}
  - name: implicit
    port: {{IMPLICIT}}
    tls: {mode: Implicit, profile: Intermediate}
    authentication: {mode: Optional, mechanisms: [Plain, Login, CRAMMD5], secretRef: {name: logins}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: folder}
spec: {type: Maildir, maildir: {path: mail}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: logins
    match: {users: [mfp3]}
    senders: {allowed: ["*@copier.example"]}
    recipients: {allowed: ["*@corp.example"]}
`

// sessions asks as an administrator does.
func (r *relay) sessions(t *testing.T, args ...string) string {
	t.Helper()
	return env.MustRun(t, "", binary, append([]string{"sessions", "--admin", r.admin}, args...)...)
}

// last is the newest transcript that is kept of this machine.
func (r *relay) last(t *testing.T) transcript.Session {
	t.Helper()
	var all []transcript.Session
	if err := json.Unmarshal([]byte(r.sessions(t, "show", "127.0.0.1", "--json")), &all); err != nil || len(all) == 0 {
		t.Fatalf("%v, %d sessions", err, len(all))
	}
	return all[len(all)-1]
}

// An administrator sees from real clients' sessions why they failed, and neither the
// password that was tried nor the one that would have done.
func TestWhyADeviceCannotScan(t *testing.T) {
	t.Parallel()
	const right, wrong = "Canary-Right-3Ty8", "Canary-Wrong-6Bn1"
	r := startRelay(t, sessionsManifests+secret("logins", "users", "mfp3:"+right), "CLEAR", "STARTTLS", "IMPLICIT")
	office := &office{relay: r, scan: newScan(t, 1000)}
	kept := map[string]bool{}
	newest := func(what string) (s transcript.Session) {
		t.Helper()
		env.Eventually(t, "the session is kept of "+what, r.Output, func() bool {
			if !strings.Contains(r.sessions(t, "list", "--json"), "127.0.0.1") {
				return false
			}
			s = r.last(t)
			return !kept[s.ID]
		})
		kept[s.ID] = true
		return s
	}
	shown := ""
	for _, w := range []way{
		{port: "CLEAR", auth: "PLAIN"},
		{port: "CLEAR", auth: "LOGIN"},
		{port: "CLEAR", auth: "CRAM-MD5"},
		{port: "STARTTLS", auth: "PLAIN"},
		{port: "STARTTLS", auth: "LOGIN"},
		{port: "STARTTLS", auth: "CRAM-MD5"},
		{port: "IMPLICIT", auth: "LOGIN"},
	} {
		what := w.port + " " + w.auth
		args := append(withoutCA(swaksArgs(office, w, "it@corp.example")), "--auth-user", "mfp3", "--auth-password", wrong)
		if out, err := env.Run(t, "", "swaks", args...); err == nil {
			t.Fatalf("%s: a wrong password does\n%s", what, out)
		}
		s := newest(what)
		if s.Failure != transcript.Refused || !strings.HasPrefix(s.Reply, "535 5.7.8 PR-023 ") || !strings.Contains(s.Cause, `user "mfp3": the password is not`) || s.User != "mfp3" || s.HELO != "mfp" {
			t.Errorf("%s: %+v", what, s)
		}
		if (s.TLS != "") != (w.port != "CLEAR") {
			t.Errorf("%s: TLS %q", what, s.TLS)
		}
		text := r.sessions(t, "show", s.ID)
		for _, want := range []string{"C: EHLO mfp", "C: AUTH " + w.auth, "[login, not shown]", "S: 535 5.7.8 PR-023"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in\n%s", what, want, text)
			}
		}
		shown += text + r.sessions(t, "show", s.ID, "--json")
	}
	for _, bad := range []string{right, wrong, base64.StdEncoding.EncodeToString([]byte(wrong)), base64.StdEncoding.EncodeToString([]byte("\x00mfp3\x00" + wrong))} {
		if strings.Contains(shown, bad) {
			t.Errorf("%q is shown in\n%s", bad, shown)
		}
	}

	// A device that knows TLS 1.0 at most, at listeners that do not.
	for port, want := range map[string][2]string{
		"STARTTLS": {"TLS 1.3", "S: 220 2.0.0 Ready to start TLS"},
		"IMPLICIT": {"TLS 1.2", ""},
	} {
		args := []string{"s_client", "-connect", r.at(port), "-tls1", "-cipher", "AES128-SHA:DES-CBC3-SHA:DHE-RSA-AES256-SHA:@SECLEVEL=0"}
		if port == "STARTTLS" {
			args = append(args, "-starttls", "smtp")
		}
		if out, err := env.Run(t, "", "openssl", args...); err == nil {
			t.Fatalf("%s takes TLS 1.0\n%s", port, out)
		}
		s := newest("openssl at " + port)
		if s.Failure != transcript.TLSFailed || s.Cause != "the newest that the device knows is TLS 1.0, and the listener takes "+want[0]+" and newer: tls.profile Legacy takes it" {
			t.Errorf("%s: %+v", port, s)
		}
		text := r.sessions(t, "show", s.ID)
		for _, line := range []string{want[1], "C: [the device offers TLS 1.0]", "C: [its ciphers: RSA key exchange with AES-128-CBC", "DHE-RSA with AES-256-CBC]"} {
			if !strings.Contains(text, line) {
				t.Errorf("%s: %q is not in\n%s", port, line, text)
			}
		}
	}
	if list := r.sessions(t, "list"); !strings.Contains(list, "127.0.0.1") || !strings.Contains(list, "no TLS handshake") {
		t.Error(list)
	}
}

func (r *relay) at(port string) string { return fmt.Sprintf("127.0.0.1:%d", r.ports[port]) }

// withoutCA has swaks take the relay's own certificate.
func withoutCA(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "--tls-verify":
		case "--tls-ca-path":
			i++
		default:
			out = append(out, args[i])
		}
	}
	return out
}
