package webhook

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Payload is the body of a request (docs/webhooks.md).
type Payload struct {
	Type      plan.WebhookEvent `json:"type"`
	Timestamp time.Time         `json:"timestamp"` // of the first that happened
	Data      Data              `json:"data"`
}

// Data is what happened to one message, or to several of one kind.
type Data struct {
	Relay    string    `json:"relay"` // namespace/name
	Instance string    `json:"instance,omitempty"`
	Messages []Message `json:"messages"`
	// Dropped counts the events that are missing: too many waited, or for too long.
	Dropped int `json:"dropped,omitempty"`
}

// Message is what happened to a message.
type Message struct {
	Event   string    `json:"event"` // its own ID
	At      time.Time `json:"at"`
	ID      string    `json:"id,omitempty"` // queue ID; none of what was refused
	Arrived time.Time `json:"arrived,omitzero"`

	Device    Device `json:"device,omitzero"` // that sent it; none: the relay wrote it
	Listener  string `json:"listener,omitempty"`
	Rule      string `json:"rule,omitempty"` // policy/rule that let it in
	Sender    string `json:"sender"`         // of the envelope; empty: <>
	Size      int64  `json:"size"`           // octets
	MessageID string `json:"messageID,omitempty"`
	Subject   string `json:"subject,omitempty"` // where the relay may keep it
	// NotificationOf is the queue ID of the message that this notification is about.
	NotificationOf string `json:"notificationOf,omitempty"`

	Recipients     []Recipient `json:"recipients"`     // that it happened to, the first twenty
	RecipientCount int         `json:"recipientCount"` // all of them
	Attempt        int         `json:"attempt,omitempty"`
	Reason         string      `json:"reason,omitempty"` // why it is held, or was given up
	By             string      `json:"by,omitempty"`     // the person who did it

	Refusal *Refusal `json:"refusal,omitempty"` // of a device that was told no
}

// Device is what is known of a client.
type Device struct {
	Name          string `json:"name,omitempty"`    // that its rule gives it
	Address       string `json:"address,omitempty"` // none where the listener hides it from others
	AddressHidden bool   `json:"addressHidden,omitempty"`
	HELO          string `json:"helo,omitempty"`
	User          string `json:"user,omitempty"`
	TLS           string `json:"tls,omitempty"` // version; empty: clear text
}

// Recipient is how one recipient stands, and what was said of it last.
type Recipient struct {
	Address  string    `json:"address"`
	Original string    `json:"original,omitempty"` // as the device gave it, where a rewrite changed it
	Status   string    `json:"status"`             // pending, accepted, failed, refused
	Upstream string    `json:"upstream,omitempty"` // that said so
	Code     int       `json:"code,omitempty"`
	Enhanced string    `json:"enhanced,omitempty"` // RFC 3463
	Text     string    `json:"text,omitempty"`     // the server's own words
	Remote   string    `json:"remote,omitempty"`
	RemoteID string    `json:"remoteID,omitempty"` // the server's own ID of the message
	Cause    string    `json:"cause,omitempty"`    // what that means, where it is known
	Remedy   string    `json:"remedy,omitempty"`   // what to do
	Next     time.Time `json:"next,omitzero"`      // of the next attempt
}

// Bounds of an event, so that nobody makes one large.
const (
	maxRecipients = 20
	maxWords      = 300
	maxEvent      = 16 << 10 // octets
)

// mask is a set of events.
type mask uint32

const (
	failed mask = 1 << iota
	delayed
	held
	accepted
	refusal
)

// types are the events of a mask, each with its name.
var types = []struct {
	mask
	name plan.WebhookEvent
}{{failed, plan.EventFailed}, {delayed, plan.EventDelayed}, {held, plan.EventHeld}, {accepted, plan.EventAccepted}, {refusal, plan.EventRefused}}

func maskOf(events []plan.WebhookEvent) (m mask) {
	for _, t := range types {
		if slices.Contains(events, t.name) {
			m |= t.mask
		}
	}
	return m
}

// happened are the events that p is. It makes nothing for a message that was accepted.
func happened(p *queue.Progress) (m mask) {
	notice := p.Message.DSNOf != ""
	switch {
	case p.Gone == queue.Delivered && !notice:
		return accepted
	case p.Gone != queue.Remains && p.Gone != queue.Lost:
		return 0
	}
	if p.Failed > 0 {
		p.Results(func(_ *upstream.Outcome, _ []int, status string, _ time.Time) {
			if status == "failed" {
				m |= failed
			}
		})
	}
	if notice {
		return m // of what the relay writes only its failure is worth a word
	}
	switch {
	case p.Event == "warn":
		m |= delayed
	case p.State == queue.Held && (p.Event == queue.Arrived || p.Event == "hold" || p.Event == "attempt" && p.Text != ""):
		m |= held
	}
	return m
}

// event makes the event of one type that p is, as JSON.
func (h *hook) event(p *queue.Progress, t mask, name plan.WebhookEvent, subjects bool) json.RawMessage {
	m := p.Message
	e := Message{
		Event: eventID(p, name), At: p.At, ID: m.ID, Arrived: m.Arrived, Device: device(&m.Client, m.Identity.DisplayName), Listener: m.Listener, Rule: rule(m),
		Sender: m.ShownSender(), Size: m.Size, MessageID: reply.Line(m.MessageID, maxWords), NotificationOf: m.DSNOf,
		Attempt: p.Number, Reason: reply.Line(p.Text, maxWords), By: p.By,
	}
	if subjects {
		e.Subject = reply.Line(m.Subject, maxWords)
	}
	if t == failed && p.Event == "attempt" || t == delayed {
		e.Reason = "" // it is about those that are held, or names the digest
	}
	h.recipients(&e, p, t)
	for {
		b := mustJSON(&e)
		if len(b) <= maxEvent || len(e.Recipients) <= 1 {
			return b
		}
		e.Recipients = e.Recipients[:len(e.Recipients)/2]
	}
}

// recipients are those that p happened to.
func (h *hook) recipients(e *Message, p *queue.Progress, t mask) {
	e.Recipients = []Recipient{}
	answered := map[int]Recipient{} // without the address
	for i := range p.Standing {
		s := &p.Standing[i]
		r := h.answer(s.Upstream, &s.Outcome, "pending", t)
		for _, i := range s.Rcpts {
			answered[i] = r
		}
	}
	p.Results(func(o *upstream.Outcome, rcpts []int, status string, next time.Time) {
		by := p.Upstream
		if by == "" && len(rcpts) > 0 {
			by = answered[rcpts[0]].Upstream
		}
		r := h.answer(by, o, status, t)
		r.Next = next
		for _, i := range rcpts {
			answered[i] = r
		}
	})
	for i := range p.Message.Recipients {
		r, ok := answered[i]
		switch {
		case t == failed && r.Status != "failed", t == delayed && !ok:
			continue // it concerns others
		case t == accepted:
			r.Status, r.Next = "accepted", time.Time{}
		case !ok:
			r.Status = "pending"
		}
		e.RecipientCount++
		if len(e.Recipients) == maxRecipients {
			continue
		}
		to := &p.Message.Recipients[i]
		r.Address = to.Address.String()
		if !to.Original.IsNull() {
			r.Original = to.Original.String()
		}
		e.Recipients = append(e.Recipients, r)
	}
}

// answer is what an upstream said.
func (h *hook) answer(up string, o *upstream.Outcome, status string, t mask) Recipient {
	a := h.o.Advise(up, o, t == failed)
	return Recipient{
		Status: status, Upstream: up, Code: o.Code, Enhanced: o.Enhanced, Text: reply.Line(o.Text, maxWords),
		Remote: reply.Line(o.Remote, maxWords), RemoteID: reply.Line(o.RemoteID, maxWords), Cause: a.Cause, Remedy: a.Remedy,
	}
}

// eventID is the same each time that it is made of the same.
func eventID(p *queue.Progress, name plan.WebhookEvent) string {
	h := fnv.New32a()
	fmt.Fprint(h, name, p.At.UnixNano(), p.Number)
	return fmt.Sprintf("%s-%08x", p.Message.ID, h.Sum32())
}

func rule(m *queue.Message) string {
	if m.Rule == "" {
		return m.Policy
	}
	return m.Policy + "/" + m.Rule
}

// device is a client whom its rule may give a name, as far as others may know.
func device(c *queue.Client, name string) Device {
	d := Device{AddressHidden: c.Hidden, HELO: reply.Line(c.HELO, maxWords), User: reply.Line(c.User, maxWords)}
	if !strings.Contains(name, "{") {
		d.Name = reply.Line(name, maxWords)
	}
	switch {
	case !c.Redacted && c.Addr.IsValid():
		d.Address = c.Addr.Unmap().WithZone("").String()
	case c.Redacted && envelope.IsAddress(c.HELO):
		d.HELO = ""
	}
	if c.TLS != 0 {
		d.TLS = strings.TrimPrefix(tls.VersionName(c.TLS), "TLS ")
	}
	return d
}
