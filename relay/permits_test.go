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
		pl = withHolds(pl, holds())
	}
	changed := holds()[:1]
	changed[0].Users = []string{"mfp-2"}
	pl = withHolds(pl, changed)
	if len(pl.Holds) != 3 || pl.Holds[1].Name != "two" || pl.Holds[2].Users[0] != "mfp-2" || len(good.Holds) != 1 {
		t.Errorf("%+v, and the last good plan has %+v", pl.Holds, good.Holds)
	}
}
