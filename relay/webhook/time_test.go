package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// tickets is a webhook that is told of all that there is.
var tickets = plan.Webhook{
	Name: "tickets", URL: "https://hooks.example/x", Secret: "hook", PerMinute: 60,
	Events: []plan.WebhookEvent{plan.EventFailed, plan.EventDelayed, plan.EventHeld, plan.EventAccepted},
}

// off is what a receiver that does not work gives.
func off(told, int) result { return result{problem: "hooks.example answers 503"} }

// sum is how many messages requests told of, and how many they said are missing.
func sum(all []told) (messages, dropped int) {
	for i := range all {
		messages += len(all[i].Data.Messages)
		dropped += all[i].Data.Dropped
	}
	return messages, dropped
}

// What happens faster than the webhook may be asked goes together.
func TestRate(t *testing.T) {
	hook := tickets
	hook.PerMinute = 2
	inWorld(t, hook, onlyWay, func(w *world) {
		w.happens(1)
		time.Sleep(5 * time.Second)
		w.happens(50)
		time.Sleep(10 * time.Minute)
		all, at := w.all()
		if n, _ := sum(all); n != 51 {
			t.Errorf("%d messages told", n)
		}
		for i := range all {
			if n := len(all[i].Data.Messages); n > maxBatch || len(all[i].body) > batchOctets+1000 {
				t.Errorf("request %d has %d messages in %d octets", i, n, len(all[i].body))
			}
			if i > 0 && at[i].Sub(at[i-1]) < 30*time.Second {
				t.Errorf("request %d came %s behind the one before", i, at[i].Sub(at[i-1]))
			}
		}
		if len(all) != 4 || len(all[0].Data.Messages) != 1 {
			t.Errorf("%d requests", len(all))
		}
	})
}

// It is tried again ever more slowly, with the same request, and when the receiver says.
func TestBackoff(t *testing.T) {
	inWorld(t, tickets, onlyWay, func(w *world) {
		w.answer = off
		w.happens(1)
		time.Sleep(8 * time.Hour)
		w.mu.Lock()
		w.answer = func(t told, n int) result { return result{problem: "busy", retryAfter: 3 * time.Hour} }
		w.mu.Unlock()
		time.Sleep(12 * time.Hour)
		all, at := w.all()
		waits := []time.Duration{}
		for i := range all {
			if all[i].id != all[0].id {
				t.Fatalf("request %d has another ID", i)
			}
			if i > 0 {
				waits = append(waits, at[i].Sub(at[i-1]))
			}
		}
		most := 5 * time.Second
		for i, d := range waits {
			long := d > most*6/5+time.Second || d < most*4/5
			if asked := d >= 3*time.Hour && d < 3*time.Hour+time.Minute; long && !asked {
				t.Errorf("wait %d is %s, not about %s", i, d, most)
			}
			most = min(2*most, time.Hour)
		}
		if last := waits[len(waits)-1]; last < 3*time.Hour || len(waits) < 15 || len(waits) > 30 {
			t.Errorf("%d waits, the last one %s", len(waits), last)
		}
	})
}

// Down for two days: what happened over the last one is told, and that there was more.
func TestDownForLong(t *testing.T) {
	inWorld(t, tickets, onlyWay, func(w *world) {
		w.answer = off
		for range 48 {
			w.happens(2)
			time.Sleep(time.Hour)
		}
		w.mu.Lock()
		w.answer, w.got = nil, nil
		w.mu.Unlock()
		time.Sleep(2 * time.Hour)
		all, _ := w.all()
		told, dropped := sum(all)
		if told < 44 || told > 52 || told+dropped != 96 {
			t.Errorf("%d told, %d dropped", told, dropped)
		}
		for i := range all {
			if age := time.Since(all[i].Timestamp); age > maxAge+3*time.Hour {
				t.Errorf("it is told of what is %s old", age)
			}
		}
		if n := metrics.Sum(w.m.WebhookDropped, "reason", "expired"); int(n) != dropped {
			t.Errorf("the metric counts %v", n)
		}
		if x := w.state(); x.Waiting != 0 || x.Problem != "" {
			t.Errorf("%+v", x)
		}
	})
}

// A burst takes bounded memory and disk, whether the receiver works or not, and what is
// missing is told.
func TestBurst(t *testing.T) {
	const n = 10_000
	inWorld(t, tickets, onlyWay, func(w *world) {
		w.answer = off
		w.happens(n)
		time.Sleep(time.Minute)
		x := w.state()
		if x.Waiting > maxWaiting+maxBatch || x.Waiting < maxWaiting/2 {
			t.Errorf("%d wait", x.Waiting)
		}
		info, err := os.Stat(w.o.Dir + "/tickets.json")
		if err != nil || info.Size() > 2<<20 {
			t.Errorf("%v, %v", info, err)
		}
		w.mu.Lock()
		w.answer, w.got = nil, nil
		w.mu.Unlock()
		time.Sleep(2 * time.Hour)
		all, _ := w.all()
		if told, dropped := sum(all); told+dropped != n || told < maxWaiting/2 {
			t.Errorf("%d told, %d dropped", told, dropped)
		}
		counted := metrics.Sum(w.m.WebhookDropped, "reason", "busy", "full")
		if sent := metrics.Sum(w.m.WebhookSent, ""); sent+counted != n {
			t.Errorf("the metrics count %v sent and %v dropped", sent, counted)
		}
	})
}

// What the receiver calls bad is not in the way of what comes behind it.
func TestRefused(t *testing.T) {
	inWorld(t, tickets, onlyWay, func(w *world) {
		var bad string
		w.answer = func(t told, _ int) result {
			if t.Data.Messages[0].ID == "m0" && t.Data.Dropped == 0 {
				bad = t.id
				return result{kind: refused, problem: "hooks.example answers 400 Bad Request"}
			}
			return result{kind: taken}
		}
		w.happens(1)
		time.Sleep(time.Second)
		w.submit(bert)
		time.Sleep(time.Hour)
		all, _ := w.all()
		tries := 0
		for i := range all {
			if all[i].id == bad {
				tries++
			}
		}
		if last := all[len(all)-1]; tries != maxRefusals || last.id == bad || last.Data.Dropped != 1 {
			t.Errorf("%d tries, then %s", tries, last.body)
		}
		if n := metrics.Sum(w.m.WebhookDropped, "reason", "refused"); n != 1 {
			t.Errorf("the metric counts %v", n)
		}
	})
}

// What waits outlasts the relay, and what was being told has the ID that it had.
func TestRestart(t *testing.T) {
	inWorld(t, tickets, onlyWay, func(w *world) {
		w.answer = off
		w.happens(1)
		time.Sleep(time.Second)
		w.submit(bert)
		w.happens(30)
		time.Sleep(time.Minute)
		before, _ := w.all()
		w.happens(1) // just before the end
		w.mu.Lock()
		w.answer = nil
		w.mu.Unlock()
		w.begin(tickets)
		time.Sleep(time.Hour)
		all, _ := w.all()
		after := all[len(before):]
		if after[0].id != before[0].id || string(after[0].body) != string(before[0].body) {
			t.Errorf("%s, and behind the restart %s", before[0].body, after[0].body)
		}
		if told, dropped := sum(after); told != 33 || dropped != 0 {
			t.Errorf("%d told, %d dropped", told, dropped)
		}
		if _, err := os.Stat(w.o.Dir + "/tickets.json"); !os.IsNotExist(err) {
			t.Errorf("an empty file is kept: %v", err)
		}
	})
}

// When subjects may not be told any more they leave the volume too, and what waits is
// told without them: what was being told as well.
func TestSubjectsThatMayNotBeToldAnyMore(t *testing.T) {
	for name, off := range map[string]func(w *world){
		"by a reload":  func(w *world) { w.h.Update(Settings{Webhooks: []plan.Webhook{tickets}}) },
		"by a restart": func(w *world) { w.begin(tickets) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, tickets, onlyWay, func(w *world) {
				file := func() string {
					b, err := os.ReadFile(w.o.Dir + "/tickets.json")
					var box outbox
					if err := errors.Join(err, json.Unmarshal(b, &box)); err != nil {
						t.Fatal(err)
					}
					return string(b) + string(box.Current.Body)
				}
				w.h.Update(Settings{Webhooks: []plan.Webhook{tickets}, Subjects: true})
				w.answer = func(told, int) result { return result{problem: "it answers 503"} }
				w.happens(1)
				time.Sleep(time.Minute)
				w.happens(2)
				time.Sleep(time.Minute)
				if n := strings.Count(file(), "Secret plans"); n != 3 {
					t.Fatalf("%d subjects wait", n)
				}
				before, _ := w.all()
				off(w)
				time.Sleep(time.Minute)
				if f := file(); strings.Contains(f, "Secret plans") {
					t.Errorf("on the volume: %s", f)
				}
				w.mu.Lock()
				w.answer, w.got = nil, nil
				w.mu.Unlock()
				time.Sleep(2 * time.Hour)
				all, _ := w.all()
				for i := range all {
					if strings.Contains(string(all[i].body), "Secret plans") {
						t.Errorf("told: %s", all[i].body)
					}
				}
				if n, dropped := sum(all); n != 3 || dropped != 0 || all[0].id != before[0].id {
					t.Errorf("%d told, %d dropped", n, dropped)
				}
				want := strings.ReplaceAll(string(before[0].body), `"subject":"Secret plans",`, "")
				if got := string(all[0].body); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			})
		})
	}
}

// What cannot be read may hold a subject: it goes, and is counted.
func TestSubjectsInWhatCannotBeRead(t *testing.T) {
	b := outbox{
		Waiting: []waiting{{Event: []byte(`{"subject":["Secret plans"]}`)}, {Event: []byte(`{"id":"m1"}`)}},
		Current: &delivery{Events: 2, Body: []byte(`{"data":{"messages":[{"subject":["Secret plans"]}]}}`)},
	}
	if changed, dropped := b.forgetSubjects(); !changed || dropped != 3 || b.Dropped != 3 || b.Current != nil || len(b.Waiting) != 1 || b.octets != len(b.Waiting[0].Event) {
		t.Errorf("%v, %d: %+v", changed, dropped, b)
	}
}

// A kill at any moment repeats a request at most: it is on the volume before it goes.
func TestKilled(t *testing.T) {
	inWorld(t, tickets, onlyWay, func(w *world) {
		var saved []byte
		w.answer = func(told, int) result {
			saved, _ = os.ReadFile(w.o.Dir + "/tickets.json")
			return result{kind: taken}
		}
		w.happens(3)
		time.Sleep(time.Minute)
		before, _ := w.all()
		if err := os.MkdirAll(w.o.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		w.h.Close()
		if err := os.WriteFile(w.o.Dir+"/tickets.json", saved, 0o600); err != nil {
			t.Fatal(err)
		}
		w.begin(tickets)
		time.Sleep(time.Minute)
		all, _ := w.all()
		if len(before) != 1 || len(all) != 2 || all[0].id != all[1].id || string(all[0].body) != string(all[1].body) {
			t.Errorf("%d and %d requests: %s", len(before), len(all), all[len(all)-1].body)
		}
	})
}

// A file that cannot be used is put aside, and nothing else happens.
func TestDamagedFile(t *testing.T) {
	for name, text := range map[string]string{
		"half of one":     `{"version":1,"waiting":[{"at":"2026-`,
		"a later version": `{"version":2,"waiting":[]}`,
		"nothing":         "",
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, tickets, onlyWay, func(w *world) {
				w.h.Close()
				if err := os.MkdirAll(w.o.Dir, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(w.o.Dir+"/tickets.json", []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				w.begin(tickets)
				w.happens(1)
				time.Sleep(time.Minute)
				if all, _ := w.all(); len(all) != 1 {
					t.Errorf("%d requests", len(all))
				}
				if b, err := os.ReadFile(w.o.Dir + "/tickets.json.damaged"); err != nil || string(b) != text {
					t.Errorf("%q, %v", b, err)
				}
			})
		})
	}
}

// What was told after the volume had no room any more is not told again by a restart.
func TestAFullVolumeTellsNothingTwice(t *testing.T) {
	inWorld(t, tickets, onlyWay, func(w *world) {
		var free atomic.Int64
		free.Store(1 << 30)
		w.o.Free, w.o.Reserve = free.Load, 1<<20
		w.answer = off
		w.begin(tickets)
		w.happens(3)
		time.Sleep(time.Minute)
		if _, err := os.Stat(w.o.Dir + "/tickets.json"); err != nil {
			t.Fatal(err)
		}
		free.Store(0)
		w.mu.Lock()
		w.answer, w.got = nil, nil
		w.mu.Unlock()
		time.Sleep(time.Hour)
		w.begin(tickets)
		time.Sleep(time.Hour)
		if all, _ := w.all(); len(all) != 1 || len(all[0].Data.Messages) != 3 {
			t.Errorf("%d requests: %v", len(all), short(all))
		}
	})
}

// A webhook that is no more leaves nothing; a volume without room is not written.
func TestWhatIsOnTheVolume(t *testing.T) {
	inWorld(t, tickets, onlyWay, func(w *world) {
		files := func() string {
			entries, _ := os.ReadDir(w.o.Dir)
			return fmt.Sprint(entries)
		}
		w.answer = off
		w.happens(1)
		time.Sleep(time.Minute)
		if f := files(); !strings.Contains(f, "tickets.json") {
			t.Error(f)
		}
		w.h.Update(Settings{})
		synctest.Wait()
		if f := files(); strings.Contains(f, "tickets") {
			t.Error(f)
		}
		w.happens(1)
		var free atomic.Int64
		w.o.Free, w.o.Reserve = free.Load, 1<<20
		w.begin(tickets)
		w.happens(1)
		time.Sleep(time.Minute)
		if f := files(); strings.Contains(f, "tickets") || w.state().Waiting != 1 {
			t.Errorf("%s %+v", f, w.state())
		}
		free.Store(1 << 30)
		time.Sleep(time.Minute)
		if f := files(); !strings.Contains(f, "tickets.json") {
			t.Error(f)
		}
	})
}
