package smtpd

import (
	"net/netip"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// guard slows down clients that guess passwords, over their connections
// (CWE-307). It delays and never locks out: behind the address may be a copier
// whose password was changed, and others that do nothing wrong.
type guard struct {
	mu      sync.Mutex
	clients map[netip.Prefix]*guessing
}

type guessing struct {
	failures int
	last     time.Time
}

const (
	failureDelay = time.Second      // before the reply to a wrong password
	longestDelay = 16 * time.Second // after many
	freeFailures = 6                // of one client, before the delay grows
	guardMemory  = 15 * time.Minute // without a failure, and all is forgotten
	maxGuarded   = 10_000
)

// failed counts one failure and gives the delay before its reply.
func (g *guard) failed(now time.Time, client netip.Addr) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.clients == nil {
		g.clients = map[netip.Prefix]*guessing{}
	}
	k := envelope.Device(client)
	v := g.clients[k]
	if v == nil || now.Sub(v.last) > guardMemory {
		if len(g.clients) >= maxGuarded {
			g.forget(now)
		}
		v = &guessing{}
		g.clients[k] = v
	}
	v.failures++
	v.last = now
	delay := failureDelay
	for n := v.failures; n > freeFailures && delay < longestDelay; n -= freeFailures {
		delay *= 2
	}
	return min(delay, longestDelay)
}

// forget makes room: of what is old, or else of everything.
func (g *guard) forget(now time.Time) {
	for k, v := range g.clients {
		if now.Sub(v.last) > guardMemory {
			delete(g.clients, k)
		}
	}
	if len(g.clients) >= maxGuarded {
		clear(g.clients)
	}
}
