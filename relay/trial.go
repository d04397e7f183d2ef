package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/printerrelay/printer-relay/relay/queue"
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
	if _, err := trial.Send(ctx, conn, r, messageID, told); err != nil {
		return nil //nolint:nilerr // the step that failed was told
	}
	in.follow(ctx, progress, told)
	return nil
}

// follow tells what becomes of a message until nothing new is to be expected soon.
func (in *instance) follow(ctx context.Context, progress <-chan queue.Advance, told func(trial.Step)) {
	end := time.NewTimer(followTime)
	defer end.Stop()
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
		s := trial.Step{Name: "upstream", ID: p.ID, Text: p.Text, Remedy: p.Remedy}
		if p.Upstream != "" {
			s.Text = p.Upstream + ": " + p.Text
		}
		switch p.Status {
		case "queued":
			continue
		case "held":
			s.Name, s.Wait, s.Remedy = "held", true, "printer-relay queue release "+p.ID+" lets it go (docs/holds.md)"
			told(s)
			return
		case "accepted":
			s.OK = true
		case "deferred":
			s.Wait = true
		}
		told(s)
		if p.Left == 0 || s.Wait && len(in.plan.Load().Fallbacks) == 0 {
			return
		}
	}
}
