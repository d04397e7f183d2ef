package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// A hold of the manifests keeps mail back as soon as it is known: what comes in is
// held by its Meta, what waits by a record that a chore writes. It counts in memory
// at once, so that nothing new is tried; a crash before the record finds the hold in
// the manifests again. When the hold goes, what it held stays held.

// heldBy begins the text of what a hold of the manifests keeps; its name follows.
const heldBy = "hold "

// IntakeHeld is why a message is held that came while intake was Hold.
const IntakeHeld = "the relay's intake is Hold"

// ByIntake stands for intake: Hold where a hold is named, and is no name of one.
const ByIntake = "intake:Hold"

// isHeldBy tells whether that is why a message is held.
func isHeldBy(held, by string) bool {
	if by == ByIntake {
		return strings.HasPrefix(held, IntakeHeld)
	}
	return HoldName(held) == by
}

// RuleHeld is why a message is held that came under a rule whose action is Hold.
func RuleHeld(policy, rule string) string { return "rule " + policy + "/" + rule + " holds" }

// RateHeld is why one is held that was over the rate limit of its rule.
func RateHeld(policy, rule string) string {
	return "over the rate limit of rule " + policy + "/" + rule
}

// holdText is why a message is held by h.
func holdText(h *plan.Hold) string {
	if h.Reason == "" {
		return heldBy + h.Name
	}
	return heldBy + h.Name + ": " + h.Reason
}

// HoldName is the name of the hold in why a message is held; empty: it is held for
// another reason.
func HoldName(held string) string {
	s, ok := strings.CutPrefix(held, heldBy)
	if !ok {
		return ""
	}
	s, _, _ = strings.Cut(s, notReleased)
	name, _, _ := strings.Cut(s, ":")
	return name
}

// holdOf gives the first hold that keeps m back, of those that it was not released
// past; nil: none does. What the relay writes itself is nobody's mail.
func (r *routing) holdOf(m *Message, past string) *plan.Hold {
	if len(r.Holds) == 0 || m.DSNOf != "" {
		return nil
	}
	// Whoever's address hides others by now may have been any of them then: what is held
	// is not lost. One that was hidden then stays unknown.
	hidden := m.Client.Hidden || r.HiddenClients.Hides(m.Client.Addr)
	c := policy.Client{Addr: m.Client.Addr, Hidden: hidden, User: m.Client.User}
	for i := range r.Holds {
		if h := &r.Holds[i]; h.Matches(c, m.Sender) && !isPast(past, h.Name) {
			return h
		}
	}
	return nil
}

// holdsOf are the names of all that holdOf would give, one behind the other, with
// commas between.
func (r *routing) holdsOf(m *Message, past string) (names string) {
	for h := r.holdOf(m, past); h != nil; h = r.holdOf(m, past) {
		names, past = alsoPast(names, h.Name), alsoPast(past, h.Name)
	}
	return names
}

// keepBack holds it where the manifests say so, by a hold past which no person
// released it. It wants q.mu held, and it not locked.
func (q *Queue) keepBack(it *item) {
	if it.held != "" || it.ended != 0 || it.giveUp != "" || it.removed {
		return
	}
	h := q.routing.holdOf(it.msg, it.past)
	if h == nil {
		return
	}
	it.hold(q.strs.get(holdText(h)), time.Now())
	it.unkept = true
	q.withdraw(it)
	q.log.Warn("held", "id", it.msg.ID, "hold", h.Name, "client", it.msg.Client.text(), "user", it.msg.Client.User, "sender", it.msg.ShownSender())
}

// isPast tells whether past, as item has it, names a hold.
func isPast(past, hold string) bool {
	return past != "" && slices.Contains(strings.Split(past, ","), hold)
}

// alsoPast is past with others behind it.
func alsoPast(past, holds string) string { return strings.Trim(past+","+holds, ",") }

// Person is who changes the queue by hand.
type Person struct {
	Name string // for the log and the message's history; empty: not known
	// Override does what the policy of now forbids; it is logged.
	Override bool
}

type personKey struct{}

// WithPerson tells the verbs called with the context who asks.
func WithPerson(ctx context.Context, p Person) context.Context {
	p.Name = reply.Line(p.Name, maxPerson)
	return context.WithValue(ctx, personKey{}, p)
}

const maxPerson = 300 // octets of a name that are kept

// PersonOf gives who asks; the zero Person where WithPerson has not told.
func PersonOf(ctx context.Context) Person {
	p, _ := ctx.Value(personKey{}).(Person)
	return p
}

// Kept is a message that a verb left as it was.
type Kept struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

// KeptError says that a verb left messages as they were, which the policy of now, a
// hold or the upstream forbids. What else was selected is changed.
type KeptError struct{ Messages []Kept }

// Error implements error: the first few, and how to do it all the same.
func (e *KeptError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d not changed:", len(e.Messages))
	for i, k := range e.Messages {
		if i == 3 {
			fmt.Fprintf(&b, " and %d more;", len(e.Messages)-i)
			break
		}
		fmt.Fprintf(&b, " %s: %s;", k.ID, k.Why)
	}
	b.WriteString(" correct the manifests, or use --override-policy, which is logged")
	return b.String()
}

// stillKept is how Kept.Why begins where a hold of the manifests keeps a message.
func stillKept(hold string) string { return "hold " + hold + " still keeps it" }

// question is what a verb asks before it changes a message: whether the policy of
// now, and the upstream that is named, have something against it.
type question struct {
	wanted func(*item) bool // with q.mu held; false: the verb changes nothing, or nothing that matters
	holds  bool             // the holds of the manifests count
	to     string           // the upstream that it goes to; empty: by the routes
}

// forbids says why a message may not be changed; empty: it may. It wants q.mu held
// and it locked, and gives q.mu up while it asks.
func (q *Queue) forbids(it *item, ask *question) string {
	if h := q.routing.holdOf(it.msg, it.past); h != nil && ask.holds {
		return stillKept(h.Name) + ": take it out of spec.holds first"
	}
	if up := q.routing.Upstreams[ask.to]; up != nil {
		if domain, ok := up.SendsAs(it.msg.Sender); !ok && !it.msg.ForceIdentity {
			return fmt.Sprintf("upstream %q sends as %s only (sender.rewrite: Never)", ask.to, domain)
		}
		if !q.carries(q.lane(ask.to), it.msg) {
			return fmt.Sprintf("upstream %q is known not to carry it: %d octets, or addresses that need SMTPUTF8", ask.to, it.msg.Size)
		}
	}
	if q.o.Permits == nil || it.msg.DSNOf != "" {
		return ""
	}
	q.mu.Unlock()
	err := q.o.Permits(it.msg)
	q.mu.Lock()
	if err != nil {
		return reply.Line(err.Error(), maxText)
	}
	return ""
}

const notReleased = "; not released: "

// stays is the step that notes why a held message was not released; nil where that
// is noted already.
func (it *item) stays(why string, by string, now time.Time) *step {
	if it.held == "" {
		return nil
	}
	before, _, _ := strings.Cut(it.held, notReleased)
	if text := before + notReleased + why; text != it.held {
		return &step{rec: &record{At: now, Event: evHold, Held: text, By: by}}
	}
	return nil
}
