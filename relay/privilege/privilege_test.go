package privilege

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/test/manifests"
)

var update = flag.Bool("update", false, "write the golden files; read the difference")

const office = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.corp.example
  upstreamRef: {name: out}
  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: 25}]
  delivery: {bounce: {postmaster: it@corp.example, from: relay@copier.corp.example}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: nobody
    match: {clientNetworks: [10.66.0.0/16]}
    action: Reject
    recipients: {allowed: ["*@refused.example"]}
  - name: finance
    match: {clientNetworks: [10.20.3.0/24]}
    senders: {allowed: ["*@copier.corp.example"]}
    identity: {localPart: Finance-Scans}
    recipients: {allowed: ["*@corp.example", "tax@adviser.example"]}
  - name: lan
    match: {clientNetworks: [10.20.0.0/16]}
    senders: {allowed: ["mfp-*@copier.corp.example", "it@old.example"]}
    recipients: {allowed: ["*@corp.example", "boss@corp.example"]}
`

func compile(t *testing.T, relay, upstream string) *plan.Plan {
	t.Helper()
	p, _ := plan.Compile(manifests.Only(t, relay+"---\napiVersion: printerrelay.dev/v1alpha1\nkind: MailUpstream\nmetadata: {name: out}\nspec:\n"+upstream))
	return p
}

const sender = "  sender: {domain: copier.corp.example, localPart: scans}\n"

// upstreams are one of each type and transport.
var upstreams = map[string]string{
	"ses":            "  type: SES\n  ses: {region: eu-central-1, configurationSet: scans, roleARN: \"arn:aws:iam::123456789012:role/relay\"}\n" + sender,
	"ses-as-it-came": "  type: SES\n  ses: {region: us-gov-west-1}\n",
	"microsoft365":   "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: 66666666-7777-8888-9999-000000000000, mailbox: scans@copier.corp.example, credentials: {type: Secret, secretRef: {name: x}}}\n  sender: {domain: copier.corp.example, rewrite: Always}\n",
	"graph":          "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: 66666666-7777-8888-9999-000000000000, transport: Graph, mailbox: o'scans@copier.corp.example, credentials: {type: Secret, secretRef: {name: x}}}\n" + sender,
	"mx":             "  type: MX\n  mx: {hosts: [corp-example.mail.protection.outlook.com]}\n" + sender,
	"mx-elsewhere":   "  type: MX\n  mx: {}\n  dns: {egressAddresses: [192.0.2.25/32, 198.51.100.0/28, \"2001:db8::/64\"]}\n" + sender,
	"sendgrid":       "  type: SendGrid\n  sendGrid: {transport: API, endpoint: \"https://api.eu.sendgrid.com\", secretRef: {name: x}}\n" + sender,
	"sendgrid-smtp":  "  type: SendGrid\n  sendGrid: {endpoint: \"smtp://smtp.eu.sendgrid.net\", secretRef: {name: x}}\n" + sender,
	"mailgun":        "  type: Mailgun\n  mailgun: {domain: copier.corp.example, secretRef: {name: x}}\n" + sender,
	"mailgun-smtp":   "  type: Mailgun\n  mailgun: {transport: SMTP, domain: copier.corp.example, secretRef: {name: x}}\n" + sender,
	"postmark":       "  type: Postmark\n  postmark: {transport: API, secretRef: {name: x}}\n" + sender,
	"postmark-smtp":  "  type: Postmark\n  postmark: {messageStream: scans, secretRef: {name: x}}\n" + sender,
	"ses-one":        "  type: SES\n  ses: {region: eu-central-1, fromIdentityARN: \"arn:aws:ses:eu-central-1:999999999999:identity/corp.example\"}\n  sender: {domain: copier.corp.example, localPart: Finance-Scans, rewrite: Always}\n",
	"smtp":           "  type: SMTP\n  smtp: {host: mail.corp.example, authentication: {secretRef: {name: x}}}\n  limits: {messagesPerMinute: 60, messageSize: 25Mi}\n" + sender,
	"smtp-in-clear":  "  type: SMTP\n  smtp: {host: mail.corp.example, port: 25, tls: {mode: Opportunistic}}\n",
	"maildir":        "  type: Maildir\n  maildir: {path: archive}\n",
}

func TestGolden(t *testing.T) {
	for name, u := range upstreams {
		t.Run(name, func(t *testing.T) {
			a, ok := For([]*plan.Plan{compile(t, office, u)}, "out")
			if !ok {
				t.Fatal("nobody sends by it")
			}
			path := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(a.Text()), 0o644); err != nil { //nolint:gosec // it is read by everybody
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if a.Text() != string(want) {
				t.Errorf("%s is out of date: run go test ./relay/privilege -update, and read the difference. Now:\n%s", path, a.Text())
			}
			if a.Language == "json" && !json.Valid([]byte(a.Document)) {
				t.Errorf("no JSON:\n%s", a.Document)
			}
		})
	}
}

// As whom and to whom, by what the parts of a plan say.
func TestNeed(t *testing.T) {
	const smtp = "  type: SMTP\n  smtp: {host: mail.example}\n"
	none := strings.Replace(office, "{postmaster: it@corp.example, from: relay@copier.corp.example}", "{to: None}", 1)
	for name, c := range map[string]struct {
		old, new, upstream string
		senders            []string
		recipients         []string
	}{
		"as it came":                      {"", "", smtp, []string{"*@copier.corp.example", "it@old.example"}, []string{"tax@adviser.example", "*@corp.example"}},
		"outside the domain is rewritten": {"", "", smtp + sender, []string{"Finance-Scans@copier.corp.example", "mfp-*@copier.corp.example", "scans@copier.corp.example"}, []string{"tax@adviser.example", "*@corp.example"}},
		"always":                          {"", "", smtp + "  sender: {domain: copier.corp.example, rewrite: Always}\n", []string{"Finance-Scans@copier.corp.example", "scans@copier.corp.example"}, []string{"tax@adviser.example", "*@corp.example"}},
		"never":                           {"", "", smtp + "  sender: {domain: old.example, rewrite: Never}\n", []string{"it@old.example"}, []string{"tax@adviser.example", "*@corp.example"}},
		"never, but the rule rewrites":    {`"it@old.example"]}`, `"it@old.example"], otherwise: Rewrite}`, smtp + "  sender: {domain: old.example, rewrite: Never}\n", []string{"it@old.example", "scans@old.example"}, []string{"tax@adviser.example", "*@corp.example"}},
		"the rule rewrites":               {`"it@old.example"]}`, `"it@old.example"], otherwise: Rewrite}`, smtp + sender, []string{"Finance-Scans@copier.corp.example", "mfp-*@copier.corp.example", "scans@copier.corp.example"}, []string{"tax@adviser.example", "*@corp.example"}},
		"any sender":                      {`    senders: {allowed: ["mfp-*@copier.corp.example", "it@old.example"]}` + "\n", "", smtp, []string{"*"}, []string{"tax@adviser.example", "*@corp.example"}},
		"any sender, rewritten":           {`    senders: {allowed: ["mfp-*@copier.corp.example", "it@old.example"]}` + "\n", "", smtp + sender, []string{"*@copier.corp.example"}, []string{"tax@adviser.example", "*@corp.example"}},
		"any recipient":                   {`"*@corp.example", "boss@corp.example"`, `"*"`, smtp + sender, []string{"Finance-Scans@copier.corp.example", "mfp-*@copier.corp.example", "scans@copier.corp.example"}, nil},
		"copies":                          {"  listeners:", "  copies: [{name: archive, senders: [\"*\"], to: [Journal@archive.example]}]\n  listeners:", smtp + "  sender: {domain: copier.corp.example, rewrite: Always}\n", []string{"Finance-Scans@copier.corp.example", "scans@copier.corp.example"}, []string{"tax@adviser.example", "journal@archive.example", "*@corp.example"}},
		"recipients are rewritten":        {"  listeners:", "  addresses: {recipients: [{from: \"*@corp.example\", to: [\"*@new.example\"]}]}\n  listeners:", smtp + "  sender: {domain: copier.corp.example, rewrite: Always}\n", []string{"Finance-Scans@copier.corp.example", "scans@copier.corp.example"}, []string{"tax@adviser.example", "*@corp.example", "*@new.example"}},
		"policy that decides nothing yet": {"spec:\n  rules:", "spec:\n  enforcement: DryRun\n  rules:", smtp, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(none, c.old) {
				t.Fatalf("%q is not in the manifests", c.old)
			}
			n, ok := NeedOf([]*plan.Plan{compile(t, strings.Replace(none, c.old, c.new, 1), c.upstream)}, "out")
			if !ok || !slices.Equal(n.Senders, c.senders) || !slices.Equal(n.Recipients, c.recipients) {
				t.Errorf("as %q to %q, want %q to %q", n.Senders, n.Recipients, c.senders, c.recipients)
			}
			if strings.Contains(name, "decides nothing") != (len(n.Notes) > 0) {
				t.Errorf("notes %q", n.Notes)
			}
		})
	}
}

// What a route takes elsewhere, the upstream does not need; a fallback needs all.
func TestNeedByRoutes(t *testing.T) {
	const out = "  type: SMTP\n  smtp: {host: mail.example}\n---\napiVersion: printerrelay.dev/v1alpha1\nkind: MailUpstream\nmetadata: {name: other}\nspec:\n  type: SMTP\n  smtp: {host: other.example}\n"
	manifests := strings.Replace(office, "upstreamRef: {name: out}", "upstreamRef: {name: other}\n  routes: [{name: inside, recipientDomains: [corp.example], senders: [\"mfp-1@copier.corp.example\"], upstreamRef: {name: out}}]", 1)
	manifests = strings.Replace(manifests, "{postmaster: it@corp.example, from: relay@copier.corp.example}", "{postmaster: it@corp.example, from: relay@copier.corp.example, upstreamRef: {name: other}}", 1)
	n, _ := NeedOf([]*plan.Plan{compile(t, manifests, out)}, "out")
	if !slices.Equal(n.Senders, []string{"mfp-1@copier.corp.example"}) || !slices.Equal(n.Recipients, []string{"*@corp.example"}) {
		t.Errorf("as %q to %q", n.Senders, n.Recipients)
	}
	n, _ = NeedOf([]*plan.Plan{compile(t, manifests, out)}, "other")
	if !slices.Equal(n.Senders, []string{"*@copier.corp.example", "it@old.example"}) || !slices.Equal(n.Recipients, []string{"tax@adviser.example", "*@corp.example"}) {
		t.Errorf("as %q to %q", n.Senders, n.Recipients)
	}
	manifests = strings.Replace(manifests, "  routes:", "  fallbackUpstreamRefs: [{name: out}]\n  routes:", 1)
	n, _ = NeedOf([]*plan.Plan{compile(t, manifests, out)}, "out")
	if !slices.Equal(n.Senders, []string{"*@copier.corp.example", "it@old.example"}) || !slices.Equal(n.Recipients, []string{"tax@adviser.example", "*@corp.example"}) {
		t.Errorf("as %q to %q", n.Senders, n.Recipients)
	}
	if _, ok := NeedOf([]*plan.Plan{compile(t, manifests, out)}, "none"); ok {
		t.Error("somebody sends by an upstream that is not there")
	}
}

// Patterns are cut so that no address is lost that both have.
func TestPatterns(t *testing.T) {
	all := []string{"Scan-3@corp.example", "*", "*@corp.example", "*@*.corp.example", "*@a.corp.example", "scan-*@corp.example", "*-3@corp.example", "scan-3@corp.example", "scan-*@*", "it@other.example"}
	sample := []string{"scan-3@corp.example", "scan-4@corp.example", "x-3@corp.example", "it@corp.example", "scan-3@a.corp.example", "it@b.a.corp.example", "it@other.example"}
	set := func(s string) envelope.Pattern {
		p, err := envelope.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, a := range all {
		for _, b := range all {
			cut := patterns{parseOne(a)}.cut(patterns{parseOne(b)})
			both := patterns{parseOne(a), parseOne(b)}.compact()
			for _, s := range sample {
				addr, err := envelope.ParseAddress(s)
				if err != nil {
					t.Fatal(err)
				}
				inA, inB := set(a).Match(addr), set(b).Match(addr)
				match := func(ps patterns) bool {
					return slices.ContainsFunc(ps, func(p pattern) bool { return set(p.String()).Match(addr) })
				}
				if inA && inB && !match(cut) {
					t.Errorf("%s is in %s and %s, and not in %q", s, a, b, cut.strings())
				}
				if match(cut) && !inA && !inB {
					t.Errorf("%s is in neither of %s and %s, and in %q", s, a, b, cut.strings())
				}
				if match(both) != (inA || inB) {
					t.Errorf("%s: %q is not the union of %s and %s", s, both.strings(), a, b)
				}
				if covers(parseOne(a), parseOne(b)) && inB && !inA {
					t.Errorf("%s does not cover %s: %s", a, b, s)
				}
			}
		}
	}
}
