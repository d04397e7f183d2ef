package queue

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// perHour are settings with so many notifications about a device in an hour.
func perHour(n int) Settings {
	s := only(settings())
	s.Delivery.Bounce.PerHour = n
	return s
}

// deadAddress refuses scans, and takes what the relay itself sends.
func deadAddress(a Attempt, _ envelope.Address) upstream.Outcome {
	if a.Message.DSNOf != "" {
		return ok
	}
	return noUser
}

// from is a message of the device with an address.
func from(device string, to ...string) *Message {
	m := message(to...)
	m.Client.Addr = netip.MustParseAddr(device)
	return m
}

// wantDigests checks the digests so far, as "to: failed+delayed of listed after alone".
func (r *rig) wantDigests(want ...string) {
	r.Helper()
	r.up.mu.Lock()
	defer r.up.mu.Unlock()
	var got []string
	for _, d := range r.digests {
		failed, delayed, listed := 0, 0, 0
		for _, c := range d.Causes {
			listed += len(c.Notices)
			if c.Delayed {
				delayed += c.Count
			} else {
				failed += c.Count
			}
		}
		got = append(got, fmt.Sprintf("%s: %d+%d of %d after %d", d.To, failed, delayed, listed, d.Alone))
	}
	if !slices.Equal(got, want) {
		r.Errorf("digests\n got %q\nwant %q", got, want)
	}
}

// untold is how many messages wait to be told of.
func (r *rig) untold() int {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	n := 0
	for _, it := range r.q.items {
		if it.hasFailed() {
			n++
		}
	}
	return n
}

func TestManyFailuresOfADeviceAreADigest(t *testing.T) {
	inBubble(t, perHour(6), func(r *rig) {
		r.up.say(deadAddress)
		for range 500 {
			r.submit(from("10.20.3.7", "gone@corp.example"))
			r.pass(time.Second)
		}
		r.send(from("10.20.3.8", "gone@corp.example")) // its own cap
		if n := len(r.noticed()); n != 7 {
			t.Fatalf("%d notifications", n)
		}
		r.wantDigests()
		r.pass(time.Hour - 502*time.Second) // the hour began with the first
		r.wantDigests()
		r.pass(2 * time.Second)
		r.wantDigests("it@corp.example: 494+0 of 100 after 6")
		if n := r.untold(); n != 0 {
			t.Errorf("%d are not told of", n)
		}
		d := r.digests[0]
		if d.Device.Addr != netip.MustParseAddr("10.20.3.7") || len(d.Causes) != 1 || d.From != addr("relay@copier.corp.example") || !d.Since.Equal(r.noticed()[0].At) {
			t.Errorf("%+v", d)
		}
		// The next hour has its own.
		r.send(from("10.20.3.7", "gone@corp.example"))
		if n := len(r.noticed()); n != 8 {
			t.Errorf("%d notifications after the digest", n)
		}
		r.pass(2 * time.Hour)
		r.wantDigests("it@corp.example: 494+0 of 100 after 6")
	})
}

func TestFewFailuresComeOnTheirOwn(t *testing.T) {
	inBubble(t, perHour(2), func(r *rig) {
		r.up.say(deadAddress)
		for range 6 { // two an hour, whenever the hour began
			r.send(from("10.20.3.7", "gone@corp.example"))
			r.pass(30*time.Minute + time.Second)
		}
		if n := len(r.noticed()); n != 6 {
			t.Errorf("%d notifications", n)
		}
		r.wantDigests()
		// One more than that is no digest, but comes later.
		for range 3 {
			r.send(from("10.20.3.9", "gone@corp.example"))
		}
		r.pass(2 * time.Hour)
		if n := len(r.noticed()); n != 9 || r.untold() != 0 {
			t.Errorf("%d notifications, %d not told of", n, r.untold())
		}
		r.wantDigests()
	})
}

func TestOnlyDigests(t *testing.T) {
	inBubble(t, perHour(0), func(r *rig) {
		r.up.say(deadAddress)
		r.send(from("10.20.3.7", "gone@corp.example"))
		r.pass(59 * time.Minute)
		r.restart() // does not begin the hour anew
		r.wantDigests()
		r.pass(2 * time.Minute)
		r.wantNotices()
		r.wantDigests("it@corp.example: 1+0 of 1 after 0")
	})
}

func TestWhoSharesACap(t *testing.T) {
	for name, c := range map[string]struct {
		change func(i int, m *Message)
		alone  int
	}{
		"one device":      {func(int, *Message) {}, 1},
		"another address": {func(i int, m *Message) { m.Client.Addr = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }, 4},
		"another login":   {func(i int, m *Message) { m.Client.User = fmt.Sprint("mfp", i) }, 4},
		"one IPv6 network": {func(i int, m *Message) {
			m.Client.Addr = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i))
		}, 1},
		"another name":   {func(i int, m *Message) { m.Client.HELO = fmt.Sprint("mfp", i) }, 1},
		"another sender": {func(i int, m *Message) { m.Sender.Local = fmt.Sprint("scan", i) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, perHour(1), func(r *rig) {
				r.up.say(deadAddress)
				for i := range 4 {
					m := message("gone@corp.example")
					c.change(i, m)
					r.send(m)
				}
				if n := len(r.noticed()); n != c.alone {
					t.Errorf("%d on their own, want %d", n, c.alone)
				}
			})
		})
	}
}

// A device cannot flood a sender whose address it writes, nor get around the
// postmaster's cap by doing so.
func TestASpoofedSenderIsNotFlooded(t *testing.T) {
	s := perHour(2)
	s.Delivery.Bounce.To = "OriginalSender"
	inBubble(t, s, func(r *rig) {
		r.up.say(deadAddress)
		for i := range 20 {
			m := message("gone@corp.example")
			m.Sender.Local = []string{"victim", "other"}[i%2]
			r.send(m)
		}
		r.pass(2 * time.Hour)
		if n := len(r.noticed()); n != 4 {
			t.Errorf("%d on their own", n)
		}
		r.up.mu.Lock()
		slices.SortFunc(r.digests, func(a, b *Digest) int { return strings.Compare(a.To.Local, b.To.Local) })
		r.up.mu.Unlock()
		r.wantDigests("other@copier.corp.example: 8+0 of 8 after 2", "victim@copier.corp.example: 8+0 of 8 after 2")
	})
}

func TestDelayWarningsAreGatheredToo(t *testing.T) {
	s := perHour(2)
	s.Delivery.RetryMax = 20 * time.Minute
	inBubble(t, s, func(r *rig) {
		var arrives atomic.Bool
		r.up.say(func(a Attempt, to envelope.Address) upstream.Outcome {
			if a.Message.DSNOf != "" || arrives.Load() && to.Local == "fine" {
				return ok
			}
			return greylisted
		})
		for range 10 {
			r.submit(message("late@corp.example"))
		}
		r.pass(4*time.Hour + time.Second)
		r.submit(message("fine@corp.example")) // would be late behind the digest of the others
		warned := map[string]bool{}
		for _, n := range r.noticed() {
			warned[n.Message.ID] = n.Delayed
		}
		if len(warned) != 2 {
			t.Fatalf("warnings on their own: %v", warned)
		}
		p, err := r.q.List(Filter{All: true})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string // of some that are gathered, and given up before the digest
		for _, m := range p.Messages {
			if !warned[m.ID] && len(ids) < 2 {
				ids = append(ids, m.ID)
			}
		}
		if _, err := r.q.Bounce(r.Context(), Filter{IDs: ids}, ""); err != nil {
			t.Fatal(err)
		}
		arrives.Store(true)
		r.pass(time.Hour)
		r.wantDigests("it@corp.example: 2+6 of 8 after 2")
		r.pass(24 * time.Hour) // once
		r.wantDigests("it@corp.example: 2+6 of 8 after 2")
	})
}

// What one of the gathered became of meanwhile is what the digest tells, or nothing.
func TestWhatIsNoMoreIsNotInTheDigest(t *testing.T) {
	inBubble(t, perHour(0), func(r *rig) {
		r.up.say(deadAddress)
		var ids []string
		for range 4 {
			ids = append(ids, r.send(message("gone@corp.example")).ID)
		}
		if _, err := r.q.Remove(r.Context(), Filter{IDs: ids[:1]}); err != nil {
			t.Fatal(err)
		}
		r.up.say(always(ok))
		if _, err := r.q.Retry(r.Context(), Filter{IDs: ids[1:2]}); err != nil {
			t.Fatal(err)
		}
		r.pass(2 * time.Hour)
		r.wantDigests("it@corp.example: 2+0 of 2 after 0")
		// Who is told now may be another than when it was gathered, or nobody.
		r.up.say(deadAddress)
		r.send(message("gone@corp.example"))
		r.send(message("gone@corp.example"))
		s := r.s
		s.Delivery.Bounce.Postmaster = addr("new@corp.example")
		r.q.Update(s)
		r.pass(3 * time.Hour)
		r.wantDigests("it@corp.example: 2+0 of 2 after 0", "new@corp.example: 2+0 of 2 after 0")
		r.send(message("gone@corp.example"))
		s.Delivery.Bounce.To = "None"
		r.q.Update(s)
		r.pass(3 * time.Hour)
		if n := r.untold(); n != 0 || len(r.digests) != 2 {
			t.Errorf("%d not told of, %d digests", n, len(r.digests))
		}
	})
}

// A digest that fails causes nothing, and one that waits is not made again.
func TestNoNoticeAboutADigest(t *testing.T) {
	inBubble(t, perHour(1), func(r *rig) {
		r.up.say(always(noUser)) // the postmaster's mailbox too
		for range 5 {
			r.send(message("gone@corp.example"))
		}
		r.pass(30 * time.Hour)
		r.wantDigests("it@corp.example: 4+0 of 4 after 1")
		if n := len(r.noticed()); n != 1 {
			t.Errorf("%d notifications", n)
		}
		r.restart() // it is kept as failed, and tells of nothing anew
		r.up.say(always(greylisted))
		if _, err := r.q.Retry(r.Context(), Filter{All: true}); err != nil {
			t.Fatal(err)
		}
		r.pass(3 * time.Hour)
		r.restart()
		r.wantDigests("it@corp.example: 4+0 of 4 after 1")
		// Scans that fail again are told of again, though the digest of before is there.
		r.up.say(func(a Attempt, _ envelope.Address) upstream.Outcome {
			if a.Message.DSNOf != "" {
				return greylisted
			}
			return noUser
		})
		if _, err := r.q.Retry(r.Context(), Filter{Client: "10.20.3.7"}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		r.restart()
		r.pass(2 * time.Hour)
		r.wantDigests("it@corp.example: 4+0 of 4 after 1", "it@corp.example: 4+0 of 4 after 1")
		if n := r.untold(); n != 0 {
			t.Errorf("%d not told of", n)
		}
	})
}

func TestAutomaticMailGetsNoNotification(t *testing.T) {
	for head, want := range map[string]int{
		"Subject: scan\r\n":                           1,
		"Auto-Submitted: no\r\n":                      1,
		"Auto-Submitted: auto-generated\r\n":          1, // an alert of a device
		"Auto-Submitted: auto-replied (vacation)\r\n": 1, // no such word
		"Auto-Submitted: auto-replied; owner=x\r\n":   0,
		"Content-Type: multipart/report; boundary=x; report-type=delivery-status\r\n": 0,
	} {
		inBubble(t, perHour(6), func(r *rig) {
			r.up.say(deadAddress)
			m := message("gone@corp.example")
			m.HeaderSize = int64(len(head) + 2)
			r.sendBody(m, head+"\r\npage\r\n")
			if n := len(r.noticed()); n != want {
				t.Errorf("%q: %d notifications, want %d", head, n, want)
			}
			r.wantState(m.ID, Failed)
		})
	}
	inBubble(t, perHour(6), func(r *rig) { // a digest that came back
		r.up.say(deadAddress)
		m := message("gone@corp.example")
		m.Sender = r.s.Delivery.Bounce.From
		head := "Auto-Submitted: auto-generated\r\n\r\n"
		m.HeaderSize = int64(len(head))
		r.sendBody(m, head+"page\r\n")
		r.wantNotices()
	})
}

// An hour begins with a digest, and what could not be written does not count in it.
func TestWhatCountsInAnHour(t *testing.T) {
	inBubble(t, perHour(1), func(r *rig) {
		r.stop()
		f := new(failing)
		r.wrap = func(s store) store { f.store = s; return f }
		r.start()
		r.up.say(deadAddress)
		f.set(true)
		r.send(message("gone@corp.example"))
		r.pass(time.Minute)
		f.set(false)
		r.pass(3 * time.Minute)
		if n := len(r.noticed()); n != 1 || r.untold() != 0 {
			t.Fatalf("%d notifications, %d not told of", n, r.untold())
		}
		r.send(message("gone@corp.example"))
		r.send(message("gone@corp.example"))
		r.pass(time.Hour)
		r.wantDigests("it@corp.example: 2+0 of 2 after 1")
		r.pass(30 * time.Minute)
		r.send(message("gone@corp.example"))
		r.pass(35 * time.Minute)
		r.send(message("gone@corp.example"))
		if n := len(r.noticed()); n != 3 {
			t.Errorf("%d notifications", n)
		}
	})
}

// A digest that cannot be written comes when it can.
func TestADigestThatCannotBeWritten(t *testing.T) {
	inBubble(t, perHour(1), func(r *rig) {
		r.stop()
		f := new(failing)
		r.wrap = func(s store) store { f.store = s; return f }
		r.start()
		r.up.say(deadAddress)
		for range 5 {
			r.send(message("gone@corp.example"))
		}
		f.set(true)
		r.pass(3 * time.Hour)
		f.set(false)
		r.pass(2 * time.Minute)
		if n := r.untold(); n != 0 {
			t.Errorf("%d not told of", n)
		}
		if n := len(r.noticed()); n != 1 {
			t.Errorf("%d notifications", n)
		}
		e := r.sp.Usage().Entries
		if e != 5 { // and the digest was delivered
			t.Errorf("%d entries", e)
		}
	})
}

// sendBody submits m with a whole message of its own.
func (r *rig) sendBody(m *Message, body string) {
	r.Helper()
	m.ID = r.sp.NewID()
	w, err := r.sp.Create(m.ID)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := io.WriteString(w, body); err != nil {
		r.Fatal(err)
	}
	m.Size = int64(len(body))
	if _, err := r.q.Submit(w, m); err != nil {
		r.Fatal(err)
	}
	r.pass(time.Millisecond)
}
