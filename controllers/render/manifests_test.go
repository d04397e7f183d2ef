package render

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// fill makes a policy of about n octets.
func fill(p *v1alpha1.SenderPolicy, n int) {
	rule := p.Spec.Rules[0]
	p.Spec.Rules = nil
	for i := 0; n > 0; i++ {
		r := *rule.DeepCopy()
		r.Name = fmt.Sprintf("rule-%d", i)
		for k := range 100 {
			a := v1alpha1.AddressPattern(fmt.Sprintf("%s-%d@corp.example", strings.Repeat("x", 200), k))
			r.Recipients.Allowed = append(r.Recipients.Allowed, a)
			n -= len(a) + 12
		}
		p.Spec.Rules = append(p.Spec.Rules, r)
	}
}

func TestWhatDoesNotFitIsNamed(t *testing.T) {
	in := minimal(t)
	fill(in.Policies["office"], MaxConfigMap)
	compile(t, &in)
	set, err := Objects(in)
	var large *TooLargeError
	if !errors.As(err, &large) {
		t.Fatalf("%v, %v", set, err)
	}
	if large.Largest != "SenderPolicy mail/office" || large.Octets <= MaxConfigMap || large.LargestOctets <= MaxConfigMap*9/10 || large.LargestOctets >= large.Octets {
		t.Errorf("%+v", large)
	}
	for _, word := range []string{"SenderPolicy mail/office", fmt.Sprint(large.Octets), "1048576"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

func TestWhatFitsIsRendered(t *testing.T) {
	in := minimal(t)
	fill(in.Policies["office"], MaxConfigMap*9/10)
	compile(t, &in)
	size := 0
	for _, v := range objects(t, in).ConfigMap.Data {
		size += len(v)
	}
	if size < MaxConfigMap*9/10 || size > MaxConfigMap {
		t.Errorf("%d octets", size)
	}
}

// Only what the relay uses is in its ConfigMap: another's upstream is not its business.
func TestManifestsHoldWhatIsNamed(t *testing.T) {
	in := minimal(t)
	want := objects(t, in).ConfigMap.Data[ManifestsKey]
	other := in.Upstreams["smarthost"].DeepCopy()
	other.Name = "other"
	in.Upstreams["other"] = other
	policy := in.Policies["office"].DeepCopy()
	policy.Name = "other"
	in.Policies["other"] = policy
	if got := objects(t, in).ConfigMap.Data[ManifestsKey]; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Nothing that changes by itself is in the ConfigMap, nor what the relay does not read.
func TestManifestsAreStable(t *testing.T) {
	in := minimal(t)
	want := objects(t, in).ConfigMap.Data[ManifestsKey]
	in.Relay.Generation, in.Relay.ResourceVersion, in.Relay.UID = 7, "8", "9"
	in.Relay.Annotations, in.Relay.Labels = map[string]string{"a": "b"}, map[string]string{"a": "b"}
	in.Relay.Status.ObservedGeneration = 7
	in.Relay.Spec.Service.Annotations = map[string]string{"a": "b"}
	in.Relay.Spec.Pod.Annotations = map[string]string{"a": "b"}
	in.Upstreams["smarthost"].Status.ObservedGeneration = 3
	if got := objects(t, in).ConfigMap.Data[ManifestsKey]; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWithoutAPlan(t *testing.T) {
	full := minimal(t)
	last := objects(t, full).ConfigMap.Data[ManifestsKey]
	tests := map[string]struct {
		last   string
		refuse bool
		intake plan.Intake // empty: nothing is rendered
	}{
		"never had one":                 {"", true, ""},
		"is refused":                    {last, true, plan.IntakeRefuse},
		"goes on":                       {last, false, plan.IntakeAccept},
		"is not YAML":                   {"\t:", false, ""},
		"another version's":             {strings.Replace(last, "hostname:", "other: 1\n  hostname:", 1), false, ""},
		"another relay's":               {strings.ReplaceAll(last, "name: office", "name: other"), false, ""},
		"another namespace's":           {strings.ReplaceAll(last, "namespace: mail", "namespace: other"), false, ""},
		"does not compile any more":     {strings.ReplaceAll(last, "type: SMTP", "type: SES"), false, ""},
		"something else":                {strings.ReplaceAll(last, "kind: SenderPolicy", "kind: Secret"), false, ""},
		"has lost what it refers to":    {last[:strings.LastIndex(last, "---")], false, ""},
		"is two documents with nothing": {"---\n---\n", false, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := Input{Settings: testSettings(), Relay: full.Relay, Last: tt.last, Refuse: tt.refuse}
			set := objects(t, in)
			switch {
			case tt.intake == "" && (set.Plan != nil || len(all(set)) > 0):
				t.Errorf("rendered %d objects of nothing", len(all(set)))
			case tt.intake != "" && (set.Plan == nil || set.Plan.Intake != tt.intake):
				t.Errorf("plan %+v, want intake %s", set.Plan, tt.intake)
			}
		})
	}
}

// Who is hidden stands in the manifests as Compile reads it, and of nodes that no rule
// has to do with nothing does. A relay that goes on by its last configuration takes
// the newest of it.
func TestManifestsHoldWhoIsHidden(t *testing.T) {
	full := minimal(t)
	plain := objects(t, full).ConfigMap.Data[ManifestsKey]
	hidden := func(in Input, networks string, all bool) (*Set, string) {
		t.Helper()
		in.Hidden = plan.HiddenClients{All: all, Networks: plan.Networks([]netip.Prefix{netip.MustParsePrefix(networks)})}
		if in.Plan != nil {
			p, found := plan.Compile(plan.Input{Relay: plan.WithHidden(in.Relay, in.Hidden, in.Policies), Upstreams: in.Upstreams, Policies: in.Policies})
			if found.Failed() {
				t.Fatal(found)
			}
			in.Plan = p
		}
		set := objects(t, in)
		text := set.ConfigMap.Data[ManifestsKey]
		m, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		policies := map[string]*v1alpha1.SenderPolicy{}
		for _, p := range m.policies {
			policies[p.Name] = p
		}
		upstreams := map[string]*v1alpha1.MailUpstream{}
		for _, u := range m.upstreams {
			upstreams[u.Name] = u
		}
		if p, found := plan.Compile(plan.Input{Relay: m.relay, Upstreams: upstreams, Policies: policies}); found.Failed() || p.Hash != set.Plan.Hash {
			t.Errorf("the relay makes plan %s of it, the operator %s: %v", p.Hash, set.Plan.Hash, found)
		}
		return set, text
	}
	if _, text := hidden(full, "192.168.77.0/24", false); text != plain {
		t.Errorf("nodes elsewhere change the manifests:\n%s", text)
	}
	set, text := hidden(full, "0.0.0.0/0", false)
	if set.Plan.Hash == full.Plan.Hash || len(set.Plan.HiddenClients.Networks) == 0 || !strings.Contains(text, "printerrelay.dev/hidden-clients: ") {
		t.Errorf("plan %+v of\n%s", set.Plan.HiddenClients, text)
	}
	set, all := hidden(full, "192.168.77.0/24", true)
	if !set.Plan.HiddenClients.All || !strings.Contains(all, "printerrelay.dev/hidden-clients: all\n") {
		t.Errorf("plan %+v of\n%s", set.Plan.HiddenClients, all)
	}
	gone := Input{Settings: testSettings(), Relay: full.Relay, Last: plain, Refuse: true}
	if set, _ := hidden(gone, "192.168.77.0/24", true); !set.Plan.HiddenClients.All {
		t.Error("the last configuration does not hide them")
	}
	gone.Last = all
	if set, text := hidden(gone, "192.168.77.0/24", false); set.Plan.HiddenClients.All || strings.Contains(text, "hidden-clients") {
		t.Errorf("the last configuration hides them still:\n%s", text)
	}
}

// A relay that goes on by what it had is not changed by the next look at it, and
// once it refuses mail it does not begin again without its references.
func TestLastIsAFixedPoint(t *testing.T) {
	full := minimal(t)
	in := Input{Settings: testSettings(), Relay: full.Relay, Last: objects(t, full).ConfigMap.Data[ManifestsKey], Refuse: true}
	first := objects(t, in)
	in.Last = first.ConfigMap.Data[ManifestsKey]
	for _, refuse := range []bool{true, false} {
		in.Refuse = refuse
		again := objects(t, in)
		if string(text(t, first)) != string(text(t, again)) || first.Plan.Hash != again.Plan.Hash {
			t.Errorf("refuse %v: rendered again, it differs", refuse)
		}
	}
}

// Its Secrets stay mounted, so that what is queued can be delivered without a new Pod.
func TestRelayWithoutReferencesDoesNotRoll(t *testing.T) {
	full := minimal(t)
	before := objects(t, full)
	in := Input{Settings: full.Settings, Relay: full.Relay, Last: before.ConfigMap.Data[ManifestsKey], Refuse: true}
	if a, b := mustJSON(t, before.Instances), mustJSON(t, objects(t, in).Instances); a != b {
		t.Errorf("the Deployment differs:\n%s\n%s", a, b)
	}
}

func TestInputMustHoldWhatThePlanNames(t *testing.T) {
	in := minimal(t)
	in.Upstreams = nil
	if _, err := Objects(in); err == nil || !strings.Contains(err.Error(), `"smarthost"`) {
		t.Errorf("%v", err)
	}
	in = minimal(t)
	in.Policies = nil
	if _, err := Objects(in); err == nil || !strings.Contains(err.Error(), `"office"`) {
		t.Errorf("%v", err)
	}
}
