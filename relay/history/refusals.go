package history

import (
	"net/netip"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/spool"
)

// Bounds of the refusals that are kept of a minute. What is refused again to the same
// client for the same reason is counted, so that a device that tries all night is a
// line, and somebody who tries all that there is does not push out the others.
const (
	refusalWindow    = time.Minute
	refusalsOfClient = 30
	refusalsOfAll    = 1000
)

// recent are the refusals of the last minute.
type recent struct {
	since   time.Time
	same    map[refusalKey]string // the entry's ID
	clients map[netip.Prefix]int
	last    time.Time // that an ID was made of
}

type refusalKey struct {
	client netip.Prefix
	user   string
	step   string
	code   string // the reply's PR-code, or what it begins with
	sender envelope.Address
	to     envelope.Address
}

// client is whom a refusal counts for: an address, or the network of an IPv6 address.
func clientOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// refusal keeps a refusal, or counts it.
func (s *Store) refusal(r *RefusedCommand) {
	c := &s.recent
	if r.At.Sub(c.since) >= refusalWindow || c.same == nil {
		*c = recent{since: r.At, same: make(map[refusalKey]string), clients: make(map[netip.Prefix]int), last: c.last}
	}
	e := newRefusal(r)
	key := refusalKey{client: clientOf(r.Client.Addr), user: e.user, step: r.Step, code: code(e.reply), sender: e.sender}
	if len(e.recipients) > 0 {
		key.to = e.recipients[0].address
	}
	if id, ok := c.same[key]; ok {
		if before := s.refusalOf(id); before != nil {
			before.count++
			before.changed = max(before.changed, e.at)
			s.pending.put(id, before)
			return
		}
	}
	if c.clients[key.client] >= refusalsOfClient || len(c.same) >= refusalsOfAll {
		s.o.Dropped("refusals")
		return
	}
	c.clients[key.client]++
	c.last = later(r.At, c.last.Add(time.Microsecond))
	id := spool.IDAt(c.last) + refusalMark
	c.same[key] = id
	s.pending.put(id, e)
}

// refusalMark ends the ID of a refusal: no queue ID has it.
const refusalMark = "-R"

func isRefusal(id string) bool { return strings.HasSuffix(id, refusalMark) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (s *Store) refusalOf(id string) *entry {
	if e := s.pending.entries[id]; e != nil {
		return e
	}
	d := s.db.Load()
	if d == nil {
		return nil
	}
	e, err := d.entry(refusalsBucket, id)
	if err != nil {
		return nil
	}
	return e
}

// code is what tells refusals apart: the catalogue's code, or the reply's own.
func code(reply string) string {
	for word := range strings.FieldsSeq(reply) {
		if strings.HasPrefix(word, "PR") {
			return strings.Trim(word, ":[]()")
		}
	}
	return reply[:min(len(reply), 9)]
}
