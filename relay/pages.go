package relay

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/console"
	"github.com/printerrelay/printer-relay/relay/senderdns"
)

// pages makes the console of a process that nobody but this machine reaches; nil
// in a Pod: there the operator has one, off the copiers' network.
func (p *Process) pages() func(admin.Ask) http.Handler {
	if p.AdminAccess != "" {
		return nil
	}
	return func(ask admin.Ask) http.Handler {
		return console.New(console.Options{Source: processRelays{p, ask}, Version: p.Version, Log: p.Log, Resolver: senderdns.NewResolver("")})
	}
}

// processRelays are those of the process.
type processRelays struct {
	p   *Process
	ask admin.Ask
}

// Relays implements console.Source.
func (s processRelays) Relays(context.Context) ([]console.Relay, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	var out []console.Relay
	for _, in := range s.p.instances {
		pl := in.plan.Load()
		r := console.Relay{Namespace: pl.Namespace, Name: pl.Name, Plan: pl, Instances: []console.Instance{{Ask: s.ask}}}
		for _, problem := range s.p.problems {
			r.Findings = append(r.Findings, console.Finding{What: "Configuration", Text: problem})
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b console.Relay) int { return strings.Compare(a.Key(), b.Key()) })
	return out, nil
}

// Fill implements console.Source: all is there.
func (s processRelays) Fill(context.Context, *console.Relay) error { return nil }
