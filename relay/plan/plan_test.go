package plan_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/manifest"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/test/manifests"
)

var update = flag.Bool("update", false, "write the golden files; read the difference")

// compile compiles the one PrinterRelay of a folder of manifests, which the
// kinds' own schema and rules have accepted.
func compile(t *testing.T, dir string) (*plan.Plan, plan.Diagnostics) {
	t.Helper()
	set, problems, err := manifest.Load(dir)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v\n%v", err, problems)
	}
	if len(set.Relays) != 1 {
		t.Fatalf("%d relays, want 1", len(set.Relays))
	}
	return plan.Compile(manifests.Input(set))
}

func compileYAML(t *testing.T, yaml string) (*plan.Plan, plan.Diagnostics) {
	t.Helper()
	return plan.Compile(manifests.Only(t, yaml))
}

// The limits of an upstream are for all instances of all relays together: each
// gets its share, at least one.
func TestLimitsAreShared(t *testing.T) {
	set := func(limits string, replicas int, sharers int) *plan.Upstream {
		t.Helper()
		text := strings.Replace(small, "smtp: {host: mail.example}", "smtp: {host: mail.example}\n  limits: {"+limits+"}", 1)
		text = strings.Replace(text, "  listeners:", fmt.Sprintf("  replicas: %d\n  listeners:", replicas), 1)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all, problems, err := manifest.Load(dir)
		if err != nil || len(problems) > 0 {
			t.Fatalf("%v\n%v", err, problems)
		}
		in := manifests.Input(all)
		in.Upstreams["out"] = plan.Shared(in.Upstreams["out"], sharers)
		p, _ := plan.Compile(in)
		return p.Upstreams["out"]
	}
	for _, tc := range []struct {
		limits                 string
		replicas, sharers      int
		connections, perMinute int
	}{
		{"connections: 7, messagesPerMinute: 100", 1, 0, 7, 100},
		{"connections: 7, messagesPerMinute: 100", 1, 1, 7, 100},
		{"connections: 7, messagesPerMinute: 100", 2, 0, 7, 100},
		{"connections: 7, messagesPerMinute: 100", 2, 2, 3, 50},
		{"connections: 7, messagesPerMinute: 100", 1, 3, 2, 33},
		{"connections: 2, messagesPerMinute: 3", 16, 16, 1, 1},
		{"messageSize: 1Mi", 1, 2, 5, 0},
	} {
		sharers := tc.sharers
		if sharers == 1 {
			sharers = 0 // it has all of it
		}
		if u := set(tc.limits, tc.replicas, tc.sharers); u.Connections != tc.connections || u.PerMinute != tc.perMinute || u.Sharers != sharers {
			t.Errorf("%+v: %d connections, %d a minute, %d sharers", tc, u.Connections, u.PerMinute, u.Sharers)
		}
	}
}

// TestGolden compiles each folder of testdata to its plan.json.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			p, found := compile(t, filepath.Join(dir, "manifests"))
			got := golden(t, p, found)
			path := filepath.Join(dir, "plan.json")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil { //nolint:gosec // it is read by everybody
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("%s is out of date: run go test ./relay/plan -update, and read the difference. Now:\n%s", path, got)
			}
		})
	}
}

func golden(t *testing.T, p *plan.Plan, found plan.Diagnostics) []byte {
	t.Helper()
	notes := []string{}
	for _, d := range found {
		notes = append(notes, string(d.Severity)+": "+d.Error())
	}
	b, err := json.MarshalIndent(map[string]any{"plan": p, "diagnostics": notes}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

const small = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.example
  upstreamRef: {name: out}
  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: 25}]
  delivery: {bounce: {to: None}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: out}
spec:
  type: SMTP
  smtp: {host: mail.example}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [10.0.0.0/8]}
    senders: {allowed: ["*@copier.example"]}
    recipients: {allowed: ["*@corp.example"]}
`

// Each case replaces old by new in the small manifests; want is the finding,
// whole: severity, object, field, what to do.
func TestFindings(t *testing.T) {
	const smtp = "  type: SMTP\n  smtp: {host: mail.example}"
	for name, tc := range map[string]struct{ old, new, want string }{
		"upstream missing":       {"upstreamRef: {name: out}", "upstreamRef: {name: gone}", `error: PrinterRelay default/office: spec.upstreamRef: MailUpstream "gone" is not in namespace "default": create it, or correct the name`},
		"fallback missing":       {"  listeners:", "  fallbackUpstreamRefs: [{name: gone}]\n  listeners:", `error: PrinterRelay default/office: spec.fallbackUpstreamRefs[0]: MailUpstream "gone" is not in namespace "default": create it, or correct the name`},
		"route's missing":        {"  listeners:", "  routes: [{name: r, recipientDomains: [a.example], upstreamRef: {name: gone}}]\n  listeners:", `error: PrinterRelay default/office: spec.routes[0].upstreamRef: MailUpstream "gone" is not in namespace "default": create it, or correct the name`},
		"bounce's missing":       {"{bounce: {to: None}}", "{bounce: {postmaster: it@corp.example, upstreamRef: {name: gone}}}", `error: PrinterRelay default/office: spec.delivery.bounce.upstreamRef: MailUpstream "gone" is not in namespace "default": create it, or correct the name`},
		"policy missing":         {"senderPolicyRefs: [{name: office}]", "senderPolicyRefs: [{name: gone}]", `error: PrinterRelay default/office: spec.senderPolicyRefs[0]: SenderPolicy "gone" is not in namespace "default": create it, or correct the name`},
		"MX, opportunistic":      {smtp, "  type: MX\n  mx: {security: Opportunistic}\n  sender: {domain: copier.example}", "warning: MailUpstream default/out: spec.mx.security: Opportunistic: scans may pass in clear, or to a server that only claims to be the recipient's"},
		"MX without a sender":    {smtp, "  type: MX\n  mx: {}", "warning: MailUpstream default/out: spec.sender.domain: is not set: scans leave under the devices' own domains, each of which needs an SPF record that names this relay's addresses"},
		"MX that is the relay":   {smtp, "  type: MX\n  mx: {hosts: [relay.example]}\n  sender: {domain: copier.example}", `error: MailUpstream default/out: spec.mx.hosts: "relay.example" port 25 is listener "smtp" of this relay: name the server that takes its mail`},
		"SES's tags":             {smtp, "  type: SES\n  ses: {region: eu-west-1, tags: {ok: a-b_c, floor: \"3 west\"}}", `error: MailUpstream default/out: spec.ses.tags: "floor": "3 west": SES takes letters, digits, _ and - only, 1 to 256 of them on each side`},
		"mail server's port":     {smtp, "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, endpoint: \"smtp://mail.example:70000\", credentials: {type: Secret, secretRef: {name: x}}}\n  sender: {domain: corp.example, rewrite: Always}", "error: MailUpstream default/out: spec.microsoft365.endpoint: \"smtp://mail.example:70000\" is no mail server: write smtp://HOST:PORT (STARTTLS) or smtps://HOST:PORT (TLS from the start)"},
		"another than mailbox":   {smtp, "  type: Microsoft365\n  microsoft365: {transport: Graph, tenantID: t, clientID: c, mailbox: scans@corp.example, credentials: {type: Secret, secretRef: {name: x}}}\n  sender: {domain: corp.example}", "warning: MailUpstream default/out: spec.sender: scans may leave as somebody else than scans@corp.example, which Exchange Online refuses unless the mailbox has Send As for it: set domain: corp.example, localPart: scans, rewrite: Always"},
		"API, clear text":        {smtp, "  type: SendGrid\n  sendGrid: {transport: API, endpoint: \"http://10.0.0.1\", secretRef: {name: k}}", "warning: MailUpstream default/out: spec.sendGrid.endpoint: http://10.0.0.1: scans and the credential travel in clear, and to private addresses only: use https"},
		"SES, clear text":        {smtp, "  type: SES\n  ses: {region: eu-west-1, endpoint: \"http://10.0.0.1\"}", "warning: MailUpstream default/out: spec.ses.endpoint: http://10.0.0.1: scans and the credential travel in clear, and to private addresses only: use https"},
		"tokens, clear text":     {smtp, "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, authorityHost: \"http://10.0.0.1\", credentials: {type: WorkloadIdentity}}", "warning: MailUpstream default/out: spec.microsoft365.authorityHost: http://10.0.0.1: the credential travels in clear, and to private addresses only: use https"},
		"clear text":             {"{host: mail.example}", "{host: mail.example, tls: {mode: None}}", "warning: MailUpstream default/out: spec.smtp.tls.mode: None: scans may pass in clear"},
		"opportunistic":          {"{host: mail.example}", "{host: mail.example, tls: {mode: Opportunistic}}", "warning: MailUpstream default/out: spec.smtp.tls.mode: Opportunistic: scans may pass in clear"},
		"nobody hears":           {"  delivery: {bounce: {to: None}}\n", "", "warning: PrinterRelay default/office: spec.delivery.bounce.postmaster: is not set: nobody hears of failed scans by mail; set it, or bounce.to: None"},
		"can never fit":          {smtp, smtp + "\n  sender: {domain: other.example, rewrite: Never}", "error: SenderPolicy default/office: spec.rules[0].senders.allowed: no sender of it is in other.example, and every upstream has sender.rewrite: Never: allow that domain, or let the upstream rewrite"},
		"spool too small a size": {"  delivery:", "  spool: {persistentVolume: {size: 0}}\n  delivery:", `error: PrinterRelay default/office: spec.spool.persistentVolume.size: "0" is not a size: give octets as 40Mi or 25M`},
		"ephemeral":              {"  delivery:", "  acknowledge: Relayed\n  spool: {type: Ephemeral}\n  delivery:", "warning: PrinterRelay default/office: spec.spool.type: Ephemeral: a scan that the upstream does not take at once is refused with 451, and copiers do not try again"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(small, tc.old) {
				t.Fatalf("%q is not in the manifests", tc.old)
			}
			_, found := compileYAML(t, strings.Replace(small, tc.old, tc.new, 1))
			var got []string
			for _, d := range found {
				got = append(got, string(d.Severity)+": "+d.Error())
			}
			if !slices.Contains(got, tc.want) {
				t.Errorf("want %s\ngot  %s", tc.want, strings.Join(got, "\n     "))
			}
			if found.Failed() != strings.HasPrefix(tc.want, "error") {
				t.Errorf("failed: %v", found.Failed())
			}
		})
	}
}

// The kind's rules ask for a sender beside dkim. Where nobody has asked them, no
// mail must leave unsigned all the same.
func TestDKIMWithoutASenderIsNoPlan(t *testing.T) {
	in := manifests.Only(t, small)
	in.Upstreams["out"].Spec.DKIM = &v1alpha1.DKIM{Selector: "s", SecretRef: v1alpha1.LocalReference{Name: "k"}}
	if _, found := plan.Compile(in); !found.Failed() || found[0].Error() != "MailUpstream default/out: spec.dkim: signs as sender.domain: set spec.sender.domain" {
		t.Errorf("%v", found)
	}
}

// Operator and relay compare hashes: the same objects give the same one however
// they are ordered, and what changes behaviour changes it.
func TestHash(t *testing.T) {
	docs := strings.Split(small, "---\n")
	first, _ := compileYAML(t, small)
	for range 20 {
		docs[0], docs[1], docs[2] = docs[1], docs[2], docs[0]
		again, _ := compileYAML(t, strings.Join(docs, "---\n"))
		if again.Hash != first.Hash {
			t.Fatalf("hash %s, before %s", again.Hash, first.Hash)
		}
	}
	seen := map[string]string{first.Hash: "as it was"}
	for i, change := range []struct{ old, new string }{
		{"relay.example", "relay2.example"},
		{"port: 25", "port: 26"},
		{"10.0.0.0/8", "10.0.0.0/9"},
		{"*@corp.example", "it@corp.example"},
		{"mail.example", "mail2.example"},
		{"{host: mail.example}", "{host: mail.example}\n  sender: {domain: a.example}"},
		{"{host: mail.example}", "{host: mail.example}\n  sender: {domain: a.example}\n  dkim: {selector: s, secretRef: {name: k}}"},
		{"{host: mail.example}", "{host: mail.example}\n  sender: {domain: a.example}\n  dkim: {selector: s2, secretRef: {name: k}}"},
		{"{to: None}", "{to: Postmaster, postmaster: it@corp.example}"},
		{"listeners:", "intake: Hold\n  listeners:"},
	} {
		p, _ := compileYAML(t, strings.Replace(small, change.old, change.new, 1))
		if other, ok := seen[p.Hash]; ok {
			t.Errorf("change %d: the hash is that of %s", i, other)
		}
		seen[p.Hash] = fmt.Sprintf("change %d", i)
	}
}
