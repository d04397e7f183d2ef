package history

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// A record of the database is one entry in a form that a search can look through
// without making anything of it: numbers as varints, texts with their length
// before them, what is searched for first. format is its first octet.
const format = 1

// Bounds of a record, so that no message makes one large.
const (
	maxRecipients = 20
	maxUpstreams  = 8
	firstEvents   = 10 // that are kept whatever comes
	lastEvents    = 40
	maxWords      = 512
)

// entry is an entry as it is kept.
type entry struct {
	kind, state byte // positions in kinds and States
	at, changed int64
	addr        netip.Addr
	hidden      bool
	tls         uint16
	size        int64
	sender      envelope.Address
	count       int // of recipients; of a refusal: times
	accepted    int
	failed      int
	attempts    int
	recipients  []recipient
	upstreams   []string

	listener, user, helo, rule, messageID, subject, notificationOf, reply, step, cause string

	events  [][]byte // encoded
	omitted int
}

type recipient struct {
	address, original envelope.Address
	status            byte // position in statuses
}

var (
	kinds    = []Kind{Message, Refusal}
	statuses = []string{"", "pending", "accepted", "failed"}
	outcomes = []string{"none", "Accepted", "Deferred", "Failed", "Unknown"}
)

// position is where v is in all; the first one for what is not known.
func position[T comparable](all []T, v T) byte {
	for i, x := range all {
		if x == v {
			return byte(i) //nolint:gosec // they are few
		}
	}
	return 0
}

// name gives what position stood for.
func name[T any](all []T, i byte) (v T) {
	if int(i) < len(all) {
		return all[i]
	}
	return v
}

type writer struct{ b []byte }

func (w *writer) byte(c byte)  { w.b = append(w.b, c) }
func (w *writer) num(n int)    { w.b = binary.AppendVarint(w.b, int64(n)) }
func (w *writer) time(n int64) { w.b = binary.AppendVarint(w.b, n) }
func (w *writer) bytes(s []byte) {
	w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) text(s string) {
	w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) address(a envelope.Address) {
	w.text(a.Local)
	w.text(a.Domain)
}

// appendTo writes e behind b.
func (e *entry) appendTo(b []byte) []byte {
	w := writer{append(b, format, e.kind, e.state)}
	w.time(e.at)
	w.time(e.changed)
	w.bytes(e.addr.AsSlice())
	flags := byte(0)
	if e.hidden {
		flags = 1
	}
	w.byte(flags)
	w.text(e.user)
	w.text(e.helo)
	w.address(e.sender)
	w.byte(byte(len(e.recipients))) //nolint:gosec // at most maxRecipients
	for i := range e.recipients {
		w.byte(e.recipients[i].status)
		w.address(e.recipients[i].address)
		w.address(e.recipients[i].original)
	}
	w.byte(byte(len(e.upstreams))) //nolint:gosec // at most maxUpstreams
	for _, u := range e.upstreams {
		w.text(u)
	}
	for _, n := range []int{int(e.tls), e.count, e.accepted, e.failed, e.attempts, int(e.size), e.omitted} {
		w.num(n)
	}
	for _, s := range []string{e.listener, e.rule, e.messageID, e.subject, e.notificationOf, e.reply, e.step, e.cause} {
		w.text(s)
	}
	w.num(len(e.events))
	for _, x := range e.events {
		w.bytes(x)
	}
	return w.b
}

// reader reads what writer wrote. What it gives lies in b.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) time() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) num() int { return int(r.time()) }

func (r *reader) bytes() []byte {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(len(r.b)-size) {
		r.bad, r.b = true, nil
		return nil
	}
	s := r.b[size : size+int(n)] //nolint:gosec // it is no more than there is
	r.b = r.b[size+int(n):]      //nolint:gosec // the same
	return s
}

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) address() envelope.Address {
	return envelope.Address{Local: r.text(), Domain: r.text()}
}

// head is the part of a record that searches look at. Its slices lie in the record.
type head struct {
	kind, state byte
	at, changed int64
	addr        netip.Addr
	hidden      bool
	user, helo  []byte
	sender      [2][]byte // local part, domain
	recipients  [maxRecipients]struct {
		status            byte
		address, original [2][]byte
	}
	kept      int // of recipients
	upstreams [maxUpstreams][]byte
	tried     int // of upstreams
}

// head reads the head; false: this is no record.
func (r *reader) head(h *head) bool {
	if r.byte() != format {
		return false
	}
	h.kind, h.state, h.at, h.changed = r.byte(), r.byte(), r.time(), r.time()
	h.addr, _ = netip.AddrFromSlice(r.bytes())
	h.hidden = r.byte()&1 != 0
	h.user, h.helo = r.bytes(), r.bytes()
	h.sender = [2][]byte{r.bytes(), r.bytes()}
	h.kept = int(r.byte())
	if h.kept > maxRecipients {
		return false
	}
	for i := range h.kept {
		x := &h.recipients[i]
		x.status = r.byte()
		x.address = [2][]byte{r.bytes(), r.bytes()}
		x.original = [2][]byte{r.bytes(), r.bytes()}
	}
	h.tried = int(r.byte())
	if h.tried > maxUpstreams {
		return false
	}
	for i := range h.tried {
		h.upstreams[i] = r.bytes()
	}
	return !r.bad
}

func toAddress(a [2][]byte) envelope.Address {
	return envelope.Address{Local: string(a[0]), Domain: string(a[1])}
}

// decode gives the entry of a record, in memory of its own; its events too.
func decode(b []byte) (*entry, bool) {
	var h head
	r := reader{b: b}
	if !r.head(&h) {
		return nil, false
	}
	e := &entry{
		kind: h.kind, state: h.state, at: h.at, changed: h.changed, addr: h.addr, hidden: h.hidden,
		user: string(h.user), helo: string(h.helo), sender: toAddress(h.sender),
	}
	for i := range h.kept {
		x := &h.recipients[i]
		e.recipients = append(e.recipients, recipient{address: toAddress(x.address), original: toAddress(x.original), status: x.status})
	}
	for _, u := range h.upstreams[:h.tried] {
		e.upstreams = append(e.upstreams, string(u))
	}
	e.tls = uint16(r.num()) //nolint:gosec // it was one
	e.count, e.accepted, e.failed, e.attempts, e.size, e.omitted = r.num(), r.num(), r.num(), r.num(), r.time(), r.num()
	for _, s := range []*string{&e.listener, &e.rule, &e.messageID, &e.subject, &e.notificationOf, &e.reply, &e.step, &e.cause} {
		*s = r.text()
	}
	n := r.num()
	if r.bad || n < 0 || n > firstEvents+lastEvents {
		return nil, false
	}
	for range n {
		e.events = append(e.events, append([]byte(nil), r.bytes()...))
	}
	return e, !r.bad
}

// add puts an event behind the others; of many, those in the middle go.
func (e *entry) add(event []byte) {
	if len(e.events) == firstEvents+lastEvents {
		copy(e.events[firstEvents:], e.events[firstEvents+1:])
		e.events = e.events[:len(e.events)-1]
		e.omitted++
	}
	e.events = append(e.events, event)
	// A notification is on stable storage before what it tells of.
	if n := len(e.events); n > 1 && tells(e.events[n-2], event) {
		e.events[n-2], e.events[n-1] = e.events[n-1], e.events[n-2]
	}
}

// tells tells whether the event a is the notification about the event b.
func tells(a, b []byte) bool {
	x, y := reader{b: a}, reader{b: b}
	if x.time() != y.time() || string(x.bytes()) != "notification" {
		return false
	}
	event := string(y.bytes())
	return event == "attempt" || event == "expire" || event == "bounce" || event == "warn" || event == "told"
}

// event reads an event; the names of recipients are those of e.
func (e *entry) event(b []byte) (Event, bool) {
	r := reader{b: b}
	x := Event{At: time.Unix(0, r.time()), Event: r.text(), Upstream: r.text(), Number: r.num(), Took: time.Duration(r.time()), By: r.text(), Text: r.text()}
	n := r.num()
	for i := 0; i < n && !r.bad; i++ {
		res := Result{Outcome: name(outcomes, r.byte()), Status: name(statuses, r.byte()), Code: r.num(), Enhanced: r.text(), Text: r.text(), Remote: r.text(), RemoteID: r.text()}
		if next := r.time(); next != 0 {
			res.Next = time.Unix(0, next)
		}
		res.RecipientCount = r.num()
		for _, at := range r.bytes() {
			if int(at) < len(e.recipients) {
				res.Recipients = append(res.Recipients, e.recipients[at].address.String())
			}
		}
		x.Results = append(x.Results, res)
	}
	return x, !r.bad
}
