package suggest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/suggest"
	"github.com/printerrelay/printer-relay/test/manifests"
)

var update = flag.Bool("update", false, "write the golden file anew")

var (
	noon    = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	options = suggest.Options{Now: noon, Relay: "default/office"}
)

// seen makes an inventory of what devices did, as a relay does.
type seen struct{ s *inventory.Store }

type did struct {
	addr, name string
	tls        uint16
	hidden     bool
	user       string
	from       string
	to         string // domain; empty: it did not get so far
	refused    string // code; empty: it was accepted
}

func (s seen) note(d did) {
	v := &inventory.Visit{At: noon, Client: netip.MustParseAddr(d.addr), Hidden: d.hidden, Listener: "legacy", Name: d.name, TLS: d.tls, Cipher: 0xc02f, Session: "S" + d.addr}
	if d.user != "" {
		v.Auth = inventory.Auth{Mechanism: "LOGIN", User: d.user, OK: true}
	}
	if d.refused == "" {
		s.s.Accepted(v, &inventory.Message{ID: "Q", Sender: d.from, Octets: 1, Recipients: 1, Domains: []string{d.to}})
		return
	}
	s.s.Refused(v, &inventory.Attempt{Kind: inventory.Refused, Reply: "550 5.7.1 " + d.refused + " Device may not send here", Code: d.refused, Step: "MAIL", Sender: &d.from, Domain: d.to})
}

func (s seen) all(t *testing.T) []inventory.Copier {
	t.Helper()
	p, err := s.s.List(inventory.Filter{Limit: inventory.MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	return p.Copiers
}

func office() seen {
	s := seen{inventory.New()}
	for i := range 4 { // 10.20.3.16/30, seen whole
		s.note(did{addr: fmt.Sprintf("10.20.3.%d", 16+i), name: fmt.Sprintf("MFP-%d", i), from: fmt.Sprintf("mfp%d@copier.example", i), to: "corp.example", refused: "PR-030"})
	}
	s.note(did{addr: "10.20.3.77", name: "CANON", tls: 0x0303, from: "canon@copier.example", to: "corp.example"})
	s.note(did{addr: "10.20.4.7", name: "KM", tls: 0x0301, user: "km", from: "km@copier.example", to: "corp.example"})
	s.note(did{addr: "10.20.4.9", name: "X", from: "x@copier.example", to: "Gmail.example", refused: "PR-032"})
	s.note(did{addr: "10.20.5.5", name: "early", from: "e@copier.example", refused: "PR-030"})
	s.note(did{addr: "10.20.5.6", name: "null", from: "", to: "corp.example", refused: "PR-031"})
	s.note(did{addr: "203.0.113.9", name: "spam\x1b[31m\nrules: []", from: "*@evil.example", to: "victim.example", refused: "PR-030"})
	s.note(did{addr: "203.0.113.10", name: "spam", from: "spam@evil.example", to: "victim.example", refused: "PR-030"})
	s.note(did{addr: "10.0.0.1", hidden: true, name: "node", from: "n@copier.example", to: "corp.example", refused: "PR-039"})
	s.note(did{addr: "10.0.0.2", hidden: true, name: "node", user: "mfp9", from: "n@copier.example", to: "corp.example"})
	s.note(did{addr: "2001:db8:1:2::7", name: "v6", tls: 0x0304, from: "v6@copier.example", to: "corp.example"})
	for i := range 6 {
		s.note(did{addr: "10.20.6.1", name: "people", from: fmt.Sprintf("person%d@corp.example", i), to: "corp.example"})
		s.note(did{addr: "10.20.6.2", name: "people", from: fmt.Sprintf("person%d@corp.example", i+6), to: "corp.example"})
	}
	return s
}

// compiled is what is proposed, in force.
func compiled(t *testing.T, yaml string) policy.Set {
	t.Helper()
	if err := relay.CheckPolicies(yaml); err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
	set := manifests.Load(t, yaml)
	r := &v1alpha1.PrinterRelay{}
	r.Namespace, r.Name, r.Spec.Hostname = "default", "any", "relay.example"
	in := plan.Input{Relay: r, Policies: map[string]*v1alpha1.SenderPolicy{}}
	for _, p := range set.Policies {
		if p.Spec.Enforcement != v1alpha1.EnforcementDryRun {
			t.Errorf("%s is not in DryRun", p.Name)
		}
		p.Spec.Enforcement = v1alpha1.EnforcementEnforce
		in.Policies[p.Name] = p
		r.Spec.SenderPolicyRefs = append(r.Spec.SenderPolicyRefs, v1alpha1.LocalReference{Name: p.Name})
	}
	pl, _ := plan.Compile(in) // it has no upstream, which is not the policy's
	if pl == nil {
		t.Fatal("no plan")
	}
	return pl.Policies
}

func lets(set policy.Set, d did) bool {
	from, _ := envelope.ParseAddress(d.from) //nolint:errcheck // the null address is one
	v := set.AtMail(policy.Client{Addr: netip.MustParseAddr(d.addr), Hidden: d.hidden, User: d.user, TLSVersion: d.tls}, from)
	return v.Reply == nil && v.Rule.CheckRecipient(envelope.Address{Local: "x", Domain: d.to}, 0, 10) == nil
}

func TestWhatIsProposed(t *testing.T) {
	got, err := suggest.Of(office().all(t), options)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "office.yaml")
	if *update {
		if err := os.WriteFile(path, []byte(got.YAML), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got.YAML {
		t.Errorf("%v: %s is not what came (go test ./relay/suggest -update writes it):\n%s", err, path, got.YAML)
	}
	set := compiled(t, got.YAML)
	for d, want := range map[did]bool{
		{addr: "10.20.3.16", from: "mfp0@copier.example", to: "corp.example"}:                        true,
		{addr: "10.20.3.19", from: "MFP3@copier.example", to: "corp.example"}:                        true,
		{addr: "10.20.3.20", from: "mfp3@copier.example", to: "corp.example"}:                        false, // an address that was not seen
		{addr: "10.20.3.15", from: "mfp3@copier.example", to: "corp.example"}:                        false,
		{addr: "10.20.3.16", from: "md@copier.example", to: "corp.example"}:                          false, // a sender
		{addr: "10.20.3.16", from: "mfp0@copier.example", to: "gmail.example"}:                       false, // a recipient
		{addr: "10.20.3.16", from: "mfp0@copier.example", to: "sub.corp.example"}:                    false,
		{addr: "10.20.3.77", tls: 0x0303, from: "canon@copier.example", to: "corp.example"}:          true,
		{addr: "10.20.3.77", from: "canon@copier.example", to: "corp.example"}:                       false, // less than was seen
		{addr: "10.20.3.77", tls: 0x0301, from: "canon@copier.example", to: "corp.example"}:          false,
		{addr: "10.20.4.7", tls: 0x0301, user: "km", from: "km@copier.example", to: "corp.example"}:  true,
		{addr: "10.20.4.7", tls: 0x0303, from: "km@copier.example", to: "corp.example"}:              false,
		{addr: "10.20.4.8", tls: 0x0303, user: "km", from: "km@copier.example", to: "corp.example"}:  false,
		{addr: "10.20.4.9", from: "x@copier.example", to: "gmail.example"}:                           true,  // with a warning
		{addr: "10.20.5.5", from: "e@copier.example", to: "corp.example"}:                            false, // nobody saw where it sends
		{addr: "10.20.5.6", from: "", to: "corp.example"}:                                            false,
		{addr: "203.0.113.9", from: "anybody@evil.example", to: "victim.example"}:                    false,
		{addr: "203.0.113.10", from: "spam@evil.example", to: "victim.example"}:                      false, // public, and only refused
		{addr: "10.0.0.1", hidden: true, from: "n@copier.example", to: "corp.example"}:               false,
		{addr: "10.0.0.9", hidden: true, user: "mfp9", from: "n@copier.example", to: "corp.example"}: true, // the login alone can say who it is
		{addr: "2001:db8:1:2::9", tls: 0x0304, from: "v6@copier.example", to: "corp.example"}:        true, // a device has a /64
		{addr: "2001:db8:1:3::9", tls: 0x0304, from: "v6@copier.example", to: "corp.example"}:        false,
		{addr: "10.20.6.1", from: "anybody@corp.example", to: "corp.example"}:                        true, // 12 senders were seen
	} {
		if lets(set, d) != want {
			t.Errorf("%+v is let in: %v\n%s", d, !want, got.YAML)
		}
	}
	for _, text := range []string{
		`WARNING: recipient domain "gmail.example" is none of the senders'`, "3 more" /* not: there are four */, "nobody saw where it sends", "the null sender", "a stranger with a public address", "give it a login",
		"12 senders of corp.example", "enforcement: DryRun", "PR-030",
	} {
		if strings.Contains(got.YAML, text) == (text == "3 more") {
			t.Errorf("%q:\n%s", text, got.YAML)
		}
	}
}

func TestOptions(t *testing.T) {
	all := office().all(t)
	o := options
	o.Name, o.Namespace, o.Recipients, o.Public = "floor", "mail", []string{"*@corp.example"}, true
	got, err := suggest.Of(all, o)
	if err != nil {
		t.Fatal(err)
	}
	set := compiled(t, got.YAML)
	if !lets(set, did{addr: "10.20.5.5", from: "e@copier.example", to: "corp.example"}) || !lets(set, did{addr: "203.0.113.10", from: "spam@evil.example", to: "victim.example"}) {
		t.Error("what the options ask for is not proposed")
	}
	if lets(set, did{addr: "203.0.113.9", from: "anybody@evil.example", to: "victim.example"}) {
		t.Error("a sender with a star stands for all of its domain")
	}
	for _, text := range []string{`name: "floor"`, `namespace: "mail"`, "the recipients are those of --recipients"} {
		if !strings.Contains(got.YAML, text) {
			t.Errorf("no %q", text)
		}
	}
	for _, bad := range []string{"*", "*@*", "corp.example", "@"} {
		o.Recipients = []string{bad}
		if _, err := suggest.Of(all, o); err == nil {
			t.Errorf("recipients %q are taken", bad)
		}
	}
	none, err := suggest.Of(nil, options)
	if err != nil || none.Rules != 0 || !strings.Contains(none.YAML, "nothing to propose") || relay.CheckPolicies(none.YAML) != nil {
		t.Errorf("%v %+v", err, none)
	}
}

// TestManyDevices: what kinds bound is bounded, and nothing is let in that was not seen.
func TestManyDevices(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	s := seen{inventory.New()}
	known := map[netip.Addr]bool{}
	for range 600 {
		a := netip.AddrFrom4([4]byte{10, byte(rng.IntN(3)), byte(rng.IntN(60)), byte(rng.Uint32())})
		known[a] = true
		s.note(did{addr: a.String(), tls: []uint16{0, 0x0301, 0x0303}[a.As4()[3]%3], name: "MFP", from: fmt.Sprintf("m%d@copier.example", rng.IntN(4)), to: "corp.example", refused: "PR-030"})
	}
	all := s.all(t)
	got, err := suggest.Of(all, options)
	if err != nil || len(got.Policies) < 2 {
		t.Fatal(err, got.Policies)
	}
	set := compiled(t, got.YAML)
	for i := range all {
		tls := map[string]uint16{"": 0, "1.0": 0x0301, "1.2": 0x0303}[all[i].TLS.Version]
		if !lets(set, did{addr: all[i].Device, tls: tls, from: all[i].Senders[0].Value, to: "corp.example"}) {
			t.Errorf("%s is not let in", all[i].Device)
		}
	}
	for range 5_000 {
		a := netip.AddrFrom4([4]byte{10, byte(rng.IntN(3)), byte(rng.IntN(60)), byte(rng.Uint32())})
		if !known[a] && lets(set, did{addr: a.String(), tls: 0x0304, from: "m1@copier.example", to: "corp.example"}) {
			t.Fatalf("%s is let in, and was never seen", a)
		}
	}
}

// FuzzHostile: whatever devices say, what is proposed is valid, and no star is theirs.
func FuzzHostile(f *testing.F) {
	f.Add("MFP", "a@b.example", "c.example")
	f.Add("\n- x: y", "*@evil.example", "*")
	f.Add("#\u2028", `"a b"@c.example`, "[10.0.0.1]")
	f.Add("x", "a@b\u200b.example", "ä.example")
	f.Fuzz(func(t *testing.T, name, from, to string) {
		c := inventory.Copier{
			Device: "10.0.0.1", Address: "10.0.0.1", Known: true, Names: []string{name}, First: noon, Last: noon, Accepted: 1,
			Auth:    inventory.Auth{Mechanism: "PLAIN", User: name, OK: true},
			Senders: []inventory.Counted{{Value: from}}, Recipients: []inventory.Counted{{Value: to}},
			LastRefusal: &inventory.Refusal{Reply: name, Code: to, Kind: from},
		}
		if name == "" || len(name) > 254 || len(from) > 254 || len(to) > 254 {
			return // the inventory bounds them
		}
		got, err := suggest.Of([]inventory.Copier{c}, options)
		if err != nil {
			t.Fatal(err)
		}
		if err := relay.CheckPolicies(got.YAML); err != nil {
			t.Fatalf("%v\n%s", err, got.YAML)
		}
		if lines := strings.Count(got.YAML, "\n  - name:"); lines != got.Rules {
			t.Fatalf("%d rules, %d are written:\n%s", got.Rules, lines, got.YAML)
		}
	})
}
