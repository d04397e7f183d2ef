// Package ledger is what stands at both ends of a relay that something is done
// to: copiers that note what was acknowledged, an upstream that notes what
// arrived, and the account of what is lost, twice or broken. Only tests import
// it; it imports test/env.
package ledger

import (
	"slices"
	"strings"
)

// Kinds of recipient, by the first part of the local part.
const (
	Now   = "now"   // is accepted
	Later = "later" // is deferred once, then accepted
	Never = "never" // is refused: the postmaster is told
)

// Account compares what copiers were told with what has arrived.
type Account struct {
	Acknowledged, Arrived, Notified int
	Lost                            []string    // acknowledged, and neither delivered nor bounced
	Again                           map[int]int // deliveries that were repeated, by the life of the relay that made the first
	NoticesAgain                    map[int]int // the same of notifications
	Repeats                         []Repeat    // all of these
	Intruders                       []string    // arrived, though refused, or never sent to the end
	Broken                          []string    // accepted, and not what was sent
}

// Repeat is a delivery that was made once more, with the lives in which it was
// begun first and then. The lives count how often On or Mark was called.
type Repeat struct {
	ID           string
	First, Again int
	Notice       bool
}

// Of gives the account of c and u.
func Of(c *Copiers, u *Upstream) Account {
	a := Account{Again: map[int]int{}, NoticesAgain: map[int]int{}}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, id := range c.Acknowledged() {
		a.Acknowledged++
		if len(u.scans[id]) == 0 && !(strings.HasPrefix(id, Never) && len(u.notices[id]) > 0) {
			a.Lost = append(a.Lost, id)
		}
	}
	a.Arrived, a.Notified, a.Broken = len(u.scans), len(u.notices), slices.Clone(u.broken)
	for id, lives := range u.scans {
		a.again(id, lives, false)
		if c.Withheld(id) {
			a.Intruders = append(a.Intruders, id)
		}
	}
	for id, lives := range u.notices {
		a.again(id, lives, true)
	}
	return a
}

func (a *Account) again(id string, lives []int, notice bool) {
	count := a.Again
	if notice {
		count = a.NoticesAgain
	}
	lives = slices.Sorted(slices.Values(lives)) // what was begun first may have ended last
	for i, life := range lives[:len(lives)-1] {
		count[life]++
		a.Repeats = append(a.Repeats, Repeat{ID: id, First: life, Again: lives[i+1], Notice: notice})
	}
}

// Sum adds the figures of Again or NoticesAgain.
func Sum(count map[int]int) int {
	n := 0
	for _, c := range count {
		n += c
	}
	return n
}

// The phases that a relay can be in.
const (
	Receiving  = "receiving"  // a scan is on its way to it
	Committing = "committing" // it has a scan as a whole, and did not say 250 yet
	Delivering = "delivering" // a transaction with the upstream is open
	Bouncing   = "bouncing"   // the upstream has refused a scan, and the notification is not there yet
)

// Phases gives those that a relay between c and u is in now.
func Phases(c *Copiers, u *Upstream) (in []string) {
	scans, notices := u.Open()
	if c.Receiving.Load() > 0 {
		in = append(in, Receiving)
	}
	if c.Committing.Load() > 0 {
		in = append(in, Committing)
	}
	if scans > 0 {
		in = append(in, Delivering)
	}
	if notices > 0 || u.Awaited() > 0 {
		in = append(in, Bouncing)
	}
	return in
}
