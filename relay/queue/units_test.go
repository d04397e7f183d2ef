package queue

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestTimersGiveTheirThingsInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h timers
	items := make([]*item, 200)
	for i := range items {
		items[i] = &item{}
	}
	for range 5000 {
		h.set(items[r.IntN(len(items))], int64(r.IntN(1000))) // 0 takes it out
		if r.IntN(10) == 0 {
			h.remove(items[r.IntN(len(items))])
		}
	}
	var want, got []int64
	for _, it := range items {
		if it.wakeAt != 0 {
			want = append(want, it.wakeAt)
		}
	}
	slices.Sort(want)
	for {
		at, ok := h.first()
		if !ok {
			break
		}
		if h.pop(at-1) != nil {
			t.Fatal("given before its time")
		}
		if h.pop(at) == nil {
			t.Fatal("not given at its time")
		}
		got = append(got, at)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestMetaSurvivesItsJSON(t *testing.T) {
	m := message("x@corp.example", `"a b"@corp.example`)
	m.ID, m.Arrived, m.NotBefore = "id", time.Unix(1, 5).UTC(), time.Unix(2, 0).UTC()
	m.Client.User, m.Client.TLS = `DOM\scan`, 0x0303
	m.ForceIdentity, m.ReplyToAllowed, m.EightBit, m.UTF8, m.Relayed = true, true, true, true, true
	m.Identity = policy.Identity{LocalPart: "finance", DisplayName: "Finance MFP"}
	m.Recipients[0].Original, m.Recipients[1].Copy = addr("x@old.example"), true
	m.Size, m.HeaderSize, m.MaxLine, m.MessageID, m.Subject, m.Held, m.DSNOf = 1, 2, 3, "<a@b>", "s", "why", "parent"
	v := reflect.ValueOf(*m)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the test leaves %s empty", v.Type().Field(i).Name)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var got Message
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, m) {
		t.Errorf("got  %+v\nwant %+v", got, *m)
	}
}

func TestSettingsOfAPlan(t *testing.T) {
	p := &plan.Plan{
		Namespace: "ns", Name: "office", Hostname: "relay.corp.example", Routes: []plan.Route{{Upstream: "a"}}, Fallbacks: []string{"b"},
		Upstreams: map[string]*plan.Upstream{"a": {}}, Delivery: plan.Delivery{Expire: time.Hour}, Holds: []plan.Hold{{Name: "h"}},
		HiddenClients: plan.HiddenClients{All: true},
	}
	v := reflect.ValueOf(SettingsOf(p))
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not taken over", v.Type().Field(i).Name)
		}
	}
}

func TestBackoffNeverOverflows(t *testing.T) {
	s := settings()
	want := 30 * time.Second
	for n := 1; n < 1<<17; n++ {
		if got := backoff(&s, n); got != want {
			t.Fatalf("back-off %d is %v, want %v", n, got, want)
		}
		want = min(2*want, time.Hour)
	}
}

func TestRecordsOfALaterVersionAreRefused(t *testing.T) {
	for _, r := range []result{
		{Rcpts: []int{0}, Kind: 9}, {Rcpts: []int{0}, Scope: 9}, {Rcpts: []int{0}, Status: told}, {Rcpts: []int{2}}, {Rcpts: []int{-1}},
	} {
		rec := record{Event: evAttempt, Results: []result{r}}
		if rec.check(2) == nil {
			t.Errorf("%+v is taken", r)
		}
	}
	fine := record{Event: evAttempt, Results: []result{{Rcpts: []int{0, 1}, Kind: upstream.Unknown, Scope: upstream.ScopeUpstream, Status: failed}}}
	if err := fine.check(2); err != nil {
		t.Error(err)
	}
}

// FuzzRestore reads spool entries that no version of the queue wrote.
func FuzzRestore(f *testing.F) {
	m := message("x@corp.example", "y@corp.example")
	meta, err := json.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	r := record{At: time.Unix(1, 0), Event: evAttempt, Number: 1, Upstream: "a", Results: []result{{Rcpts: []int{0, 7, -1}, Kind: upstream.Deferred, Status: waiting}}}
	f.Add(meta, r.encode())
	f.Add(meta, []byte(`{"event":"retry"}`))
	f.Add(meta, []byte(`{"event":"attempt","results":[{"rcpts":[1],"status":9,"kind":200,"scope":77}]}`))
	f.Add([]byte(`{"recipients":[{"address":"x"}]}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, meta, rec []byte) {
		q := newQueue(nil, Options{Settings: settings()})
		m, records, err := decode(spool.Entry{ID: "id", Meta: meta, Records: [][]byte{rec}})
		if err != nil {
			return
		}
		it := q.restore(m, records)
		q.items["id"] = it
		q.mu.Lock()
		q.summary(it)
		q.nextChore(it, 1)
		q.mu.Unlock()
		history(it.msg, [][]byte{rec})
	})
}

// The cost of one message beside the spool's and the upstream's: Meta, schedule,
// attempt, log line.
func BenchmarkSubmitDeliverRemove(b *testing.B) {
	gone := make(removals, 64)
	q := newQueue(discard{gone: gone}, Options{Settings: settings(), Deliver: accepts{}, Log: slog.New(slog.NewJSONHandler(io.Discard, nil))})
	q.running = true
	for range cap(gone) {
		gone <- struct{}{}
	}
	b.ReportAllocs()
	for b.Loop() {
		<-gone
		m := message("x@corp.example")
		m.ID, m.Arrived = "id", time.Now()
		if _, err := json.Marshal(m); err != nil {
			b.Fatal(err)
		}
		q.mu.Lock()
		q.add(m)
		q.mu.Unlock()
	}
	for range cap(gone) {
		<-gone
	}
}

type removals chan struct{}

type discard struct {
	store
	gone removals
}

func (d discard) Remove(string) error {
	d.gone <- struct{}{}
	return nil
}

type accepts struct{}

func (accepts) Deliver(_ context.Context, a Attempt) []upstream.Outcome {
	return upstream.All(len(a.Recipients), ok)
}
