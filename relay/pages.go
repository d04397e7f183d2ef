package relay

import (
	"context"
	"net/http"
	"regexp"
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
		out = append(out, r)
	}
	for _, problem := range s.p.problems {
		find(out, problem)
	}
	slices.SortFunc(out, func(a, b console.Relay) int { return strings.Compare(a.Key(), b.Key()) })
	return out, nil
}

// find puts what is wrong with the manifests to the relay that it names, or, where it
// names none that runs, to all.
func find(relays []console.Relay, problem string) {
	f := console.Finding{What: "Configuration", Text: problem}
	if m := ofRelay.FindStringSubmatch(problem); m != nil {
		if i := slices.IndexFunc(relays, func(r console.Relay) bool { return r.Key() == m[1] }); i >= 0 {
			relays[i].Findings = append(relays[i].Findings, f)
			return
		}
	}
	f.Shared = true
	for i := range relays {
		relays[i].Findings = append(relays[i].Findings, f)
	}
}

// ofRelay is how a problem names the PrinterRelay that it is of: first, or behind file and line.
var ofRelay = regexp.MustCompile(`^(?:[^:]+:\d+: )?PrinterRelay ([^\s:]+/[^\s:]+):`)

// Fill implements console.Source: all is there.
func (s processRelays) Fill(context.Context, *console.Relay) error { return nil }
