package webhook

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// short is a line a message that a test compares.
func short(all []told) (out []string) {
	for i := range all {
		for _, m := range all[i].Data.Messages {
			line := string(all[i].Type)
			for _, r := range m.Recipients {
				line += fmt.Sprintf(" %s=%s/%d/%s", r.Address, r.Status, r.Code, r.Upstream)
				if r.Cause == "" && r.Code != 250 && r.Code != 0 {
					line += " without a cause"
				}
			}
			if m.Reason != "" {
				line += " (" + m.Reason + ")"
			}
			out = append(out, line)
		}
	}
	return out
}

// What a queue makes of mail, as the webhook hears of it.
func TestEvents(t *testing.T) {
	settings := onlyWay
	settings.Delivery = plan.Delivery{Warn: 4 * time.Hour, Expire: 24 * time.Hour, Bounce: plan.Bounce{To: "None"}}
	settings.Holds = []plan.Hold{{Name: "stolen", Users: []string{"thief"}, Reason: "ticket 4711"}}
	for name, c := range map[string]struct {
		to       []envelope.Address
		outcomes map[envelope.Address][]upstream.Outcome // the last one again
		do       func(w *world, id string)
		want     []string
	}{
		"accepted": {[]envelope.Address{anna, bert}, nil, nil, []string{"message.accepted anna@corp.example=accepted/250/out bert@other.example=accepted/250/out"}},
		"failed": {
			[]envelope.Address{anna},
			map[envelope.Address][]upstream.Outcome{anna: {nobody}},
			nil,
			[]string{"message.failed anna@corp.example=failed/550/out"},
		},
		"failed for one": {
			[]envelope.Address{anna, bert},
			map[envelope.Address][]upstream.Outcome{bert: {nobody}},
			nil,
			[]string{"message.failed bert@other.example=failed/550/out"},
		},
		"accepted at last": {
			[]envelope.Address{anna},
			map[envelope.Address][]upstream.Outcome{anna: {tarry, tarry, good}},
			nil,
			[]string{"message.accepted anna@corp.example=accepted/250/out"},
		},
		"delayed, and given up": {
			[]envelope.Address{anna, bert},
			map[envelope.Address][]upstream.Outcome{anna: {tarry}},
			nil,
			[]string{"message.delayed anna@corp.example=pending/451/out", "message.failed anna@corp.example=failed/451/out"},
		},
		"given up by hand": {
			[]envelope.Address{anna},
			map[envelope.Address][]upstream.Outcome{anna: {tarry}},
			func(w *world, id string) { w.verb(w.q.Bounce, id, "not wanted") },
			[]string{"message.failed anna@corp.example=failed/0/ (not wanted)"},
		},
		"lost": {
			[]envelope.Address{anna, bert},
			map[envelope.Address][]upstream.Outcome{anna: {tarry}},
			func(w *world, id string) {
				if err := w.spool.Remove(id); err != nil {
					w.Fatal(err)
				}
			},
			[]string{"message.failed anna@corp.example=failed/0/out"},
		},
		"held by hand": {
			[]envelope.Address{anna},
			map[envelope.Address][]upstream.Outcome{anna: {tarry}},
			func(w *world, id string) { w.verb(w.q.Hold, id, "look at it") },
			[]string{"message.held anna@corp.example=pending/0/ (look at it)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, tickets, settings, func(w *world) {
				w.outcome = func(to envelope.Address) upstream.Outcome {
					left := c.outcomes[to]
					if len(left) == 0 {
						return good
					}
					if len(left) > 1 {
						c.outcomes[to] = left[1:]
					}
					return left[0]
				}
				id := w.submit(c.to...)
				w.pass(time.Minute)
				if c.do != nil {
					c.do(w, id)
				}
				w.pass(48 * time.Hour)
				all, _ := w.all()
				if got := short(all); fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("got  %q\nwant %q", got, c.want)
				}
			})
		})
	}
}

// Whether a digest or a notice of its own tells of a scan is no reason for what became
// of it.
func TestNoticesAreNoReason(t *testing.T) {
	for name, perHour := range map[string]int{"digest": 0, "notice": 6} {
		t.Run(name, func(t *testing.T) {
			settings := onlyWay
			settings.Hostname = "relay.test"
			settings.Delivery = plan.Delivery{Warn: 4 * time.Hour, Expire: 24 * time.Hour, Bounce: plan.Bounce{To: "Postmaster", Postmaster: bert, PerHour: perHour}}
			inWorld(t, tickets, settings, func(w *world) {
				w.outcome = func(to envelope.Address) upstream.Outcome {
					if to == anna {
						return tarry
					}
					return good
				}
				w.submit(anna)
				w.pass(48 * time.Hour)
				all, _ := w.all()
				want := []string{"message.delayed anna@corp.example=pending/451/out", "message.failed anna@corp.example=failed/451/out"}
				if got := short(all); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("got  %q\nwant %q", got, want)
				}
			})
		})
	}
}

// Of what fails for good because trouble that passes lasted too long, the remedy is
// not to wait.
func TestRemedies(t *testing.T) {
	settings := onlyWay
	settings.Delivery = plan.Delivery{Warn: time.Hour, Expire: 2 * time.Hour, Bounce: plan.Bounce{To: "None"}}
	inWorld(t, tickets, settings, func(w *world) {
		w.outcome = func(envelope.Address) upstream.Outcome { return tarry }
		w.submit(anna)
		w.pass(24 * time.Hour)
		all, _ := w.all()
		if len(all) != 2 {
			t.Fatal(short(all))
		}
		late, failed := all[0].Data.Messages[0].Recipients[0], all[1].Data.Messages[0].Recipients[0]
		if !strings.Contains(late.Remedy, "it is tried again") || !strings.Contains(failed.Remedy, "it lasted too long") || !strings.Contains(failed.Text, "not accepted within 2h") {
			t.Errorf("%+v\n%+v", late, failed)
		}
	})
}

// A webhook hears of what it asked for, and of nothing else.
func TestOnlyWhatWasAskedFor(t *testing.T) {
	hook := tickets
	hook.Events = []plan.WebhookEvent{plan.EventFailed, plan.EventDelayed}
	inWorld(t, hook, onlyWay, func(w *world) {
		w.outcome = func(envelope.Address) upstream.Outcome { return good }
		w.submit(anna)
		w.pass(time.Hour)
		if all, _ := w.all(); len(all) != 0 {
			t.Error(short(all))
		}
	})
}

// A notification that fails is told of: there is no other notification of it.
func TestAFailedNotification(t *testing.T) {
	settings := onlyWay
	settings.Hostname = "relay.test"
	settings.Delivery = plan.Delivery{Bounce: plan.Bounce{To: "Postmaster", Postmaster: bert, PerHour: 6}}
	inWorld(t, tickets, settings, func(w *world) {
		id := w.submit(anna)
		w.pass(time.Hour)
		all, _ := w.all()
		if got := short(all); len(got) != 2 {
			t.Fatal(got)
		}
		about := 0
		for _, e := range all { // both fail within the same second: either may be told of first
			for _, m := range e.Data.Messages {
				if m.ID == id {
					continue
				}
				about++
				if m.NotificationOf != id || m.Device != (Device{}) || m.Sender != "" {
					t.Errorf("%+v", m)
				}
			}
		}
		if about != 1 {
			t.Errorf("%d failures of a notification", about)
		}
	})
}

// one is the event that a hook makes of p.
func one(t *testing.T, p queue.Progress, kind mask, subjects bool) (Message, []byte) {
	t.Helper()
	s := newStage(t)
	s.o.Log = slog.New(slog.DiscardHandler)
	b := newHook(&s.o, config{tickets, subjects, 0}).event(&p, kind, types[0].name, subjects)
	var m Message
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m, b
}

// What nobody may see is not in it.
func TestWhatIsNotTold(t *testing.T) {
	s := newStage(t)
	p := s.failure("m0")
	if m, b := one(t, p, failed, false); m.Subject != "" || strings.Contains(string(b), "Secret plans") {
		t.Errorf("the subject is told: %s", b)
	}
	if m, _ := one(t, p, failed, true); m.Subject != "Secret plans" {
		t.Errorf("the subject that may be told is not: %+v", m)
	}
	if m, _ := one(t, p, failed, false); m.Device.Address != "10.20.3.7" || m.Device.Name != "Finance MFP" || m.Device.TLS != "1.2" || m.Device.User != "mfp" {
		t.Errorf("%+v", m.Device)
	}
	for _, helo := range []string{"[10.20.3.7]", "10.20.3.7"} {
		p.Message.Client.Redacted, p.Message.Client.HELO = false, helo
		if m, _ := one(t, p, failed, false); m.Device.HELO != helo {
			t.Errorf("%+v", m.Device)
		}
		p.Message.Client.Redacted = true
		if _, b := one(t, p, failed, false); strings.Contains(string(b), "10.20.3.7") {
			t.Errorf("the address is told: %s", b)
		}
	}
	p.Message.Client.HELO = "mfp-fin-1"
	if m, _ := one(t, p, failed, false); m.Device.HELO != "mfp-fin-1" {
		t.Errorf("%+v", m.Device)
	}
	p.Message.Identity.DisplayName = "{device}"
	if m, _ := one(t, p, failed, false); m.Device.Name != "" {
		t.Errorf("%+v", m.Device)
	}
}

// Whatever a device or a server says, an event is bounded, and steers nothing.
func TestHostileEvent(t *testing.T) {
	p := queue.Progress{Message: message("m0"), At: time.Now()}
	long := strings.Repeat("<\x1b[31m\u202e\xff\"\r\n", 10_000)
	m := p.Message
	m.Subject, m.MessageID, m.Client.HELO, m.Client.User, p.Text = long, long, long, long, long
	m.Recipients = nil
	for i := range 500 {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: envelope.Address{Local: fmt.Sprint("a", i), Domain: strings.Repeat("x", 250)}})
	}
	var all []int
	for i := range m.Recipients {
		all = append(all, i)
	}
	p.Standing = []queue.Standing{{Rcpts: all, Outcome: upstream.Outcome{Kind: upstream.Deferred, Code: 451, Text: long, Remote: long, RemoteID: long}}}
	p.Event = "warn"
	e, b := one(t, p, delayed, true)
	if len(b) > maxEvent || e.RecipientCount != 500 || len(e.Recipients) == 0 || len(e.Recipients) > maxRecipients {
		t.Errorf("%d octets, %d of %d recipients", len(b), len(e.Recipients), e.RecipientCount)
	}
	for _, bad := range []string{`\u001b`, `\u202e`, `\r`, `\n`, "\x1b", "\u202e", "<", "\xff"} {
		if strings.Contains(string(b), bad) {
			t.Errorf("it holds %q", bad)
		}
	}
}

// A password that was typed as the sender goes to nobody.
func TestASenderWithAPassword(t *testing.T) {
	s := newStage(t)
	p := s.failure("m0")
	p.Message.SenderSecret = true
	if e, b := one(t, p, failed, true); strings.Contains(string(b), scans.String()) || e.Sender == "" {
		t.Errorf("sender %q in %s", e.Sender, b)
	}
}

// The ID of an event is its own, and the same each time.
func TestEventID(t *testing.T) {
	s := newStage(t)
	p := s.failure("m0")
	seen := map[string]bool{}
	for _, e := range types {
		for _, n := range []int{1, 2} {
			p.Number = n
			again := p
			if one, other := eventID(&p, e.name), eventID(&again, e.name); one != other {
				t.Errorf("%s, and then %s", one, other)
			}
			seen[eventID(&p, e.name)] = true
		}
	}
	if len(seen) != 2*len(types) {
		t.Errorf("%d IDs of %d events", len(seen), 2*len(types))
	}
}

// Where nobody is to be told, the way of mail does nothing for it.
func TestTheWayOfMailMakesNothing(t *testing.T) {
	s := newStage(t)
	s.start(plan.Webhook{Name: "tickets", URL: "https://hooks.invalid", Events: []plan.WebhookEvent{plan.EventFailed, plan.EventDelayed, plan.EventHeld}, Secret: "hook", PerMinute: 60})
	m := message("m0", anna)
	for _, p := range []queue.Progress{
		{Message: m, Event: queue.Arrived}, {Message: m, Event: "attempt", Gone: queue.Delivered, Accepted: 1}, {Message: m, Event: "attempt", State: queue.Deferred},
	} {
		if n := testing.AllocsPerRun(100, func() { s.h.Witness(p) }); n != 0 {
			t.Errorf("%s %s: %v allocations", p.Event, p.Gone, n)
		}
	}
}

// The samples of docs/webhooks.md are what the code makes.
func TestTheSamplesAreTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	var samples []string
	for rest := string(text); ; {
		var found bool
		if _, rest, found = strings.Cut(rest, "```json\n"); !found {
			break
		}
		var sample string
		sample, rest, _ = strings.Cut(rest, "\n```")
		samples = append(samples, sample)
	}
	s := newStage(t)
	s.o.Log = slog.New(slog.DiscardHandler)
	p := s.failure("8DtmDtuJWXKRuj")
	p.At = time.Date(2026, 11, 26, 8, 15, 3, 250_000_000, time.UTC)
	p.Message.Arrived = time.Date(2026, 11, 26, 8, 15, 0, 0, time.UTC)
	r := refusedCommand(7)
	r.At = p.At
	h := &Hooks{o: s.o, refusals: newRefusals()}
	for range 12 {
		h.refusals.put(&r)
		r.At = r.At.Add(4 * time.Second)
	}
	made := []string{
		readable(t, s.body(plan.EventFailed, p.At, newHook(&s.o, config{tickets, false, 0}).event(&p, failed, plan.EventFailed, false))),
		readable(t, s.body(plan.EventRefused, p.At, h.refusalEvent(h.refusals.take()[0]))),
	}
	if len(samples) != len(made) {
		t.Fatalf("%d samples", len(samples))
	}
	for i := range made {
		if samples[i] != made[i] {
			t.Errorf("docs/webhooks.md has\n%s\nand the code makes\n%s", samples[i], made[i])
		}
	}
}

// body is the request that tells of one event.
func (s *stage) body(kind plan.WebhookEvent, at time.Time, event []byte) []byte {
	var b outbox
	b.add(waiting{At: at, Type: kind, Event: event})
	b.gather(s.o.Relay, s.o.Instance)
	return b.Current.Body
}

// readable is JSON as a page shows it.
func readable(t *testing.T, body []byte) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(json.RawMessage(body)); err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(strings.TrimSpace(b.String()))
}
