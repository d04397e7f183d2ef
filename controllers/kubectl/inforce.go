package kubectl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// Who pulls the switch is told whether it is pulled: the object is changed at once, and
// the instances hear of it from the operator, or do not.

// forceTime is how long it is waited for that.
const forceTime = 30 * time.Second

// stopsIntake is a relay that takes new mail in as asked, or none at all.
func stopsIntake(refuse bool) suspension {
	return suspension{runs: func(r *admin.RelayState) bool {
		return r.Intake == string(plan.IntakeRefuse) || !refuse && r.Intake == string(plan.IntakeHold)
	}}
}

// stopsUpstream is an upstream that is suspended, in relays that have it.
func stopsUpstream(name string) suspension {
	return suspension{runs: func(r *admin.RelayState) bool {
		return !slices.ContainsFunc(r.Upstreams, func(u admin.UpstreamState) bool { return u.Name == name && !u.Suspended })
	}}
}

// concerned are the instances that a suspension is to reach: of an upstream, those of
// all relays of its namespace; none where it is not waited for that. Who may not ask
// them is told so, and has changed the object all the same.
func (f *flags) concerned(cmd *cobra.Command, subject, name string, within time.Duration) (out fleet) {
	if within <= 0 {
		return nil
	}
	var err error
	if subject == "upstream" {
		var e *everywhere
		if e, err = f.everywhere(cmd); err == nil {
			out, err = e.instances, e.failed() // who does not run takes no mail, and begins with what is so then
		}
	} else {
		if subject == "relay" {
			f.relay = name
		}
		out, err = f.reach(cmd)
	}
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: whether it is in force there is not known: %v\n", err)
	}
	return out
}

// inForce waits until every instance runs what s is, and names those that do not in
// time. It gives how many do.
func inForce(ctx context.Context, all fleet, s suspension, wait patience, p *progress) (int, error) {
	defer p.done()
	look := time.NewTicker(wait.look)
	defer look.Stop()
	last, left := time.Now().Add(wait.within), slices.Clone(all)
	for {
		var why []error
		left = slices.DeleteFunc(left, func(i instance) bool {
			relays, err := i.relays(ctx)
			runs := err == nil && len(relays) > 0 && !slices.ContainsFunc(relays, func(r admin.RelayState) bool { return !s.runs(&r) })
			if !runs {
				why = append(why, because(i, err))
			}
			return runs
		})
		switch {
		case len(left) == 0:
			return len(all), nil
		case !time.Now().Before(last):
			return len(all) - len(left), fmt.Errorf("the object is changed, and the switch is not known to be in force after %s: %w", wait.within, errors.Join(why...))
		}
		p.say("waiting until %d instances have it ...", len(left))
		select {
		case <-look.C:
		case <-ctx.Done():
			return len(all) - len(left), ctx.Err()
		}
	}
}

// because says why an instance is not known to run it.
func because(i instance, err error) error {
	if err != nil {
		return fmt.Errorf("instance %s: %w", i.name, err)
	}
	return fmt.Errorf("instance %s goes on without it: kubectl printer-relay status says why", i.name)
}
