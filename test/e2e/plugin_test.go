//go:build e2e

package e2e

import (
	"archive/tar"
	"compress/gzip"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// person is somebody who has the plugin beside kubectl.
type person struct {
	*story
	t    *testing.T
	path string // folder of the plugin
	name string // as the API server knows them; empty: the administrator
}

// run runs kubectl printer-relay on a machine beside the node.
func (p *person) run(args ...string) (string, error) {
	p.t.Helper()
	as := []string{"-n", namespace}
	if p.name != "" {
		as = append(as, "--as", p.name)
	}
	return p.kubectl(append(append([]string{"printer-relay"}, args...), as...)...)
}

func (p *person) kubectl(args ...string) (string, error) {
	p.t.Helper()
	return p.Try(p.t, "", p.Script, append([]string{"client", "bash", "-c", `export PATH="$0:$PATH"; exec kubectl "$@"`, p.path}, args...)...)
}

// ok is run, which must succeed and say what is wanted.
func (p *person) ok(command string, wants ...string) string {
	p.t.Helper()
	out, err := p.run(strings.Fields(command)...)
	if err != nil {
		p.t.Fatalf("%s, as %q: %v\n%s", command, p.name, err, out)
	}
	for _, want := range wants {
		if !strings.Contains(out, want) {
			p.t.Errorf("%s lacks %q:\n%s", command, want, out)
		}
	}
	return out
}

// refused is run, which must fail and say why.
func (p *person) refused(command, why string) {
	p.t.Helper()
	if out, err := p.run(strings.Fields(command)...); err == nil || !strings.Contains(out, why) {
		p.t.Errorf("%s, as %q: %v, want %q\n%s", command, p.name, err, why, out)
	}
}

// read is ok with a document as answer.
func (p *person) read(command string, into any) {
	p.t.Helper()
	out := p.ok(command)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		p.t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

const copierAsks = " --client " + copierAddress + " --from scanner@copier.example.com"

// plugin: with the real kubectl, by its port-forward, and with no more rights than
// docs/kubectl.md says.
func (s *story) plugin(t *testing.T) {
	admin := &person{story: s, t: t, path: t.TempDir()}
	completes := "#!/bin/sh\nexec kubectl-printer_relay __complete \"$@\"\n"
	if err := errors.Join(os.Symlink(filepath.Join(s.Root, "bin/printer-relay"), filepath.Join(admin.path, "kubectl-printer_relay")),
		os.WriteFile(filepath.Join(admin.path, "kubectl_complete-printer_relay"), []byte(completes), 0o700)); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	as := func(name string) *person { return &person{story: s, t: t, path: admin.path, name: name} }
	s.Apply(t, namespace, s.documentedRole(t))
	for _, binding := range []string{"desk --role scan-desk", "viewer --clusterrole view", "editor --clusterrole edit"} {
		name, _, _ := strings.Cut(binding, " ")
		s.Kubectl(t, append([]string{"create", "rolebinding", "-n", namespace, "--user", name}, strings.Fields(binding)...)...)
	}
	as("viewer").looks()
	admin.completes()
	as("desk").asks()
	as("editor").suspends()
	as("editor").bundles()
}

// documentedRole is the Role that docs/kubectl.md shows.
func (s *story) documentedRole(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(s.Root, "docs/kubectl.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("docs/kubectl.md shows no Role")
	}
	return string(m[1])
}

// looks: what takes the right to view and nothing else.
func (p *person) looks() {
	out, err := p.run("status")
	if well := strings.Contains(out, "all is well"); well != (err == nil) || !regexp.MustCompile(`(?m)^printers/office +True +\S+:25 +2/2 `).MatchString(out) {
		p.t.Errorf("status: %v\n%s", err, out)
	}
	var status struct {
		Relays []struct{ Metadata struct{ Name string } }
	}
	if out, _ := p.run("status", "-o", "json"); json.Unmarshal([]byte(out), &status) != nil || len(status.Relays) != 1 || status.Relays[0].Metadata.Name != relay {
		p.t.Errorf("status as JSON:\n%s", out)
	}
	if out, _ := p.run("status", "-o", "yaml"); !strings.Contains(out, "hostname: relay.example.com\n") {
		p.t.Errorf("status as YAML:\n%s", out)
	}
	p.ok("explain --to x@example.com"+copierAsks, "office/copiers", "goes to upstream smarthost")
	p.ok("explain --to x@elsewhere.example"+copierAsks, "PR-032")
	p.Eventually(p.t, namespace, "the plugin shows the DNS records that are in the status", func() bool {
		want := p.Field(p.t, namespace, "mailupstream/smarthost", `{range .status.dns[*]}{.type} {.name} {.state}{"\n"}{end}`)
		out, _ := p.run("dns", "smarthost", "-o", "json") // exit status 1 where one is missing
		var records []struct{ Type, Name, State string }
		if json.Unmarshal([]byte(out), &records) != nil {
			p.t.Fatalf("dns:\n%s", out)
		}
		var got []string
		for _, r := range records {
			got = append(got, r.Type+" "+r.Name+" "+r.State)
		}
		return len(got) > 0 && strings.Join(got, "\n") == want
	})
	p.refused("queue list", "serviceaccounts/token")
	p.refused("suspend device 10.20.3.7 --reason x", "forbidden")
}

// completes: what kubectl asks the plugin for when somebody presses the tabulator.
func (p *person) completes() {
	for command, want := range map[string]string{"support": "support-bundle", "dns -n " + namespace + " ": "smarthost\n", "suspend relay -n " + namespace + " of": relay + "\n"} {
		args := append([]string{"__complete", "printer-relay"}, strings.Split(command, " ")...)
		if out, err := p.kubectl(args...); err != nil || !strings.Contains(out, want) {
			p.t.Errorf("completion of %q: %v, want %q\n%s", command, err, want, out)
		}
	}
}

// test sends a test scan. An instance begins one each second.
func (p *person) test(args string) (out string, err error) {
	p.t.Helper()
	p.Eventually(p.t, namespace, "a test begins", func() bool {
		out, err = p.run(strings.Fields("test " + args)...)
		return !strings.Contains(out, "a test has just begun")
	})
	return out, err
}

// device is what is read of one.
type device struct {
	Device    string
	Accepted  int
	Instances []string
}

// asks: all that reaches the instances, each of the two by a port-forward.
func (p *person) asks() {
	for _, test := range []struct {
		args   string
		passes bool
		wants  []string
	}{
		{"--to plugin@example.com" + copierAsks, true, []string{"ok      recipient", "ok      upstream   smarthost: 250 "}},
		{"--to plugin@elsewhere.example" + copierAsks, false, []string{"ok      sender", "FAILED  recipient", "PR-032"}},
		{"--to plugin@example.com --client 203.0.113.7 --from scanner@copier.example.com", false, []string{"FAILED  sender", "PR-022"}},
	} {
		out, err := p.test(test.args)
		if (err == nil) != test.passes {
			p.t.Fatalf("test %s: %v\n%s", test.args, err, out)
		}
		for _, want := range test.wants {
			if !strings.Contains(out, want) {
				p.t.Errorf("test %s lacks %q:\n%s", test.args, want, out)
			}
		}
	}
	p.server.MailFor(p.t, "plugin@example.com")

	var copiers []device
	p.read("copiers -o json", &copiers)
	at := slices.IndexFunc(copiers, func(d device) bool { return d.Device == copierAddress })
	if at < 0 || copiers[at].Accepted == 0 || len(copiers[at].Instances) == 0 {
		p.t.Errorf("the copier that scanned all the time: %+v", copiers)
	}
	p.ok("copiers -o wide", copierAddress, "INSTANCES", relay+"-")
	p.ok("copiers show "+copierAddress+" -o yaml", "device: "+copierAddress+"\n")
	if rows, err := csv.NewReader(strings.NewReader(p.ok("copiers -o csv"))).ReadAll(); err != nil || len(rows) != len(copiers)+1 {
		p.t.Errorf("copiers as CSV: %v\n%q", err, rows)
	}

	var messages []struct{ ID, State string }
	p.Eventually(p.t, namespace, "the history has the test", func() bool {
		p.read("messages list --recipient plugin@example.com --status accepted -o json", &messages)
		return len(messages) == 1
	})
	p.ok("messages show "+messages[0].ID, messages[0].ID, "attempt smarthost", "Accepted: 250 ")
	p.ok("messages list --kind refusal -o yaml", "kind: refusal\n", "PR-0")
	p.refused("messages forget", "--sender")
	p.ok("webhooks list", "there is no webhook")
	p.refused("webhooks test", "there is no webhook to test")
	p.ok("messages forget --recipient plugin@example.com", " erased\n")
	p.refused("messages show "+messages[0].ID, "the history knows no message")
	p.ok("queue list", "ID ")
	p.refused("suspend device 10.20.3.7 --reason x", "forbidden")
}

// suspends: the mail of a device is held by one command, and goes by another.
func (p *person) suspends() {
	const hold = "device-172-31-0-2"
	n := 0
	scan := func() string {
		p.t.Helper()
		n++
		to := fmt.Sprintf("suspended-%d@example.com", n)
		if out, err := p.swaks(p.t, "--from", "scanner@copier.example.com", "--to", to); err != nil {
			p.t.Fatalf("a scan is not taken: %v\n%s", err, out)
		}
		return to
	}
	var held []struct{ ID, Reason string }
	var to string
	p.ok("suspend device "+copierAddress+" --reason ticket-4711", "suspend device: changed printers/office", "in force: ")
	p.Eventually(p.t, namespace, "a scan of the copier is held", func() bool {
		to = scan()
		p.read("queue list -o json --held-by "+hold, &held)
		return len(held) > 0
	})
	if !strings.Contains(held[0].Reason, "ticket-4711 (editor, ") {
		p.t.Errorf("%+v", held)
	}
	p.refused("queue release "+held[0].ID, "still keeps it")
	p.ok("resume device "+copierAddress+" --release", " messages released\n")
	p.server.MailFor(p.t, to)

	p.ok("suspend upstream smarthost --reason ticket-4712", "changed printers/smarthost", "in force: ")
	p.Eventually(p.t, namespace, "a scan waits for the upstream", func() bool {
		to = scan()
		p.read("queue list -o json --upstream smarthost", &held)
		return len(held) > 0 && strings.Contains(held[0].Reason, "suspended")
	})
	p.ok("resume upstream smarthost", "changed printers/smarthost")
	p.server.MailFor(p.t, to)
	p.Ready(p.t, namespace, relay)
}

// bundles: the file for who helps holds what the instances say, and no Secret.
func (p *person) bundles() {
	file := filepath.Join(p.t.TempDir(), "bundle.tar.gz")
	p.ok("support-bundle --file "+file, file)
	all, names := unpack(p.t, file)
	for _, want := range []string{"kinds/mailupstreams.yaml", "objects/deployments.yaml", "instances/" + relay + "-0/state.json", "instances/" + relay + "-1/queue.json", "instances/" + relay + "-0/metrics.txt", "logs/"} {
		if !strings.Contains(strings.Join(names, "\n"), "printer-relay/"+want) {
			p.t.Errorf("it lacks %s: %q", want, names)
		}
	}
	if i := strings.Index(all, "errors.txt"); i >= 0 {
		p.t.Errorf("to edit is not enough: %.2000s", all[i:])
	}
	var secrets struct {
		Items []struct {
			Metadata struct{ Name string }
			Data     map[string][]byte
		}
	}
	if !p.Get(p.t, namespace, "secrets", &secrets) || len(secrets.Items) < 3 {
		p.t.Fatalf("%+v", secrets)
	}
	for _, s := range secrets.Items {
		for key, value := range s.Data {
			for _, line := range strings.Split(strings.TrimSpace(string(value)), "\n") {
				if _, password, ok := strings.Cut(line, ":"); ok && key == "users" {
					line = password
				}
				if key != "username" && key != "ca.crt" && (strings.Contains(all, line) || strings.Contains(all, base64.StdEncoding.EncodeToString([]byte(line)))) {
					p.t.Errorf("it holds %s of Secret %s", key, s.Metadata.Name)
				}
			}
		}
	}
	for _, secret := range []string{"eyJ", "BEGIN CERT", "PRIVATE KEY", copierAddress, "scanner@"} {
		if strings.Contains(all, secret) {
			p.t.Errorf("it holds %q", secret)
		}
	}
}

// unpack gives all that is in an archive, each part behind its name.
func unpack(t *testing.T, file string) (all string, names []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for a := tar.NewReader(z); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			return b.String(), names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		b.WriteString(h.Name + "\n")
		if _, err := io.Copy(&b, a); err != nil { //nolint:gosec // the plugin bounds it
			t.Fatal(err)
		}
	}
}
