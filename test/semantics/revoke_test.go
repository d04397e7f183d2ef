package semantics

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

const secured = "mode: Optional, mechanisms: [Plain, Login]"

// renamed waits until the relay has taken a plan under another name.
func renamed(r *rig.Relay, yaml string) {
	r.Write("relay.yaml", strings.Replace(yaml, "hostname: relay.test", "hostname: renamed.test", 1))
	r.Eventually("the edit is in force", func() bool {
		c := r.Dial()
		defer c.Close()
		return strings.HasPrefix(c.Cmd("EHLO copier.test"), "250-renamed.test")
	})
}

// A listener asks for more than the session has: it could not begin so now.
func TestAStricterListenerEndsOpenSessions(t *testing.T) {
	for name, change := range map[string][2]string{
		"no login":                     {"mode: Optional", "mode: None"},
		"another method":               {"mechanisms: [Plain, Login]", "mechanisms: [Login]"},
		"passwords inside TLS only":    {"tls: {mode: None}, authentication: {plaintext: Allow", "tls: {mode: StartTLS}, authentication: {plaintext: Deny"},
		"TLS from the beginning":       {"tls: {mode: None}", "tls: {mode: Implicit}"},
		"another Secret":               {"secretRef: {name: logins}", "secretRef: {name: others}"},
		"the user is gone":             {"mfp:swordfish", "somebody:swordfish"},
		"the user has a new password":  {"mfp:swordfish", "mfp:marlin"},
		"the Secret is there no more":  {"metadata: {name: logins}", "metadata: {name: gone}"},
		"nothing that is meant for it": {"mfp:swordfish", "mfp:swordfish\n    other:password"},
	} {
		t.Run(name, func(t *testing.T) {
			u := rig.StartUpstream(t, rig.Script{})
			yaml := loginManifests(u, secured, "mfp:swordfish") + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: others}\nstringData: {mfp: other-password}\n"
			r := rig.Start(t, yaml)
			c, between := r.Dial(), r.Dial()
			for _, c := range []*rig.Client{c, between} {
				c.Want("250", "EHLO copier.test")
				c.Want("235", "AUTH PLAIN %s", b64("\x00mfp\x00swordfish"))
			}
			between.Want("250", "MAIL FROM:<mfp@copier.test>")
			between.Want("250", "RCPT TO:<a@corp.example>")
			changed := strings.Replace(yaml, change[0], change[1], 1)
			if changed == yaml {
				t.Fatal("nothing is changed")
			}
			if strings.Contains(changed, "mode: Implicit") { // EHLO in clear text is over
				r.Write("relay.yaml", changed)
				r.Eventually("the edit is in force", func() bool {
					conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // self-signed
					if err == nil {
						conn.Close()
					}
					return err == nil
				})
			} else {
				renamed(r, changed)
			}
			if strings.HasPrefix(name, "nothing") {
				c.Want("250", "MAIL FROM:<mfp@copier.test>")
				between.Want("354", "DATA")
				rig.QueueID(t, between.Cmd("%s\r\n.", rig.Scan("mfp@copier.test", "a@corp.example")))
				return
			}
			panelLine(t, c.Want("421 4.7.0 PR-016 ", "MAIL FROM:<mfp@copier.test>"))
			if got := c.Reply(); got != "" {
				t.Errorf("the session goes on: %q", got)
			}
			if strings.Contains(name, "user") || strings.Contains(name, "Secret is") { // a revoked login ends what it began
				between.Want("354", "DATA")
				between.Want("421 4.7.0 PR-016 ", "%s\r\n.", rig.Scan("mfp@copier.test", "a@corp.example"))
				if got := between.Reply(); got != "" {
					t.Errorf("the session goes on: %q", got)
				}
			}
			if n := len(u.Messages()); n != 0 {
				t.Errorf("%d messages at the upstream", n)
			}
		})
	}
}

// A session on a version of TLS that the listener no longer takes.
func TestAnotherTLSProfileEndsOpenSessions(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	yaml := strings.Replace(manifests("", anyCorp, u.YAML("out", "")), "tls: {mode: None}", "tls: {mode: Implicit, profile: Intermediate}", 1)
	yaml = strings.Replace(yaml, "listeners: [", "listeners: [{name: plain, port: {{PORT}}, tls: {mode: None}}, ", 1)
	second := rig.FreePort(t)
	yaml = strings.Replace(yaml, "{name: smtp, port: {{PORT}}", fmt.Sprintf("{name: smtp, port: %d", second), 1)
	r := rig.Start(t, yaml)
	dial := func(version uint16) func(string) string {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", second), &tls.Config{InsecureSkipVerify: true, MaxVersion: version}) //nolint:gosec // self-signed
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return say(t, conn)
	}
	old, recent := dial(tls.VersionTLS12), dial(tls.VersionTLS13)
	for _, c := range []func(string) string{old, recent} {
		c("")
		c("HELO copier.test")
	}
	renamed(r, strings.Replace(yaml, "profile: Intermediate", "profile: Modern", 1))
	if got := old("MAIL FROM:<mfp@copier.test>"); !strings.HasPrefix(got, "421 4.7.0 PR-016 ") {
		t.Errorf("TLS 1.2 under Modern: %q", got)
	}
	if got := recent("MAIL FROM:<mfp@copier.test>"); !strings.HasPrefix(got, "250 ") {
		t.Errorf("TLS 1.3 under Modern: %q", got)
	}
}

// say sends one-line commands, "" for none, and gives their one-line replies.
func say(t *testing.T, conn net.Conn) func(string) string {
	in := bufio.NewReader(conn)
	return func(command string) string {
		t.Helper()
		if command != "" {
			if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
				t.Fatal(err)
			}
		}
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
}

// NOOP and its like hold no connection for ever; scans do.
func TestCommandsWithoutAMessageEnd(t *testing.T) {
	for _, command := range []string{"NOOP", "RSET", "VRFY a", "EHLO copier.test"} {
		t.Run(command, func(t *testing.T) {
			u := rig.StartUpstream(t, rig.Script{})
			r := rig.Start(t, manifests("", anyCorp, u.YAML("out", "")))
			c := r.Dial()
			for range 3 { // a message counts them anew
				for range 90 {
					c.Want("25", "%s", command)
				}
				rig.QueueID(t, c.Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
			}
			for range 100 {
				c.Want("25", "%s", command)
			}
			panelLine(t, c.Want("421 4.7.0 PR-017 ", "%s", command))
			if got := c.Reply(); got != "" {
				t.Errorf("the session goes on: %q", got)
			}
		})
	}
}
