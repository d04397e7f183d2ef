package console

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/traffic"
)

// health is how a relay stands, in a word that does not need its colour.
type health struct {
	Class string // ok, warn, bad or off
	Word  string
}

// row is a relay in the list.
type row struct {
	*Relay
	Health   health
	Queue    admin.QueueState
	Plot     plot
	Problems []string
}

// standing is what the instances of a relay say, put together.
type standing struct {
	instances int
	told      int
	ready     int
	intake    []string // that are not Accept
	problems  []string
	queue     admin.QueueState
}

func (s *standing) add(st *admin.State, r *admin.RelayState) {
	s.told++
	if r.Ready && st.Phase == "" {
		s.ready++
	}
	if r.Intake != string(plan.IntakeAccept) && !slices.Contains(s.intake, r.Intake) {
		s.intake = append(s.intake, r.Intake)
	}
	for _, p := range r.Problems {
		if !slices.Contains(s.problems, p) {
			s.problems = append(s.problems, p)
		}
	}
	s.queue.Pending += r.Queue.Pending
	s.queue.Deferred += r.Queue.Deferred
	s.queue.Held += r.Queue.Held
	s.queue.Failed += r.Queue.Failed
	for name, n := range r.Queue.HeldBy {
		if s.queue.HeldBy == nil {
			s.queue.HeldBy = map[string]int{}
		}
		s.queue.HeldBy[name] += n
	}
	s.queue.OldestSeconds = max(s.queue.OldestSeconds, r.Queue.OldestSeconds)
}

func (s *standing) health(r *Relay) health {
	switch {
	case s.instances == 0 || s.told == 0:
		return health{"bad", "No answer"}
	case slices.Contains(s.intake, string(plan.IntakeRefuse)):
		return health{"off", "Takes no mail"}
	case s.ready == 0:
		return health{"bad", "Not ready"}
	case slices.Contains(s.intake, string(plan.IntakeHold)):
		return health{"off", "Holds all mail"}
	case s.told < s.instances || s.ready < s.told || len(s.problems) > 0 || r.Ails():
		return health{"warn", "Works, with a problem"}
	}
	return health{"ok", "Works"}
}

// visibleTo are the relays that the viewer may see.
func (c *Console) visibleTo(ctx context.Context, v *view) ([]Relay, error) {
	all, err := c.Source.Relays(ctx)
	if err != nil {
		return nil, err
	}
	may := map[string]bool{}
	var out []Relay
	for _, r := range all {
		ok, known := may[r.Namespace]
		if !known {
			if ok, err = c.may(ctx, v, r.Namespace, false); err != nil {
				return nil, err
			}
			may[r.Namespace] = ok
		}
		if ok {
			out = append(out, r)
		}
	}
	return out, nil
}

// relays is the page of all relays.
func (c *Console) relays(r *http.Request, v *view) error {
	v.Page, v.Title = "relays", "Relays"
	relays, err := c.visibleTo(r.Context(), v)
	if err != nil {
		return err
	}
	var out struct {
		Rows         []row
		Shared       []Finding // said once, above the list
		All          int
		Before, Next int // pages; 0: there is none
	}
	page, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("page"), "1"))
	if err != nil || page < 1 || page > maxPages {
		return badRequest{errors.New("there is no such page of the list")}
	}
	slices.SortStableFunc(relays, func(a, b Relay) int { return compareBool(b.Ails(), a.Ails()) }) // those with a problem first
	for i := range relays {
		for _, f := range relays[i].Findings {
			if f.Shared && !slices.Contains(out.Shared, f) {
				out.Shared = append(out.Shared, f)
			}
		}
	}
	out.All, out.Before = len(relays), page-1
	relays = relays[min((page-1)*perPage, len(relays)):]
	if len(relays) > perPage {
		relays, out.Next = relays[:perPage], page+1
	}
	for i := range relays {
		if err := c.Source.Fill(r.Context(), &relays[i]); err != nil {
			return err
		}
	}
	states := ask[admin.State](r.Context(), relays, "/state", nil)
	days := ask[traffic.Day](r.Context(), relays, "/traffic", nil)
	rows := make([]row, len(relays))
	for i := range relays {
		rows[i].Relay = &relays[i]
		s := standingOf(&relays[i], answered(v, of(states, &relays[i])))
		rows[i].Health, rows[i].Queue, rows[i].Problems = s.health(&relays[i]), s.queue, s.problems
		rows[i].Plot = plotOf(told(of(days, &relays[i])), v.Now)
	}
	out.Rows = rows
	v.Body = out
	return nil
}

// compareBool has false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// maxPages of the list of relays.
const maxPages = 10_000

// of are the answers about one relay.
func of[T any](all []answerOf[T], r *Relay) (out []answerOf[T]) {
	for _, a := range all {
		if a.relay == r {
			out = append(out, a)
		}
	}
	return out
}

// told are the values of the answers that came.
func told[T any](all []answerOf[T]) (out []T) {
	for _, a := range all {
		if a.err == nil {
			out = append(out, a.value)
		}
	}
	return out
}

func standingOf(r *Relay, answers []answerOf[admin.State]) *standing {
	s := &standing{instances: len(r.Instances)}
	for i := range answers {
		if st := stateOf(&answers[i].value, r); st != nil {
			s.add(&answers[i].value, st)
		}
	}
	return s
}

// ofRelay is a page about the one relay that its address names.
func (c *Console) ofRelay(h func(*http.Request, *view) error) func(*http.Request, *view) error {
	return func(r *http.Request, v *view) error {
		namespace, name := r.PathValue("namespace"), r.PathValue("name")
		relays, err := c.visibleTo(r.Context(), v)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(relays, func(r Relay) bool { return r.Namespace == namespace && r.Name == name })
		if i < 0 {
			return errNotThere // or it is nothing that the viewer may know of
		}
		v.Relay = &relays[i]
		if err := c.Source.Fill(r.Context(), v.Relay); err != nil {
			return err
		}
		if v.Private, err = c.may(r.Context(), v, namespace, true); err != nil {
			return err
		}
		return h(r, v)
	}
}

// needPrivate is an error for who may not see what devices and people sent.
func needPrivate(v *view) error {
	if v.Private {
		return nil
	}
	return forbidden{"To see who sent what to whom takes the permission to get printerrelays/queue in the namespace " + v.Relay.Namespace + ". Ask who runs the cluster."}
}

// overview is the first page of a relay.
type overview struct {
	Health    health
	Queue     admin.QueueState
	Spool     admin.SpoolState
	Plot      plot
	Problems  []string
	Listeners []listenerRow
	Instances []instanceRow
	Rules     []ruleRow
	Holds     []holdRow
}

// holdRow is a hold of the relay, or one that is gone and has left mail behind.
type holdRow struct {
	Name, What, Reason string
	Held               int
}

// holdsOf are the holds of a plan (nil: not known), with what each keeps.
func holdsOf(p *plan.Plan, held map[string]int) (out []holdRow) {
	known := map[string]bool{}
	if p != nil {
		for i := range p.Holds {
			h := &p.Holds[i]
			known[h.Name] = true
			out = append(out, holdRow{h.Name, "mail " + whoOf(&policy.Match{Networks: h.Networks, Users: h.Users, Senders: h.Senders}), h.Reason, held[h.Name]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(held)) {
		if !known[name] && held[name] > 0 {
			out = append(out, holdRow{Name: name, What: "nothing more: the hold is gone, and what it kept waits for somebody to release it", Held: held[name]})
		}
	}
	return out
}

type listenerRow struct {
	*plan.Listener
	Card        card
	Connections int
	Errors      []string
}

type instanceRow struct {
	Name   string
	Health health
	Queue  admin.QueueState
	Phase  string
}

func (c *Console) relay(r *http.Request, v *view) error {
	v.Page, v.Title, v.Tab = "relay", v.Relay.Key(), "relay"
	one := []Relay{*v.Relay}
	states := ask[admin.State](r.Context(), one, "/state", nil)
	s := standingOf(v.Relay, answered(v, states))
	o := overview{Health: s.health(v.Relay), Queue: s.queue, Problems: s.problems}
	o.Plot = plotOf(told(ask[traffic.Day](r.Context(), one, "/traffic", nil)), v.Now)
	for _, a := range states {
		row := instanceRow{Name: a.instance, Health: health{"bad", "No answer"}}
		if st := stateOf(&a.value, v.Relay); a.err == nil && st != nil {
			alone := &standing{instances: 1}
			alone.add(&a.value, st)
			row.Health, row.Queue, row.Phase = alone.health(&Relay{}), st.Queue, a.value.Phase
			o.Spool.Bytes += st.Spool.Bytes
			o.Spool.Entries += st.Spool.Entries
			o.Spool.Free += st.Spool.Free
		}
		o.Instances = append(o.Instances, row)
	}
	if v.Relay.Plan != nil {
		o.Listeners = listenersOf(v.Relay, states)
		o.Rules = rulesOf(v.Relay.Plan)
	}
	o.Holds = holdsOf(v.Relay.Plan, s.queue.HeldBy)
	v.Body = o
	return nil
}

func listenersOf(r *Relay, states []answerOf[admin.State]) (out []listenerRow) {
	for i := range r.Plan.Listeners {
		l := listenerRow{Listener: &r.Plan.Listeners[i], Card: cardOf(r, &r.Plan.Listeners[i])}
		for _, a := range states {
			st := stateOf(&a.value, r)
			if a.err != nil || st == nil {
				continue
			}
			for _, seen := range st.Listeners {
				if seen.Name != l.Name {
					continue
				}
				l.Connections += seen.Connections
				if seen.Error != "" {
					l.Errors = append(l.Errors, strings.TrimPrefix(a.instance+": ", ": ")+seen.Error)
				}
			}
		}
		out = append(out, l)
	}
	return out
}
