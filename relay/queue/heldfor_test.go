package queue

import (
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// How long mail has been held is what an alert goes by: since it is held, not since it
// came, whatever it is held for since, and over restarts.
func TestHowLongMailIsHeld(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		want := func(what string, d time.Duration) {
			t.Helper()
			r.pass(2 * time.Second) // a snapshot is up to a second old
			if got := r.q.Snapshot().HeldFor; got < d || got > d+10*time.Second {
				t.Errorf("%s: held for %s, want %s", what, got, d)
			}
		}
		r.up.say(always(greylisted))
		id := r.send(message("x@corp.example")).ID
		r.pass(time.Hour)
		want("not held", 0)
		r.update(holding())
		r.pass(2 * time.Hour)
		want("by the manifests", 2*time.Hour)
		r.wantKept(id, "hold stolen still keeps it")(r.q.Release(r.Context(), Filter{All: true}))
		want("not released", 2*time.Hour)
		r.restart()
		want("after a restart", 2*time.Hour)
		comes := message("y@corp.example")
		r.send(comes)
		r.pass(time.Hour)
		want("with another", 3*time.Hour)
		r.update(settings())
		r.wantChanged(id)(r.q.Release(r.Context(), Filter{IDs: []string{id}}))
		want("the other", time.Hour)
		r.wantChanged(comes.ID)(r.q.Release(r.Context(), Filter{IDs: []string{comes.ID}}))
		want("none", 0)
		r.pass(time.Hour)
		r.wantChanged(id)(r.q.Hold(r.Context(), Filter{IDs: []string{id}}, ""))
		want("by hand", 0)
		r.update(Settings{Holds: []plan.Hold{{Name: "again", Users: []string{"nobody"}}}, Upstreams: r.s.Upstreams, Routes: r.s.Routes, Delivery: r.s.Delivery})
		r.pass(time.Hour)
		want("another hold", time.Hour)
	})
}
