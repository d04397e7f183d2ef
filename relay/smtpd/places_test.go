package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// Messages that come in are bounded; one device leaves places to the others, and
// who finds none waits for a minute.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(8)
		greedy, late := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
		var give []func()
		for range 6 {
			f, err := p.take(t.Context(), greedy)
			if err != nil {
				t.Fatal(err)
			}
			give = append(give, f)
		}
		ctx, cancel := context.WithTimeout(t.Context(), placeTime)
		defer cancel()
		begun := time.Now()
		if _, err := p.take(ctx, greedy); !errors.Is(err, errNoPlace) || time.Since(begun) != placeTime {
			t.Errorf("a seventh of eight for one device: %v, after %s", err, time.Since(begun))
		}
		for range 2 {
			if _, err := p.take(t.Context(), late); err != nil {
				t.Errorf("another device: %v", err)
			}
		}
		go func() {
			time.Sleep(10 * time.Second)
			give[0]()
		}()
		begun = time.Now()
		if _, err := p.take(t.Context(), netip.MustParseAddr("10.0.0.3")); err != nil || time.Since(begun) != 10*time.Second {
			t.Errorf("a third device: %v, after %s", err, time.Since(begun))
		}
	})
}

// All listeners together have no more connections than memory allows, each its part.
func TestConnectionsFitMemory(t *testing.T) {
	p := &plan.Plan{}
	for i, n := range []int{500, 1500} {
		p.Listeners = append(p.Listeners, plan.Listener{Name: fmt.Sprint(i), Connections: n})
	}
	s := New(Config{Connections: 1000, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	defer s.Shutdown(t.Context())
	for i, want := range []int{250, 750} {
		if got := s.connections(p, &p.Listeners[i]); got != want {
			t.Errorf("listener %d has %d connections, want %d", i, got, want)
		}
	}
	s.Connections = 2000
	if got := s.connections(p, &p.Listeners[1]); got != 1500 {
		t.Errorf("there is room: %d", got)
	}
}
