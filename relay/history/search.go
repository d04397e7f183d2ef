package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Bounds of a search.
const (
	defaultPage = 100
	maxPage     = 1000
	searchTime  = 2 * time.Second // that one looks; then it gives what it has, and where to go on
	freshTime   = time.Second     // that one waits for what just happened to be written
	lookEvery   = 512             // entries between two looks at the clock
)

// matcher is a Filter that was read.
type matcher struct {
	Filter
	state, kind byte
	anyState    bool
	anyKind     bool
	network     netip.Prefix
	client      []byte
	null        bool
	sender, to  *envelope.Pattern
	text        []byte // lower case
	at          bool   // there is an @ in text
	inQueue     bool   // only what is said to be in the queue
	from, until string // IDs; empty: no bound
}

func (f Filter) compile() (*matcher, error) {
	m := &matcher{Filter: f, anyState: f.State == "", anyKind: f.Kind == "", text: []byte(strings.ToLower(f.Text)), client: []byte(f.Client)}
	m.at = bytes.IndexByte(m.text, '@') >= 0
	if !m.anyState {
		if !slices.Contains(States, f.State) {
			return nil, fmt.Errorf("state %q does not exist: use one of %v", f.State, States)
		}
		m.state = position(States, f.State)
	}
	if !m.anyKind {
		if !slices.Contains(kinds, f.Kind) {
			return nil, fmt.Errorf("kind %q does not exist: use message or refusal", f.Kind)
		}
		m.kind = position(kinds, f.Kind)
	}
	if n, err := netip.ParsePrefix(f.Client); err == nil {
		m.network = n.Masked()
	} else if strings.Contains(f.Client, "/") {
		return nil, fmt.Errorf("client %q is not a network: write 10.20.3.0/24", f.Client)
	} else if a, err := netip.ParseAddr(f.Client); err == nil {
		a = a.Unmap().WithZone("")
		m.network = netip.PrefixFrom(a, a.BitLen())
	}
	var err error
	if m.null = f.Sender == "<>"; !m.null {
		if m.sender, err = pattern("sender", f.Sender); err != nil {
			return nil, err
		}
	}
	if m.to, err = pattern("recipient", f.Recipient); err != nil {
		return nil, err
	}
	if !f.Since.IsZero() {
		m.from = spool.IDAt(f.Since)
	}
	if !f.Until.IsZero() {
		m.until = spool.IDAt(f.Until)
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return nil, fmt.Errorf("since %s is not before until %s", f.Since.Format(time.RFC3339), f.Until.Format(time.RFC3339))
	}
	return m, nil
}

// pattern reads an address, a pattern of them, or a domain.
func pattern(field, s string) (*envelope.Pattern, error) {
	if s == "" {
		return nil, nil //nolint:nilnil // none is asked for
	}
	if !strings.Contains(s, "@") && s != "*" {
		s = "*@" + s
	}
	p, err := envelope.ParsePattern(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return &p, nil
}

// matches looks at a record. What costs least comes first.
func (m *matcher) matches(id, v []byte, h *head) bool {
	text := len(m.text) == 0 || containsFold(v, m.text) || containsFold(id, m.text)
	if !text && !m.at {
		return false
	}
	r := reader{b: v}
	switch {
	case !r.head(h),
		!text && !h.names(m.text),
		!m.anyState && h.state != m.state,
		m.inQueue && !isInQueue(h.state),
		!m.anyKind && h.kind != m.kind,
		m.null && (len(h.sender[1]) != 0 || name(kinds, h.kind) == Refusal),
		m.Upstream != "" && !tried(h, m.Upstream):
		return false
	case m.network.IsValid() && !m.network.Contains(h.addr),
		!m.network.IsValid() && len(m.client) > 0 && !bytes.Equal(m.client, h.user) && !bytes.EqualFold(m.client, h.helo),
		m.sender != nil && !m.sender.Match(toAddress(h.sender)),
		m.to != nil && !hasRecipient(h, m.to):
		return false
	}
	return true
}

// names tells whether an address holds lower, in which there is an @. A record has the
// halves of an address apart.
func (h *head) names(lower []byte) bool {
	if across(h.sender, lower) {
		return true
	}
	for i := range h.kept {
		if x := &h.recipients[i]; across(x.address, lower) || across(x.original, lower) {
			return true
		}
	}
	return false
}

// across tells whether an address, as it is written, holds lower over its @.
func across(a [2][]byte, lower []byte) bool {
	if len(a[1]) == 0 {
		return false
	}
	for i, c := range lower {
		before, behind := lower[:i], lower[min(i+1, len(lower)):]
		if c == '@' && len(before) <= len(a[0]) && len(behind) <= len(a[1]) &&
			equalFold(a[0][len(a[0])-len(before):], before) && equalFold(a[1][:len(behind)], behind) {
			return true
		}
	}
	return false
}

func tried(h *head, upstream string) bool {
	return slices.ContainsFunc(h.upstreams[:h.tried], func(u []byte) bool { return string(u) == upstream })
}

func hasRecipient(h *head, p *envelope.Pattern) bool {
	for i := range h.kept {
		x := &h.recipients[i]
		if p.Match(toAddress(x.address)) || len(x.original[1]) > 0 && p.Match(toAddress(x.original)) {
			return true
		}
	}
	return false
}

// containsFold tells whether b holds lower, which is in lower case; of letters those of
// ASCII count as the same.
func containsFold(b, lower []byte) bool {
	first := lower[0]
	both := []byte{first}
	if first >= 'a' && first <= 'z' {
		both = append(both, first-'a'+'A')
	}
	for {
		i := bytes.IndexAny(b, string(both))
		if first >= 0x80 {
			i = bytes.IndexByte(b, first)
		}
		if i < 0 || len(b)-i < len(lower) {
			return false
		}
		if equalFold(b[i:i+len(lower)], lower) {
			return true
		}
		b = b[i+1:]
	}
}

func equalFold(b, lower []byte) bool {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// List gives the entries of f, the newest first: by when the message came in, a
// notification beside what it is about. It looks for two seconds at most; where that is
// not enough the page says so, and its cursor goes on.
func (s *Store) List(ctx context.Context, f Filter) (Page, error) {
	done, err := s.begin(ctx)
	if err != nil {
		return Page{}, err
	}
	defer done()
	d := s.db.Load()
	if d == nil {
		return Page{}, s.off()
	}
	p, err := d.list(ctx, f)
	return p, s.noting(ctx, d, err)
}

// noting has a database set aside in which a search found damage.
func (s *Store) noting(ctx context.Context, d *database, err error) error {
	if errors.Is(err, errDamaged) {
		s.request(ctx, func() error { //nolint:errcheck // the search tells of its own
			if s.db.Load() == d {
				s.trouble(err)
			}
			return nil
		})
	}
	return err
}

// off is why there is nothing to ask.
func (s *Store) off() error {
	if p := s.Problem(); p != "" {
		return fmt.Errorf("%w now: %s", ErrOff, p)
	}
	return fmt.Errorf("%w: set spec.history.keepSeconds", ErrOff)
}

// begin takes a place among those who search, and has what just happened written.
func (s *Store) begin(ctx context.Context) (done func(), err error) {
	select {
	case s.searches <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	fresh, cancel := context.WithTimeout(ctx, freshTime)
	defer cancel()
	s.request(fresh, nil) //nolint:errcheck // a disk that is slow has the search see what was before
	return func() { <-s.searches }, nil
}

func (d *database) list(ctx context.Context, f Filter) (Page, error) {
	m, err := f.compile()
	if err != nil {
		return Page{}, err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	return d.search(f.Cursor, m, limit, func() bool { return ctx.Err() != nil })
}

// search looks behind cursor until it has found limit entries, or over says so, which is
// asked now and then.
func (d *database) search(cursor string, m *matcher, limit int, over func() bool) (Page, error) {
	p := Page{Entries: []Entry{}}
	err := d.view(func(tx *bolt.Tx) error {
		w := newWalk(tx, m, cursor)
		var h head
		last := cursor
		for n := 1; ; n++ {
			id, v := w.next()
			if id == nil || string(id) < m.from {
				return nil
			}
			if n%lookEvery == 0 && over() {
				p.Next, p.Incomplete = last, true
				return nil
			}
			if m.matches(id, v, &h) {
				if len(p.Entries) == limit {
					p.Next = last
					return nil
				}
				e, ok := decode(v)
				if !ok {
					return fmt.Errorf("%w: entry %q cannot be read", errDamaged, id)
				}
				p.Entries = append(p.Entries, e.export(string(id)))
			}
			last = string(id)
		}
	})
	return p, err
}

// walk goes through messages and refusals, the newest first.
type walk struct {
	cursors [2]*bolt.Cursor
	keys    [2][]byte
	values  [2][]byte
}

func newWalk(tx *bolt.Tx, m *matcher, before string) *walk {
	w := &walk{}
	if before == "" || m.until != "" && m.until < before {
		before = m.until
	}
	for i, b := range [][]byte{messagesBucket, refusalsBucket} {
		if !m.anyKind && int(m.kind) != i {
			continue
		}
		c := tx.Bucket(b).Cursor()
		w.cursors[i] = c
		if before == "" {
			w.keys[i], w.values[i] = c.Last()
			continue
		}
		if k, _ := c.Seek([]byte(before)); k == nil {
			w.keys[i], w.values[i] = c.Last()
		} else {
			w.keys[i], w.values[i] = c.Prev()
		}
	}
	return w
}

// next gives the newest that it did not give yet; nil: there is none.
func (w *walk) next() (id, v []byte) {
	i := 0
	if w.keys[0] == nil || w.keys[1] != nil && bytes.Compare(w.keys[1], w.keys[0]) > 0 {
		i = 1
	}
	id, v = w.keys[i], w.values[i]
	if id != nil {
		w.keys[i], w.values[i] = w.cursors[i].Prev()
	}
	return id, v
}

// Show gives one entry with all that happened to it.
func (s *Store) Show(ctx context.Context, id string) (Detail, error) {
	done, err := s.begin(ctx)
	if err != nil {
		return Detail{}, err
	}
	defer done()
	d := s.db.Load()
	if d == nil {
		return Detail{}, s.off()
	}
	x, err := d.show(id, s.o.Advise)
	return x, s.noting(ctx, d, err)
}

func (d *database) show(id string, advise func(string, *upstream.Outcome) string) (Detail, error) {
	bucket, _ := bucketOf(id)
	e, err := d.entry(bucket, id)
	if errors.Is(err, ErrNotFound) {
		return Detail{}, fmt.Errorf("%s: %w", id, err)
	}
	if err != nil {
		return Detail{}, err
	}
	out := Detail{Entry: e.export(id), Events: []Event{}, EventsOmitted: e.omitted}
	for _, b := range e.events {
		x, ok := e.event(b)
		if !ok {
			return Detail{}, fmt.Errorf("%w: entry %q cannot be read", errDamaged, id)
		}
		for i := range x.Results {
			r := &x.Results[i]
			if advise != nil && x.Event == "attempt" && r.Outcome != "Accepted" {
				r.Remedy = advise(x.Upstream, &upstream.Outcome{Kind: upstream.Kind(position(outcomes, r.Outcome)), Code: r.Code, Enhanced: r.Enhanced, Text: r.Text})
			}
		}
		out.Events = append(out.Events, x)
	}
	return out, nil
}
