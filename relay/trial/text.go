package trial

import (
	"fmt"
	"io"
)

// Outcome gathers steps: whether all that was to be done was.
type Outcome struct {
	steps  int
	failed bool
	last   string
}

// Add takes the next step.
func (o *Outcome) Add(s Step) {
	o.steps++
	// A fallback may take what the upstream before it did not.
	o.failed, o.last = !s.OK, s.Name
}

// Passed tells whether the last step was one that passed: an upstream has taken it.
func (o *Outcome) Passed() bool { return o.steps > 0 && !o.failed }

// KeptBack tells whether the message stays until a person lets it go.
func (o *Outcome) KeptBack() bool { return o.failed && (o.last == Held || o.last == Suspended) }

// mark of a step, for people.
func (s *Step) mark() string {
	switch {
	case s.OK:
		return "ok"
	case s.Name == Held, s.Name == Suspended:
		return "held"
	case s.Wait:
		return "waits"
	}
	return "FAILED"
}

// WriteText writes the step for people: one line, and what to do where it did not pass.
func (s *Step) WriteText(w io.Writer) {
	fmt.Fprintf(w, "%-7s %-10s %s\n", s.mark(), s.Name, s.Text)
	if s.Remedy != "" && !s.OK {
		fmt.Fprintf(w, "%-18s what to do: %s\n", "", s.Remedy)
	}
}
