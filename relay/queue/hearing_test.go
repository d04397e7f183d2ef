package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// One mailbox is one, however a device spells it.
func TestSpellingsOfAMailboxAreOne(t *testing.T) {
	s := perHour(2)
	s.Delivery.Bounce.To = "OriginalSender"
	inBubble(t, s, func(r *rig) {
		r.up.say(deadAddress)
		for i := range 12 {
			m := message("gone@corp.example")
			m.Sender = []envelope.Address{addr("anna@corp.example"), addr("aNna@Corp.example"), addr("anna+1@corp.example")}[i%3]
			r.send(m)
		}
		m := message("gone@corp.example") // somebody else
		m.Sender = addr("annabel@corp.example")
		r.send(m)
		r.wantNotices("failed anna@corp.example gone@corp.example", "failed aNna@Corp.example gone@corp.example", "failed annabel@corp.example gone@corp.example")
		r.pass(2 * time.Hour)
		r.wantDigests("anna+1@corp.example: 10+0 of 10 after 2")
	})
}

func TestMailbox(t *testing.T) {
	for in, want := range map[string]string{
		"Anna@Corp.Example":       "anna@corp.example",
		"anna+x+y@corp.example":   "anna@corp.example",
		"+x@corp.example":         "+x@corp.example",
		"a.nna@corp.example":      "a.nna@corp.example",
		"anna@bücher.example":     "anna@xn--bcher-kva.example",
		"MAILER-DAEMON@a.example": "mailer-daemon@a.example",
	} {
		if got := mailbox(addr(in)); got.String() != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// Of devices without number that only count, the first are forgotten, many at a time:
// each new one must not have all of them looked through.
func TestWhatIsRememberedOfDevicesIsBounded(t *testing.T) {
	inBubble(t, perHour(2), func(r *rig) {
		r.q.mu.Lock()
		defer r.q.mu.Unlock()
		kept := r.q.hearing(addr("it@corp.example"), from("192.0.2.1"))
		kept.from = time.Now().UnixNano()
		kept.more[newItem(message("x@corp.example"))] = false
		last, looked := 0, 0
		for i := range 4 * maxHearings {
			h := r.q.hearing(addr("it@corp.example"), from(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()))
			h.from = time.Now().UnixNano() + int64(i)
			n := len(r.q.hearings)
			if n > maxHearings+1 {
				t.Fatalf("%d are remembered", n)
			}
			if n <= last {
				looked++
			}
			last = n
		}
		if looked == 0 || looked > 8 {
			t.Errorf("all were looked through %d times", looked)
		}
		for _, h := range r.q.hearings {
			if n := h.from - kept.from; h != kept && n < 3*maxHearings {
				t.Errorf("device %d of %d is remembered", n, 4*maxHearings)
			}
		}
		if r.q.hearings[kept.hearer] != kept {
			t.Error("one with a message gathered is forgotten")
		}
	})
}

// Digests of many devices that are due at once are made a few at a time.
func TestFewDigestsAreMadeAtOnce(t *testing.T) {
	inBubble(t, perHour(0), func(r *rig) {
		r.stop()
		gate := make(chan struct{})
		var running, most atomic.Int32
		r.options = func(o *Options) {
			write := o.Digest
			o.Digest = func(w io.Writer, d *Digest) (Content, error) {
				n := running.Add(1)
				defer running.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				<-gate
				return write(w, d)
			}
		}
		r.start()
		r.up.say(deadAddress)
		const devices = 3 * maxDigests
		for i := range devices {
			r.submit(from(fmt.Sprint("10.0.0.", i), "gone@corp.example"))
		}
		r.pass(time.Hour + time.Minute)
		if n := running.Load(); n != maxDigests {
			t.Errorf("%d at once", n)
		}
		close(gate)
		r.pass(time.Minute)
		if n := most.Load(); n != maxDigests || len(r.digests) != devices || r.untold() != 0 {
			t.Errorf("%d at once, %d digests, %d not told of", n, len(r.digests), r.untold())
		}
	})
}

// A digest that tells of all it may is followed by the next at once.
func TestADigestOfVeryManyIsSeveral(t *testing.T) {
	inBubble(t, perHour(0), func(r *rig) {
		r.up.say(deadAddress)
		for range maxCovered + 5 {
			r.submit(message("gone@corp.example"))
		}
		r.pass(time.Hour + time.Minute)
		r.wantDigests("it@corp.example: 1000+0 of 100 after 0", "it@corp.example: 5+0 of 5 after 0")
		if n := r.untold(); n != 0 {
			t.Errorf("%d not told of", n)
		}
	})
}

// What is gathered is put in order once, however many digests it takes: what the first has
// no room for waits in that order, and what left meanwhile is in none.
func TestWhatIsGatheredIsSortedOnce(t *testing.T) {
	inBubble(t, perHour(0), func(r *rig) {
		r.up.say(deadAddress)
		var ids []string
		for range 3 * maxCovered {
			ids = append(ids, r.submit(message("gone@corp.example")).ID)
		}
		synctest.Wait()
		q := r.q
		q.mu.Lock()
		defer q.mu.Unlock()
		h := q.gathered[q.items[ids[0]]]
		h.busy = true // the digest is this test's
		cover := func(want []string) {
			t.Helper()
			var got []string
			for _, p := range q.cover(h, time.Now()) {
				got = append(got, p.it.msg.ID)
				p.it.locked = false
				q.ungather(h, p.it)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d, from %s to %s; want %d", len(got), got[0], got[len(got)-1], len(want))
			}
		}
		cover(ids[:maxCovered])
		rest := &h.next[len(h.next)-1]
		q.drop(q.items[ids[maxCovered]])
		q.items[ids[maxCovered+1]].locked = true // the next round has it
		cover(ids[maxCovered+2 : 2*maxCovered+2])
		if len(h.next) != maxCovered-2 || &h.next[len(h.next)-1] != rest {
			t.Errorf("%d wait in another order", len(h.next))
		}
		cover(ids[2*maxCovered+2:])
		q.items[ids[maxCovered+1]].locked = false
		cover(ids[maxCovered+1 : maxCovered+2])
		h.busy = false
	})
}

// dying is a store whose disk dies once something is told, and that notes of which
// messages it was asked to write that.
type dying struct {
	store
	mu    sync.Mutex
	asked map[string]bool
}

func (d *dying) Append(id string, b []byte) error {
	var r record
	if json.Unmarshal(b, &r) != nil || r.Event != evTold {
		return d.store.Append(id, b)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[id] = true
	return errors.New("input/output error")
}

// A process that has to end does not go on to write what it could not.
func TestADigestEndsWithTheProcess(t *testing.T) {
	const messages = 4 * markWorkers
	inBubble(t, perHour(0), func(r *rig) {
		r.stop()
		d := &dying{asked: map[string]bool{}}
		r.wrap = func(s store) store { d.store = s; return d }
		r.start()
		r.up.say(deadAddress)
		for range messages {
			r.submit(message("gone@corp.example"))
		}
		r.pass(2 * time.Hour)
		r.stop()
		// Those that were being written, and the one that was to be the next.
		if n := len(d.asked); n < markWorkers || n > markWorkers+1 {
			t.Errorf("it tried %d", n)
		}
		r.wrap = nil
		r.start()
		r.pass(2 * time.Hour)
		r.wantDigests(fmt.Sprintf("it@corp.example: %d+0 of %d after 0", messages, messages))
		if n := r.untold(); n != 0 {
			t.Errorf("%d not told of", n)
		}
	})
}

// What left the queue is not kept in memory until the hour is over.
func TestWhatLeftWaitsForNoDigest(t *testing.T) {
	inBubble(t, perHour(0), func(r *rig) {
		r.up.say(deadAddress)
		var ids []string
		for range 3 {
			ids = append(ids, r.send(message("gone@corp.example")).ID)
		}
		s := r.s
		s.Delivery.Bounce.Postmaster = addr("new@corp.example") // where it would be looked for now
		r.q.Update(s)
		if _, err := r.q.Remove(r.Context(), Filter{IDs: ids[:2]}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		r.q.mu.Lock()
		n := len(r.q.gathered)
		for _, h := range r.q.hearings {
			n += len(h.more)
		}
		r.q.mu.Unlock()
		if n != 2 {
			t.Errorf("%d are kept", n)
		}
		r.pass(3 * time.Hour)
		r.wantDigests("new@corp.example: 1+0 of 1 after 0")
	})
}

// What is behind the causes that a digest tells apart is not given the first one's.
func TestReasonsThatDiffer(t *testing.T) {
	inBubble(t, perHour(0), func(r *rig) {
		r.stop()
		r.options = func(o *Options) { o.Digest = nil }
		r.start()
		var digest string
		r.up.say(func(a Attempt, to envelope.Address) upstream.Outcome {
			if a.Message.DSNOf == "" {
				o := noUser
				fmt.Sscan(to.Local, &o.Code) //nolint:errcheck // the test wrote it
				o.Enhanced, o.Text = "5.9."+to.Local, "words of "+to.Local
				return o
			}
			b, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(r.sent(a))))
			if err != nil {
				t.Error(err)
			}
			digest = string(b)
			return ok
		})
		for code := 550; code < 573; code++ {
			r.send(message(fmt.Sprintf("%d@corp.example", code)))
		}
		r.pass(2 * time.Hour)
		_, rest, found := strings.Cut(digest, "5 scans could not be sent: for reasons that differ")
		if !found {
			t.Fatalf("%s", digest)
		}
		rest, _, _ = strings.Cut(rest, " scan could not be sent")
		for code := 568; code < 573; code++ {
			if !strings.Contains(rest, fmt.Sprintf("Server said:  %d 5.9.%d words of %d", code, code, code)) {
				t.Errorf("nothing of %d in\n%s", code, rest)
			}
		}
	})
}
