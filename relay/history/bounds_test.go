package history

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/queue"
)

func TestTheSameRefusedAgainIsCounted(t *testing.T) {
	inWorld(t, month, func(w *world) {
		for range 50 {
			w.s.Refused(refused(copier, "boss"))
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Minute)
		w.s.Refused(refused(copier, "boss"))
		synctest.Wait()
		got := w.list(Filter{})
		if len(got) != 2 || got[0].Count != 1 || got[1].Count != 50 || got[1].Changed.Sub(got[1].At) != 49*time.Second {
			w.Errorf("%+v", got)
		}
		if e := got[1]; e.Client != copier.String() || e.HELO != "MFP9" || e.Sender != "boss@corp.example" || e.Step != "MAIL" || !strings.Contains(e.Reply, "PR-030") || !strings.Contains(e.Cause, "no rule matched") {
			w.Errorf("%+v", e)
		}
	})
}

// A client that tries all senders that there are has its part of a minute, and the
// history of mail is as it was.
func TestWhoIsRefusedAllDayPushesNothingOut(t *testing.T) {
	set := month
	set.Size = 8 << 20
	inWorld(t, set, func(w *world) {
		id := w.arrive(1)
		other := netip.MustParseAddr("10.9.9.9")
		n := 0
		for range 60 { // minutes, of an attacker with a /16
			for i := range 2000 {
				n++
				a := netip.AddrFrom4([4]byte{172, 16, byte(n / 20 % 250), byte(n / 20 / 250)})
				w.s.Refused(refused(a, fmt.Sprint("try-", n, strings.Repeat("x", 50))))
				if i%200 == 0 {
					synctest.Wait()
				}
			}
			time.Sleep(time.Minute)
		}
		w.s.Refused(refused(other, "late"))
		if w.show(id).State != Waiting {
			w.Error("the message is gone")
		}
		if len(w.list(Filter{Client: other.String()})) != 1 {
			w.Error("the last refusal is not kept")
		}
		if w.drops("refusals") == 0 {
			w.Error("none was dropped: the test shows nothing")
		}
		if got := w.s.db.Load().kept[1]; got > set.Size/refusalShare {
			w.Errorf("refusals take %d octets of %d", got, set.Size)
		}
	})
	inWorld(t, month, func(w *world) {
		for i := range 100 {
			w.s.Refused(refused(copier, fmt.Sprint("x", i)))
		}
		w.s.Refused(refused(netip.MustParseAddr("10.9.9.9"), "x"))
		if n := len(w.list(Filter{Client: copier.String(), Limit: 1000})); n != refusalsOfClient {
			w.Errorf("%d refusals of one client within a minute", n)
		}
		if len(w.list(Filter{Client: "10.9.9.9"})) != 1 {
			w.Error("another client has no room")
		}
	})
}

func TestOldEntriesGo(t *testing.T) {
	set := month
	set.Keep = 48 * time.Hour
	inWorld(t, set, func(w *world) {
		w.arrive(1)
		w.s.Refused(refused(copier, "old"))
		time.Sleep(30 * time.Hour)
		id := w.arrive(2)
		time.Sleep(19 * time.Hour)
		if got := w.list(Filter{}); len(got) != 1 || got[0].ID != id {
			w.Errorf("after 49 hours: %+v", got)
		}
		w.s.Update(Settings{Keep: time.Hour, Size: set.Size})
		time.Sleep(pruneEvery + batchTime)
		if got := w.list(Filter{}); len(got) != 0 {
			w.Errorf("after a reload to an hour: %+v", got)
		}
	})
}

func TestTheSizeIsABound(t *testing.T) {
	set := month
	set.Size = 8 << 20
	inWorld(t, set, func(w *world) {
		last, n := "", 0
		for range 200 {
			for range 200 {
				n++
				last = w.arrive(n)
			}
			time.Sleep(batchTime)
			if o := w.s.Octets(); o > set.Size {
				w.Fatalf("the file has %d octets after %d messages, more than %d", o, n, set.Size)
			}
		}
		time.Sleep(batchTime)
		w.show(last)
		all := 0
		f := Filter{Limit: maxPage}
		for {
			p, err := w.s.List(w.Context(), f)
			if err != nil {
				w.Fatal(err)
			}
			all += len(p.Entries)
			if f.Cursor = p.Next; p.Next == "" {
				break
			}
		}
		if all < 5000 || all >= n {
			w.Errorf("%d of %d messages are kept", all, n)
		}
		if p := w.s.Problem(); p != "" {
			w.Error(p)
		}
		if len(w.dropped) != 0 {
			w.Error(w.dropped)
		}
	})
}

// A volume without room is the spool's: nothing is written, and nothing waits.
func TestAFullVolume(t *testing.T) {
	inWorld(t, month, func(w *world) {
		first := w.arrive(1)
		w.show(first)
		w.setFree(0)
		before := w.s.Octets()
		for i := range 3 * batchMost {
			w.arrive(i + 2)
			if i%1000 == 0 {
				synctest.Wait()
				time.Sleep(batchTime)
			}
		}
		time.Sleep(2 * time.Minute)
		if p := w.s.Problem(); !strings.Contains(p, "no room") || !strings.Contains(p, "mail goes on") {
			w.Errorf("problem %q", p)
		}
		if w.drops("off") == 0 || w.s.Octets() != before {
			w.Errorf("%v dropped, %d octets, before %d", w.dropped, w.s.Octets(), before)
		}
		if n := len(w.s.pending.entries); n > batchMost {
			w.Errorf("%d entries wait", n)
		}
		w.show(first) // it can be read
		w.setFree(1 << 40)
		time.Sleep(2 * time.Minute)
		if p := w.s.Problem(); p != "" {
			w.Errorf("problem %q", p)
		}
		w.show(w.arrive(100000))
	})
}

func TestNothingIsKeptWhereNothingIsToBe(t *testing.T) {
	inWorld(t, month, func(w *world) {
		w.show(w.arrive(1))
		w.s.Update(Settings{})
		w.arrive(2)
		time.Sleep(2 * batchTime)
		if _, err := os.Stat(filepath.Join(w.dir, fileName)); !os.IsNotExist(err) {
			w.Errorf("the file is still there: %v", err)
		}
		if _, err := w.s.List(w.Context(), Filter{}); err == nil || !strings.Contains(err.Error(), "keepSeconds") {
			w.Error(err)
		}
		if p := w.s.Problem(); p != "" {
			w.Error(p)
		}
		w.s.Update(month)
		time.Sleep(2 * batchTime)
		w.show(w.arrive(3))
	})
}

func TestWitnessNeverWaits(t *testing.T) {
	s := New(Options{Dir: t.TempDir(), Settings: month, Free: func() int64 { return 0 }}) // nobody runs it
	dropped := 0
	s.o.Dropped = func(string) { dropped++ }
	m := message(anna)
	for range mailRoom + 10 {
		s.Witness(queue.Progress{Message: m, Event: queue.Arrived})
	}
	for range refusalRoom + 10 {
		s.Refused(RefusedCommand{})
	}
	if dropped != 20 {
		t.Errorf("%d dropped", dropped)
	}
}

func TestForget(t *testing.T) {
	inWorld(t, month, func(w *world) {
		for i := range 500 {
			w.arrive(i)
		}
		m := message(bert, anna)
		m.Arrived, m.ID = time.Now(), "~forget-me"
		w.s.Witness(queue.Progress{Message: m, At: m.Arrived, Event: queue.Arrived})
		r := refused(copier, "x")
		r.Recipient = bert
		w.s.Refused(r)
		if n := len(w.list(Filter{Recipient: bert.String()})); n != 2 {
			w.Fatalf("%d found", n)
		}
		for _, f := range []Filter{{}, {State: Accepted}, {Kind: Message}} {
			if _, err := w.s.Forget(w.Context(), f); err == nil {
				w.Errorf("%+v forgets", f)
			}
		}
		n, err := w.s.Forget(w.Context(), Filter{Recipient: bert.String()})
		if err != nil || n != 2 {
			w.Fatal(n, err)
		}
		if got := w.list(Filter{Recipient: bert.String()}); len(got) != 0 {
			w.Errorf("found: %+v", got)
		}
		if got := w.list(Filter{Recipient: anna.String(), Limit: 1000}); len(got) != 500 {
			w.Errorf("%d others are left", len(got))
		}
		files, err := filepath.Glob(filepath.Join(w.dir, "*"))
		if err != nil || len(files) != 1 {
			w.Error(files, err)
		}
		b, err := os.ReadFile(files[0])
		if err != nil || bytes.Contains(b, []byte(bert.Domain)) || !bytes.Contains(b, []byte(anna.Domain)) {
			w.Errorf("the address still lies in the file (%v)", err)
		}
		w.show(w.arrive(1000))
	})
}

// Who breaks off an erasure has what was erased by then out of the file all the same.
func TestForgetThatIsBrokenOff(t *testing.T) {
	inWorld(t, month, func(w *world) {
		for i := range 600 {
			w.arrive(i)
		}
		w.list(Filter{})
		ctx, cancel := context.WithCancel(w.Context())
		cancel()
		n := 0
		err := w.s.request(w.Context(), func() (err error) {
			n, err = w.s.forget(ctx, Filter{Recipient: anna.String()})
			return err
		})
		if err == nil || n == 0 || n == 600 {
			w.Fatalf("%d erased, %v: want some", n, err)
		}
		left := w.list(Filter{Limit: 1000})
		if len(left) != 600-n {
			w.Errorf("%d left of 600, and %d erased", len(left), n)
		}
		b, err := os.ReadFile(filepath.Join(w.dir, fileName))
		if got := bytes.Count(b, []byte(anna.Local)); err != nil || got != len(left) {
			w.Errorf("%d in the file, %d left (%v)", got, len(left), err)
		}
	})
}

// What could not be written yet would come into the history behind the erasure.
func TestForgetWhileNothingCanBeWritten(t *testing.T) {
	inWorld(t, month, func(w *world) {
		w.show(w.arrive(1))
		w.setFree(0)
		w.arrive(2)
		if n, err := w.s.Forget(w.Context(), Filter{Recipient: anna.String()}); err == nil || n != 0 {
			w.Errorf("%d erased, %v", n, err)
		}
		w.setFree(1 << 40)
		time.Sleep(time.Minute)
		if n, err := w.s.Forget(w.Context(), Filter{Recipient: anna.String()}); err != nil || n != 2 {
			w.Errorf("%d erased, %v", n, err)
		}
		if got := w.list(Filter{}); len(got) != 0 {
			w.Errorf("%+v", got)
		}
	})
}

func TestRecordsAreReadAsTheyAreWritten(t *testing.T) {
	e := newRefusal(&RefusedCommand{
		At: time.Unix(1, 2), Listener: "l", Client: queue.Client{Addr: netip.MustParseAddr("fe80::1%eth0"), Hidden: true, HELO: strings.Repeat("h", 4000), User: "u", TLS: 0x0304},
		Rule: "p/r", Sender: envelope.Address{Local: strings.Repeat("l", 4000), Domain: "d\r\n"}, Recipient: anna, Size: 7, Step: "RCPT", Reply: "550 no\r\n", Cause: "c",
	})
	b := e.appendTo(nil)
	got, ok := decode(b)
	if !ok || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", e) {
		t.Errorf("got  %+v\nwant %+v", got, e)
	}
	if x := got.export("id"); x.TLS != "1.3" || len(x.HELO) != 128 || strings.ContainsAny(x.Sender+x.Reply, "\r\n") || x.Client != "fe80::1" {
		t.Errorf("%+v", x)
	}
	for n := range b {
		if _, ok := decode(b[:n]); ok {
			t.Errorf("%d of %d octets are an entry", n, len(b))
		}
	}
}

func FuzzDecode(f *testing.F) {
	e := newRefusal(&RefusedCommand{At: time.Unix(1, 2), Client: queue.Client{Addr: copier}, Sender: anna, Recipient: bert, Step: "RCPT", Reply: "550 no"})
	e.add(notified(message(anna)))
	f.Add(e.appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Filter{Text: "no", Client: "10.0.0.0/8", Sender: "corp.example"}.compile()
		if err != nil {
			t.Fatal(err)
		}
		m.matches([]byte("id"), b, new(head))
		e, ok := decode(b)
		if !ok {
			return
		}
		e.export("id")
		for _, x := range e.events {
			e.event(x)
		}
	})
}
