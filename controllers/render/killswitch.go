package render

import (
	"fmt"
	"slices"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// maxHolds is the most that spec.holds takes.
const maxHolds = 32

// stop adds to what ran last all that the objects of now stop: by intake, holds and
// upstreams that are suspended. The kill switch must not wait for an object that is
// missing, or for a field that is wrong elsewhere. What now lets go waits for the
// rest. Rendered again it adds nothing.
func (m *manifests) stop(in Input) {
	now, spec := &in.Relay.Spec, &m.relay.Spec
	if strictness(now.Intake) > strictness(spec.Intake) {
		spec.Intake = now.Intake
	}
	holds := slices.Clone(now.Holds)
	for _, h := range spec.Holds {
		same := func(o v1alpha1.Hold) bool { return o.Name == h.Name }
		if len(holds) < maxHolds && !slices.ContainsFunc(holds, same) {
			holds = append(holds, h)
		}
	}
	spec.Holds = holds
	for _, u := range m.upstreams {
		if is := in.Upstreams[u.Name]; is != nil && is.Spec.Suspend {
			u.Spec.Suspend = true
		}
	}
}

// strictness orders what is done with new mail.
func strictness(m v1alpha1.IntakeMode) int {
	return slices.Index([]v1alpha1.IntakeMode{v1alpha1.IntakeAccept, v1alpha1.IntakeHold, v1alpha1.IntakeRefuse}, m)
}

// withoutFaultyHolds takes out the holds that keep a relay from having a plan: one
// that says nothing must not keep the others from being heard. In its place is what ran
// under its name: a slip in a hold must not lift it. It tells whether there was one.
func withoutFaultyHolds(spec *v1alpha1.PrinterRelaySpec, ran []v1alpha1.Hold, found plan.Diagnostics) bool {
	faulty := map[int]bool{}
	for _, d := range found {
		var i int
		if _, err := fmt.Sscanf(d.Field, "spec.holds[%d]", &i); err == nil && d.Severity == plan.Error {
			faulty[i] = true
		}
	}
	var good []v1alpha1.Hold
	for i := range spec.Holds {
		if !faulty[i] {
			good = append(good, spec.Holds[i])
			continue
		}
		same := func(o v1alpha1.Hold) bool { return o.Name == spec.Holds[i].Name }
		if before := slices.IndexFunc(ran, same); before >= 0 {
			good = append(good, ran[before])
		}
	}
	spec.Holds = good
	return len(faulty) > 0
}
