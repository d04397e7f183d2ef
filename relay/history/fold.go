package history

import (
	"bytes"
	"crypto/tls"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/transcript"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// newMessage is the entry of a message to which nothing happened yet.
func newMessage(m *queue.Message, subjects bool) *entry {
	e := &entry{
		kind: position(kinds, Message), state: position(States, Waiting), at: m.Arrived.UnixNano(), changed: m.Arrived.UnixNano(),
		addr: m.Client.Addr.Unmap().WithZone(""), hidden: m.Client.Hidden, tls: m.Client.TLS, size: m.Size, sender: m.Sender, count: len(m.Recipients),
		listener: m.Listener, user: m.Client.User, helo: m.Client.HELO, rule: rule(m.Policy, m.Rule), messageID: m.MessageID, notificationOf: m.DSNOf,
	}
	if m.SenderSecret {
		e.sender = envelope.Address{Local: transcript.NotShown}
	}
	if subjects {
		e.subject = m.Subject
	}
	for i := range m.Recipients[:min(len(m.Recipients), maxRecipients)] {
		r := &m.Recipients[i]
		e.recipients = append(e.recipients, recipient{address: r.Address, original: r.Original, status: position(statuses, "pending")})
	}
	return e
}

func rule(policy, name string) string {
	if name == "" {
		return policy
	}
	return policy + "/" + name
}

// fold makes what happened a part of its message's entry.
func (e *entry) fold(p *queue.Progress) {
	e.changed = max(e.changed, p.At.UnixNano())
	e.state = position(States, stateOf(p))
	e.accepted, e.failed, e.attempts = p.Accepted, p.Failed, max(e.attempts, p.Number)
	if p.Event == "attempt" && !slices.Contains(e.upstreams, p.Upstream) {
		if len(e.upstreams) == maxUpstreams {
			e.upstreams = e.upstreams[1:]
		}
		e.upstreams = append(e.upstreams, p.Upstream)
	}
	if p.Text != "" && !p.Notifies() {
		e.reply = reply.Line(p.Text, maxWords)
	}
	event := p.Event
	if event == "" {
		event = string(p.Gone)
		if p.Gone == queue.Forgotten {
			event = "forgotten"
		}
	}
	var w writer
	w.time(p.At.UnixNano())
	w.text(event)
	w.text(p.Upstream)
	w.num(p.Number)
	w.time(int64(p.Took))
	w.text(p.By)
	w.text(reply.Line(p.Text, maxWords))
	results := 0
	p.Results(func(*upstream.Outcome, []int, string, time.Time) { results++ })
	w.num(results)
	p.Results(func(o *upstream.Outcome, rcpts []int, status string, next time.Time) {
		e.result(&w, o, rcpts, status, next)
	})
	if p.Gone == queue.Delivered {
		for i := range e.recipients {
			e.recipients[i].status = position(statuses, "accepted")
		}
	}
	if event != queue.Arrived && (event != string(queue.Delivered) || p.Event != "") {
		e.add(w.b)
	}
}

// result writes one result of an event.
func (e *entry) result(w *writer, o *upstream.Outcome, rcpts []int, status string, next time.Time) {
	w.byte(byte(o.Kind))
	w.byte(position(statuses, status))
	w.num(o.Code)
	w.text(o.Enhanced)
	w.text(reply.Line(o.Text, maxWords)) // what a server says goes to terminals and pages
	w.text(reply.Line(o.Remote, 300))
	w.text(reply.Line(o.RemoteID, 200))
	at := int64(0)
	if !next.IsZero() {
		at = next.UnixNano()
	}
	w.time(at)
	w.num(len(rcpts))
	var named [maxRecipients]byte
	n := 0
	for _, i := range rcpts {
		if i < len(e.recipients) {
			named[n] = byte(i) //nolint:gosec // fewer than maxRecipients
			n++
			e.recipients[i].status = position(statuses, status)
		}
	}
	w.bytes(named[:n])
	if o.Code != 0 || o.Text != "" {
		e.reply = words(o.Code, o.Enhanced, o.Text)
	}
}

// words is a reply in a line.
func words(code int, enhanced, text string) string {
	s := text
	if enhanced != "" {
		s = enhanced + " " + s
	}
	if code != 0 {
		s = strconv.Itoa(code) + " " + s
	}
	return s
}

func stateOf(p *queue.Progress) State {
	switch p.Gone {
	case queue.Delivered:
		return Accepted
	case queue.Removed:
		return Removed
	case queue.Forgotten:
		return Failed
	case queue.Lost:
		return Lost
	case queue.Remains:
	}
	switch p.State {
	case queue.Deferred:
		return Deferred
	case queue.Held:
		return Held
	case queue.Failed:
		return Failed
	case queue.Pending:
	}
	return Waiting
}

// mentions tells whether an event of e has a text in it.
func (e *entry) mentions(text string) bool {
	return slices.ContainsFunc(e.events, func(b []byte) bool { return bytes.Contains(b, []byte(text)) })
}

// notified is the event of a message about which a notification was made.
func notified(m *queue.Message) []byte {
	to := ""
	if len(m.Recipients) > 0 {
		to = " to <" + m.Recipients[0].Address.String() + ">"
	}
	var w writer
	w.event(m.Arrived, "notification", m.ID+to)
	return w.b
}

// RefusedCommand is a command that a client was refused.
type RefusedCommand struct {
	At        time.Time
	Listener  string
	Client    queue.Client
	Rule      string // policy/rule, where one had matched
	Sender    envelope.Address
	Recipient envelope.Address // that RCPT named; behind it the last one
	Size      int64            // as announced; 0: it was not
	Step      string           // MAIL, RCPT, DATA, AUTH
	Reply     string           // in one line
	Cause     string           // for who runs the relay
}

// newRefusal is the entry of the first of its kind.
func newRefusal(r *RefusedCommand) *entry {
	e := &entry{
		kind: position(kinds, Refusal), state: position(States, Refused), at: r.At.UnixNano(), changed: r.At.UnixNano(),
		addr: r.Client.Addr.Unmap().WithZone(""), hidden: r.Client.Hidden, tls: r.Client.TLS, size: r.Size, sender: bounded(r.Sender), count: 1,
		listener: r.Listener, user: reply.Line(r.Client.User, 128), helo: reply.Line(r.Client.HELO, 128), rule: r.Rule,
		reply: reply.Line(r.Reply, maxWords), step: r.Step, cause: reply.Line(r.Cause, maxWords),
	}
	if !r.Recipient.IsNull() {
		e.recipients = []recipient{{address: bounded(r.Recipient)}}
	}
	return e
}

// bounded is an address that a client gave, as far as addresses may be long (RFC
// 5321 4.5.3.1).
func bounded(a envelope.Address) envelope.Address {
	return envelope.Address{Local: reply.Line(a.Local, 64), Domain: reply.Line(a.Domain, 255)}
}

// export is e in the words of the admin port.
func (e *entry) export(id string) Entry {
	x := Entry{
		ID: id, Kind: name(kinds, e.kind), State: name(States, e.state), At: time.Unix(0, e.at), Changed: time.Unix(0, e.changed),
		Listener: e.listener, Hidden: e.hidden, User: e.user, HELO: e.helo, Rule: e.rule,
		Sender: e.sender.String(), Recipients: []Recipient{}, RecipientCount: e.count, AcceptedCount: e.accepted, FailedCount: e.failed,
		Size: e.size, MessageID: e.messageID, Subject: e.subject, NotificationOf: e.notificationOf,
		Attempts: e.attempts, Upstreams: e.upstreams, Reply: e.reply, Step: e.step, Cause: e.cause,
	}
	if e.addr.IsValid() {
		x.Client = e.addr.String()
	}
	if e.tls != 0 {
		x.TLS = strings.TrimPrefix(tls.VersionName(e.tls), "TLS ")
	}
	if x.Kind == Refusal {
		x.Count, x.RecipientCount = e.count, len(e.recipients)
	}
	for i := range e.recipients {
		r := &e.recipients[i]
		y := Recipient{Address: r.address.String(), Status: name(statuses, r.status)}
		if !r.original.IsNull() {
			y.Original = r.original.String()
		}
		x.Recipients = append(x.Recipients, y)
	}
	return x
}
