package operator

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay"
	relayrig "github.com/printerrelay/printer-relay/test/rig"
)

// TestOperatorGoneForGood: a relay runs on what the operator left, its ConfigMap,
// and with Secrets and a volume that nobody but the kubelet sees to: mail goes
// through while the operator ends, when its Pod is made anew, when a password changes, and
// what was queued before is delivered.
func TestOperatorGoneForGood(t *testing.T) {
	r := newRig(t)
	op := r.run()
	up := relayrig.StartUpstream(t, relayrig.Script{})
	r.kubectl("{apiVersion: v1, kind: Secret, metadata: {name: copier-logins}, stringData: {users: 'mfp1:first'}}")
	r.kubectl(strings.Replace(office, "match: {clientNetworks: [10.20.3.0/24]}", "match: {users: [mfp1]}", 1))
	r.kubectl(strings.TrimPrefix(up.YAML("smarthost", "  sender: {domain: copier.corp.example}"), "---\n"))
	r.kubectl(strings.Replace(copiers(), "port: 25, tls: {mode: None}",
		"port: 2525, tls: {mode: None}, authentication: {mode: Required, mechanisms: [Plain], plaintext: Allow, secretRef: {name: copier-logins}}", 1))
	r.ready("copiers")
	manifests := r.manifests("copiers")
	text := strings.Replace(manifests, "port: 2525", "port: {{PORT}}", 1)
	if text == manifests {
		t.Fatalf("no listener in\n%s", manifests)
	}
	secrets := t.TempDir()
	password := func(p string) {
		t.Helper()
		path := filepath.Join(secrets, "copier-logins", "users")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".new", []byte("mfp1:"+p+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	password("first")
	pod := relayrig.StartWith(t, text, func(o *relay.Options) {
		o.Name, o.Instance, o.Secrets = r.ns+"/copiers", "copiers-0", secrets
	})
	login := func(password string) (*relayrig.Client, bool) {
		c := pod.Dial()
		c.Want("250", "EHLO mfp")
		return c, strings.HasPrefix(c.Cmd("AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00mfp1\x00"+password))), "235")
	}
	sent := 0
	send := func(password string) {
		t.Helper()
		c, ok := login(password)
		if !ok {
			t.Fatal("the password is not taken")
		}
		to := "it@corp.example"
		if got := c.Send("mfp1@copier.corp.example", []string{to}, relayrig.Scan("mfp1@copier.corp.example", to)); !strings.HasPrefix(got, "250") {
			t.Fatal(got)
		}
		sent++
	}
	arrive := func() {
		t.Helper()
		r.eventually("all scans arrive", func() string {
			if n := len(up.Messages()); n != sent {
				return fmt.Sprintf("%d of %d", n, sent)
			}
			return ""
		})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		op.stop()
	}()
	for here := true; here; {
		send("first")
		select {
		case <-ended:
			here = false
		default:
		}
	}
	send("first")
	arrive()
	up.Script(relayrig.Script{Mail: func(string) error { return relayrig.Reply(451, "4.3.0", "later") }})
	send("first")
	pod.Restart() // and it has a message in its queue
	up.Script(relayrig.Script{})
	send("first")
	password("second")
	r.eventually("the new password is taken", func() string {
		if _, ok := login("second"); !ok {
			return "not yet"
		}
		return ""
	})
	if _, ok := login("first"); ok {
		t.Error("the old password is taken still")
	}
	send("second")
	pod.Restart()
	send("second")
	if code, body := pod.Post("/queue/retry?all=true"); code != http.StatusOK {
		t.Fatal(code, body)
	}
	arrive()
}
