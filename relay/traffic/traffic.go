// Package traffic keeps how much mail a relay took, refused and could not
// deliver over the last day, in steps of five minutes. It looks at counters that
// are there anyway, so that it costs a message nothing.
//
// It imports relay/atomicfile.
package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/atomicfile"
)

// Step is what one count stands for, Steps how many there are.
const (
	Step  = 5 * time.Minute
	Steps = 288
)

// Counts are messages acknowledged, refusals to clients, and recipients that an
// upstream refused for good.
type Counts struct {
	Accepted int64 `json:"accepted"`
	Refused  int64 `json:"refused"`
	Failed   int64 `json:"failed"`
}

// Add adds what another counted in the same time.
func (c *Counts) Add(o Counts) {
	c.Accepted += o.Accepted
	c.Refused += o.Refused
	c.Failed += o.Failed
}

func (c Counts) since(o Counts) Counts {
	return Counts{max(0, c.Accepted-o.Accepted), max(0, c.Refused-o.Refused), max(0, c.Failed-o.Failed)}
}

// Day is the last day, the oldest step first; the last one is under way.
type Day struct {
	Begin time.Time `json:"begin"` // of the first step
	Steps []Counts  `json:"steps"`
}

// Recorder counts for one relay. It is safe for concurrent use.
type Recorder struct {
	total func() Counts // since the process began
	file  string

	mu    sync.Mutex
	ring  [Steps]Counts
	at    int64  // the step under way, of Steps since 1970
	last  Counts // total, when it was last looked at
	dirty bool
}

// stored is what a Recorder keeps in its file.
type stored struct {
	At    int64    `json:"at"`
	Steps []Counts `json:"steps"` // the oldest first
}

// Open makes a recorder that goes on with what file has. total gives what was
// counted since the process began. Without a file, or with one that cannot be read,
// which the error tells, it begins anew.
func Open(file string, total func() Counts) (*Recorder, error) {
	r := &Recorder{total: total, file: file, at: stepOf(time.Now()), last: total()}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	var s stored
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && len(s.Steps) != Steps {
		err = fmt.Errorf("%s has %d steps, want %d", file, len(s.Steps), Steps)
	}
	if err != nil {
		return r, err
	}
	if now := r.at; s.At <= now { // one of the future is of a clock that was wrong
		r.at = s.At
		for i, c := range s.Steps {
			*r.step(s.At - Steps + 1 + int64(i)) = c
		}
		r.forward(now)
	}
	return r, nil
}

func stepOf(t time.Time) int64 { return t.Unix() / int64(Step/time.Second) }

func (r *Recorder) step(n int64) *Counts { return &r.ring[(n%Steps+Steps)%Steps] }

// forward empties the steps until now.
func (r *Recorder) forward(now int64) {
	for n := max(r.at, now-Steps) + 1; n <= now; n++ {
		*r.step(n) = Counts{}
	}
	r.at = max(r.at, now)
}

// look counts what happened since the last look to the step under way. It wants
// r.mu held.
func (r *Recorder) look() {
	total := r.total()
	more := total.since(r.last)
	r.last = total
	r.step(r.at).Add(more) // it began there; a look is made at the end of each step
	r.forward(stepOf(time.Now()))
	r.dirty = r.dirty || more != Counts{}
}

// Day gives the last day until now.
func (r *Recorder) Day() Day {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look()
	d := Day{Begin: time.Unix((r.at-Steps+1)*int64(Step/time.Second), 0).UTC(), Steps: make([]Counts, Steps)}
	for i := range d.Steps {
		d.Steps[i] = *r.step(r.at - Steps + 1 + int64(i))
	}
	return d
}

// Run counts, and keeps the file up to date, until ctx ends. failed hears of a
// file that cannot be written.
func (r *Recorder) Run(ctx context.Context, failed func(error)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if err := r.save(); err != nil {
			failed(err)
		}
		now := time.Now()
		timer.Reset(now.Truncate(Step).Add(Step).Sub(now))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	if err := r.save(); err != nil {
		failed(err)
	}
}

// save writes the file if there is anything new.
func (r *Recorder) save() error {
	d := r.Day()
	r.mu.Lock()
	dirty, at := r.dirty, r.at
	r.dirty = false
	r.mu.Unlock()
	if !dirty {
		return nil
	}
	b, err := json.Marshal(stored{at, d.Steps})
	if err != nil {
		return err
	}
	return atomicfile.Write(r.file, b)
}
