package console

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// logInFrom tries a token from an address and tells how long the answer took.
func logInFrom(c http.Handler, addr, token string) (took time.Duration, code int) {
	begin := time.Now()
	code = tryLogin(c, addr, token).Code
	return time.Since(begin), code
}

// Who guesses tokens waits, and has nobody else wait: one address, or of IPv6 the
// addresses of one network, are one who guesses.
func TestWhoGuessesSlowsNobodyElse(t *testing.T) {
	for name, guesser := range map[string]func(n int) string{
		"from one address":            func(n int) string { return fmt.Sprintf("192.0.2.9:%d", 1000+n) },
		"from a /64":                  func(n int) string { return fmt.Sprintf("[2001:db8:0:1::%x]:443", n+1) },
		"from an address, mapped":     func(n int) string { return fmt.Sprintf("[::ffff:192.0.2.9]:%d", 1000+n) },
		"from what is not an address": func(int) string { return "pipe" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &authority{people: map[string]string{"t": "anna"}}
				c := gated(a)
				var wg sync.WaitGroup
				var mu sync.Mutex
				var slowest time.Duration
				const more = 10
				for n := range triesAtOnce + more {
					wg.Go(func() {
						took, _ := logInFrom(c, guesser(n), "guess")
						mu.Lock()
						defer mu.Unlock()
						slowest = max(slowest, took)
					})
				}
				synctest.Wait() // all have tried, and those above the bound wait
				for _, addr := range []string{"192.0.2.10:1", "[2001:db8:0:2::1]:443"} {
					if took, code := logInFrom(c, addr, "t"); took != 0 || code != http.StatusSeeOther {
						t.Errorf("%s logs in meanwhile: %d after %s", addr, code, took)
					}
				}
				wg.Wait()
				if want := more * time.Second / triesPerSec; slowest < want {
					t.Errorf("the last guess took %s, want at least %s", slowest, want)
				}
			})
		})
	}
}

// The authority is spared though guesses come from everywhere, and memory is.
func TestGuessesFromEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l tries
		begin := time.Now()
		const more = 100
		for n := range allTriesAtOnce + more {
			if err := l.wait(t.Context(), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 32)); err != nil {
				t.Fatal(err)
			}
		}
		if took, want := time.Since(begin), more*time.Second/allTriesPerSec; took < want {
			t.Errorf("%d tries of as many addresses took %s, want at least %s", allTriesAtOnce+more, took, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var l tries
		client := func(n int) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32)
		}
		for n := range 2 * maxTriers {
			own, _ := l.limits(client(n))
			own.Allow()
			if shared := own == l.others; shared != (n >= maxTriers) {
				t.Fatalf("address %d shares its count: %t", n, shared)
			}
		}
		if len(l.of) != maxTriers {
			t.Errorf("%d addresses are counted", len(l.of))
		}
		time.Sleep(time.Second) // what each has spent is made up for
		if own, _ := l.limits(client(3 * maxTriers)); own == l.others || len(l.of) != 1 {
			t.Errorf("later a new address finds no place: %d are counted", len(l.of))
		}
	})
}
