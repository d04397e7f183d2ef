package webhook

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
)

// refusedHook is told of refusals and failures.
var refusedHook = plan.Webhook{
	Name: "tickets", URL: "https://hooks.example/x", Secret: "hook", PerMinute: 600,
	Events: []plan.WebhookEvent{plan.EventFailed, plan.EventRefused},
}

const notAllowed = "550 5.7.1 PR-032 Recipient bert@other.example not allowed"

// refusedCommand is what the n-th device is refused now.
func refusedCommand(n int) history.RefusedCommand {
	return history.RefusedCommand{
		At: time.Now(), Listener: "legacy", Rule: "office/finance", Sender: scans, Recipient: bert, Step: "RCPT", Reply: notAllowed, Cause: "rule office/finance",
		Client: queue.Client{Addr: netip.AddrFrom4([4]byte{10, 20, byte(n >> 8), byte(n)}), HELO: "mfp-fin-1", TLS: 0x303},
	}
}

// refusedOf are the refusals that requests told of.
func refusedOf(all []told) (out []Message) {
	for i := range all {
		for _, m := range all[i].Data.Messages {
			if m.Refusal != nil {
				out = append(out, m)
			}
		}
	}
	return out
}

// The same again within a minute is one event with a count; another code, recipient,
// login or device is one of its own.
func TestRefusals(t *testing.T) {
	inWorld(t, refusedHook, onlyWay, func(w *world) {
		first := time.Now()
		for range 1000 {
			w.h.Refused(refusedCommand(7))
			time.Sleep(time.Millisecond)
		}
		last := time.Now().Add(-time.Millisecond)
		for _, change := range []func(r *history.RefusedCommand){
			func(r *history.RefusedCommand) { r.Reply = "552 5.3.4 PR-050 Scan too large: 9 B, limit 8 B" },
			func(r *history.RefusedCommand) { r.Recipient = anna },
			func(r *history.RefusedCommand) { r.Client.User = "mfp" },
			func(r *history.RefusedCommand) { r.Client.Addr = netip.MustParseAddr("10.20.3.8") },
		} {
			r := refusedCommand(7)
			change(&r)
			w.h.Refused(r)
		}
		time.Sleep(50 * time.Second)
		if all, _ := w.all(); len(all) != 0 {
			t.Errorf("told within the minute: %v", short(all))
		}
		w.pass(10 * time.Minute)
		all, _ := w.all()
		got := refusedOf(all)
		if len(got) != 5 || len(all) != 1 || all[0].Type != plan.EventRefused || !all[0].Timestamp.Equal(first) {
			t.Fatalf("%d events in %d requests: %s", len(got), len(all), all[0].body)
		}
		m, x := got[0], *got[0].Refusal
		want := Refusal{
			Step: "RCPT", Code: 550, Enhanced: "5.7.1", PRCode: "PR-032", Text: "Recipient bert@other.example not allowed", Cause: "rule office/finance", Count: 1000, Last: x.Last,
		}
		if x != want || !m.At.Equal(first) || !x.Last.Equal(last) {
			t.Errorf("%+v at %s", x, m.At)
		}
		if m.Sender != scans.String() || m.Rule != "office/finance" || m.Listener != "legacy" || m.Device != (Device{Address: "10.20.0.7", HELO: "mfp-fin-1", TLS: "1.2"}) ||
			m.RecipientCount != 1 || m.Recipients[0] != (Recipient{Address: bert.String(), Status: "refused"}) || m.ID != "" || !m.Arrived.IsZero() {
			t.Errorf("%+v", m)
		}
		seen := map[string]bool{}
		for _, m := range got {
			seen[m.Event] = true
		}
		if len(seen) != 5 {
			t.Errorf("IDs: %v", seen)
		}
		w.h.Refused(refusedCommand(7))
		w.pass(10 * time.Minute)
		all, _ = w.all()
		if again := refusedOf(all); len(again) != 6 || again[5].Refusal.Count != 1 || seen[again[5].Event] {
			t.Errorf("another minute: %+v", again[len(again)-1])
		}
	})
}

// Who did not ask for refusals hears of none, and a session does nothing for it.
func TestRefusalsNobodyAskedFor(t *testing.T) {
	hook := refusedHook
	hook.Events = []plan.WebhookEvent{plan.EventFailed, plan.EventDelayed, plan.EventHeld, plan.EventAccepted}
	inWorld(t, hook, onlyWay, func(w *world) {
		r := refusedCommand(7)
		if n := testing.AllocsPerRun(100, func() { w.h.Refused(r) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
		w.pass(time.Hour)
		if all, _ := w.all(); len(all) != 0 {
			t.Error(short(all))
		}
	})
}

// What only follows from another refusal is none of its own.
func TestRefusalsThatFollow(t *testing.T) {
	inWorld(t, refusedHook, onlyWay, func(w *world) {
		for step, text := range map[string]string{"RCPT": "503 5.5.1 PR-007 Sender first (MAIL)", "DATA": "554 5.5.1 PR-043 No valid recipients"} {
			r := refusedCommand(7)
			r.Step, r.Reply = step, text
			w.h.Refused(r)
		}
		w.pass(time.Hour)
		if all, _ := w.all(); len(all) != 0 {
			t.Error(short(all))
		}
	})
}

// However many devices, senders and recipients there are, the events of a minute are
// few, and their counts are of all.
func TestRefusalsAreBounded(t *testing.T) {
	another := func(n int) envelope.Address { return envelope.Address{Local: fmt.Sprint("a", n), Domain: "x.example"} }
	for name, c := range map[string]struct {
		refused       func(n int) history.RefusedCommand
		most          int
		scopes        map[string]int // events of each
		total, others int            // refusals, and those of the widest scope
	}{
		"a device that tries all senders": {
			refused: func(n int) history.RefusedCommand { r := refusedCommand(1); r.Sender = another(n); return r },
			total:   50_000, scopes: map[string]int{"": exactOfDevice, "device": 1}, others: 50_000 - exactOfDevice,
		},
		"a device that tries all recipients, and guesses passwords": {
			refused: func(n int) history.RefusedCommand {
				r := refusedCommand(1)
				r.Recipient = another(n)
				if n%2 == 1 {
					r.Step, r.Reply, r.Sender, r.Recipient = "AUTH", "535 5.7.8 PR-023 User name or password is wrong", envelope.Address{}, envelope.Address{}
				}
				return r
			},
			total: 50_000, scopes: map[string]int{"": exactOfDevice, "device": 1}, others: 25_000 - exactOfDevice + 1,
		},
		"very many devices": {
			refused: func(n int) history.RefusedCommand { return refusedCommand(n % 5000) },
			total:   50_000, scopes: map[string]int{"": exactOfAll, "device": refusalsOfAll - exactOfAll, "relay": 1}, others: (5000 - refusalsOfAll) * 10,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, refusedHook, onlyWay, func(w *world) {
				for n := range c.total {
					w.h.Refused(c.refused(n))
				}
				w.pass(time.Hour)
				all, _ := w.all()
				got, count, others := map[string]int{}, 0, 0
				for _, m := range refusedOf(all) {
					x := m.Refusal
					got[x.Gathered]++
					count += x.Count
					if x.Gathered != "" {
						others = max(others, x.Count)
					}
					switch x.Gathered {
					case "device":
						if m.Device.Address == "" || m.Sender != "" || len(m.Recipients) != 0 {
							t.Errorf("%+v", m)
						}
					case "relay":
						if m.Device != (Device{}) || m.Sender != "" || len(m.Recipients) != 0 || x.Text != "" || x.Cause != "" || x.PRCode != "PR-032" {
							t.Errorf("%+v %+v", m, x)
						}
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(c.scopes) || count != c.total || others != c.others {
					t.Errorf("%v with %d refusals, %d of them in one", got, count, others)
				}
			})
		})
	}
}

// Refusals push nothing else out of what waits, and nothing else waits for them.
func TestRefusalsPushNothingOut(t *testing.T) {
	inWorld(t, refusedHook, onlyWay, func(w *world) {
		w.answer = off
		w.happens(1)
		w.pass(time.Second) // being told
		w.happens(maxWaiting - maxRefused - 10)
		w.pass(time.Minute)
		for minute := range 4 { // more than may wait
			for n := range 5000 {
				w.h.Refused(refusedCommand(minute*5000 + n))
			}
			w.pass(2 * time.Minute)
		}
		if n := w.state().Waiting; n != maxWaiting-9 {
			t.Errorf("%d wait", n)
		}
		w.happens(100)
		w.pass(time.Minute)
		w.mu.Lock()
		w.answer, w.got, w.at = nil, nil, nil
		w.mu.Unlock()
		w.pass(6 * time.Hour)
		all, _ := w.all()
		others, refused, dropped := 0, 0, 0
		for i := range all {
			dropped += all[i].Data.Dropped
			if all[i].Type == plan.EventRefused {
				refused += len(all[i].Data.Messages)
				continue
			}
			if refused > 0 {
				t.Errorf("request %d waited for refusals", i)
			}
			others += len(all[i].Data.Messages)
		}
		if others != maxWaiting-maxRefused-9+100 || refused != maxRefused-90 || dropped != 4*(refusalsOfAll+1)-refused {
			t.Errorf("%d others, %d refusals, %d dropped", others, refused, dropped)
		}
	})
}

// Sessions go on while a webhook's goroutine does not: no more is kept for it than may
// wait.
func TestRefusalsWhileNobodyListens(t *testing.T) {
	var b inbox
	b.bell = make(chan struct{}, 1)
	for range 10 {
		b.putRefusals(make([]waiting, refusalsOfAll))
	}
	if _, refused, dropped := b.take(); len(refused) != maxRefused || dropped != 10*refusalsOfAll-maxRefused {
		t.Errorf("%d are kept, %d dropped", len(refused), dropped)
	}
}

// What was gathered is told though the relay ends within the minute.
func TestRefusalsBeforeTheEnd(t *testing.T) {
	inWorld(t, refusedHook, onlyWay, func(w *world) {
		w.h.Refused(refusedCommand(7))
		synctest.Wait()
		w.begin(refusedHook)
		w.pass(time.Minute)
		all, _ := w.all()
		if got := refusedOf(all); len(got) != 1 || got[0].Refusal.Count != 1 {
			t.Errorf("%v", short(all))
		}
	})
}

// refusedEvent is the event of one refusal.
func refusedEvent(t *testing.T, r history.RefusedCommand) (Message, string) {
	t.Helper()
	h := &Hooks{o: newStage(t).o, refusals: newRefusals()}
	h.refusals.put(&r)
	b := h.refusalEvent(h.refusals.take()[0])
	var m Message
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m, string(b)
}

// Whatever a device says, the event is bounded, and steers nothing.
func TestHostileRefusal(t *testing.T) {
	long := strings.Repeat("<\x1b[31m\u202e\xff\"\r\n", 10_000)
	r := refusedCommand(7)
	r.Sender, r.Recipient = envelope.Address{Local: long, Domain: long}, envelope.Address{Local: long, Domain: long}
	r.Client.HELO, r.Client.User, r.Cause, r.Reply = long, long, long, "550 5.7.1 PR-031 "+long
	m, text := refusedEvent(t, r)
	if len(text) > maxEvent || m.Refusal.PRCode != "PR-031" {
		t.Errorf("%d octets, %+v", len(text), m.Refusal)
	}
	for _, bad := range []string{`\u001b`, `\u202e`, `\r`, `\n`, "\x1b", "\u202e", "<", "\xff"} {
		if strings.Contains(text, bad) {
			t.Errorf("it holds %q", bad)
		}
	}
	for _, reply := range []string{"", "5", "550", "550 no", "PR-", "550 5.7.1 [not shown]", "550 PR-031"} { // none of ours
		r.Reply = reply
		if m, _ := refusedEvent(t, r); m.Refusal.Count != 1 {
			t.Errorf("%q: %+v", reply, m.Refusal)
		}
	}
}

// Where a listener hides its devices nothing of an address is told, though the reply
// names it, or a part of it.
func TestRefusalsOfHiddenDevices(t *testing.T) {
	for address, reply := range map[string]string{
		"10.20.3.7":                              "550 5.7.1 PR-030 Device 10.20.3.7 may not send here",
		"2001:db8:1111:2222:3333:4444:5555:6666": "550 5.7.1 PR-030 Device 2001:db8:1111:2222:3333:4444:5... may not send here",
	} {
		r := refusedCommand(7)
		r.Client.Addr, r.Client.HELO, r.Reply, r.Cause = netip.MustParseAddr(address), "["+address+"]", reply, "no rule names "+address
		if _, text := refusedEvent(t, r); !strings.Contains(text, address) {
			t.Errorf("of one that is not hidden: %s", text)
		}
		r.Client.Redacted = true
		m, text := refusedEvent(t, r)
		if strings.Contains(text, address[:8]) || m.Refusal.Text != "Device (hidden) may not send here" || m.Refusal.Cause != "no rule names (hidden)" {
			t.Errorf("%s", text)
		}
	}
}
