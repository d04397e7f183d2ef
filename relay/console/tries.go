package console

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// How often the authority is asked whose a token is: for each client address (of IPv6:
// for each /64), and for all of them together. The second bound is for the authority's
// sake, and so high that who guesses from one address does not reach it.
const (
	triesPerSec, triesAtOnce       = 5, 20
	allTriesPerSec, allTriesAtOnce = 50, 200
)

// maxTriers bounds the addresses that are counted each for itself. Where there are more
// that ask, the others share one count.
const maxTriers = 1024

var errManyTries = errors.New("too many log in at once: try again")

// tries has who asks often wait.
type tries struct {
	mu     sync.Mutex
	of     map[netip.Prefix]*rate.Limiter
	others *rate.Limiter
	all    *rate.Limiter
}

// wait returns when the client may have the authority asked. An error says that this
// would not be before ctx ends. The client's own turn comes first: who waits for it
// takes nothing from what all have together.
func (t *tries) wait(ctx context.Context, client netip.Prefix) error {
	own, all := t.limits(client)
	if own.Wait(ctx) != nil || all.Wait(ctx) != nil {
		return errManyTries
	}
	return nil
}

func (t *tries) limits(client netip.Prefix) (own, all *rate.Limiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[netip.Prefix]*rate.Limiter{}
		t.others = rate.NewLimiter(triesPerSec, triesAtOnce)
		t.all = rate.NewLimiter(allTriesPerSec, allTriesAtOnce)
	}
	if l := t.of[client]; l != nil {
		return l, t.all
	}
	if len(t.of) >= maxTriers {
		for c, l := range t.of {
			if l.Tokens() >= triesAtOnce { // as a new one
				delete(t.of, c)
			}
		}
	}
	if len(t.of) >= maxTriers {
		return t.others, t.all
	}
	l := rate.NewLimiter(triesPerSec, triesAtOnce)
	t.of[client] = l
	return l, t.all
}

// clientOf is whose tries a request counts among: by the address that the connection
// comes from, since what a header says anybody can write.
func clientOf(r *http.Request) netip.Prefix {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	return envelope.Device(peer.Addr())
}
