// Package reload holds tests of a whole relay whose manifests change, and that
// is told to end: what is taken over, what stays, and what is said about it.
package reload

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/cli"
	"github.com/printerrelay/printer-relay/test/rig"
)

// asRelay in the environment makes this program the relay itself.
const asRelay = "PRINTER_RELAY_TEST_RUNS_RELAY"

func TestMain(m *testing.M) {
	if os.Getenv(asRelay) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// setup is the manifests of a relay with a login; empty fields take the defaults.
type setup struct {
	hostname, upstream, listeners, senders, relay, password string
	upstreams                                               []string
}

func (s setup) yaml() string {
	or := func(v, d string) string {
		if v == "" {
			return d
		}
		return v
	}
	return fmt.Sprintf(`apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: %s
  upstreamRef: {name: %s}
  senderPolicyRefs: [{name: office}]
  delivery: {retry: {initialSeconds: 1, maximumSeconds: 1}, bounce: {to: None}}
  listeners:
  - {name: smtp, port: {{PORT}}, tls: {mode: None}, authentication: {mode: Optional, mechanisms: [Plain], plaintext: Allow, secretRef: {name: logins}}}
%s
%s
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [127.0.0.0/8]}
    action: Allow
    senders: {allowed: ["%s"]}
    recipients: {allowed: ["*@corp.example"]}
---
apiVersion: v1
kind: Secret
metadata: {name: logins}
stringData: {users: "mfp:%s"}
`, or(s.hostname, "relay.test"), or(s.upstream, "out"), s.listeners, s.relay, or(s.senders, "*@copier.test"), or(s.password, "swordfish")) + strings.Join(s.upstreams, "")
}

func greeting(r *rig.Relay) string {
	c := r.Dial()
	defer c.Close()
	return c.Cmd("EHLO copier.test")
}

// called waits until the relay calls itself name.
func called(r *rig.Relay, name string) {
	r.Eventually("the relay is called "+name, func() bool { return strings.HasPrefix(greeting(r), "250-"+name) })
}

func scan(from string) string { return rig.Scan(from, "a@corp.example") }

// send sends a scan and gives the reply to it.
func send(c *rig.Client) string {
	return c.Send("mfp@copier.test", []string{"a@corp.example"}, scan("mfp@copier.test"))
}

func arrived(r *rig.Relay, u *rig.Upstream, n int) {
	r.Eventually(fmt.Sprintf("%d messages at the upstream", n), func() bool { return len(u.Messages()) >= n })
}

var greylist = rig.Script{Rcpt: func(string) error { return rig.Reply(450, "4.2.0", "greylisted") }}

func deferred(r *rig.Relay, n int) {
	r.Eventually(fmt.Sprintf("%d deferred", n), func() bool {
		_, body := r.Get("/state")
		return strings.Contains(body, fmt.Sprintf(`"deferred": %d`, n))
	})
}

// metric is the value of a metric of the relay; empty: there is none.
func metric(r *rig.Relay, name string) string {
	_, body := r.Get("/metrics")
	m := regexp.MustCompile(`(?m)^printer_relay_` + name + ` (\S+)$`).FindStringSubmatch(body)
	if m == nil {
		return ""
	}
	return m[1]
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAGoodEditIsTakenHoweverItIsWritten(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, setup{upstreams: []string{u.YAML("out", "")}}.yaml())
	path := filepath.Join(r.Manifests, "relay.yaml")
	text := func(name string) string {
		s := setup{hostname: name, upstreams: []string{u.YAML("out", "")}}
		return strings.ReplaceAll(s.yaml(), "{{PORT}}", fmt.Sprint(r.Port))
	}

	r.Write("relay.yaml", text("renamed.test")) // as editors do
	called(r, "renamed.test")

	put(t, path, text("inplace.test"))
	called(r, "inplace.test")

	// Half of it stands there for a while, and it is no good.
	whole := text("slow.test")
	put(t, path, whole[:strings.Index(whole, "recipients: {allowed")+20])
	r.Eventually("the half is refused", func() bool { return metric(r, `config_last_reload_successful{relay="default/office"}`) == "0" })
	if got := greeting(r); !strings.HasPrefix(got, "250-inplace.test") {
		t.Errorf("half a file was taken: %s", got)
	}
	put(t, path, whole)
	called(r, "slow.test")

	// An editor moves the old one away before the new one is there.
	if err := os.Rename(path, path+"~"); err != nil {
		t.Fatal(err)
	}
	r.Eventually("the empty folder is refused", func() bool { _, b := r.Get("/readyz"); return strings.Contains(b, "holds no PrinterRelay") })
	put(t, path, text("backup.test"))
	called(r, "backup.test")
	r.Eventually("nothing to complain of", func() bool { _, b := r.Get("/readyz"); return b == "ready\n" })
	if n := strings.Count(r.Log.String(), "relay removed"); n != 0 {
		t.Errorf("it was taken down %d times", n)
	}
}

// A ConfigMap is a folder ..data-N, a link ..data to it that is swapped, and a
// link for each file.
func TestAConfigMapSwapIsTaken(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, setup{upstreams: []string{u.YAML("out", "")}}.yaml())
	swap := func(n int, relay, upstream string) {
		t.Helper()
		dir := fmt.Sprintf("..data-%d", n)
		if err := os.Mkdir(filepath.Join(r.Manifests, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(r.Manifests, dir, "relay.yaml"), relay)
		put(t, filepath.Join(r.Manifests, dir, "upstream.yaml"), upstream)
		tmp := filepath.Join(r.Manifests, "..data_tmp")
		if err := os.Symlink(dir, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(r.Manifests, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	text := func(name string) string {
		return strings.ReplaceAll(setup{hostname: name, upstream: name}.yaml(), "{{PORT}}", fmt.Sprint(r.Port))
	}
	swap(1, text("one.test"), u.YAML("one.test", ""))
	for _, name := range []string{"upstream.yaml", "relay.yaml"} {
		tmp := filepath.Join(r.Manifests, ".tmp")
		if err := os.Symlink(filepath.Join("..data", name), tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(r.Manifests, name)); err != nil {
			t.Fatal(err)
		}
	}
	called(r, "one.test")
	for n := 2; n < 6; n++ { // both files change at once: never some of each
		name := fmt.Sprintf("name-%d.test", n)
		swap(n, text(name), u.YAML(name, ""))
		called(r, name)
	}
	if strings.Contains(r.Log.String(), "manifests not applied") {
		t.Errorf("some of each was read:\n%s", r.Log)
	}
}

func TestABadEditKeepsTheLastGoodPlanAndSaysSo(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	good := setup{upstreams: []string{u.YAML("out", "")}}.yaml()
	r := rig.Start(t, good)
	before, _ := planHash(r)
	for name, bad := range map[string]struct{ yaml, want string }{
		"no YAML":       {"kind: [", "is not YAML"},
		"unknown field": {strings.Replace(good, "hostname:", "hostnme:", 1), "spec.hostnme: is no field of this kind"},
		"bad value":     {strings.Replace(good, "mode: None", "mode: Nonne", 1), "spec.listeners[0].tls.mode"},
		"empty match":   {strings.Replace(good, "match: {clientNetworks: [127.0.0.0/8]}", "match: {}", 1), "spec.rules[0].match"},
		"can never fit": {strings.Replace(good, "{name: out}\nspec:\n", "{name: out}\nspec:\n  sender: {domain: other.example, rewrite: Never}\n", 1), "no sender of it is in other.example"},
		"port is taken": {strings.Replace(good, "{{PORT}}", fmt.Sprint(u.Port), 1), fmt.Sprintf("listener \"smtp\": cannot listen on 127.0.0.1:%d", u.Port)},
	} {
		t.Run(name, func(t *testing.T) {
			failed := metric(r, `config_reloads_total{relay="default/office",result="failed"}`)
			r.Write("relay.yaml", bad.yaml)
			r.Eventually("the bad edit in /readyz", func() bool {
				code, body := r.Get("/readyz")
				return code == 200 && strings.HasPrefix(body, "ready\nconfiguration: ") && strings.Contains(body, bad.want)
			})
			if got := metric(r, `config_last_reload_successful{relay="default/office"}`); got != "0" {
				t.Errorf("config_last_reload_successful %s", got)
			}
			if got := metric(r, `config_reloads_total{relay="default/office",result="failed"}`); got == failed {
				t.Errorf("config_reloads_total stays at %q", got)
			}
			if !strings.Contains(r.Log.String(), "manifests not applied: the last good configuration goes on") {
				t.Errorf("the log does not say so:\n%s", r.Log)
			}
			if hash, _ := planHash(r); hash != before {
				t.Errorf("plan %s, was %s", hash, before)
			}
			rig.QueueID(t, send(r.Dial())) // it works as before
			r.Write("relay.yaml", good)
			r.Eventually("the repair clears it", func() bool {
				_, body := r.Get("/readyz")
				return body == "ready\n" && metric(r, `config_last_reload_successful{relay="default/office"}`) == "1"
			})
		})
	}
}

func planHash(r *rig.Relay) (hash, state string) {
	_, state = r.Get("/state")
	if m := regexp.MustCompile(`"planHash": "([0-9a-f]+)"`).FindStringSubmatch(state); m != nil {
		hash = m[1]
	}
	return hash, state
}

func TestAFolderThatWentAndCameBackIsNoProblemAnyMore(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, setup{upstreams: []string{u.YAML("out", "")}}.yaml())
	away := r.Manifests + ".away"
	if err := os.Rename(r.Manifests, away); err != nil {
		t.Fatal(err)
	}
	r.Eventually("the missing folder in /readyz", func() bool { _, b := r.Get("/readyz"); return strings.Contains(b, "configuration: manifests: ") })
	rig.QueueID(t, send(r.Dial()))
	if err := os.Rename(away, r.Manifests); err != nil {
		t.Fatal(err)
	}
	r.Eventually("it is forgotten", func() bool { _, b := r.Get("/readyz"); return b == "ready\n" })
}
