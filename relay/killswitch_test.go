package relay

import (
	"net/netip"
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// A plan that cannot be applied is tried every few seconds, for days maybe: its holds
// count at once, and do not become more by that.
func TestHoldsOfAPlanThatIsTriedAgain(t *testing.T) {
	holds := func() []plan.Hold {
		return []plan.Hold{{Name: "one", Users: []string{"mfp-1"}}, {Name: "two", Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	}
	good := &plan.Plan{Holds: holds()[:1]}
	pl := good
	for range 100 {
		pl = stopping(pl, &plan.Plan{Holds: holds()})
	}
	changed := holds()[:1]
	changed[0].Users = []string{"mfp-2"}
	pl = stopping(pl, &plan.Plan{Holds: changed})
	if len(pl.Holds) != 3 || pl.Holds[1].Name != "two" || pl.Holds[2].Users[0] != "mfp-2" || len(good.Holds) != 1 {
		t.Errorf("%+v, and the last good plan has %+v", pl.Holds, good.Holds)
	}
}

// The kill switch does not wait for the rest of its plan, whichever it is.
func TestWhatAPlanStopsCountsThoughItCannotBeApplied(t *testing.T) {
	modes := []plan.Intake{plan.IntakeAccept, plan.IntakeHold, plan.IntakeRefuse}
	for i, good := range modes {
		for k, next := range modes {
			if got := stopping(&plan.Plan{Intake: good}, &plan.Plan{Intake: next}).Intake; got != modes[max(i, k)] {
				t.Errorf("%s, then %s: %s", good, next, got)
			}
		}
	}
	good := &plan.Plan{Upstreams: map[string]*plan.Upstream{"a": {Name: "a", Connections: 3}, "b": {Name: "b", Suspend: true}, "c": {Name: "c"}}}
	next := &plan.Plan{Upstreams: map[string]*plan.Upstream{"a": {Name: "a", Suspend: true}, "b": {Name: "b"}, "new": {Name: "new", Suspend: true}}}
	got := stopping(good, next).Upstreams
	if len(got) != 3 || !got["a"].Suspend || got["a"].Connections != 3 || !got["b"].Suspend || got["c"].Suspend || good.Upstreams["a"].Suspend {
		t.Errorf("%+v", got)
	}
}
