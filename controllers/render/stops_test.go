package render

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// without is the relay of in after what it refers to is gone: it goes on by what it ran.
func without(t *testing.T, in Input, change func(*v1alpha1.PrinterRelaySpec)) Input {
	t.Helper()
	relay := in.Relay.DeepCopy()
	change(&relay.Spec)
	upstreams := map[string]*v1alpha1.MailUpstream{}
	for name, u := range in.Upstreams {
		upstreams[name] = u.DeepCopy()
	}
	return Input{Settings: in.Settings, Relay: relay, Upstreams: upstreams, Last: objects(t, in).ConfigMap.Data[ManifestsKey], Refuse: true}
}

// holdNames has a plus where a hold is ahead of the manifests that run.
func holdNames(set *Set) string {
	var out []string
	for i := range set.Plan.Holds {
		name := set.Plan.Holds[i].Name
		if set.Plan.Holds[i].Ahead {
			name = "+" + name
		}
		out = append(out, name)
	}
	return strings.Join(out, ",")
}

// The kill switch reaches the instances while a policy is missing: holds, intake, and
// upstreams that are suspended. What lets go waits until the rest can be had.
func TestWhatIsStoppedReachesARelayWithoutReferences(t *testing.T) {
	full := minimal(t)
	full.Relay.Spec.Holds = []v1alpha1.Hold{{Name: "before", Users: []string{"mfp-1"}}, {Name: "changed", Users: []string{"mfp-2"}}}
	compile(t, &full)
	in := without(t, full, func(s *v1alpha1.PrinterRelaySpec) {
		s.Holds = []v1alpha1.Hold{{Name: "changed", Users: []string{"mfp-3"}}, {Name: "stolen", ClientNetworks: []v1alpha1.CIDR{"10.20.9.66/32"}}}
	})
	in.Upstreams["smarthost"].Spec.Suspend = true
	set := objects(t, in)
	const want = "+changed,+stolen,before,changed"
	if got := holdNames(set); got != want || set.Plan.Holds[0].Users[0] != "mfp-3" || set.Plan.Holds[3].Users[0] != "mfp-2" {
		t.Errorf("holds %s: %+v", got, set.Plan.Holds)
	}
	if !set.Plan.Upstreams["smarthost"].Suspend {
		t.Error("the upstream is not suspended")
	}
	// The next look at it changes nothing, and takes nothing back.
	in.Last = set.ConfigMap.Data[ManifestsKey]
	if again := objects(t, in); string(text(t, again)) != string(text(t, set)) || again.Plan.Hash != set.Plan.Hash {
		t.Errorf("rendered again, it differs:\n%s\n%s", text(t, again), text(t, set))
	}
	in.Relay.Spec.Holds, in.Upstreams["smarthost"].Spec.Suspend = nil, false
	if set = objects(t, in); holdNames(set) != want || !set.Plan.Upstreams["smarthost"].Suspend {
		t.Errorf("what was stopped is let go while a reference is missing: %s", holdNames(set))
	}
}

func TestIntakeOfARelayWithoutAPlan(t *testing.T) {
	modes := []v1alpha1.IntakeMode{v1alpha1.IntakeAccept, v1alpha1.IntakeHold, v1alpha1.IntakeRefuse}
	for i, before := range modes {
		for k, now := range modes {
			full := minimal(t)
			full.Relay.Spec.Intake = before
			compile(t, &full)
			in := without(t, full, func(s *v1alpha1.PrinterRelaySpec) { s.Intake = now })
			in.Refuse = false // nothing is missing, and a field is wrong
			if got := objects(t, in).Plan.Intake; got != plan.Intake(modes[max(i, k)]) {
				t.Errorf("%s, then %s: %s", before, now, got)
			}
		}
	}
}

// One hold that no relay could run keeps neither the others nor the rest from it, and a
// slip in one does not lift it. What belongs to no manifests any more goes when those of
// now can be run.
func TestHoldsThatCannotBeRun(t *testing.T) {
	full := minimal(t)
	in := without(t, full, func(s *v1alpha1.PrinterRelaySpec) {
		s.Holds = []v1alpha1.Hold{{Name: "wrong", ClientNetworks: []v1alpha1.CIDR{"10.20.9.666"}}, {Name: "good", Users: []string{"mfp-1"}}}
	})
	if got := holdNames(objects(t, in)); got != "+good" {
		t.Errorf("holds %q", got)
	}
	full = minimal(t)
	full.Relay.Spec.Holds = []v1alpha1.Hold{{Name: "old-domain", Senders: []v1alpha1.AddressPattern{"*@old.example"}}}
	compile(t, &full)
	in = without(t, full, func(s *v1alpha1.PrinterRelaySpec) {
		s.Holds = []v1alpha1.Hold{{Name: "old-domain", ClientNetworks: []v1alpha1.CIDR{"10.20.9.666"}}}
	})
	if set := objects(t, in); holdNames(set) != "old-domain" || len(set.Plan.Holds[0].Networks) > 0 {
		t.Errorf("a slip in a hold lifts it: %+v", set.Plan.Holds)
	}
	in.Relay.Spec.Holds = []v1alpha1.Hold{{Name: "other", Users: []string{"mfp-1"}}}
	set := objects(t, in)
	if got := holdNames(set); got != "+other,old-domain" {
		t.Errorf("holds %q", got)
	}
	full.Relay, full.Last = in.Relay, set.ConfigMap.Data[ManifestsKey]
	compile(t, &full)
	if set = objects(t, full); holdNames(set) != "other" || strings.Contains(set.ConfigMap.Data[ManifestsKey], v1alpha1.AnnotationHoldsAhead) {
		t.Errorf("holds %q once the manifests can be run:\n%s", holdNames(set), text(t, set))
	}
}

// An upstream that runs is stopped though the relay names another by now.
func TestAnUpstreamIsSuspendedThatOnlyWhatRunsNames(t *testing.T) {
	full := minimal(t)
	in := without(t, full, func(s *v1alpha1.PrinterRelaySpec) { s.UpstreamRef.Name = "missing" })
	in.Upstreams["smarthost"].Spec.Suspend = true
	if set := objects(t, in); !set.Plan.Upstreams["smarthost"].Suspend {
		t.Error("it sends")
	}
}
