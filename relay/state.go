package relay

import (
	"fmt"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/traffic"
)

// Key implements admin.Relay.
func (in *instance) Key() string { return key(in.plan.Load()) }

// Queue implements admin.Relay.
func (in *instance) Queue() admin.Queue { return in.queue }

// Sessions implements admin.Relay.
func (in *instance) Sessions() admin.Sessions { return in.failed }

// Messages implements admin.Relay.
func (in *instance) Messages() admin.Messages { return in.history }

// Copiers implements admin.Relay.
func (in *instance) Copiers() admin.Copiers { return in.copiers }

// Webhooks implements admin.Relay.
func (in *instance) Webhooks() admin.Webhooks { return in.webhooks }

// Traffic implements admin.Relay.
func (in *instance) Traffic() traffic.Day { return in.traffic.Day() }

// smallMessage is the size in octets below which there is no scan: a relay
// without room for it is not ready.
const smallMessage = 64 << 10

// State implements admin.Relay.
func (in *instance) State() admin.RelayState {
	pl := in.plan.Load()
	q, u := in.queue.Snapshot(), in.spool.Usage()
	st := admin.RelayState{
		Namespace: pl.Namespace, Name: pl.Name, PlanHash: pl.Hash, Ready: true, Intake: string(pl.Intake),
		Queue: admin.QueueState{Pending: q.Pending, Deferred: q.Deferred, Held: q.Held, Failed: q.Failed, OldestSeconds: q.Oldest.Seconds(), HeldBy: in.heldBy()},
		Spool: admin.SpoolState{Entries: u.Entries, Bytes: u.Bytes, Free: u.Free},
	}
	for i := range pl.Holds {
		st.Holds = append(st.Holds, pl.Holds[i].Name)
	}
	for _, l := range in.server.Listeners() {
		st.Listeners = append(st.Listeners, admin.ListenerState{Name: l.Name, Address: l.Address, Error: l.Problem, Connections: l.Connections})
		if l.Problem != "" {
			st.Problems = append(st.Problems, l.Problem)
		}
	}
	for _, up := range q.Upstreams {
		found := in.checks.Result(up.Name)
		st.Upstreams = append(st.Upstreams, admin.UpstreamState{
			Health: healthState(found),
			Name:   up.Name, Circuit: up.Circuit, Suspended: up.Suspended, Pending: up.Pending, Deferred: up.Deferred, Active: up.Active, LastError: up.LastError, Remedy: up.Remedy, Since: up.Since,
			DKIM: in.delivery.PublicKeys(up.Name),
		})
		if up.Circuit == "Open" {
			st.Problems = append(st.Problems, because(fmt.Sprintf("upstream %s is down: %s", up.Name, up.LastError), up.Remedy))
		}
		if p := unwell(up.Name, found, time.Now()); p != "" && up.Circuit != "Open" {
			st.Problems = append(st.Problems, p)
		}
	}
	if why := in.closed.Load(); why != nil {
		st.Problems = append(st.Problems, *why)
	}
	st.MissingSecrets = AbsentSecrets(pl, *in.secrets.Load())
	st.Problems = append(st.Problems, MissingSecrets(pl, *in.secrets.Load())...)
	if err := in.spool.Full(smallMessage); err != nil {
		st.Ready = false
		st.Problems = append(st.Problems, err.Error())
	}
	if p := in.history.Problem(); p != "" {
		st.Problems = append(st.Problems, p)
	}
	in.webhookStates(&st)
	exposed(&st, in.probe)
	if len(st.Listeners) == 0 {
		st.Ready = false
		st.Problems = append(st.Problems, "no listener is open")
	}
	return st
}
