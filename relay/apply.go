package relay

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// apply brings the relay to another plan without a restart. If it cannot be
// had as a whole the one before stays, with the new Secrets and all that stops says:
// neither a revoked password nor the kill switch waits for a port.
func (in *instance) apply(pl *plan.Plan, stops plan.Stops, src secrets.Source) error {
	old := in.plan.Load()
	in.secrets.Store(&src)
	err := in.run(pl, src)
	if err != nil {
		err = fmt.Errorf("PrinterRelay %s: %w", key(pl), err)
		pl = old.Stopping(stops)
		if back := in.run(pl, src); back != nil {
			in.log.Error("going back to the last good plan", "cause", back)
		}
	}
	in.checks.Refresh()
	was := in.plan.Swap(pl).Hash
	in.probe.Changed()
	in.savePlan(pl)
	in.missing(pl, src)
	in.metrics.IntakeClosed.Set(boolean(pl.Intake == plan.IntakeRefuse))
	if pl.Hash != was {
		in.log.Info("plan applied", "hash", pl.Hash, "was", was)
	}
	return err
}

// run has all parts run pl. What it lets go or takes away, such as an upstream that was
// suspended, a hold, or a webhook with what waits for it, it does when all else has
// been done that can fail.
func (in *instance) run(pl *plan.Plan, src secrets.Source) error {
	if err := in.delivery.Update(pl); err != nil {
		return err
	}
	in.spool.Resize(pl.Spool.Size)
	in.judge.Store(pl) // ahead of the sessions: who sees the new policy there finds it here
	closed := pl.Stopping(plan.StopsOf(in.plan.Load(), nil))
	in.began.update(closed)
	in.queue.Update(queue.SettingsOf(closed))
	if err := in.server.Update(pl, src); err != nil {
		return err
	}
	if !reflect.DeepEqual(closed, pl) {
		in.began.update(pl)
		in.queue.Update(queue.SettingsOf(pl))
	}
	in.history.Update(historySettings(pl))
	in.webhooks.Update(webhookSettings(pl))
	return nil
}

// take brings the relay to a plan of its own.
func (in *instance) take(pl *plan.Plan, stops plan.Stops, src secrets.Source) error {
	err := in.apply(pl, stops, src)
	if err == nil {
		in.closed.Store(nil)
	}
	return err
}

// keep goes on with the last good plan, with the Secrets as they are now, and with
// what the manifests stop though they cannot be applied. Where a policy or an upstream is missing, or the instance is drained, it
// takes no new mail until a plan can be had: what the policy no longer allows must not
// come in. What is not held of the queue is delivered.
func (in *instance) keep(src secrets.Source, stops plan.Stops, missing []string, drained bool) error {
	pl := in.plan.Load().Stopping(stops)
	if len(missing) > 0 {
		why := strings.Join(missing, ", ") + " is missing: no new mail is taken until it is back"
		if old := in.closed.Swap(&why); old == nil || *old != why {
			in.log.Error("intake closed", "cause", why)
		}
	}
	if len(missing) > 0 || drained {
		pl = refusing(pl)
	}
	return in.apply(pl, plan.StopsOf(pl, nil), src)
}

// refusing is pl without intake. Its Hash is that of pl.
func refusing(pl *plan.Plan) *plan.Plan {
	closed := *pl
	closed.Intake = plan.IntakeRefuse
	return &closed
}

// missing says which Secrets are not there; what needs them fails closed.
func (in *instance) missing(pl *plan.Plan, src secrets.Source) {
	absent := MissingSecrets(pl, src)
	in.metrics.SecretsAbsent.Set(float64(len(absent)))
	if slices.Equal(absent, in.absent) {
		return // it was said; what failed is tried again and again
	}
	in.absent = absent
	for _, m := range absent {
		in.log.Error("a Secret is missing: what needs it does not work", "cause", m)
	}
}

func (in *instance) reloaded(ok bool) {
	if ok {
		in.metrics.Reloads.WithLabelValues("ok").Inc()
		in.metrics.ReloadOK.Set(1)
		in.metrics.ReloadTime.SetToCurrentTime()
		return
	}
	in.metrics.Reloads.WithLabelValues("failed").Inc()
	in.metrics.ReloadOK.Set(0)
}
