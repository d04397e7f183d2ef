package console

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/senderdns"
)

// Source tells which relays there are. It is safe for concurrent use.
type Source interface {
	// Relays are all of them, sorted by namespace and name, with their Findings.
	Relays(ctx context.Context) ([]Relay, error)
	// Fill completes one of them with its Plan and DNS.
	Fill(ctx context.Context, r *Relay) error
}

// Relay is one relay, as far as it is known without asking it.
type Relay struct {
	Namespace, Name string

	Plan      *plan.Plan        // what its manifests say; nil: they make no plan
	Addresses []string          // where copiers find it, beside its host name
	Findings  []Finding         // what is to be said of it
	Instances []Instance        // of which it consists
	DNS       map[string]Domain // the sender domains of its upstreams, by their name; nil: nobody has looked
}

// Key is namespace/name.
func (r *Relay) Key() string { return r.Namespace + "/" + r.Name }

// Path is that of the relay's pages.
func (r *Relay) Path() string {
	return Root + "relays/" + url.PathEscape(r.Namespace) + "/" + url.PathEscape(r.Name) + "/"
}

// Finding is something that is not as it should be.
type Finding struct {
	What, Text string
	Shared     bool // of all relays that are asked about, and of none more than of another
}

// Instance is one process that runs a relay.
type Instance struct {
	Name string // empty: the only one
	Ask  admin.Ask
	Err  error // why it cannot be asked; nil: it can
}

// Ails tells whether something is said against this relay itself.
func (r *Relay) Ails() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return !f.Shared })
}

// Domain is the sender domain of an upstream.
type Domain struct {
	Name    string
	Records []senderdns.Record
	Notes   []string
	Asked   bool // DNS was asked what is published
}

// Bounds of the questions for one page.
const (
	askTime = 4 * time.Second
	atOnce  = 16
)

// answerOf is what one instance said.
type answerOf[T any] struct {
	relay    *Relay
	instance string
	value    T
	err      error
}

// ask puts one question to all instances of the relays, and gives their answers in
// order. One that does not answer keeps nobody.
func ask[T any](ctx context.Context, relays []Relay, path string, q url.Values) []answerOf[T] {
	var out []answerOf[T]
	type question struct{ relay, instance int }
	var asked []question
	for i := range relays {
		for k, in := range relays[i].Instances {
			out = append(out, answerOf[T]{relay: &relays[i], instance: in.Name, err: in.Err})
			asked = append(asked, question{i, k})
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for n := range out {
		a := &out[n]
		if a.err != nil {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, askTime)
			defer cancel()
			query := url.Values{"relay": {a.relay.Key()}}
			for name, values := range q {
				query[name] = values
			}
			a.err = relays[asked[n].relay].Instances[asked[n].instance].Ask(ctx, path, query, &a.value)
			if errors.Is(a.err, context.DeadlineExceeded) {
				a.err = fmt.Errorf("no answer within %s", askTime)
			}
		})
	}
	wg.Wait()
	return out
}

// answered are the answers that came; of the others the view says that they are
// missing.
func answered[T any](v *view, all []answerOf[T]) (out []answerOf[T]) {
	for _, a := range all {
		if a.err == nil {
			out = append(out, a)
			continue
		}
		who := a.relay.Key()
		if a.instance != "" {
			who = a.instance
		}
		v.Silent = append(v.Silent, who+": "+a.err.Error())
	}
	return out
}

// stateOf is the state of the one relay that an instance was asked about.
func stateOf(st *admin.State, r *Relay) *admin.RelayState {
	for i := range st.Relays {
		if s := &st.Relays[i]; s.Namespace == r.Namespace && s.Name == r.Name {
			return s
		}
	}
	return nil
}
