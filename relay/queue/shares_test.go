package queue

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/spool"
)

func (r *rig) trySend(client string, n int, to ...string) (string, error) {
	m := message(to...)
	m.Client.Addr = netip.MustParseAddr(client)
	m.Size = int64(n)
	_, err := r.trySubmit(m)
	return m.ID, err
}

// The memory of the queue is bounded, by recipients as well as by messages, and one
// client leaves some of it to the others. What is removed makes room again.
func TestMemoryIsShared(t *testing.T) {
	for _, recipients := range []int{1, 50} {
		t.Run(fmt.Sprint(recipients), func(t *testing.T) {
			inBubble(t, settings(), func(r *rig) {
				to := make([]string, recipients)
				for i := range to {
					to[i] = fmt.Sprintf("%s%d@corp.example", strings.Repeat("x", 50), i)
				}
				one := message(to...).weight()
				most := 40 * (one + 20) // with its ID
				r.stop()
				r.options = func(o *Options) { o.MaxMemory = most }
				r.start()
				r.up.say(always(greylisted))
				var first []string
				n := 0
				for ; n < 100; n++ {
					id, err := r.trySend("10.0.0.1", 100, to...)
					if errors.Is(err, ErrShare) {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					if n < 2 {
						first = append(first, id)
					}
				}
				if n < 30 || n > 32 {
					t.Errorf("one client has %d of 40 messages, want 30", n)
				}
				if err := r.q.Admits(Client{Addr: netip.MustParseAddr("10.0.0.1")}, 0); !errors.Is(err, spool.ErrFull) {
					t.Errorf("at MAIL: %v", err)
				}
				if _, err := r.trySend("10.0.0.2", 100, to...); err != nil {
					t.Errorf("another client: %v", err)
				}
				r.restart()
				if _, err := r.trySend("10.0.0.1", 100, to...); !errors.Is(err, ErrShare) {
					t.Errorf("behind a restart: %v", err)
				}
				if _, err := r.q.Remove(r.Context(), Filter{IDs: first}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if _, err := r.trySend("10.0.0.1", 100, to...); err != nil {
					t.Errorf("behind a removal: %v", err)
				}
			})
		})
	}
}

// A user is one client, whatever addresses it comes from.
func TestAUserIsOneAccount(t *testing.T) {
	a := Client{Addr: netip.MustParseAddr("10.0.0.1"), User: "mfp"}
	b := Client{Addr: netip.MustParseAddr("10.0.0.2"), User: "mfp"}
	c := Client{Addr: netip.MustParseAddr("10.0.0.1")}
	d, e := Client{Addr: netip.MustParseAddr("2001:db8::1")}, Client{Addr: netip.MustParseAddr("2001:db8::2")}
	if a.account() != b.account() || a.account() == c.account() || d.account() != e.account() || (Client{}).account() != "" {
		t.Error(a.account(), b.account(), c.account(), d.account(), e.account(), Client{}.account())
	}
}

// roomy is a spool with as much room as the test says.
type roomy struct {
	store
	room int64
}

func (s *roomy) Room() int64 { return s.room }

// A message that finds no room waits for it, a minute in all, and what was kept for
// it is given back.
func TestAMessageWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(&roomy{room: 10 << 20}, Options{Settings: settings()})
		a, b := Client{Addr: netip.MustParseAddr("10.0.0.1")}, Client{Addr: netip.MustParseAddr("10.0.0.2")}
		other, err := q.Begin(t.Context(), b, 8<<20, 40<<20)
		if err != nil {
			t.Fatal(err)
		}
		in, err := q.Begin(t.Context(), a, 0, 40<<20)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		w := in.Writer(t.Context(), &got)
		go func() {
			time.Sleep(40 * time.Second)
			other.End()
		}()
		begun := time.Now()
		if n, err := w.Write(make([]byte, 5<<20)); n != 5<<20 || err != nil || got.Len() != n {
			t.Fatal(n, err)
		}
		if waited := time.Since(begun); waited != 40*time.Second {
			t.Errorf("it waited %s", waited)
		}
		if _, err := w.Write(make([]byte, 6<<20)); !errors.Is(err, ErrShare) {
			t.Errorf("more than there is: %v", err)
		}
		if waited := time.Since(begun); waited != paceTime {
			t.Errorf("it waited %s, want a minute in all", waited)
		}
		in.End()
		if left := q.shares.spool.Left(); left != 10<<20 || q.shares.spool.Has(a.account()) != 0 {
			t.Errorf("%d left, %d kept", left, q.shares.spool.Has(a.account()))
		}
	})
}

// However many begin at once, what is left is kept for none alone: the next one
// can begin too, and a flood of one client does not take it.
func TestManyBegin(t *testing.T) {
	q := newQueue(&roomy{room: 1 << 30}, Options{Settings: settings()})
	ctx := t.Context()
	for i := range 250 {
		c := Client{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}
		if _, err := q.Begin(ctx, c, 0, 40<<20); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
	}
	if left := q.shares.spool.Left(); left < smallest {
		t.Errorf("%d octets are left", left)
	}
}
