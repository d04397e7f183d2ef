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
// is turned away for a while, unless its address is a node's or a load balancer's. It keeps a bounded number of both, and nobody can
// have it forget what counts by coming from many addresses or naming many users.
type guard struct {
	trusted recent // clients from which somebody logged in
	mu      sync.Mutex
	clients guesses[netip.Prefix]
	users   guesses[uint64] // by a hash of the name: who guesses chooses the names
}

// guesses is what is known of those who failed.
type guesses[K comparable] struct {
	of    map[K]*guessing
	other guessing // all those for whom there is no room
}

type guessing struct {
	failures int
	last     time.Time
}

const (
	failureDelay = time.Second      // before the reply to a wrong password
	longestDelay = 16 * time.Second // after many
	freeFailures = 6                // of one client or user, before the delay grows
	lockFailures = 30               // of a client without a login, before it is turned away
	guardMemory  = 15 * time.Minute // without a failure, and all is forgotten
	maxGuarded   = 10_000           // clients, and as many users
	guardSample  = 16               // entries that are looked at for one that can go
)

var userSeed = maphash.MakeSeed()

// failed counts one failure and gives the delay before its reply.
func (g *guard) failed(now time.Time, client netip.Addr, user string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.clients.entry(envelope.Device(client), now)
	u := g.users.entry(maphash.String(userSeed, strings.ToLower(user)), now) // as logins are found: mfp, Mfp and MFP are one
	return max(c.fail(now), u.fail(now))
}

// passed notes that somebody logged in. Failures stay counted: they cost time only
// who fails, and else whoever knows one password could guess at others for free.
func (g *guard) passed(now time.Time, client netip.Addr) { g.trusted.saw(now, client) }

// locked tells whether a client is turned away.
func (g *guard) locked(now time.Time, client netip.Addr) bool {
	g.mu.Lock()
	c := g.clients.of[envelope.Device(client)]
	locked := c != nil && c.failures >= lockFailures && !c.old(now)
	g.mu.Unlock()
	return locked && !g.trusted.has(now, client)
}

func (v *guessing) old(now time.Time) bool { return now.Sub(v.last) > guardMemory }

func (v *guessing) fail(now time.Time) time.Duration {
	if v.old(now) {
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

// entry finds or makes what is known of a key. Where there is no room, one goes
// that says nothing: it is old, or has failed so seldom that its delay has not grown.
// One that is slowed down or turned away stays; if all are, the new one is counted
// together with all others that come too late.
func (g *guesses[K]) entry(key K, now time.Time) *guessing {
	if g.of == nil {
		g.of = map[K]*guessing{}
	}
	if v := g.of[key]; v != nil {
		return v
	}
	if len(g.of) >= maxGuarded && !g.forget(now) {
		return &g.other
	}
	v := &guessing{}
	g.of[key] = v
	return v
}

// forget drops, of a few entries, the one that says least.
func (g *guesses[K]) forget(now time.Time) bool {
	var least K
	most, seen := freeFailures+1, 0
	for k, v := range g.of { // in no order
		n := v.failures
		if v.old(now) {
			n = 0
		}
		if n < most {
			least, most = k, n
		}
		if seen++; seen == guardSample {
			break
		}
	}
	if most > freeFailures {
		return false
	}
	delete(g.of, least)
	return true
}
