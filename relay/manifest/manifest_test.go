package manifest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

const good = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.example
  upstreamRef: {name: out}
  senderPolicyRefs: [{name: office}]
  listeners:
  - name: smtp
    port: 25
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
    recipients: {allowed: ["*@corp.example"]}
`

func load(t *testing.T, yaml string) (*Set, Problems) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return set, problems
}

func TestSamplesAreValid(t *testing.T) {
	set, problems, err := Load("../../config/samples/standalone")
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v\n%v", err, problems)
	}
	if len(set.Relays) != 1 || len(set.Upstreams) != 1 || len(set.Policies) != 1 || len(set.Secrets["default"]) != 1 {
		t.Errorf("%+v", set)
	}
}

func TestDefaults(t *testing.T) {
	set, problems := load(t, good)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s := set.Relays[0].Spec
	l := s.Listeners[0]
	if set.Relays[0].Namespace != "default" || *s.Replicas != 1 || s.Intake != "Accept" || s.Acknowledge != "Queued" || *s.AcknowledgeTimeoutSeconds != 20 ||
		l.TLS.Mode != "StartTLS" || l.Limits.MessageSize.String() != "40Mi" || *l.Limits.Recipients != 100 || *l.Limits.IdleTimeoutSeconds != 300 ||
		*s.Delivery.ExpireAfterSeconds != 432000 || *s.Delivery.Retry.InitialSeconds != 30 || s.Delivery.Bounce.To != "Postmaster" || s.Spool.Type != "PersistentVolume" ||
		s.Service.Type != "LoadBalancer" || s.Service.ExternalTrafficPolicy != "Local" {
		t.Errorf("%+v", s)
	}
	if u := set.Upstreams[0].Spec; u.SMTP.Port != 587 || u.SMTP.TLS.Mode != "StartTLS" {
		t.Errorf("%+v", u)
	}
	if r := set.Policies[0].Spec.Rules[0]; r.Action != "Allow" || r.Senders.Check != "EnvelopeAndHeader" || r.Senders.Otherwise != "Reject" {
		t.Errorf("%+v", r)
	}
}

// bad are manifests that are refused: each case replaces old by new in the good
// ones; want is the problem.
var bad = map[string]struct{ old, new, want string }{
	"empty match":                                   {"match: {clientNetworks: [10.0.0.0/8]}", "match: {}", "m.yaml:25: SenderPolicy default/office: spec.rules[0].match: Invalid value: clientNetworks or users is required"},
	"everybody":                                     {"10.0.0.0/8", "0.0.0.0/0", "m.yaml:25: SenderPolicy default/office: spec.rules[0].match: Invalid value: a /0 network matches everybody"},
	"everybody, IPv6":                               {"10.0.0.0/8", `"::/0"`, "a /0 network matches everybody"},
	"no recipients and no users":                    {`    recipients: {allowed: ["*@corp.example"]}`, "", "m.yaml:24: SenderPolicy default/office: spec.rules[0]: Invalid value: recipients.allowed is required"},
	"not a network":                                 {"10.0.0.0/8", "10.0.0.0", "must be a network in CIDR notation"},
	"not a pattern":                                 {`"*@corp.example"`, "corp.example", "must be *, *@domain"},
	"unknown field":                                 {"    port: 25", "    prot: 25", "m.yaml:10: PrinterRelay default/office: spec.listeners[0].prot: is no field of this kind"},
	"missing field":                                 {"    port: 25", "    tls: {}", "m.yaml:9: PrinterRelay default/office: spec.listeners[0].port: Required value"},
	"enum":                                          {"    port: 25", "    port: 25\n    tls: {mode: Maybe}", `m.yaml:11: PrinterRelay default/office: spec.listeners[0].tls.mode: Unsupported value: "Maybe"`},
	"same port twice":                               {"    port: 25", "    port: 25\n  - {name: other, port: 25}", "each listener needs a port of its own"},
	"same name twice":                               {"    port: 25", "    port: 25\n  - {name: smtp, port: 26}", "Duplicate value"},
	"login without a Secret":                        {"    port: 25", "    port: 25\n    authentication: {mode: Required}", "authentication.secretRef is required"},
	"password in clear":                             {"    port: 25", "    port: 25\n    tls: {mode: None}\n    authentication: {mode: Required, secretRef: {name: x}}", "without TLS a password passes in clear"},
	"ephemeral and queued":                          {"  hostname: relay.example", "  hostname: relay.example\n  spool: {type: Ephemeral}", "an Ephemeral spool needs acknowledge: Relayed"},
	"two certificates":                              {"    port: 25", "    port: 25\n    tls: {certificateRefs: [{name: a}], issuerRef: {name: b}}", "exclude each other"},
	"type without its block":                        {"type: SMTP", "type: Maildir", "maildir is required when type is Maildir"},
	"dkim on a type that signs":                     {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SendGrid\n  sendGrid: {secretRef: {name: x}}\n  sender: {domain: a.example}\n  dkim: {selector: s, secretRef: {name: k}}", "the other types sign themselves"},
	"upstream password in clear":                    {"{host: mail.example}", "{host: mail.example, tls: {mode: None}, authentication: {secretRef: {name: x}}}", "authentication sends a password"},
	"retry upside down":                             {"  hostname: relay.example", "  hostname: relay.example\n  delivery: {retry: {initialSeconds: 10, maximumSeconds: 5}}", "initialSeconds must not be more"},
	"rate without a figure":                         {`    recipients: {allowed: ["*@corp.example"]}`, "    recipients: {allowed: [\"*@corp.example\"]}\n    rateLimit: {per: Client}", "messagesPerMinute or recipientsPerDay is required"},
	"maildir that leaves its place":                 {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Maildir\n  maildir: {path: ../x}", "must not contain .."},
	"key twice":                                     {"    port: 25", "    port: 25\n    port: 26", `m.yaml:11: the key "port" is here twice`},
	"not YAML":                                      {"    port: 25", "\t- port", ": is not YAML"},
	"another kind":                                  {"kind: SenderPolicy", "kind: Deployment", "is no kind of this folder"},
	"object twice":                                  {"metadata: {name: out}", "metadata: {name: out}\nspec: {type: Maildir, maildir: {path: x}}\n---\napiVersion: printerrelay.dev/v1alpha1\nkind: MailUpstream\nmetadata: {name: out}", "is in m.yaml:12 already"},
	"SES without its block":                         {"type: SMTP\n  smtp: {host: mail.example}", "type: SES", "ses is required when type is SES, and forbidden otherwise"},
	"MX without its block":                          {"type: SMTP\n  smtp: {host: mail.example}", "type: MX", "mx is required when type is MX, and forbidden otherwise"},
	"SendGrid without its block":                    {"type: SMTP\n  smtp: {host: mail.example}", "type: SendGrid", "sendGrid is required when type is SendGrid, and forbidden otherwise"},
	"Mailgun without its block":                     {"type: SMTP\n  smtp: {host: mail.example}", "type: Mailgun", "mailgun is required when type is Mailgun, and forbidden otherwise"},
	"Postmark without its block":                    {"type: SMTP\n  smtp: {host: mail.example}", "type: Postmark", "postmark is required when type is Postmark, and forbidden otherwise"},
	"Microsoft365 without its block":                {"type: SMTP\n  smtp: {host: mail.example}", "type: Microsoft365", "microsoft365 is required when type is Microsoft365, and forbidden otherwise"},
	"SMTP with the block of another":                {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Maildir\n  smtp: {host: mail.example}\n  maildir: {path: x}", "smtp is required when type is SMTP, and forbidden otherwise"},
	"dkim without a sender":                         {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SMTP\n  smtp: {host: mail.example}\n  dkim: {selector: s, secretRef: {name: k}}", "dkim signs as sender.domain: sender is required"},
	"not one address":                               {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: nobody, credentials: {type: Secret, secretRef: {name: x}}}", "must be one address: local@domain"},
	"OAuth without its block":                       {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SMTP\n  smtp: {host: mail.example, authentication: {mechanism: XOAuth2, secretRef: {name: x}}}", "oauth2 is required for XOAuth2 and OAuthBearer"},
	"volume of an Ephemeral spool":                  {"  hostname: relay.example", "  hostname: relay.example\n  acknowledge: Relayed\n  spool: {type: Ephemeral, persistentVolume: {size: 1Gi}}", "persistentVolume is for type PersistentVolume"},
	"SES Secret without a name":                     {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SES\n  ses: {region: eu-west-1, credentials: {type: Secret}}", "secretRef is required when type is Secret"},
	"SES with the credentials of another":           {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SES\n  ses: {region: eu-west-1, credentials: {type: WorkloadIdentity}}", "type must be Ambient or Secret"},
	"Microsoft 365 with the credentials of another": {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, credentials: {type: Ambient}}", "type must be Secret or WorkloadIdentity"},
	"TLS None with a CA":                            {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SMTP\n  smtp: {host: mail.example, tls: {mode: None, caSecretRef: {name: ca}}}", "with mode None nothing else of tls may be set"},
	"certificate without TLS":                       {"    port: 25", "    port: 25\n    tls: {mode: None, certificateRefs: [{name: a}]}", "with mode None there is no certificate"},
	"source ranges of a NodePort":                   {"  hostname: relay.example", "  hostname: relay.example\n  service: {type: NodePort, loadBalancerSourceRanges: [10.0.0.0/8]}", "loadBalancerClass and loadBalancerSourceRanges are for type LoadBalancer"},
	"name too long for a Service":                   {"metadata: {name: office}\nspec:\n  hostname", "metadata: {name: " + strings.Repeat("a", 51) + "}\nspec:\n  hostname", "must be at most 50 lower-case letters"},
	"name that no Service has":                      {"metadata: {name: office}\nspec:\n  hostname", "metadata: {name: 3rd.floor}\nspec:\n  hostname", "m.yaml:3: PrinterRelay default/3rd.floor: metadata.name: Invalid value: must be at most 50 lower-case letters"},
	"Microsoft 365 Secret without a name":           {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, credentials: {type: Secret}}", "spec.microsoft365.credentials: Invalid value: secretRef is required when type is Secret"},
	"route for everything":                          {"  hostname: relay.example", "  hostname: relay.example\n  routes: [{name: all, upstreamRef: {name: out}}]", "a route needs recipientDomains, clientNetworks or senders"},
}

func TestProblemsNameFileLineAndField(t *testing.T) {
	for name, tc := range bad {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, tc.old) {
				t.Fatalf("%q is not in the manifests", tc.old)
			}
			_, problems := load(t, strings.Replace(good, tc.old, tc.new, 1))
			if !strings.Contains(problems.Error(), tc.want) {
				t.Errorf("want %q, got:\n%v", tc.want, problems)
			}
		})
	}
}

// TestEveryRuleIsShownToRefuse: each CEL rule of the kinds, where it stands, has
// a case above, or is one of those that TestEveryConstraint tries everywhere.
func TestEveryRuleIsShownToRefuse(t *testing.T) {
	index := regexp.MustCompile(`\[\d+\]`)
	said := map[string]string{}
	for _, tc := range bad {
		_, problems := load(t, strings.Replace(good, tc.old, tc.new, 1))
		for _, p := range problems {
			kind, _, _ := strings.Cut(p.Object, " ")
			said[kind+" "+index.ReplaceAllString(p.Field, "")] += p.Message + "\n"
		}
	}
	for kind, s := range kinds(t) {
		rules(s, "", func(path string, r apiextensionsv1.ValidationRule) {
			if path == "" {
				path = "metadata.name"
			}
			if strings.Contains(r.Rule, "oldSelf") || badValues[r.Message] != nil {
				return // TestUpdates, TestEveryConstraint
			}
			if r.Message == "" || !strings.Contains(said[kind+" "+path], r.Message) {
				t.Errorf("%s %s: no case is refused with %q", kind, path, r.Message)
			}
		})
	}
}

// rules calls fn for every rule of s and below it; path is that of a problem,
// without the indexes of lists.
func rules(s *schema, path string, fn func(path string, r apiextensionsv1.ValidationRule)) {
	for _, r := range s.XValidations {
		fn(path, r)
	}
	for key := range s.Properties {
		p := s.Properties[key]
		rules(&p, strings.TrimPrefix(path+"."+key, "."), fn)
	}
	if s.Items != nil && s.Items.Schema != nil {
		rules(s.Items.Schema, path, fn)
	}
}

// TestUpdates: what cannot be changed once it is there is refused in a cluster,
// where the old object is known.
func TestUpdates(t *testing.T) {
	vs, err := validators()
	if err != nil {
		t.Fatal(err)
	}
	v := vs["PrinterRelay"]
	with := func(volume map[string]any) map[string]any {
		for _, obj := range documents(t, "testdata/full.yaml") {
			if obj["kind"] == "PrinterRelay" {
				v.validate(obj) // sets the defaults
				at(obj, []any{"spec", "spool"}).(map[string]any)["persistentVolume"] = volume
				return obj
			}
		}
		panic("no PrinterRelay")
	}
	for name, tc := range map[string]struct {
		before, after map[string]any
		want          string
	}{
		"the same":         {map[string]any{"size": "5Gi", "storageClassName": "a"}, map[string]any{"size": "5120Mi", "storageClassName": "a"}, ""},
		"grows":            {map[string]any{"size": "5Gi"}, map[string]any{"size": int64(6 << 30)}, ""},
		"shrinks":          {map[string]any{"size": "5Gi"}, map[string]any{"size": "5G"}, "spec.spool.persistentVolume.size: Invalid value: \"5G\": a volume cannot shrink"},
		"another class":    {map[string]any{"size": "5Gi", "storageClassName": "a"}, map[string]any{"size": "5Gi", "storageClassName": "b"}, "spec.spool.persistentVolume: Invalid value: storageClassName of a volume cannot change"},
		"the class is new": {map[string]any{"size": "5Gi"}, map[string]any{"size": "5Gi", "storageClassName": "b"}, "storageClassName of a volume cannot change"},
	} {
		errs, _ := v.cel.Validate(t.Context(), nil, v.structural, with(tc.after), with(tc.before), celconfig.RuntimeCELCostBudget)
		got := ""
		for _, e := range errs {
			got += e.Field + ": " + detail(e) + "\n"
		}
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestSecretValuesAreInNoMessage(t *testing.T) {
	_, problems := load(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: canary-value}\nstringData: {b: [canary-value]}\ncanary: {x: y}\n")
	if len(problems) != 3 || strings.Contains(problems.Error(), "canary-value") {
		t.Errorf("%v", problems)
	}
}

// TestAliasBombIsRefused: in one document and in many, and where an alias
// stands for what it is in.
func TestAliasBombIsRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		b.WriteString(strings.ReplaceAll("aI: &aI [", "I", string(rune('0'+i))) + strings.Repeat("*a"+string(rune('0'+i-1))+", ", 10) + "]\n")
	}
	small := "a: &a [" + strings.Repeat("x, ", 400) + "]\nb: [" + strings.Repeat("*a, ", 400) + "]\n" // 160 000 values
	for name, tc := range map[string]struct{ text, want string }{
		"one document":  {b.String(), "m.yaml:1: the aliases of the file stand for more than 200000 values: write them out"},
		"two documents": {small + "---\n" + small, "m.yaml:4: the aliases of the file stand for more than 200000 values: write them out"},
		"itself":        {"x: 1\na: &a [*a]\n", "m.yaml:2: is nested more than 100 deep, or an alias stands for itself"},
		"deep":          {strings.Repeat("[", 101) + strings.Repeat("]", 101), "m.yaml:1: is nested more than 100 deep, or an alias stands for itself"},
	} {
		if _, problems := load(t, tc.text); !strings.Contains(problems.Error(), tc.want) {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

func TestFingerprintSeesASwappedLink(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		if err := os.MkdirAll(filepath.Join(dir, ".."+v), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ".."+v, "m.yaml"), []byte("same"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, file := filepath.Join(dir, "..data"), filepath.Join(dir, "m.yaml")
	if err := os.Symlink("..v1", data); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("..data", "m.yaml"), file); err != nil {
		t.Fatal(err)
	}
	before, err := Fingerprint(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..v2", data); err != nil {
		t.Fatal(err)
	}
	if after, err := Fingerprint(dir); err != nil || after == before {
		t.Errorf("not seen: %v", err)
	}
}
