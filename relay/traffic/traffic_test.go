package traffic

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func sum(d Day) (c Counts) {
	for _, s := range d.Steps {
		c.Add(s)
	}
	return c
}

func TestDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "traffic.json")
		var mu sync.Mutex
		total := Counts{Accepted: 100} // of before: not ours
		counted := func() Counts { mu.Lock(); defer mu.Unlock(); return total }
		count := func(c Counts) { mu.Lock(); defer mu.Unlock(); total.Add(c) }
		r, err := Open(file, counted)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx, func(err error) { t.Error(err) }) }()

		count(Counts{Accepted: 3})
		time.Sleep(Step + time.Millisecond) // behind Run's look, which is at the step's end
		count(Counts{Refused: 1, Failed: 2})
		time.Sleep(time.Second)
		d := r.Day()
		if len(d.Steps) != Steps || d.Steps[Steps-2] != (Counts{Accepted: 3}) || d.Steps[Steps-1] != (Counts{Refused: 1, Failed: 2}) {
			t.Errorf("last steps %+v", d.Steps[Steps-3:])
		}
		if got := time.Until(d.Begin.Add(Steps * Step)); got <= 0 || got > Step {
			t.Errorf("the last step ends in %s", got)
		}
		cancel()
		<-done

		// Over a restart, with the counters at nothing again, an hour later.
		time.Sleep(time.Hour)
		total = Counts{}
		r, err = Open(file, func() Counts { return total })
		if err != nil {
			t.Fatal(err)
		}
		total.Accepted = 1
		d = r.Day()
		if d.Steps[Steps-1] != (Counts{Accepted: 1}) || d.Steps[Steps-1-12] != (Counts{Refused: 1, Failed: 2}) || sum(d) != (Counts{4, 1, 2}) {
			t.Errorf("behind a restart: last %+v, an hour ago %+v, in all %+v", d.Steps[Steps-1], d.Steps[Steps-1-12], sum(d))
		}
		// What is older than a day is gone, with a relay that did not run, and with one that was not asked.
		time.Sleep(23 * time.Hour)
		if got := sum(r.Day()); got != (Counts{1, 0, 0}) {
			t.Errorf("23 hours later: %+v", got)
		}
		time.Sleep(7 * 24 * time.Hour)
		if got := sum(r.Day()); got != (Counts{}) {
			t.Errorf("a week later: %+v", got)
		}
	})
}

func TestBadFile(t *testing.T) {
	for _, text := range []string{"{", `{"at": 5, "steps": [{}]}`} {
		file := filepath.Join(t.TempDir(), "traffic.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(file, func() Counts { return Counts{} })
		if err == nil || r == nil {
			t.Errorf("%s: %v, %v", text, r, err)
		} else if d := r.Day(); len(d.Steps) != Steps {
			t.Errorf("%s: %d steps", text, len(d.Steps))
		}
	}
}
