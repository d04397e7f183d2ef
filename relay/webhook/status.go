package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// ErrNotFound says that the relay has no webhook of that name.
var ErrNotFound = errors.New("no such webhook is in spec.webhooks of the PrinterRelay")

// errEnded: the webhook, or the relay, ended meanwhile.
var errEnded = errors.New("the webhook was taken away meanwhile")

// State is how a webhook stands.
type State struct {
	Name     string    `json:"name"`
	Waiting  int       `json:"waiting"`           // events that it was not told yet
	Problem  string    `json:"problem,omitempty"` // why it cannot be told; empty: all is well, or it was not tried yet
	Remedy   string    `json:"remedy,omitempty"`  // what to do about it
	Since    time.Time `json:"since,omitzero"`    // when Problem began
	Last     time.Time `json:"last,omitzero"`     // when it was told last, since the start
	Disabled bool      `json:"disabled,omitempty"`
}

// Status is State with what waits, each event by itself.
type Status struct {
	State
	Instance string              `json:"instance,omitempty"` // that tells of it, where several were asked
	Host     string              `json:"host,omitempty"`     // of its address; the rest may be a credential
	Events   []plan.WebhookEvent `json:"events"`             // that it is told of
	Next     time.Time           `json:"next,omitzero"`      // before this no request is made; none: nothing waits, or one is under way
	Reply    *Reply              `json:"reply,omitempty"`    // the receiver's last, since the start
	Pending  []Pending           `json:"pending"`            // the oldest first
}

// Reply is what a receiver answered.
type Reply struct {
	At     time.Time `json:"at"`
	Status int       `json:"status"`         // of HTTP
	Text   string    `json:"text,omitempty"` // what it begins with, in one line
}

// Pending is an event that waits.
type Pending struct {
	Type    plan.WebhookEvent `json:"type"`
	Event   string            `json:"event"` // its ID
	At      time.Time         `json:"at"`
	Tries   int               `json:"tries"`             // requests that told of it and were not taken
	Request string            `json:"request,omitempty"` // webhook-id of those
	ID      string            `json:"id,omitempty"`      // queue ID
	Device  string            `json:"device,omitempty"`
	Sender  string            `json:"sender"`
	// Recipients are those that it happened to, the first twenty.
	Recipients []string `json:"recipients"`
	Count      int      `json:"count,omitempty"` // of refusals
}

// States are those of all webhooks, by name.
func (h *Hooks) States() []State {
	var out []State
	for _, k := range *h.live.Load() {
		out = append(out, *k.state.Load())
	}
	return out
}

// List gives all webhooks, by name, with what waits for them.
func (h *Hooks) List(ctx context.Context) ([]Status, error) {
	out := []Status{}
	for _, k := range *h.live.Load() {
		s, err := k.status(ctx)
		if errors.Is(err, errEnded) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("webhook %s: %w", k.name, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// named are the webhooks of a name; empty: all.
func (h *Hooks) named(name string) ([]*hook, error) {
	all := *h.live.Load()
	if name == "" {
		return all, nil
	}
	i := slices.IndexFunc(all, func(k *hook) bool { return k.name == name })
	if i < 0 {
		return nil, fmt.Errorf("%.63q: %w", name, ErrNotFound)
	}
	return all[i : i+1], nil
}

// ask has run do something with what is its own, and returns when that is done.
func (h *hook) ask(ctx context.Context, do func()) error {
	done := make(chan struct{})
	select {
	case h.asks <- func() { defer close(done); do() }:
		<-done
		return nil
	case <-h.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hook) status(ctx context.Context) (Status, error) {
	c := h.config.Load()
	s := Status{Events: c.Events}
	if t, _ := h.target(c); t.url != nil { //nolint:errcheck // State has what is wrong
		s.Host = t.host()
	}
	var current *delivery
	var waits []waiting
	err := h.ask(ctx, func() {
		h.publish()
		s.State, s.Reply = *h.state.Load(), h.reply
		if h.flight == nil && h.box.Gone == "" && h.box.events() > 0 {
			s.Next = h.due()
		}
		waits = slices.Clone(h.box.Waiting)
		if h.box.Current != nil {
			d := *h.box.Current
			current = &d
		}
	})
	if err != nil {
		return s, err
	}
	s.Pending = pending(current, waits)
	return s, nil
}

// pending reads what waits.
func pending(current *delivery, waits []waiting) []Pending {
	out := []Pending{}
	if current != nil {
		var p Payload
		if json.Unmarshal(current.Body, &p) == nil { // else something else wrote it: the number tells that it is there
			for i := range p.Data.Messages {
				e := newPending(p.Type, &p.Data.Messages[i])
				e.Tries, e.Request = current.Tries, current.ID
				out = append(out, e)
			}
		}
	}
	for _, w := range waits {
		var m Message
		if json.Unmarshal(w.Event, &m) == nil { // the same
			out = append(out, newPending(w.Type, &m))
		}
	}
	slices.SortStableFunc(out, func(a, b Pending) int { return a.At.Compare(b.At) })
	return out
}

func newPending(kind plan.WebhookEvent, m *Message) Pending {
	e := Pending{Type: kind, Event: m.Event, At: m.At, ID: m.ID, Sender: m.Sender, Recipients: []string{}}
	for _, s := range []string{m.Device.Name, m.Device.User, m.Device.Address, m.Device.HELO} {
		if e.Device = s; s != "" {
			break
		}
	}
	for i := range m.Recipients {
		e.Recipients = append(e.Recipients, m.Recipients[i].Address)
	}
	if m.Refusal != nil {
		e.Count = m.Refusal.Count
	}
	return e
}
