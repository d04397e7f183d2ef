package queue

import (
	"fmt"
	"hash/fnv"
	"io"
	"time"

	"github.com/printerrelay/printer-relay/relay/dsn"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/remedy"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// The kinds of notification.
const (
	kindFailed  = "failed"
	kindDelayed = "delayed"
	kindDigest  = "digest" // of both, about one device
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
	Subjects   bool      // subjects, and names of files, may be told; in the header that goes back too
	Lost       bool      // the relay has no copy of it any more
	Console    string    // URL of the message's page; empty: none is known

	// Body opens the message that it is about, from its header on. The caller
	// closes it.
	Body func() (io.ReadCloser, error)

	head []byte // the message's header, where it was read already
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
// due to anybody, and notes it in the step, with which it goes out; errGathered says that a
// digest will tell of them. Its ID follows from the parent's and from what it says.
func (q *Queue) notify(it *item, st *step, kind string) error {
	q.mu.Lock()
	_, ok := bounceTo(q.routing.Delivery.Bounce, it.msg)
	q.mu.Unlock()
	var head []byte
	if ok {
		head = q.headerOf(it.msg)
	}
	q.mu.Lock()
	to, ok := bounceTo(q.routing.Delivery.Bounce, it.msg)
	if !ok || dsn.Automatic(head, it.msg.Sender == q.routing.bounceFrom()) {
		q.mu.Unlock()
		q.log.Info("no notification is due", "id", it.msg.ID, "kind", kind, "recipients", len(st.notify), "sender", it.msg.ShownSender())
		return nil
	}
	began, alone := q.alone(it, to, st.rec.At.UnixNano())
	if !alone {
		q.mu.Unlock()
		q.log.Info("gathered for a digest", "id", it.msg.ID, "kind", kind, "to", to.String(), "recipients", len(st.notify))
		return errGathered
	}
	n := q.notice(it, st, kind, to)
	q.mu.Unlock()
	n.head = head
	p := &posting{
		m:    &Message{ID: n.ID, Arrived: n.At, Origin: &Origin{Relay: it.msg.Relay}, Recipients: []Recipient{{Address: n.To}}, DSNOf: it.msg.ID},
		kind: kind, log: []any{"recipients", len(st.notify)},
	}
	var err error
	if st.posted, err = q.post(p, ownMeta{Noted: true}, func(w io.Writer) (Content, error) { return q.o.Notice(w, n) }); err != nil {
		q.log.Error("a notification cannot be written; it is tried again", "id", it.msg.ID, "kind", kind, "error", err)
		q.mu.Lock()
		q.notAlone(to, it.msg)
		q.mu.Unlock()
		return err
	}
	st.rec.Notice, st.rec.Hour = n.ID, began
	return nil
}

// bounceTo tells who hears of m's failure; false: nobody. There is no
// notification about a notification, or about what has the null sender. A password that
// was typed as the sender is no address to write to, or to log.
func bounceTo(b plan.Bounce, m *Message) (envelope.Address, bool) {
	if m.DSNOf != "" || m.Sender.IsNull() || b.To == "None" {
		return envelope.Address{}, false
	}
	if b.To == "OriginalSender" && m.SenderCovered && !m.SenderSecret {
		return m.Sender, true
	}
	return b.Postmaster, !b.Postmaster.IsNull()
}

// bounceFrom is who notifications are from.
func (r *routing) bounceFrom() envelope.Address {
	if from := r.Delivery.Bounce.From; !from.IsNull() {
		return from
	}
	return envelope.Address{Local: "MAILER-DAEMON", Domain: r.Hostname}
}

// lastedTooLong is what to do about trouble that passes by itself and did not in
// time.
const lastedTooLong = "it lasted too long: send the scan again when it has passed, or by another upstream (printer-relay queue reroute)"

// notice wants q.mu held.
func (q *Queue) notice(it *item, st *step, kind string, to envelope.Address) *Notice {
	r := q.routing
	n := &Notice{
		ID: noticeID(it, kind, st.notify), At: st.rec.At, Delayed: kind == kindDelayed,
		Relay: r.Relay, Hostname: r.Hostname, From: r.bounceFrom(), To: to, Message: it.msg,
		Subjects: r.Subjects, Lost: it.lost, Console: r.PageOf(it.msg.ID),
		Until: time.Unix(0, it.since).Add(r.Delivery.Expire),
		Body:  func() (io.ReadCloser, error) { return q.store.Body(it.msg.ID) },
	}
	if kind == kindFailed {
		if n.Until = (time.Time{}); r.Delivery.KeepFailed > 0 && !it.lost {
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
		switch {
		case nr.Advice == lostAdvice:
			nr.Outcome.Text = "" // no server said it
		case kind == kindFailed && nr.Advice.Passes():
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
