package queue

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/printerrelay/printer-relay/relay/spool"
)

// What the relay itself sends is written to the spool first, then what follows from it to
// the entries of the messages that it is about, and only then it goes out: a crash in
// between leaves nothing that was sent and is not known to have been. Load makes up for it.

// posting is a notification on stable storage that has not gone out yet.
type posting struct {
	m    *Message
	kind string // for the log and the metric
	log  []any  // of what it tells, beside what all have
}

// ownMeta is what the Meta of an entry has that the relay itself wrote, beside Message.
type ownMeta struct {
	Covers *covered `json:"covers,omitempty"` // it is a digest of these
	Noted  bool     `json:"noted,omitempty"`  // it goes out once a record of the message that it is about names it
}

// ownMetaOf reads it.
func ownMetaOf(m *Message, meta []byte) (own ownMeta) {
	if m.DSNOf == "" || json.Unmarshal(meta, &own) != nil {
		return ownMeta{}
	}
	return own
}

// post commits p as a message of its own, which write writes. One with the same ID that
// is in the queue is this one: nil. One that is in the spool only was to go out, and what
// it waited for could not be written: it waits again.
func (q *Queue) post(p *posting, own ownMeta, write func(io.Writer) (Content, error)) (*posting, error) {
	id := p.m.ID
	w, err := q.store.Create(id)
	if errors.Is(err, spool.ErrExists) {
		q.mu.Lock()
		known := q.items[id] != nil
		q.mu.Unlock()
		if known {
			return nil, nil //nolint:nilnil // nothing is to go out
		}
		e, err := q.store.Read(id)
		if err != nil {
			return nil, err
		}
		if p.m, _, err = decode(e); err != nil {
			return nil, err
		}
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	c, err := write(w)
	if err != nil {
		return nil, err
	}
	m := p.m
	m.Size, m.HeaderSize, m.EightBit, m.UTF8, m.MaxLine, m.MessageID = w.Size(), c.HeaderSize, c.EightBit, c.UTF8, c.MaxLine, c.MessageID
	meta, err := json.Marshal(struct {
		*Message
		ownMeta
	}{m, own})
	if err != nil {
		return nil, err
	}
	if err := w.Commit(meta); err != nil {
		return nil, err
	}
	return p, nil
}

// letGo has p go out; nil: it is out. It wants q.mu held.
func (q *Queue) letGo(p *posting) {
	if p == nil || q.items[p.m.ID] != nil {
		return
	}
	m, event := p.m, "notification"
	if p.kind == kindDigest {
		event = "digest"
	}
	q.log.Info(event, append([]any{"id", m.DSNOf, "kind", p.kind, "notification", m.ID, "to", m.Recipients[0].Address.String()}, p.log...)...)
	if q.o.Metrics != nil {
		q.o.Metrics.Notifications.WithLabelValues(p.kind).Inc()
	}
	q.arrived(q.add(m).it)
}

// takeBack removes p, which a step was to let go that could not be written.
func (q *Queue) takeBack(p *posting, it *item) {
	if p == nil {
		return
	}
	if err := q.store.Remove(p.m.ID); err != nil {
		q.log.Error("a notification that is not to go out cannot be removed from the spool", "notification", p.m.ID, "error", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notAlone(p.m.Recipients[0].Address, it.msg)
}

// unsent finds at a start the notifications whose messages do not say that they were
// made: the process ended in between. What they tell of did not count, and is done
// again, so they go.
type unsent struct {
	waiting map[string]string   // by their IDs, the messages that they are about
	noted   map[string]struct{} // IDs that records name
}

// note takes a loaded message.
func (u *unsent) note(m *Message, own ownMeta, records []record) {
	if own.Noted {
		u.waiting[m.ID] = m.DSNOf
	}
	for i := range records {
		if id := records[i].Notice; id != "" && !records[i].Gathered {
			u.noted[id] = struct{}{}
		}
	}
}

// remove wants q.mu held.
func (u *unsent) remove(q *Queue) {
	for id, about := range u.waiting {
		if _, ok := u.noted[id]; ok || q.items[about] == nil {
			continue
		}
		if err := q.store.Remove(id); err != nil {
			q.log.Error("a notification that did not come to count cannot be removed: it is sent", "notification", id, "error", err)
			continue
		}
		q.drop(q.items[id])
	}
}
