package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/kinds"
)

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
	set, problems := load(t, kinds.Good)
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

// bad are files that are refused before anybody looks at kinds: each case
// replaces Old by New in the good ones; Want is the problem. What the kinds
// refuse stands in kinds.Edits.
var bad = map[string]kinds.Edit{
	"key twice":    {Old: "    port: 25", New: "    port: 25\n    port: 26", Want: `m.yaml:11: the key "port" is here twice`},
	"not YAML":     {Old: "    port: 25", New: "\t- port", Want: ": is not YAML"},
	"another kind": {Old: "kind: SenderPolicy", New: "kind: Deployment", Want: "is no kind of this folder"},
	"object twice": {Old: "metadata: {name: out}", New: "metadata: {name: out}\nspec: {type: Maildir, maildir: {path: x}}\n---\napiVersion: printerrelay.dev/v1alpha1\nkind: MailUpstream\nmetadata: {name: out}", Want: "is in m.yaml:12 already"},
}

func TestProblemsNameFileLineAndField(t *testing.T) {
	for _, table := range []map[string]kinds.Edit{bad, kinds.Edits} {
		for name, e := range table {
			t.Run(name, func(t *testing.T) {
				if !strings.Contains(kinds.Good, e.Old) {
					t.Fatalf("%q is not in the manifests", e.Old)
				}
				if _, problems := load(t, e.Text()); !strings.Contains(problems.Error(), e.Want) {
					t.Errorf("want %q, got:\n%v", e.Want, problems)
				}
			})
		}
	}
}

// TestEveryRuleIsShownToRefuse: each CEL rule of the kinds, where it stands,
// refuses one of the cases.
func TestEveryRuleIsShownToRefuse(t *testing.T) {
	said := kinds.Said{}
	for _, c := range kinds.All(t) {
		errs, _, err := Validate(c.Object, c.Old)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range errs {
			said.Add(c, e.Field, e.Detail)
		}
	}
	for _, r := range said.Missing(t) {
		t.Errorf("%s %s: no case is refused with %q", r.Kind, r.Field, r.Message)
	}
}

// TestUpdates: what cannot be changed once it is there is refused in a cluster,
// where the old object is known.
func TestUpdates(t *testing.T) {
	for _, c := range kinds.Updates(t) {
		t.Run(c.Name, func(t *testing.T) {
			errs, unknown, err := Validate(c.Object, c.Old)
			if err != nil || len(unknown) > 0 {
				t.Fatal(err, unknown)
			}
			got := ""
			for _, e := range errs {
				got += e.Field + ": " + detail(e) + "\n"
			}
			if (got == "") != (c.Want == "") || !strings.Contains(got, c.Field+": ") && c.Want != "" || !strings.Contains(got, c.Want) {
				t.Errorf("got %q, want %s: %s", got, c.Field, c.Want)
			}
		})
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
