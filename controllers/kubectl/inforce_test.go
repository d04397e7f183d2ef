package kubectl

import (
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
)

// Who pulls the switch hears that it is pulled when every instance has it, and else
// which one has not.
func TestInForce(t *testing.T) {
	nothing := func(int) admin.Changed { return admin.Changed{} }
	takes := func(intake string) admin.RelayState { return admin.RelayState{Intake: intake} }
	left := admin.RelayState{Queue: admin.QueueState{HeldBy: map[string]int{"stolen": 2}}} // of a hold before
	sends := func(suspended bool) admin.RelayState {
		return admin.RelayState{Upstreams: []admin.UpstreamState{{Name: "other"}, {Name: "ses", Suspended: suspended}}}
	}
	for name, tc := range map[string]struct {
		s      suspension
		before admin.RelayState
		after  admin.RelayState
	}{
		"hold":             {heldByHold("stolen"), left, holding(0)},
		"intake":           {stopsIntake(false), takes("Accept"), takes("Hold")},
		"stricter intake":  {stopsIntake(false), takes("Accept"), takes("Refuse")},
		"refuse":           {stopsIntake(true), takes("Hold"), takes("Refuse")},
		"upstream":         {stopsUpstream("ses"), sends(false), sends(true)},
		"not its upstream": {stopsUpstream("ses"), sends(false), admin.RelayState{}},
	} {
		has, gets, never := pod(t, nothing, tc.after), pod(t, nothing, tc.before, tc.before, tc.after), pod(t, nothing, tc.before)
		if n, err := inForce(t.Context(), fleet{has, gets}, tc.s, soon, quiet()); n != 2 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		never.name = "office-1"
		n, err := inForce(t.Context(), fleet{has, never}, tc.s, patience{time.Nanosecond, time.Hour}, quiet())
		if n != 1 || err == nil || !strings.Contains(err.Error(), "instance office-1 goes on without it") || strings.Contains(err.Error(), "office-0") {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}
