package queue

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// routing is Settings with the lanes that its names stand for.
type routing struct {
	Settings
	routes []route
	bounce []*lane // of notifications; nil: by the routes
}

type route struct {
	*plan.Route
	lanes []*lane // its upstream, then the fallbacks
}

// rewire makes the routing for s. It wants q.mu held.
func (q *Queue) rewire(s Settings) {
	s.setDefaults()
	for name, l := range q.lanes {
		if s.Upstreams[name] == nil {
			l.configure(nil)
			if l.active+l.settling == 0 {
				delete(q.lanes, name) // a verb that names it makes it anew
				q.timers.remove(l)
			}
		}
	}
	for name, up := range s.Upstreams {
		l := q.lane(name)
		l.configure(up)
		l.follow(q.capabilities(name).PerSecond)
	}
	r := &routing{Settings: s}
	for i := range s.Routes {
		r.routes = append(r.routes, route{Route: &s.Routes[i], lanes: q.candidatesOf(s.Routes[i].Upstream, s.Fallbacks)})
	}
	if up := s.Delivery.Bounce.Upstream; up != "" {
		r.bounce = q.candidatesOf(up, s.Fallbacks)
	}
	q.routing = r
}

func (q *Queue) candidatesOf(first string, fallbacks []string) []*lane {
	out := []*lane{q.lane(first)}
	for _, name := range fallbacks {
		if l := q.lane(name); !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

// lane finds or makes the lane of an upstream. It wants q.mu held.
func (q *Queue) lane(name string) *lane {
	l := q.lanes[name]
	if l == nil {
		l = newLane(name, &q.unwritten)
		l.configure(q.routing.Upstreams[name])
		q.lanes[name] = l
	}
	return l
}

// candidates are the upstreams that recipient i of it may go to, in order.
func (q *Queue) candidates(it *item, i int) []*lane {
	if it.override != "" {
		return q.lane(it.override).self
	}
	r := q.routing
	if pin := it.rcpts[i].pin(); pin != "" && r.Upstreams[pin] != nil {
		return q.lane(pin).self
	}
	if it.msg.DSNOf != "" && r.bounce != nil {
		return r.bounce
	}
	for j := range r.routes {
		if r.routes[j].matches(it.msg, &it.msg.Recipients[i].Address) {
			return r.routes[j].lanes
		}
	}
	return nil
}

// matches asks the plan's rule. A client that a load balancer hides is in no
// network.
func (r *route) matches(m *Message, to *envelope.Address) bool {
	client := m.Client.Addr
	if m.Client.Hidden {
		client = netip.Addr{}
	}
	return r.Matches(client, m.Sender, *to)
}

// choice is what choose finds.
type choice uint8

const (
	goNow     choice = iota // an attempt can be made, or waits for its turn in the lane
	park                    // the lane is down, suspended or gone, and there is no other
	roundOver               // all have been tried: back off, then start again
	exhausted               // all have refused the message: it fails
)

// choose picks the upstream for recipient i of it. Upstreams that are known not
// to carry the message are asked only where no other is left: then their own
// words say why. skip names an upstream that has just been tried; refused tells
// that it has just refused the message.
func (q *Queue) choose(it *item, i int, now int64, skip string, refused bool) (*lane, choice) {
	x := &it.rcpts[i]
	cands := q.candidates(it, i)
	if len(cands) == 0 {
		return nil, park // no plan is without routes; mail does not fail for it
	}
	for _, all := range [...]bool{false, true} {
		var wait *lane
		seen, tried := false, false
		for _, l := range cands {
			if x.hasRefused(l.name) || refused && l.name == skip || !all && !q.carries(l, it.msg) {
				continue
			}
			seen = true
			switch {
			case l.name == skip, x.triedInRound(l.name):
				tried = true
			case l.usable(now):
				return l, goNow
			case wait == nil, wait.suspended() && !l.suspended():
				wait = l
			}
		}
		switch {
		case tried:
			return nil, roundOver
		case seen:
			return wait, park
		}
	}
	return nil, exhausted
}

// carries tells whether the upstream of l is not known to be unable to take m.
func (q *Queue) carries(l *lane, m *Message) bool {
	if l.up != nil && l.up.MessageSize > 0 && m.Size > l.up.MessageSize {
		return false
	}
	if q.o.Capabilities == nil {
		return true
	}
	c := q.capabilities(l.name)
	return (c.MaxSize <= 0 || m.Size <= c.MaxSize) && (c.UTF8 || !m.UTF8)
}

// capabilities is what an upstream is known to carry, and how fast.
func (q *Queue) capabilities(name string) upstream.Capabilities {
	if q.o.Capabilities == nil {
		return upstream.Capabilities{}
	}
	return q.o.Capabilities(name)
}

// waitsFor tells whether a recipient of it waits for the upstream. It wants
// q.mu held.
func (q *Queue) waitsFor(it *item, name string) bool {
	for i := range it.rcpts {
		if l := q.laneOf(it, i); l != nil && l.name == name {
			return true
		}
	}
	return false
}

// laneOf is where recipient i waits, is being tried, or would go first; nil
// where it has its final status, or nothing routes it.
func (q *Queue) laneOf(it *item, i int) *lane {
	x := &it.rcpts[i]
	if x.status != waiting {
		return nil
	}
	if x.job != nil {
		return x.job.lane
	}
	cands := q.candidates(it, i)
	for _, l := range cands {
		if !x.hasRefused(l.name) {
			return l
		}
	}
	return nil
}

// whyDown says why nothing goes to l now; empty: it does.
func (l *lane) whyDown(now int64) string {
	switch {
	case l.up == nil:
		return fmt.Sprintf("upstream %q is not part of the relay any more: reroute the message, or name the upstream again", l.name)
	case l.up.Suspend:
		return fmt.Sprintf("upstream %q is suspended", l.name)
	case l.open:
		return fmt.Sprintf("upstream %q does not work: %s", l.name, l.lastError)
	case now < l.pausedTo:
		return fmt.Sprintf("upstream %q asked to wait: %s", l.name, l.lastError)
	}
	return ""
}
