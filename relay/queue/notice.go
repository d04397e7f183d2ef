package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/remedy"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// The kinds of notification.
const (
	kindFailed  = "failed"
	kindDelayed = "delayed"
)

// Notice is what a delivery status notification has to say.
type Notice struct {
	ID         string // queue ID of the notification itself
	At         time.Time
	Delayed    bool             // a delay warning; else the recipients have failed
	Relay      string           // namespace/name
	Hostname   string           // the reporting MTA
	From       envelope.Address // of the header; its envelope sender is null
	To         envelope.Address
	Message    *Message // what it is about
	Recipients []NoticeRecipient
	Until      time.Time // Delayed: tries go on until then; else: the message is kept until then

	// Body opens the message that it is about, from its header on. The caller
	// closes it.
	Body func() (io.ReadCloser, error)
}

// NoticeRecipient is one recipient that a notification is about.
type NoticeRecipient struct {
	Recipient
	Outcome  upstream.Outcome // the last one; the zero value: there was no attempt
	Advice   remedy.Advice    // on it; the zero value: none is known
	Attempts int
}

// Content tells what a renderer wrote.
type Content struct {
	HeaderSize int64 // octets, with the empty line
	EightBit   bool
	UTF8       bool
	MaxLine    int
	MessageID  string
}

// notify writes the notification about the recipients in st.notify, if one is
// due to anybody. Its ID follows from the parent's and from what it says, so
// that after a crash between its commit and the parent's record it is not made
// a second time while the first is still in the spool.
func (q *Queue) notify(it *item, st *step, kind string) error {
	q.mu.Lock()
	r := q.routing
	to, ok := bounceTo(r.Delivery.Bounce, it.msg)
	n := q.notice(it, st, kind, to)
	q.mu.Unlock()
	if !ok {
		q.log.Info("no notification is due", "id", it.msg.ID, "kind", kind, "recipients", len(st.notify), "sender", it.msg.ShownSender())
		return nil
	}
	err := q.post(n)
	if err != nil {
		q.log.Error("a notification cannot be written; it is tried again", "id", it.msg.ID, "kind", kind, "error", err)
		return err
	}
	q.log.Info("notification", "id", it.msg.ID, "kind", kind, "notification", n.ID, "to", to.String(), "recipients", len(st.notify))
	if q.o.Metrics != nil {
		q.o.Metrics.Notifications.WithLabelValues(kind).Inc()
	}
	return nil
}

// bounceTo tells who hears of m's failure; false: nobody. There is no
// notification about a notification, or about what has the null sender.
func bounceTo(b plan.Bounce, m *Message) (envelope.Address, bool) {
	if m.DSNOf != "" || m.Sender.IsNull() || b.To == "None" {
		return envelope.Address{}, false
	}
	if b.To == "OriginalSender" && m.SenderCovered {
		return m.Sender, true
	}
	return b.Postmaster, !b.Postmaster.IsNull()
}

// lastedTooLong is what to do about trouble that passes by itself and did not in
// time.
const lastedTooLong = "it lasted too long: send the scan again when it has passed, or by another upstream (printer-relay queue reroute)"

// notice wants q.mu held.
func (q *Queue) notice(it *item, st *step, kind string, to envelope.Address) *Notice {
	r := q.routing
	from := r.Delivery.Bounce.From
	if from.IsNull() {
		from = envelope.Address{Local: "MAILER-DAEMON", Domain: r.Hostname}
	}
	n := &Notice{
		ID: noticeID(it, kind, st.notify), At: st.rec.At, Delayed: kind == kindDelayed,
		Relay: r.Relay, Hostname: r.Hostname, From: from, To: to, Message: it.msg,
		Until: time.Unix(0, it.since).Add(r.Delivery.Expire),
		Body:  func() (io.ReadCloser, error) { return q.store.Body(it.msg.ID) },
	}
	if kind == kindFailed {
		if n.Until = (time.Time{}); r.Delivery.KeepFailed > 0 {
			n.Until = st.rec.At.Add(r.Delivery.KeepFailed)
		}
	}
	last := make(map[int]*result)
	for i := range st.rec.Results {
		for _, x := range st.rec.Results[i].Rcpts {
			last[x] = &st.rec.Results[i]
		}
	}
	for _, i := range st.notify {
		x := &it.rcpts[i]
		nr := NoticeRecipient{Recipient: it.msg.Recipients[i], Attempts: int(x.tries)}
		by := x.by()
		if res := last[i]; res != nil {
			nr.Outcome = *res.outcome()
			if st.rec.Event == evAttempt {
				nr.Attempts++
				by = st.rec.Upstream
			}
		} else if x.last != nil {
			nr.Outcome = *x.outcome()
		}
		nr.Advice = q.adviceOf(by, &nr.Outcome)
		if kind == kindFailed && nr.Advice.Passes() {
			nr.Advice.Remedy = lastedTooLong
		}
		n.Recipients = append(n.Recipients, nr)
	}
	return n
}

// noticeID is a name for a notification: the parent's, and a digest of the kind,
// the recipients, and the time since which they are tried: after a retry by hand
// they can fail once more.
func noticeID(it *item, kind string, rcpts []int) string {
	h := fnv.New32a()
	fmt.Fprint(h, kind, rcpts, it.since)
	return fmt.Sprintf("%s-%08x", it.msg.ID, h.Sum32())
}

// post commits a notification as a message of its own, and queues it.
func (q *Queue) post(n *Notice) error {
	w, err := q.store.Create(n.ID)
	if errors.Is(err, spool.ErrExists) {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.items[n.ID] == nil {
			return err
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer w.Abort()
	c, err := q.o.Notice(w, n)
	if err != nil {
		return err
	}
	m := &Message{
		ID: n.ID, Arrived: n.At, Origin: &Origin{Relay: n.Message.Relay}, Recipients: []Recipient{{Address: n.To}},
		Size: w.Size(), HeaderSize: c.HeaderSize, EightBit: c.EightBit, UTF8: c.UTF8, MaxLine: c.MaxLine, MessageID: c.MessageID,
		DSNOf: n.Message.ID,
	}
	meta, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := w.Commit(meta); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.arrived(q.add(m).it)
	return nil
}
