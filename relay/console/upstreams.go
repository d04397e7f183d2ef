package console

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/senderdns"
)

// upstreamRow is one upstream of a relay, as all its instances see it.
type upstreamRow struct {
	Name, Type string
	Uses       []string // what it is for: the first way out, a fallback, a route
	Health     health
	Seen       []seen
	Suspended  bool
	Quota      admin.Quota
	Expires    time.Time
	Warnings   []string
	Domain     Domain
	Pending    int
	Deferred   int
	Active     int
}

// seen is an upstream as one instance sees it.
type seen struct {
	Instance string
	admin.UpstreamState
	CircuitWord string
}

// circuits are the states of a circuit breaker, for people.
var circuits = map[string]string{
	"Closed":   "closed: mail goes this way",
	"HalfOpen": "half open: one message tries whether it works again",
	"Open":     "open: it failed too often, so mail waits or goes by the next",
}

// circuitOf says whether mail goes by an upstream.
func circuitOf(u *admin.UpstreamState) string {
	if u.Suspended {
		return "suspended: no mail goes this way until spec.suspend of the MailUpstream is false"
	}
	return circuits[u.Circuit]
}

// upstreams is the page of a relay's ways out. With ?dns=now it asks DNS.
func (c *Console) upstreams(r *http.Request, v *view) error {
	v.Page, v.Title, v.Tab = "upstreams", "Upstreams of "+v.Relay.Key(), "upstreams"
	states := answered(v, ask[admin.State](r.Context(), []Relay{*v.Relay}, "/state", nil))
	var out struct {
		Rows   []upstreamRow
		CanAsk bool
	}
	out.CanAsk = c.Resolver != nil && v.Relay.DNS == nil
	for _, name := range upstreamNames(v.Relay, states) {
		row := upstreamRow{Name: name}
		row.take(v.Relay, states)
		if p := v.Relay.Plan; p != nil && p.Upstreams[name] != nil {
			row.Type, row.Uses = p.Upstreams[name].Type, usesOf(p, name)
			row.Domain = c.domain(r.Context(), v.Relay, p.Upstreams[name], row.keys(), r.URL.Query().Get("dns") == "now")
		}
		out.Rows = append(out.Rows, row)
	}
	v.Body = out
	return nil
}

func upstreamNames(r *Relay, states []answerOf[admin.State]) (out []string) {
	if r.Plan != nil {
		for name := range r.Plan.Upstreams {
			out = append(out, name)
		}
	}
	for i := range states {
		if st := stateOf(&states[i].value, r); st != nil {
			for _, u := range st.Upstreams {
				out = append(out, u.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// take puts together what the instances say.
func (row *upstreamRow) take(r *Relay, states []answerOf[admin.State]) {
	row.Health = health{"warn", "Not known"}
	down := 0
	for i := range states {
		st := stateOf(&states[i].value, r)
		if st == nil {
			continue
		}
		k := slices.IndexFunc(st.Upstreams, func(u admin.UpstreamState) bool { return u.Name == row.Name })
		if k < 0 {
			continue
		}
		u := st.Upstreams[k]
		row.Seen = append(row.Seen, seen{states[i].instance, u, circuitOf(&u)})
		row.Suspended = row.Suspended || u.Suspended
		row.Pending += u.Pending
		row.Deferred += u.Deferred
		row.Active += u.Active
		if u.Circuit != "Closed" && !u.Suspended {
			down++
		}
		if h := u.Health; h != nil {
			if h.Quota != (admin.Quota{}) {
				row.Quota = h.Quota
			}
			if !h.Expires.IsZero() {
				row.Expires = h.Expires
			}
			for _, w := range h.Warnings {
				if !slices.Contains(row.Warnings, w) {
					row.Warnings = append(row.Warnings, w)
				}
			}
		}
	}
	row.judge(down)
}

func (row *upstreamRow) judge(down int) {
	bad := slices.ContainsFunc(row.Seen, func(s seen) bool {
		return s.Health != nil && (s.Health.Reachable == "Bad" || s.Health.Credentials == "Bad")
	})
	checked := slices.ContainsFunc(row.Seen, func(s seen) bool { return s.Health != nil })
	switch {
	case len(row.Seen) == 0:
	case row.Suspended:
		row.Health = health{"off", "Suspended"}
	case down == len(row.Seen) || bad && down > 0:
		row.Health = health{"bad", "Down"}
	case bad:
		row.Health = health{"bad", "Refuses us, or is not reached"}
	case down > 0 || len(row.Warnings) > 0:
		row.Health = health{"warn", "Works, with a warning"}
	case checked:
		row.Health = health{"ok", "Works"}
	default:
		row.Health = health{"ok", "No failure seen"}
	}
}

func (row *upstreamRow) keys() []senderdns.Key {
	for _, s := range row.Seen {
		if len(s.DKIM) > 0 {
			return s.DKIM
		}
	}
	return nil
}

// usesOf says in words when mail goes by an upstream.
func usesOf(p *plan.Plan, name string) (out []string) {
	for _, r := range p.Routes {
		switch {
		case r.Upstream != name:
		case r.Name == "":
			out = append(out, "first way out")
		default:
			out = append(out, "route "+r.Name)
		}
	}
	for i, f := range p.Fallbacks {
		if f == name {
			out = append(out, "fallback "+string(rune('1'+min(i, 8))))
		}
	}
	if p.Delivery.Bounce.Upstream == name {
		out = append(out, "delivery reports")
	}
	return out
}

// domain is the sender domain of an upstream: as somebody has looked it up, or as
// it has to be.
func (c *Console) domain(ctx context.Context, r *Relay, u *plan.Upstream, keys []senderdns.Key, now bool) Domain {
	if r.DNS != nil {
		return r.DNS[u.Name]
	}
	needs := senderdns.Of(u, keys)
	d := Domain{Name: needs.Domain, Notes: needs.Notes}
	if needs.Why != "" {
		d.Notes = append(d.Notes, needs.Why)
	}
	if now && c.Resolver != nil {
		d.Records, d.Asked = senderdns.Check(ctx, c.Resolver, needs.Records), true
		return d
	}
	d.Records = senderdns.Unchecked(needs.Records)
	return d
}

// states of DNS records, for people.
var dnsWords = map[senderdns.State]health{
	senderdns.OK:        {"ok", "published"},
	senderdns.Missing:   {"bad", "missing"},
	senderdns.Different: {"bad", "different"},
	senderdns.Unknown:   {"warn", "not known"},
}

// oneLine is a TXT value as a zone's form takes it.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
