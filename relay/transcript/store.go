package transcript

import (
	"container/list"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// Bounds of a Store. Those whom a rule or a login let in have most of it: who
// comes from thousands of addresses must not have the copiers' forgotten.
const (
	perDevice       = 5
	perHidden       = 25 // of an address that hides many devices
	namedDevices    = 750
	namedBytes      = 1536 << 10
	strangerDevices = 250
	strangerBytes   = 512 << 10

	sessionCost = 512 // octets of a Session besides its lines and texts
	deviceCost  = 512
)

// Store keeps the last failed sessions of each device, in at most 2 MiB. It is
// not persisted. Its methods are safe for concurrent use.
type Store struct {
	mu        sync.Mutex
	devices   map[netip.Prefix]*device
	named     share
	strangers share
}

// share is a part of a Store: its devices, the last that failed first.
type share struct {
	order list.List // of *device
	bytes int
}

type device struct {
	key      netip.Prefix
	place    *list.Element
	named    bool
	first    time.Time
	failures int
	sessions []Session // the oldest first
	bytes    int
}

// NewStore makes an empty one.
func NewStore() *Store { return &Store{devices: map[netip.Prefix]*device{}} }

// Add keeps what r recorded, if the session failed.
func (s *Store) Add(r *Recorder, client netip.Addr, about About) {
	if s == nil || !r.Failed() {
		return
	}
	named := r.known
	session := r.Finish(about)
	session.Client = client
	s.keep(session, named)
}

func (s *Store) keep(session Session, named bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.device(envelope.Device(session.Client), named, session.Ended)
	d.failures++
	d.sessions = append(d.sessions, session)
	most := perDevice
	if session.Hidden {
		most = perHidden
	}
	for len(d.sessions) > most {
		i := d.least()
		d.sessions = slices.Delete(d.sessions, i, i+1)
	}
	before := d.bytes
	d.bytes = deviceCost
	for i := range d.sessions {
		d.bytes += d.sessions[i].cost()
	}
	of := s.share(d.named)
	of.bytes += d.bytes - before
	for of.over(d.named) && of.order.Len() > 1 {
		s.forget(of.order.Back().Value.(*device))
	}
}

func (s *Store) share(named bool) *share {
	if named {
		return &s.named
	}
	return &s.strangers
}

func (h *share) over(named bool) bool {
	if named {
		return h.order.Len() > namedDevices || h.bytes > namedBytes
	}
	return h.order.Len() > strangerDevices || h.bytes > strangerBytes
}

// device finds or makes a device, at the front of its share. It wants mu held.
func (s *Store) device(key netip.Prefix, named bool, now time.Time) *device {
	d := s.devices[key]
	switch {
	case d == nil:
		d = &device{key: key, named: named, first: now}
		s.devices[key] = d
		d.place = s.share(named).order.PushFront(d)
	case named && !d.named:
		s.strangers.order.Remove(d.place)
		s.strangers.bytes -= d.bytes
		d.named = true
		d.place = s.named.order.PushFront(d)
		s.named.bytes += d.bytes
	default:
		s.share(d.named).order.MoveToFront(d.place)
	}
	return d
}

func (s *Store) forget(d *device) {
	of := s.share(d.named)
	of.order.Remove(d.place)
	of.bytes -= d.bytes
	delete(s.devices, d.key)
}

func (s *Session) cost() int {
	return sessionCost + cap(s.encoded) + len(s.Listener) + len(s.HELO) + len(s.User) + len(s.TLS) + len(s.Reply) + len(s.Cause)
}

// least is the session that is missed least: the oldest of those that failed
// alike most often. Behind one address may be sixty copiers, one of which fails
// every minute.
func (d *device) least() int {
	type way struct {
		helo    string
		failure Failure
		reply   string
	}
	count := map[way]int{}
	most := 0
	of := func(i int) way { s := &d.sessions[i]; return way{s.HELO, s.Failure, s.Reply} }
	for i := range d.sessions {
		w := of(i)
		count[w]++
		most = max(most, count[w])
	}
	for i := range d.sessions {
		if count[of(i)] == most {
			return i
		}
	}
	return 0
}

// Device is a device with its last failed sessions.
type Device struct {
	Device   string    `json:"device"`   // the address; with IPv6 its /64
	Named    bool      `json:"named"`    // a rule names it, or it logged in
	First    time.Time `json:"first"`    // failure that is remembered
	Failures int       `json:"failures"` // sessions, also those that are kept no more
	Sessions []Session `json:"sessions"` // the newest first, without their lines
}

// Filter chooses devices; zero: all.
type Filter struct {
	Network netip.Prefix
	Name    string // HELO or login
}

// Devices gives the devices that f chooses, the last that failed first.
func (s *Store) Devices(f Filter) []Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Device{}
	for _, d := range s.devices {
		v := Device{Device: d.name(), Named: d.named, First: d.first, Failures: d.failures}
		for _, session := range slices.Backward(d.sessions) {
			if f.takes(&session) {
				session.encoded = nil
				v.Sessions = append(v.Sessions, session)
			}
		}
		if len(v.Sessions) > 0 {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b Device) int {
		if c := b.Sessions[0].Ended.Compare(a.Sessions[0].Ended); c != 0 {
			return c
		}
		return strings.Compare(a.Device, b.Device)
	})
	return out
}

func (d *device) name() string {
	if d.key.IsSingleIP() {
		return d.key.Addr().String()
	}
	return d.key.String()
}

func (f *Filter) takes(s *Session) bool {
	return (!f.Network.IsValid() || f.Network.Contains(s.Client.Unmap())) && (f.Name == "" || f.Name == s.HELO || f.Name == s.User)
}

// Sessions gives the transcripts of the sessions that f chooses, the oldest
// first, or of the one with that ID.
func (s *Store) Sessions(f Filter, id string) []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Session{}
	for _, d := range s.devices {
		for i := range d.sessions {
			if v := &d.sessions[i]; (id == "" || id == v.ID) && f.takes(v) {
				out = append(out, v.decode())
			}
		}
	}
	slices.SortFunc(out, func(a, b Session) int { return a.Ended.Compare(b.Ended) })
	return out
}
