package relay

import (
	"maps"
	"reflect"
	"slices"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// stopping is the last good plan with all that another stops: by its intake, its holds,
// and the upstreams that it suspends. What cannot be applied is tried again and again,
// so nothing is added twice; what it has stopped goes on with a plan that applies.
func stopping(good, pl *plan.Plan) *plan.Plan {
	out := *good
	if strictness(pl.Intake) > strictness(good.Intake) {
		out.Intake = pl.Intake
	}
	out.Holds = slices.Clone(good.Holds)
	for i := range pl.Holds {
		if !slices.ContainsFunc(out.Holds, func(h plan.Hold) bool { return reflect.DeepEqual(h, pl.Holds[i]) }) {
			out.Holds = append(out.Holds, pl.Holds[i])
		}
	}
	out.Upstreams = maps.Clone(good.Upstreams)
	for name, up := range pl.Upstreams {
		if old := out.Upstreams[name]; old != nil && up.Suspend && !old.Suspend {
			suspended := *old
			suspended.Suspend = true
			out.Upstreams[name] = &suspended
		}
	}
	return &out
}

// strictness orders what is done with new mail.
func strictness(in plan.Intake) int {
	return slices.Index([]plan.Intake{plan.IntakeAccept, plan.IntakeHold, plan.IntakeRefuse}, in)
}
