package smtpd

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// crowd gives addresses that nobody else in these tests has.
func crowd(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
}

// What is remembered is bounded, and guesses from many addresses push out
// neither those that logged in nor those that are turned away, nor the user that
// is guessed at.
func TestGuardIsBounded(t *testing.T) {
	var g guard
	now := time.Now()
	office, guesser := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	g.passed(now, office)
	for range lockFailures {
		g.failed(now, guesser, "mfp")
	}
	for i := range 3 * maxGuarded {
		g.failed(now, crowd(i), fmt.Sprint(i))
	}
	if len(g.clients.of) > maxGuarded || len(g.users.of) > maxGuarded {
		t.Errorf("%d clients and %d users are remembered", len(g.clients.of), len(g.users.of))
	}
	if !g.locked(now, guesser) {
		t.Error("a crowd had the guesser forgotten")
	}
	if d := g.failed(now, crowd(-1), "mfp"); d != longestDelay {
		t.Errorf("a crowd had the user forgotten that is guessed at: %s", d)
	}
	for range 2 * lockFailures {
		g.failed(now, office, "x")
	}
	if g.locked(now, office) {
		t.Error("a crowd had the office's logins forgotten")
	}
}

// Where all that is remembered counts, who comes later is counted with others:
// slowed down, and never turned away for what somebody else did.
func TestGuardWithoutRoom(t *testing.T) {
	var g guard
	now := time.Now()
	for i := range maxGuarded {
		for range freeFailures + 1 {
			g.failed(now, crowd(i), fmt.Sprint(i))
		}
	}
	late := netip.MustParseAddr("10.0.0.2")
	for range 10 * lockFailures {
		g.failed(now, late, "late")
	}
	if d := g.failed(now, netip.MustParseAddr("10.0.0.9"), "later"); d != longestDelay {
		t.Errorf("who comes later waits %s", d)
	}
	if g.locked(now, late) || len(g.clients.of) != maxGuarded {
		t.Errorf("locked %v, %d clients", g.locked(now, late), len(g.clients.of))
	}
	later := now.Add(guardMemory + time.Second)
	if d := g.failed(later, late, "late"); d != failureDelay {
		t.Errorf("a quarter of an hour later: %s", d)
	}
}

// Who did well stays remembered for a day, however many others do well too.
func TestRecentIsBounded(t *testing.T) {
	var r recent
	now := time.Now()
	office := netip.MustParseAddr("10.0.0.2")
	r.saw(now, office)
	for i := range maxRecent + 10 {
		r.saw(now, crowd(i))
	}
	if len(r.seen) != maxRecent || !r.has(now, office) || r.has(now, crowd(maxRecent+5)) {
		t.Errorf("%d clients are remembered, the office %v", len(r.seen), r.has(now, office))
	}
	if x := netip.MustParseAddr("2001:db8::1"); r.has(now, x) {
		t.Error("never seen")
	}
	later := now.Add(recentTime + time.Second)
	if r.has(later, office) {
		t.Error("remembered for more than a day")
	}
	r.saw(later, office)
	r.saw(later, crowd(-1))
	if !r.has(later, office) || !r.has(later, crowd(-1)) || len(r.seen) != 2 {
		t.Errorf("%d are remembered on the next day", len(r.seen))
	}
}
