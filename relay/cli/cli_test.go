package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

// A shell knows the values of flags that have only some.
func TestCompletionOfFlags(t *testing.T) {
	for line, want := range map[string]string{
		"queue list --status":             "pending\ndeferred\nheld\nfailed\n:4\n",
		"kubectl queue release --status":  "pending\ndeferred\nheld\nfailed\n:4\n",
		"messages list --status":          "waiting\ndeferred\nheld\naccepted\nfailed\nremoved\nrefused\nlost\nunknown\n:4\n",
		"messages list --kind":            "message\nrefusal\n:4\n",
		"suggest --enforcement":           "DryRun\nEnforce\n:4\n",
		"dns --output":                    "text\njson\nyaml\nzone\n:4\n",
		"least-privilege -o":              "text\njson\n:4\n",
		"relay --manifests x --log-level": "debug\ninfo\nwarn\nerror\n:4\n",
		"relay --manifests":               ":16\n", // folders
		"copiers --output":                "table\nwide\njson\nyaml\ncsv\n:4\n",
		"kubectl copiers list --output":   "table\nwide\njson\nyaml\ncsv\n:4\n",
		"kubectl messages list --output":  "table\nwide\njson\nyaml\n:4\n",
		"webhooks list -o":                "table\nwide\njson\nyaml\n:4\n",
		"import postfix /etc/postfix -o":  ":0\n", // a file
		"kubectl support-bundle --file":   ":0\n",
	} {
		if got := command(t, append(append([]string{"__complete"}, strings.Fields(line)...), "")...); got.out != want {
			t.Errorf("%s: %q, want %q", line, got.out, want)
		}
	}
	contains(t, "profiles", command(t, "__complete", "simulate", "--profile", "").out, "kyocera")
}

func TestUsageErrors(t *testing.T) {
	for line, want := range map[string]string{
		"frobnicate":                         `unknown command "frobnicate"`,
		"queue":                              "say what to do: bounce, export, hold, list",
		"queue lst":                          `unknown command "lst"`,
		"queue list extra":                   `"extra"`,
		"queue list --frob":                  "unknown flag: --frob",
		"queue list --older-than x":          "--older-than",
		"queue list --admin x:1 --state y":   "[admin state]",
		"queue show":                         "accepts 1 arg",
		"queue show a b":                     "accepts 1 arg",
		"queue export":                       "accepts 1 arg",
		"relay":                              `"manifests"`,
		"relay --manifests x --log-format y": `--log-format "y": want text or json`,
		"relay --manifests x --log-level y":  `--log-level "y": want debug, info, warn or error`,
		"relay --manifests x extra":          `"extra"`,
		"validate":                           `"filename"`,
		"validate -f x extra":                `"extra"`,
		"explain -f x":                       `"client", "from", "to"`,
		"explain -f x --client y --from a@b.example --to c@d.example":        `--client "y": want an IP address`,
		"explain -f x --client 10.1.1.1 --from @ --to c@d.example":           `--from "@"`,
		"explain -f x --client 10.1.1.1 --from a@b.example --to <>":          `--to "<>": want an address`,
		"explain -f x --client 10.1.1.1 --from a@b.example --to c@d.example": "no such file or directory", // a failure, not a usage error
	} {
		t.Run(line, func(t *testing.T) {
			r := command(t, strings.Fields(line)...)
			code := 2
			if strings.HasPrefix(want, "no such file") {
				code = 1
			}
			if r.code != code || r.out != "" {
				t.Errorf("exit status %d, want %d; stdout %q", r.code, code, r.out)
			}
			contains(t, "stderr", r.stderr, "printer-relay: ", want)
		})
	}
}

func TestFailures(t *testing.T) {
	for line, want := range map[string]string{
		"queue list --admin 127.0.0.1:1":                         "--state",
		"copiers --admin 127.0.0.1:1":                            "--state",
		"suggest --admin 127.0.0.1:1":                            "--state",
		"queue list --admin %%":                                  "want host:port",
		"relay --manifests testdata/nowhere":                     "no such file or directory",
		"relay --manifests testdata --state testdata/nowhere":    "holds no PrinterRelay",
		"validate -f testdata/nowhere":                           "no such file or directory",
		"validate -f testdata":                                   "holds no PrinterRelay",
		"validate -f ../../config/samples/standalone --name a/b": `holds no PrinterRelay "a/b": check --name`,
	} {
		t.Run(line, func(t *testing.T) {
			r := command(t, strings.Fields(line)...)
			if r.code != 1 || r.out != "" {
				t.Errorf("exit status %d, want 1; stdout %q", r.code, r.out)
			}
			contains(t, "stderr", r.stderr, want)
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	version = "v1.2.3"
	t.Cleanup(func() { version = "" })
	if r := command(t, "--version"); r.code != 0 || r.out != "printer-relay version v1.2.3\n" || r.stderr != "" {
		t.Errorf("--version: %+v", r)
	}
	version = ""
	if Version() == "" {
		t.Error("a build without a release has no version at all")
	}
	r := command(t)
	if r.code != 0 {
		t.Errorf("without arguments: %+v", r)
	}
	contains(t, "help", r.out, "relay", "queue", "validate", "explain", "copiers", "suggest")
	// Commands of the design that are not built yet are not there, not stubs.
	for _, later := range []string{"operator", "send", "dns", "least-privilege", "simulate"} {
		if r := command(t, later); r.code != 2 {
			t.Errorf("%s: exit status %d", later, r.code)
		}
	}
	contains(t, "help of queue", command(t, "queue", "--help").out, "list", "show", "retry", "hold", "release", "bounce", "reroute", "export", "remove")
	contains(t, "help of queue list", command(t, "queue", "list", "--help").out, "--upstream", "--sender", "--client", "--older-than", "--all", "--state", "--admin")
	contains(t, "help of relay", command(t, "relay", "--help").out, "--manifests", "--name", "--state", "--bind", "--admin", "--secrets", "--port-offset")
}

const bad = `apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: out}
spec:
  type: SMTP
  smtp:
    host: mail.example
    port: 70000
    tls: {mode: StartTls}
`

const unknown = `apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: folder}
spec:
  type: Maildir
  maildir: {path: mail}
  sendr: {domain: x.example}
`

func TestValidate(t *testing.T) {
	good := command(t, "validate", "-f", "../../config/samples/standalone")
	if good.code != 0 || good.stderr != "" {
		t.Errorf("the samples: %d %s", good.code, good.stderr)
	}
	contains(t, "the plan", good.out, `"namespace": "default"`, `"name": "office"`, `"hash": "`, `"type": "Maildir"`)
	if quiet := command(t, "validate", "-q", "-f", "../../config/samples/standalone"); quiet != (result{}) {
		t.Errorf("-q: %+v", quiet)
	}

	r := command(t, "validate", "-f", folder(t, "office.yaml", office, "bad.yaml", bad, "unknown.yml", unknown, "notes.txt", "{"))
	if r.code != 1 || r.out != "" {
		t.Errorf("exit status %d, stdout %q", r.code, r.out)
	}
	for file, want := range map[string]string{
		"bad.yaml:8: ":    "MailUpstream default/out: spec.smtp.port: ",
		"bad.yaml:9: ":    "MailUpstream default/out: spec.smtp.tls.mode: ",
		"unknown.yml:7: ": "MailUpstream default/folder: spec.sendr: is no field of this kind",
	} {
		contains(t, "stderr", r.stderr, file+want)
	}
	if strings.Contains(r.stderr, "office.yaml") || strings.Contains(r.stderr, "notes.txt") {
		t.Errorf("it complains of a good file:\n%s", r.stderr)
	}

	r = command(t, "validate", "-f", folder(t, "a.yaml", "kind: [\n"))
	if r.code != 1 {
		t.Errorf("no YAML: exit status %d", r.code)
	}
	contains(t, "stderr", r.stderr, "a.yaml:", "is not YAML")

	// A reference that leads nowhere, found by the plan.
	r = command(t, "validate", "-f", folder(t, "a.yaml", strings.Replace(office, "upstreamRef: {name: a}", "upstreamRef: {name: nobody}", 1)))
	if r.code != 1 {
		t.Errorf("a missing upstream: exit status %d", r.code)
	}
	contains(t, "stderr", r.stderr, "default/office", "spec.upstreamRef", "nobody")
}

// The plan that validate prints names Secrets; it never has what is in them.
func TestValidatePrintsNoSecret(t *testing.T) {
	dir := folder(t, "office.yaml", strings.Replace(office, "listeners: [{name: smtp, port: 2525, tls: {mode: None}}]",
		"listeners: [{name: smtp, port: 2525, tls: {mode: None}, authentication: {mode: Optional, mechanisms: [Login], plaintext: Allow, secretRef: {name: logins}}}]", 1),
		"secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: logins}\nstringData: {users: \"mfp:correct-horse\"}\n")
	r := command(t, "validate", "-f", dir)
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	contains(t, "the plan", r.out, `"copier-logins"`)
	if strings.Contains(r.out+r.stderr, "correct-horse") {
		t.Error("the password is in the output")
	}
}

const policies = `---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: stolen
    match: {clientNetworks: [10.20.3.66/32]}
    action: Reject
  - name: users
    match: {users: [mfp-1]}
    action: Allow
  - name: tls
    match: {clientNetworks: [10.20.4.0/24]}
    action: Allow
    connection: {tls: Required}
    recipients: {allowed: ["*@corp.example"]}
  - name: lan
    match: {clientNetworks: [10.20.0.0/16]}
    action: Allow
    senders: {allowed: ["*@copier.test"]}
    recipients: {allowed: ["*@corp.example", "*@second.example"]}
`

// explainsTheRelay: what the relay itself refuses at MAIL is not called accepted.
func explainsTheRelay(t *testing.T, yaml string) {
	t.Helper()
	for name, tc := range map[string]struct{ old, new, from, want string }{
		"intake: Refuse":    {"  upstreamRef:", "  intake: Refuse\n  upstreamRef:", "mfp@copier.test", "MAIL: refused: 421 4.3.2 PR-009"},
		"intake: Hold":      {"  upstreamRef:", "  intake: Hold\n  upstreamRef:", "mfp@copier.test", "MAIL: Allow by office/lan, and held: the relay's intake is Hold\n"},
		"no domain":         {"  upstreamRef:", "  addresses: {defaultDomain: copier.test}\n  upstreamRef:", "mfp", "MAIL: Allow by office/lan\n"},
		"no default domain": {"", "", "mfp", ""},
		"null sender":       {"", "", "<>", "MAIL: refused: 550 5.7.1 PR-031 Sender <> not allowed"},
	} {
		if !strings.Contains(yaml, tc.old) {
			t.Fatalf("%q is not in the manifests", tc.old)
		}
		dir := folder(t, "office.yaml", strings.Replace(yaml, tc.old, tc.new, 1))
		r := command(t, "explain", "-f", dir, "--client", "10.20.9.9", "--from", tc.from, "--to", "a@corp.example")
		if tc.want == "" {
			if r.code != 2 || !strings.Contains(r.stderr, "the address has no domain") {
				t.Errorf("%s: %d %s", name, r.code, r.stderr)
			}
		} else if !strings.Contains(r.out, tc.want) {
			t.Errorf("%s: want %q in\n%s%s", name, tc.want, r.out, r.stderr)
		}
	}
}

// explainsTheHidden: who has an address that is not its own is in no network, and the
// answer says so.
func explainsTheHidden(t *testing.T, yaml string) {
	t.Helper()
	with := strings.Replace(yaml, "metadata: {name: office}", "metadata: {name: office, annotations: {printerrelay.dev/hidden-clients: 10.20.9.0/28}}", 1)
	if with == yaml {
		t.Fatal("the manifests have no metadata to annotate")
	}
	dir := folder(t, "office.yaml", with)
	for client, words := range map[string]string{"10.20.9.9": "the client's address is hidden", "10.20.9.19": "MAIL: Allow by"} {
		r := command(t, "explain", "-f", dir, "--client", client, "--from", "mfp@copier.test", "--to", "a@corp.example")
		if r.code != 0 || !strings.Contains(r.out, words) || strings.Contains(r.out, "MAIL: Allow by") != (client == "10.20.9.19") {
			t.Errorf("%s: %d %s", client, r.code, r.out)
		}
	}
}

func TestExplainGolden(t *testing.T) {
	head, _, _ := strings.Cut(office, "---\napiVersion: printerrelay.dev/v1alpha1\nkind: SenderPolicy")
	dir := folder(t, "office.yaml", head+policies)
	var all strings.Builder
	for _, args := range []string{
		"--client 10.20.9.9 --from mfp@copier.test --to a@corp.example",
		"--client 10.20.9.9 --from mfp@copier.test --to a@second.example",
		"--client 10.20.9.9 --from mfp@copier.test --to a@else.example",
		"--client 10.20.9.9 --from md@corp.example --to a@corp.example",
		"--client 10.20.3.66 --from mfp@copier.test --to a@corp.example",
		"--client 10.20.4.1 --from mfp@copier.test --to a@corp.example",
		"--client 10.20.4.1 --tls --from mfp@copier.test --to a@corp.example",
		"--client 192.0.2.1 --from mfp@copier.test --to a@corp.example",
		"--client 192.0.2.1 --user mfp-1 --from mfp@copier.test --to a@anywhere.example",
		"--client ::ffff:10.20.9.9 --from mfp@copier.test --to a@corp.example",
	} {
		r := command(t, append([]string{"explain", "-f", dir}, strings.Fields(args)...)...)
		if r.code != 0 || r.stderr != "" {
			t.Errorf("%s: %d %s", args, r.code, r.stderr)
		}
		all.WriteString("$ explain " + args + "\n" + r.out)
	}
	golden(t, "explain.golden", all.String())
	explainsTheRelay(t, head+policies)
	explainsTheHidden(t, head+policies)
	r := command(t, "explain", "-f", filepath.Join(dir, "nowhere"), "--client", "10.1.1.1", "--from", "a@b.example", "--to", "c@d.example")
	if r.code != 1 {
		t.Errorf("exit status %d", r.code)
	}
}
