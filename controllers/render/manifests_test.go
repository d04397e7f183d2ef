package render

import (
	"errors"
	"fmt"
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
