package relay

import (
	"fmt"
	"path/filepath"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/remedy"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/webhook"
)

func webhookSettings(pl *plan.Plan) webhook.Settings {
	return webhook.Settings{Webhooks: pl.Webhooks, Subjects: pl.History.Subjects}
}

// openWebhooks starts the webhooks, which outlast the queue as the history does.
func (in *instance) openWebhooks(p *Process, pl *plan.Plan) {
	in.webhooks = webhook.New(webhook.Options{
		Dir: filepath.Join(in.dir, "webhooks"), Relay: key(pl), Instance: p.Instance,
		Secrets: func() secrets.Source { return *in.secrets.Load() },
		Advise: func(up string, o *upstream.Outcome, failed bool) remedy.Advice {
			u := in.plan.Load().Upstreams[up]
			if failed {
				return queue.AdviseFailed(u, o)
			}
			return queue.Advise(u, o)
		},
		Free: func() int64 { return in.spool.Usage().Free }, Reserve: historyReserve,
		Log: in.log, Metrics: in.metrics,
	})
	in.webhooks.Update(webhookSettings(pl))
}

func (in *instance) webhookGauges() []metrics.Webhook {
	var out []metrics.Webhook
	for _, s := range in.webhooks.States() {
		out = append(out, metrics.Webhook{Name: s.Name, Waiting: s.Waiting, Working: s.Problem == ""})
	}
	return out
}

// webhookStates puts into a state how the webhooks stand. One that cannot be told
// keeps no relay from being ready.
func (in *instance) webhookStates(st *admin.RelayState) {
	for _, s := range in.webhooks.States() {
		st.Webhooks = append(st.Webhooks, s)
		if s.Problem != "" {
			st.Problems = append(st.Problems, because(fmt.Sprintf("webhook %s cannot be told: %s", s.Name, s.Problem), s.Remedy))
		}
	}
}
