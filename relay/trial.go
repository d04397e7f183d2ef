package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/trial"
)

// followTime is how long a trial waits for an upstream's words about a message that is
// in the queue.
const followTime = 2 * time.Minute

// Try implements admin.Trier: through a session in the place of a device, then along
// with the message until the upstream has answered.
func (in *instance) Try(ctx context.Context, r trial.Request, told func(trial.Step)) error {
	pl := in.plan.Load()
	if r.Via != "" && pl.Upstreams[r.Via] == nil {
		return fmt.Errorf("via: upstream %q is not part of this relay", r.Via)
	}
	messageID := trial.MessageID(pl.Hostname)
	progress, stop := in.queue.Follow(messageID, r.Via)
	defer stop()
	if progress == nil {
		return errors.New("too many tests run at once: try again when one has ended")
	}
	conn, err := in.server.Dial(r.Listener, r.Client)
	if err != nil {
		return err
	}
	tells := func(s trial.Step) {
		if !s.OK && strings.HasPrefix(s.Text, reply.IntakeRefused().String()) {
			s.Remedy = in.opens()
		}
		told(s)
	}
	if _, err := trial.Send(ctx, conn, r, messageID, tells); err != nil {
		return nil //nolint:nilerr // the step that failed was told
	}
	in.follow(ctx, progress, told)
	return nil
}

// opens says what has the relay take mail again.
func (in *instance) opens() string {
	if why := in.closed.Load(); why != nil {
		return *why
	}
	return "PrinterRelay " + key(in.plan.Load()) + ": spec.intake is Refuse: set it to Accept (docs/holds.md)"
}

// follow tells what becomes of a message until nothing new is to be expected soon.
func (in *instance) follow(ctx context.Context, progress <-chan queue.Advance, told func(trial.Step)) {
	end := time.NewTimer(followTime)
	defer end.Stop()
	var last, waits trial.Step
	for {
		var p queue.Advance
		select {
		case p = <-progress:
		case <-end.C:
			told(trial.Step{Name: "upstream", Wait: true, Text: fmt.Sprintf("no last answer within %s; the message waits in the queue, and is tried again", followTime)})
			return
		case <-ctx.Done():
			return
		}
		switch p.Status {
		case "queued":
			continue
		case queue.AdvanceLater:
			if last.OK { // of other recipients
				told(waits)
			}
			return
		}
		if last = in.stepOf(p); !last.OK {
			waits = last
		}
		told(last)
		if p.Left == 0 || last.Name == trial.Held {
			return
		}
	}
}

// stepOf is an advance as a step of the trial.
func (in *instance) stepOf(p queue.Advance) trial.Step {
	pl := in.plan.Load()
	s := trial.Step{Name: "upstream", ID: p.ID, Text: p.Text, Remedy: p.Remedy, OK: p.Status == "accepted", Wait: p.Status != "accepted" && p.Status != "failed"}
	switch {
	case p.Status == queue.AdvanceHeld:
		s.Name = trial.Held
		s.Text, s.Remedy = keptBy(pl, p.Text)
		s.Remedy += fmt.Sprintf("printer-relay queue release %s lets it go, queue remove %s deletes it (docs/holds.md)", p.ID, p.ID)
	case p.Status == queue.AdvanceSuspended && pl.Upstreams[p.Upstream] != nil:
		s.Name = trial.Suspended
		s.Text = fmt.Sprintf("MailUpstream %s/%s: spec.suspend is true: the message waits for it in the queue", pl.Namespace, p.Upstream)
		s.Remedy = fmt.Sprintf("set spec.suspend: false, and it goes by itself; or printer-relay queue reroute --to UPSTREAM %s sends it by another one, queue remove %s deletes it (docs/holds.md)", p.ID, p.ID)
	case p.Status == queue.AdvanceSuspended || p.Status == queue.AdvanceWaiting: // its text names the upstream
	case p.Upstream != "":
		s.Text = p.Upstream + ": " + p.Text
	}
	return s
}

// keptBy says which field of which object holds a message, by why the queue says that it is
// held, and what comes ahead of its release; empty: nothing.
func keptBy(pl *plan.Plan, held string) (field, first string) {
	relay := "PrinterRelay " + key(pl) + ": "
	if name := queue.HoldName(held); name != "" {
		return relay + "spec.holds: " + held, "take hold " + name + " out of spec.holds; then "
	}
	if strings.HasPrefix(held, queue.IntakeHeld) {
		return relay + "spec.intake is Hold", "set spec.intake: Accept for what comes next; "
	}
	for _, p := range pl.Policies {
		for _, r := range p.Rules {
			field := fmt.Sprintf("SenderPolicy %s/%s: spec.rules, rule %q: ", pl.Namespace, p.Name, r.Name)
			switch held {
			case queue.RuleHeld(p.Name, r.Name):
				return field + "action is Hold", ""
			case queue.RateHeld(p.Name, r.Name):
				return field + "rateLimit.exceeded is Hold, and the limit is reached", ""
			}
		}
	}
	return held, ""
}
