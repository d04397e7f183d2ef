package credentials

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/test/rig"
)

const office = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  upstreamRef: {name: out}
  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: {{PORT}}, tls: {mode: None}}]
  delivery: {bounce: {to: None}, retry: {initialSeconds: 1, maximumSeconds: 1}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [127.0.0.0/8]}
    recipients: {allowed: ["*@corp.test"]}
`

// store is where the Secrets of a relay are: standalone in its folder of manifests, in
// a Pod in folders that a kubelet mounts.
type store interface {
	options(*relay.Options)
	put(r *rig.Relay, secrets map[string]map[string]string)
}

type manifests struct{}

func (manifests) options(*relay.Options) {}

func (manifests) put(r *rig.Relay, all map[string]map[string]string) {
	var b strings.Builder
	for name, data := range all {
		b.WriteString(secret(name, data))
	}
	r.Write("secrets.yaml", b.String())
}

// mounts does what a kubelet does: a new folder is filled, and a link swapped to it.
type mounts struct {
	t   *testing.T
	dir string
	n   int
}

func (m *mounts) options(o *relay.Options) { o.Secrets = m.dir }

func (m *mounts) put(_ *rig.Relay, all map[string]map[string]string) {
	m.t.Helper()
	m.n++
	for name, data := range all {
		mount := filepath.Join(m.dir, name)
		version := fmt.Sprintf("..v%d", m.n)
		must(m.t, os.MkdirAll(filepath.Join(mount, version), 0o700))
		for key, value := range data {
			must(m.t, os.WriteFile(filepath.Join(mount, version, key), []byte(value), 0o600))
			if _, err := os.Lstat(filepath.Join(mount, key)); err != nil {
				must(m.t, os.Symlink(filepath.Join("..data", key), filepath.Join(mount, key)))
			}
		}
		must(m.t, os.Symlink(version, filepath.Join(mount, "..tmp")))
		must(m.t, os.Rename(filepath.Join(mount, "..tmp"), filepath.Join(mount, "..data")))
		if m.n > 1 {
			must(m.t, os.RemoveAll(filepath.Join(mount, fmt.Sprintf("..v%d", m.n-1))))
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// health of an upstream, as the admin port gives it.
func health(t *testing.T, r *rig.Relay, name string) admin.Health {
	t.Helper()
	_, body := r.Get("/state")
	var st admin.State
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		return admin.Health{}
	}
	for _, x := range st.Relays {
		for _, u := range x.Upstreams {
			if u.Name == name && u.Health != nil {
				return *u.Health
			}
		}
	}
	return admin.Health{}
}

// within is the promise for what the relay has to do itself.
const within = time.Minute

// A credential is checked before there is mail, found out within a minute when the
// provider takes it back, and used anew when its Secret is edited: without a restart,
// and never half of one and half of another.
func TestRotation(t *testing.T) {
	for name, where := range map[string]func(*testing.T) store{
		"standalone": func(*testing.T) store { return manifests{} },
		"mounted":    func(t *testing.T) store { return &mounts{t: t, dir: t.TempDir()} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, "first-password")
			in := where(t)
			login := func(password string) map[string]map[string]string {
				return map[string]map[string]string{"login": {"username": "relay", "password": password}, "ca": {"ca.crt": s.ca}}
			}
			if name == "mounted" {
				in.put(nil, login("first-password"))
			}
			r := rig.StartWith(t, office+s.yaml("out", "login"), in.options)
			in.put(r, login("first-password"))
			r.Eventually("the credential was found good", func() bool { return health(t, r, "out").Credentials == "Good" })
			if _, mails := s.counts(); mails != 0 {
				t.Errorf("a check has sent %d messages", mails)
			}

			s.set("second-password") // the provider takes it back, and nobody says so
			began := time.Now()
			if got := r.Dial().Send("mfp@copier.test", []string{"a@corp.test"}, rig.Scan("mfp@copier.test", "a@corp.test")); !strings.HasPrefix(got, "250") {
				t.Fatal(got)
			}
			r.Eventually("the credential was found bad", func() bool { return health(t, r, "out").Credentials == "Bad" })
			if took := time.Since(began); took > within {
				t.Errorf("a refused credential shows after %s", took)
			}
			h := health(t, r, "out")
			if !strings.Contains(h.Text, "535 5.7.8") || !strings.HasPrefix(h.Remedy, "the server does not take user name and password; what to do: ") {
				t.Errorf("%+v", h)
			}
			if _, ready := r.Get("/readyz"); !strings.Contains(ready, "535") || !strings.Contains(ready, "what to do: correct username and password in the Secret") {
				t.Errorf("/readyz:\n%s", ready)
			}
			if _, metrics := r.Get("/metrics"); !strings.Contains(metrics, `printer_relay_upstream_credentials_valid{relay="default/office",upstream="out"} 0`) {
				t.Errorf("/metrics lacks it")
			}

			if name == "standalone" { // half a file: what was read last goes on
				before, _ := s.counts()
				r.Write("secrets.yaml", secret("ca", map[string]string{"ca.crt": s.ca})+"---\napiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {username: relay, pass")
				r.Eventually("the broken file is said", func() bool { _, b := r.Get("/readyz"); return strings.Contains(b, "secrets.yaml") })
				r.Eventually("the old Secret is still tried", func() bool { n, _ := s.counts(); return n > before })
				if _, b := r.Get("/readyz"); strings.Contains(b, `secret "login" has no`) || strings.Contains(b, `secret "login": not found`) {
					t.Errorf("half a Secret is none:\n%s", b)
				}
			}

			began = time.Now()
			in.put(r, login("second-password"))
			r.Eventually("the credential is good again", func() bool { return health(t, r, "out").Credentials == "Good" })
			if took := time.Since(began); took > within {
				t.Errorf("a credential that is good again shows after %s", took)
			}
			r.Eventually("what waited is delivered", func() bool { _, mails := s.counts(); return mails == 1 })
			if _, ready := r.Get("/readyz"); strings.Contains(ready, "credential") {
				t.Errorf("/readyz:\n%s", ready)
			}
			if n := strings.Count(r.Log.String(), `msg="upstream checked"`); n > 5 {
				t.Errorf("%d lines of the log for three turns:\n%s", n, r.Log)
			}
			for _, p := range s.seen {
				if p != "first-password" && p != "second-password" {
					t.Errorf("a password that never was: %q", p)
				}
			}
		})
	}
}
