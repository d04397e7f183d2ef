package queue

import (
	"fmt"
	"hash/fnv"
	"io"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// Announcement is a notification that somebody beside the queue writes.
type Announcement struct {
	Kind  string   // for the log and the metric
	Of    string   // what it tells of, as a hold: there may be several about one message
	About *Message // it is a notification about this one
	At    time.Time
	From  envelope.Address // of the header; its envelope sender is null
	To    envelope.Address

	// Write writes it as a whole message, with the queue ID that it has, and gives the
	// octets of its header with the empty line.
	Write func(w io.Writer, id string) (headerSize int64, err error)
}

// Announce makes a notification durable, and queues it. One of the same kind, and of
// the same, about the same message that is still in the queue is this one. Like every notification it is
// never held, and nobody is told that it failed.
func (q *Queue) Announce(a Announcement) error {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s\x00%s\x00%s", a.Kind, a.Of, a.About.ID)
	id := fmt.Sprintf("%s-%08x", a.About.ID, h.Sum32())
	q.mu.Lock()
	r := q.routing
	q.mu.Unlock()
	p := &posting{
		m:    &Message{ID: id, Arrived: a.At, Origin: &Origin{Relay: r.Relay}, Recipients: []Recipient{{Address: a.To}}, DSNOf: a.About.ID},
		kind: a.Kind,
	}
	p, err := q.post(p, ownMeta{}, func(w io.Writer) (Content, error) {
		l := &lines{w: w}
		header, err := a.Write(l, id)
		return l.content(header, id, r.Hostname, a.From, a.To), err
	})
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.letGo(p)
	return nil
}
