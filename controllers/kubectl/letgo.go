package kubectl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
)

// The instances hear that a suspension has ended from the operator, seconds later.
const (
	endTime = 2 * time.Minute
	endLook = time.Second
)

// patience is how long it is waited for that, and how often asked.
type patience struct{ within, look time.Duration }

// suspension is what keeps mail back, or has ended in the manifests.
type suspension struct {
	by   string                       // what it is called where messages are selected
	runs func(*admin.RelayState) bool // tells whether an instance runs a configuration that has it
}

// heldByHold is a hold of that name.
func heldByHold(hold string) suspension {
	return suspension{by: hold, runs: func(r *admin.RelayState) bool { return slices.Contains(r.Holds, hold) }}
}

// heldByIntake is intake: Hold.
func heldByIntake() suspension {
	return suspension{by: queue.ByIntake, runs: func(r *admin.RelayState) bool { return r.Intake == string(plan.IntakeHold) }}
}

// letGo releases what a suspension that has ended kept, until each instance runs without
// it, and gives how many messages. It stops waiting for that in time, but no release.
func letGo(ctx context.Context, left fleet, s suspension, wait patience, p *progress) (n int, err error) {
	defer p.done()
	look := time.NewTicker(wait.look)
	defer look.Stop()
	last := time.Now().Add(wait.within)
	var kept queue.KeptError
	var failed []error
	for {
		var run fleet
		var keptThere []queue.Kept
		for _, i := range left {
			ids, stay, runs, err := i.letGo(ctx, s)
			n += len(ids)
			switch {
			case err != nil:
				failed = append(failed, fmt.Errorf("instance %s: %w", i.name, err))
			case runs:
				run, keptThere = append(run, i), append(keptThere, stay...)
			default:
				kept.Messages = append(kept.Messages, stay...)
			}
		}
		if left = run; len(left) > 0 && time.Now().Before(last) {
			p.say("waiting until the instances know that the suspension has ended ...")
			select {
			case <-look.C:
				continue
			case <-ctx.Done():
				failed = append(failed, ctx.Err())
			}
		}
		kept.Messages = append(kept.Messages, keptThere...)
		break
	}
	for _, i := range left {
		failed = append(failed, fmt.Errorf("instance %s does not know after %s that the suspension has ended, and holds what comes in: kubectl printer-relay status says why; then release once more", i.name, wait.within))
	}
	if len(kept.Messages) > 0 {
		failed = append(failed, &kept)
	}
	return n, errors.Join(failed...)
}

// letGo does so once at an instance: what was released, what stays, and whether the
// suspension may keep more there.
func (i *instance) letGo(ctx context.Context, s suspension) (ids []string, stay []queue.Kept, runs bool, err error) {
	// First, so that what it held until it ended is there to be released.
	if runs, err = i.runs(ctx, s); err != nil {
		return nil, nil, runs, err
	}
	ids, err = i.Release(ctx, queue.Filter{HeldBy: s.by})
	var kept *queue.KeptError
	if errors.As(err, &kept) {
		stay, err = kept.Messages, nil
	}
	return ids, stay, runs, err
}

// runs tells whether an instance runs a configuration that has the suspension, or may
// begin with one.
func (i *instance) runs(ctx context.Context, s suspension) (bool, error) {
	relays, err := i.relays(ctx)
	if err != nil || len(relays) == 0 {
		return err == nil, err
	}
	return slices.ContainsFunc(relays, func(r admin.RelayState) bool { return s.runs(&r) }), nil
}

// relays gives the state of an instance's relay; none: it begins.
func (i *instance) relays(ctx context.Context) ([]admin.RelayState, error) {
	b, err := i.get(ctx, "/state")
	if err != nil {
		return nil, err
	}
	var st admin.State
	if err := json.Unmarshal(b, &st); err != nil {
		return nil, fmt.Errorf("no state of a relay: %w", err)
	}
	return st.Relays, nil
}
