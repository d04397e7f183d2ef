package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// ErrNotFound says that nothing is known of a device.
var ErrNotFound = errors.New("no such device is known: it never connected, was forgotten, or made room for others")

// Filter chooses devices; zero: all.
type Filter struct {
	Refused bool         // what happened last was that it was refused
	Legacy  bool         // clear text, or a TLS older than 1.2
	DryRun  bool         // a policy in DryRun would change something for it
	Network netip.Prefix // that it came from; zero: any
	Name    string       // that it gave, or login; empty: any
	Since   time.Time    // it connected since then

	Limit  int    // devices of a page; 0: PageLimit, at most MaxPage
	Cursor string // Page.Next of the page before
}

// Bounds of a page. An inventory holds fewer devices than MaxPage.
const (
	PageLimit = 100
	MaxPage   = 20_000
)

// Page is a part of a list, the device that connected last first.
type Page struct {
	Copiers []Copier `json:"copiers"`
	Total   int      `json:"total"`          // that the filter chooses
	Next    string   `json:"next,omitempty"` // cursor of the next page; empty: there is none
}

func (f *Filter) takes(c *Copier, key netip.Prefix) bool {
	switch {
	case f.Refused && !c.Refusing(), f.Legacy && !c.Legacy(), f.DryRun && len(c.DryRun) == 0, c.Last.Before(f.Since):
		return false
	case f.Network.IsValid() && !f.Network.Overlaps(key):
		return false
	}
	return f.Name == "" || f.Name == c.Auth.User || slices.Contains(c.Names, f.Name)
}

// List gives a page of the devices that f chooses.
func (s *Store) List(f Filter) (Page, error) {
	return PageOf(s.chosen(f), f)
}

// PageOf gives the part of all that Limit and Cursor of f choose. all is in the order
// of a list.
func PageOf(all []Copier, f Filter) (Page, error) {
	page := Page{Total: len(all), Copiers: all}
	if f.Cursor != "" {
		at, device, err := parseCursor(f.Cursor)
		if err != nil {
			return Page{}, err
		}
		i, _ := slices.BinarySearchFunc(all, 0, func(c Copier, _ int) int {
			if order(&c, at, device) <= 0 {
				return -1
			}
			return 1
		})
		page.Copiers = all[i:]
	}
	limit := min(cmp.Or(max(f.Limit, 0), PageLimit), MaxPage)
	if len(page.Copiers) > limit {
		page.Copiers = page.Copiers[:limit]
		last := &page.Copiers[limit-1]
		page.Next = fmt.Sprintf("%d-%s", last.Last.UnixNano(), last.Device)
	}
	return page, nil
}

// order compares c with the place of a device that was seen then: the newest comes
// first.
func order(c *Copier, at time.Time, device string) int {
	if n := at.Compare(c.Last); n != 0 {
		return n
	}
	return strings.Compare(c.Device, device)
}

func parseCursor(s string) (at time.Time, device string, err error) {
	nanos, device, _ := strings.Cut(s, "-")
	var n int64
	if _, err := fmt.Sscanf(nanos, "%d", &n); err != nil || device == "" {
		return at, "", fmt.Errorf("cursor %.60q: want next of the page before", s)
	}
	return time.Unix(0, n), device, nil
}

// chosen are all devices that f chooses, in their order.
func (s *Store) chosen(f Filter) []Copier {
	s.mu.Lock()
	out := []Copier{}
	for key, d := range s.devices {
		if f.takes(&d.Copier, key) {
			out = append(out, d.clone())
		}
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b Copier) int { return order(&a, b.Last, b.Device) })
	return out
}

// Newest gives the n devices that connected last. Of them at most a fifth are
// strangers where there are others: who knocks from many addresses does not push the
// copiers out of sight.
func (s *Store) Newest(n int) []Copier {
	all := s.chosen(Filter{})
	out, left := make([]Copier, 0, min(n, len(all))), []Copier(nil)
	for strangers, i := 0, 0; i < len(all) && len(out) < n; i++ {
		switch {
		case all[i].Known:
		case strangers >= n/5:
			left = append(left, all[i])
			continue
		default:
			strangers++
		}
		out = append(out, all[i])
	}
	out = append(out, left[:min(len(left), n-len(out))]...)
	slices.SortFunc(out, func(a, b Copier) int { return order(&a, b.Last, b.Device) })
	return out
}

// Get gives the device with that address.
func (s *Store) Get(a netip.Addr) (Copier, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[envelope.Device(a)]
	if d == nil {
		return Copier{}, ErrNotFound
	}
	return d.clone(), nil
}

// Forget forgets the device with that address. It is new when it connects again.
func (s *Store) Forget(a netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[envelope.Device(a)]
	if d == nil {
		return ErrNotFound
	}
	s.drop(d)
	s.dirty = true
	return nil
}

// Count is how many devices of one kind are known.
type Count struct {
	TLS, Auth string // "none" where there is none
	Refused   bool   // what happened last was that it was refused
	Devices   int
}

// Counts gives how many devices there are, by TLS, login and what happened last, of
// those that are known; strangers are one count.
func (s *Store) Counts() (kinds []Count, strangers int) {
	counts := map[Count]int{}
	s.mu.Lock()
	for _, d := range s.devices {
		if !d.Known {
			strangers++
			continue
		}
		counts[Count{TLS: cmp.Or(d.TLS.Version, "none"), Auth: cmp.Or(d.Auth.Mechanism, "none"), Refused: d.Refusing()}]++
	}
	s.mu.Unlock()
	for c, n := range counts {
		c.Devices = n
		kinds = append(kinds, c)
	}
	return kinds, strangers
}
