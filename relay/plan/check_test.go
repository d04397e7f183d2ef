package plan_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/manifest"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/test/manifests"
)

// What the parts make together. Each case replaces old by new in the small
// manifests; want is the finding, whole; empty: there is none of its field.
func TestChecks(t *testing.T) {
	const (
		lan       = "match: {clientNetworks: [10.0.0.0/8]}"
		listeners = "listeners: [{name: smtp, port: 25}]"
		second    = "---\napiVersion: printerrelay.dev/v1alpha1\nkind: MailUpstream\nmetadata: {name: second}\nspec: {type: Maildir, maildir: {path: x}}\n---\n"
	)
	for name, tc := range map[string]struct{ old, new, field, want string }{
		"fallback is upstreamRef":      {"  listeners:", "  fallbackUpstreamRefs: [{name: out}]\n  listeners:", "fallbackUpstreamRefs", `warning: PrinterRelay default/office: spec.fallbackUpstreamRefs[0]: "out" is where all mail goes already: name another upstream, or remove it`},
		"fallback of a route":          {"  listeners:", "  fallbackUpstreamRefs: [{name: out}]\n  routes: [{name: r, recipientDomains: [a.example], upstreamRef: {name: second}}]\n  listeners:", "fallbackUpstreamRefs", ""},
		"another fallback":             {"  listeners:", "  fallbackUpstreamRefs: [{name: second}]\n  listeners:", "fallbackUpstreamRefs", ""},
		"upstream is the relay":        {"{host: mail.example}", "{host: Relay.Example, port: 25}", "smtp.host", `error: MailUpstream default/out: spec.smtp.host: "Relay.Example" port 25 is listener "smtp" of this relay: name the server that takes its mail`},
		"upstream on the same machine": {"{host: mail.example}", "{host: relay.example, port: 2525}", "smtp.host", ""},
		"users without logins":         {lan, "match: {users: [mfp]}", "match.users", "warning: SenderPolicy default/office: spec.rules[0].match.users: no listener takes logins, so nobody is matched: set authentication.mode of one to Optional or Required"},
		"users with logins":            {listeners, "listeners: [{name: smtp, port: 25, authentication: {mode: Optional, secretRef: {name: x}}}]", "match.users", ""},
		"login that none takes":        {lan, lan + "\n    connection: {authentication: Required}", "connection.authentication", "warning: SenderPolicy default/office: spec.rules[0].connection.authentication: Required, but no listener takes logins: all that is matched is refused; set authentication.mode of one to Optional or Required"},
		"halves of the Internet":       {"[10.0.0.0/8]", "[0.0.0.0/1, 128.0.0.0/1]", "match.clientNetworks", "error: SenderPolicy default/office: spec.rules[0].match.clientNetworks: together they hold every address: name the networks of the copiers, or name users too"},
		"pieces of the Internet":       {"[10.0.0.0/8]", `["8000::/1", "0000::/2", "4000::/2"]`, "match.clientNetworks", "error: SenderPolicy default/office: spec.rules[0].match.clientNetworks: together they hold every address: name the networks of the copiers, or name users too"},
		"one piece is missing":         {"[10.0.0.0/8]", `["8000::/1", "0000::/2", "4000::/3", 0.0.0.0/1]`, "match.clientNetworks", ""},
		"half, but refused":            {lan, "match: {clientNetworks: [0.0.0.0/1, 128.0.0.0/1]}\n    action: Reject", "match.clientNetworks", ""},
		"half, but with a login":       {lan, "match: {clientNetworks: [0.0.0.0/1, 128.0.0.0/1], users: [mfp]}", "match.clientNetworks", ""},
		"rewritten by nobody":          {"senders: {allowed:", "senders: {otherwise: Rewrite, allowed:", "senders.otherwise", `error: SenderPolicy default/office: spec.rules[0].senders.otherwise: Rewrite, but no upstream has a sender to rewrite to: set sender.domain of "out", or otherwise: Reject`},
		"copy that needs SMTPUTF8":     {"  listeners:", "  copies: [{name: c, senders: ['*'], to: [it@corp.example, jörg@corp.example]}]\n  listeners:", "copies", `error: PrinterRelay default/office: spec.copies[0].to[1]: "jörg@corp.example": the local part is not ASCII: few servers take that; give an address in ASCII`},
		"rewritten to SMTPUTF8":        {"  listeners:", "  addresses: {recipients: [{from: a@corp.example, to: [jörg@corp.example]}]}\n  listeners:", "recipients", `error: PrinterRelay default/office: spec.addresses.recipients[0].to[0]: "jörg@corp.example": the local part is not ASCII: few servers take that; give an address in ASCII`},
		"domain that is not ASCII":     {"  listeners:", "  copies: [{name: c, senders: ['*'], to: [it@bücher.example]}]\n  listeners:", "copies", ""},
		"default domain never ASCII":   {listeners, "addresses: {defaultDomain: \"\u0300a.example\"}\n  listeners: [{name: smtp, port: 25, compatibility: {commandSyntax: Lenient}}]", "defaultDomain", "error: PrinterRelay default/office: spec.addresses.defaultDomain: \"\u0300a.example\": the domain cannot be written in ASCII: idna: invalid label \"\u0300a\": write it in ASCII"},
		"default domain, strict":       {"  listeners:", "  addresses: {defaultDomain: a.example}\n  listeners:", "defaultDomain", `warning: PrinterRelay default/office: spec.addresses.defaultDomain: completes nothing but <postmaster>, since no listener has compatibility.commandSyntax: Lenient: set it for the devices that send addresses without a domain`},
		"default domain, one device":   {listeners, "addresses: {defaultDomain: a.example}\n  listeners: [{name: smtp, port: 25, clientOverrides: [{name: x, clientNetworks: [10.0.0.1/32], compatibility: {commandSyntax: Lenient}}]}]", "defaultDomain", ""},
		"an A that is none":            {"{host: mail.example}", "{host: mail.example}\n  dns: {vendorRecords: [{name: a.example, type: A, value: \"2001:db8::1\"}]}", "vendorRecords", `warning: MailUpstream default/out: spec.dns.vendorRecords[0].value: "2001:db8::1" is no value of type A: write an IPv4 address, such as 192.0.2.25`},
		"an MX that is none":           {"{host: mail.example}", "{host: mail.example}\n  dns: {vendorRecords: [{name: a.example, type: MX, value: mx.example 10}]}", "vendorRecords", `warning: MailUpstream default/out: spec.dns.vendorRecords[0].value: "mx.example 10" is no value of type MX: write preference and host, such as 10 mx.provider.example`},
		"identity without a sender":    {lan, lan + "\n    identity: {localPart: finance}", "identity", "warning: SenderPolicy default/office: spec.rules[0].identity: has no effect, since no upstream has a sender that may be rewritten: set sender.domain of one, with rewrite: Always or OutsideDomain"},
		"hostname not in ASCII":        {"hostname: relay.example", "hostname: drucker.münchen.example", "hostname", ""},
		"hostname never in ASCII":      {"hostname: relay.example", "hostname: \"\u0300a.example\"", "hostname", "error: PrinterRelay default/office: spec.hostname: \"\u0300a.example\": the domain cannot be written in ASCII: idna: invalid label \"\u0300a\": write it in ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(small, tc.old) {
				t.Fatalf("%q is not in the manifests", tc.old)
			}
			text := strings.Replace(small, tc.old, tc.new, 1)
			if strings.Contains(tc.new, "second") {
				text = strings.Replace(text, "---\n", second, 1)
			}
			_, found := compileYAML(t, text)
			var got []string
			for _, d := range found {
				if strings.Contains(d.Field, tc.field) {
					got = append(got, string(d.Severity)+": "+d.Error())
				}
			}
			if tc.want == "" && len(got) > 0 || tc.want != "" && !slices.Equal(got, []string{tc.want}) {
				t.Errorf("want %s\ngot  %s", tc.want, strings.Join(got, "\n     "))
			}
		})
	}
}

// A rule that rewrites, and upstreams of which some cannot.
func TestRewritingNeedsASender(t *testing.T) {
	text := strings.Replace(small, "senders: {", "senders: {otherwise: Rewrite, ", 1)
	text = strings.Replace(text, "  listeners:", "  fallbackUpstreamRefs: [{name: folder}]\n  listeners:", 1)
	text += "---\napiVersion: printerrelay.dev/v1alpha1\nkind: MailUpstream\nmetadata: {name: folder}\nspec: {type: Maildir, maildir: {path: x}"
	const warning = `SenderPolicy default/office: spec.rules[0].senders.otherwise: Rewrite, but "out" has no sender to rewrite to: what is to be rewritten does not go by it; set its sender.domain`
	for end, want := range map[string]string{"}": "error", ", sender: {domain: a.example}}": "warning"} {
		_, found := compileYAML(t, text+end)
		got := ""
		for _, d := range found {
			if d.Field == "spec.rules[0].senders.otherwise" {
				got = string(d.Severity)
				if d.Severity == plan.Warning && d.Error() != warning {
					t.Errorf("%s", d.Error())
				}
			}
		}
		if got != want {
			t.Errorf("with %q: %q, want %q: %v", end, got, want, found)
		}
	}
}

// A rule's identity needs an upstream that may rewrite.
func TestIdentityNeedsAnUpstreamThatRewrites(t *testing.T) {
	text := strings.Replace(small, "    senders: {", "    identity: {displayName: MFP}\n    senders: {", 1)
	for sender, want := range map[string]bool{
		"sender: {domain: copier.example}":                 false,
		"sender: {domain: copier.example, rewrite: Never}": true,
		"suspend: false": true,
	} {
		_, found := compileYAML(t, strings.Replace(text, "{host: mail.example}", "{host: mail.example}\n  "+sender, 1))
		got := slices.ContainsFunc(found, func(d plan.Diagnostic) bool { return d.Field == "spec.rules[0].identity" && d.Severity == plan.Warning })
		if got != want {
			t.Errorf("%s: %v", sender, found)
		}
	}
}

// An upstream for notifications alone takes no scans: what it could send or
// take does not count for them.
func TestTheUpstreamOfNotificationsTakesNoScans(t *testing.T) {
	text := strings.Replace(small, "bounce: {to: None}", "bounce: {to: Postmaster, postmaster: it@corp.example, upstreamRef: {name: notices}}", 1)
	text = strings.Replace(text, "{host: mail.example}", "{host: mail.example}\n  sender: {domain: scans.example, rewrite: Never}\n  limits: {messageSize: 10Mi}", 1)
	text += "---\napiVersion: printerrelay.dev/v1alpha1\nkind: MailUpstream\nmetadata: {name: notices}\nspec: {type: Maildir, maildir: {path: x}}\n"
	p, found := compileYAML(t, text)
	if got := p.Listeners[0].AdvertisedSize; got != 10<<20-8<<10 {
		t.Errorf("EHLO SIZE %d", got)
	}
	if domain, ok := p.SendsAs(envelope.Address{Local: "mfp", Domain: "copier.example"}); ok || domain != "scans.example" {
		t.Errorf("mfp@copier.example can be sent as: %q %v", domain, ok)
	}
	if _, ok := p.SendsAs(envelope.Address{Local: "mfp", Domain: "Scans.Example"}); !ok {
		t.Error("mfp@scans.example cannot be sent as")
	}
	if !slices.ContainsFunc(found, func(d plan.Diagnostic) bool {
		return d.Field == "spec.rules[0].senders.allowed" && d.Severity == plan.Error
	}) {
		t.Errorf("a rule whose senders never fit is taken: %v", found)
	}
}

// What TLS a rule asks for, and no listener has.
func TestTLSThatNoListenerHas(t *testing.T) {
	inClear := strings.Replace(small, "port: 25}", "port: 25, tls: {mode: None}}", 1)
	for field, value := range map[string]string{"tls": "Required", "minimumTLSVersion": `"1.2"`} {
		asks := "    connection: {" + field + ": " + value + "}\n    senders:"
		for text, want := range map[string]bool{inClear: true, small: false} {
			_, found := compileYAML(t, strings.Replace(text, "    senders:", asks, 1))
			got := slices.ContainsFunc(found, func(d plan.Diagnostic) bool {
				return d.Severity == plan.Warning && d.Field == "spec.rules[0].connection."+field && strings.Contains(d.Message, "set tls.mode of one to StartTLS or Implicit")
			})
			if got != want {
				t.Errorf("%s: %v", field, found)
			}
		}
	}
}

// What the schema keeps out is kept out here too: an API server may have an
// older one.
func TestDuplicatesAreRefused(t *testing.T) {
	r := &v1alpha1.PrinterRelay{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "office"}}
	r.Spec.Hostname = "relay.example"
	r.Spec.Listeners = []v1alpha1.Listener{{Name: "a", Port: 25}, {Name: "a", Port: 26}, {Name: "b", Port: 25}}
	_, found := plan.Compile(plan.Input{Relay: r})
	for _, want := range []string{
		`PrinterRelay n/office: spec.listeners[1].name: "a" is the name of another listener: each needs its own`,
		`PrinterRelay n/office: spec.listeners[2].port: 25 is the port of listener "a" too: each needs its own`,
	} {
		if !slices.ContainsFunc(found, func(d plan.Diagnostic) bool { return d.Error() == want && d.Severity == plan.Error }) {
			t.Errorf("want %s, got %v", want, found)
		}
	}
}

func TestHostnameIsASCII(t *testing.T) {
	p, _ := compileYAML(t, strings.Replace(small, "relay.example", "drucker.münchen.example", 1))
	if p.Hostname != "drucker.xn--mnchen-3ya.example" {
		t.Errorf("%q", p.Hostname)
	}
}

// The plan is that of the objects, wherever and in whatever order they stand.
func TestAnyOrderGivesTheSamePlan(t *testing.T) {
	text, err := os.ReadFile("testdata/everything/manifests/relay.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs := strings.Split(string(text), "\n---\n")
	p, found := compile(t, "testdata/everything/manifests")
	want := golden(t, p, found)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		rng.Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
		dir := t.TempDir()
		for i, d := range docs {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".yaml")), []byte(d), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, found := compile(t, dir)
		if got := golden(t, p, found); string(got) != string(want) {
			t.Fatalf("another plan:\n%s", got)
		}
	}
}

// A plan goes through JSON whole: `validate` prints it, and its hash is over it.
func TestPlanSurvivesJSON(t *testing.T) {
	p, _ := compile(t, "testdata/everything/manifests")
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var again plan.Plan
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if c, err := json.Marshal(&again); err != nil || string(c) != string(b) {
		t.Errorf("%s\n%s\n%v", b, c, err)
	}
}

// TestNeverAnOpenRelay: whatever stands in a policy, in a form that no schema has
// looked at, either it does not compile, or nobody sends from outside the networks
// that it names, and nobody without a login to whom it does not name.
func TestNeverAnOpenRelay(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	networks := []v1alpha1.CIDR{"10.0.0.0/8", "0.0.0.0/0", "::/0", "::ffff:0:0/96", "2001:db8::/32", "nonsense", "0.0.0.0/1", "128.0.0.0/1"}
	recipients := []v1alpha1.AddressPattern{"*@corp.example", "it@*.corp.example", "nonsense"}
	compiled := 0
	for range 5000 {
		rule := v1alpha1.Rule{Name: "r", Action: []v1alpha1.RuleAction{"", "Allow", "Hold", "Reject"}[rng.IntN(4)]}
		for range rng.IntN(3) {
			rule.Match.ClientNetworks = append(rule.Match.ClientNetworks, networks[rng.IntN(len(networks))])
		}
		for range rng.IntN(3) {
			rule.Recipients.Allowed = append(rule.Recipients.Allowed, recipients[rng.IntN(len(recipients))])
		}
		if rng.IntN(4) == 0 {
			rule.Match.Users = []string{"mfp"}
		}
		in := openInput(rule)
		p, found := plan.Compile(in)
		if found.Failed() {
			continue
		}
		compiled++
		for _, client := range []string{"203.0.113.7", "10.1.1.1", "2001:db8::1", "2600::1"} {
			c := policy.Client{Addr: netip.MustParseAddr(client)}
			d := p.Policies.AtMail(c, envelope.Address{Local: "a", Domain: "b.example"})
			if d.Reply != nil {
				continue
			}
			named := slices.ContainsFunc(rule.Match.ClientNetworks, func(n v1alpha1.CIDR) bool {
				p, err := netip.ParsePrefix(string(n))
				return err == nil && p.Contains(c.Addr)
			})
			if !named || d.Rule.CheckRecipient(envelope.Address{Local: "x", Domain: "elsewhere.example"}, 0, 100) == nil {
				t.Fatalf("%s may send to everybody by %+v", client, rule)
			}
		}
	}
	if compiled < 500 {
		t.Errorf("%d plans only", compiled)
	}
}

func openInput(rule v1alpha1.Rule) plan.Input {
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "n", Name: name} }
	r := &v1alpha1.PrinterRelay{ObjectMeta: meta("r")}
	r.Spec.Hostname, r.Spec.UpstreamRef.Name = "relay.example", "u"
	r.Spec.SenderPolicyRefs = []v1alpha1.LocalReference{{Name: "p"}}
	u := &v1alpha1.MailUpstream{ObjectMeta: meta("u")}
	u.Spec.Type, u.Spec.Maildir = v1alpha1.UpstreamMaildir, &v1alpha1.MaildirUpstream{Path: "x"}
	p := &v1alpha1.SenderPolicy{ObjectMeta: meta("p")}
	p.Spec.Rules = []v1alpha1.Rule{rule}
	return plan.Input{Relay: r, Upstreams: map[string]*v1alpha1.MailUpstream{"u": u}, Policies: map[string]*v1alpha1.SenderPolicy{"p": p}}
}

// FuzzCompile: what manifest takes, Compile takes without a panic, and twice
// the same way.
func FuzzCompile(f *testing.F) {
	f.Add(small)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 8<<10 {
			return
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		set, _, err := manifest.Load(dir)
		if err != nil || len(set.Relays) == 0 {
			return
		}
		p, found := plan.Compile(manifests.Input(set))
		again, _ := plan.Compile(manifests.Input(set))
		if p.Hash != again.Hash || len(p.Routes) == 0 {
			t.Fatalf("%+v\n%+v", p, again)
		}
		for _, d := range found {
			if d.Object == "" || d.Field == "" || d.Message == "" {
				t.Fatalf("a finding that says nothing: %+v", d)
			}
		}
	})
}
