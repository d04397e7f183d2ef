package smtpd

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// guard slows down clients that guess passwords, over their connections, and
// guessing at one user from many clients (CWE-307). A client from which somebody
// logged in within a day is slowed and never locked out: behind its address may be
// sixty copiers, one of them with an old password. One from which nobody ever did
// is turned away for a while. It keeps a bounded number of both.
type guard struct {
	mu      sync.Mutex
	clients map[netip.Prefix]*guessing
	users   map[uint64]*guessing // by a hash of the name: who guesses chooses the names
	dirty   bool                 // who logged in is not saved yet
	saved   time.Time
}

type guessing struct {
	failures int
	last     time.Time // of a failure
	good     time.Time // of a login
}

const (
	failureDelay = time.Second      // before the reply to a wrong password
	longestDelay = 16 * time.Second // after many
	freeFailures = 6                // of one client or user, before the delay grows
	lockFailures = 30               // of a client without a login, before it is turned away
	guardMemory  = 15 * time.Minute // without a failure, and all is forgotten
	trustMemory  = 24 * time.Hour   // of a login
	maxGuarded   = 10_000           // clients, and as many users
)

var userSeed = maphash.MakeSeed()

// failed counts one failure and gives the delay before its reply.
func (g *guard) failed(now time.Time, client netip.Addr, user string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := entry(&g.clients, envelope.Device(client), now)
	u := entry(&g.users, maphash.String(userSeed, strings.ToLower(user)), now) // as logins are found: mfp, Mfp and MFP are one
	return max(c.fail(now), u.fail(now))
}

// passed notes that somebody logged in. Failures stay counted: they cost time only
// who fails, and else whoever knows one password could guess at others for free.
func (g *guard) passed(now time.Time, client netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := entry(&g.clients, envelope.Device(client), now)
	g.dirty = g.dirty || now.Sub(c.good) > trustMemory/24
	c.good = now
}

// locked tells whether a client is turned away.
func (g *guard) locked(now time.Time, client netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.clients[envelope.Device(client)]
	return c != nil && c.failures >= lockFailures && now.Sub(c.last) <= guardMemory && now.Sub(c.good) > trustMemory
}

func (v *guessing) fail(now time.Time) time.Duration {
	if now.Sub(v.last) > guardMemory {
		v.failures = 0
	}
	v.failures++
	v.last = now
	delay := failureDelay
	for n := v.failures; n > freeFailures && delay < longestDelay; n -= freeFailures {
		delay *= 2
	}
	return min(delay, longestDelay)
}

// entry finds or makes what is known of a key. Where there is no room, what is
// forgotten first is old, then guesses, and logins last: whoever comes from
// thousands of addresses must not have the copiers' forgotten.
func entry[K comparable](m *map[K]*guessing, key K, now time.Time) *guessing {
	if *m == nil {
		*m = map[K]*guessing{}
	}
	v := (*m)[key]
	if v != nil {
		return v
	}
	for _, drop := range []func(*guessing) bool{
		func(v *guessing) bool { return now.Sub(v.last) > guardMemory && now.Sub(v.good) > trustMemory },
		func(v *guessing) bool { return now.Sub(v.good) > trustMemory },
		func(*guessing) bool { return true },
	} {
		if len(*m) < maxGuarded {
			break
		}
		for k, v := range *m {
			if drop(v) {
				delete(*m, k)
			}
		}
	}
	v = &guessing{}
	(*m)[key] = v
	return v
}
