package plan

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// The rule of what stops, for relays and the operator alike: a configuration counts as
// a whole or not at all, but for what it stops. What stops counts at once; what lets go
// waits until a configuration can be applied as a whole.
//
// A hold that was edited under its name does both. So both count, the one that runs and
// the new one: whom the edit lets go may be whom a rule of the same commit forbids,
// which is not in force; and who edits a stolen copier's hold while something else is
// wrong must not have its mail leave by that. Who reads the manifests needs no further
// rule for it, and nothing is lost: what is held too much waits for a person.

// Stops is what a configuration stops.
type Stops struct {
	Intake    Intake
	Holds     []Hold
	Suspended map[string]bool // MailUpstreams of the namespace, also those that the relay does not name
}

// StopsOf is what a compiled PrinterRelay and the MailUpstreams beside it stop; p may be
// one that cannot be run. upstreams may be nil.
func StopsOf(p *Plan, upstreams map[string]*v1alpha1.MailUpstream) Stops {
	s := Stops{Intake: p.Intake, Holds: p.Holds, Suspended: SuspendedOf(upstreams)}
	for name, up := range p.Upstreams {
		if up.Suspend {
			s.Suspended[name] = true
		}
	}
	return s
}

// SuspendedOf names those that are suspended.
func SuspendedOf(upstreams map[string]*v1alpha1.MailUpstream) map[string]bool {
	out := map[string]bool{}
	for name, u := range upstreams {
		if u.Spec.Suspend {
			out[name] = true
		}
	}
	return out
}

// maxAhead bounds the holds of configurations that were never applied, while edits go
// on: twice what one may have. The newest count; of the others the oldest go first.
const maxAhead = 64

// Stopping is the plan that runs, p, with all that s stops: s is of a configuration that
// cannot be applied, or not yet. The same once more changes nothing, since what cannot
// be applied is tried again and again.
func (p *Plan) Stopping(s Stops) *Plan {
	out := *p
	if strictness(s.Intake) > strictness(p.Intake) {
		out.Intake = s.Intake
	}
	out.Holds = together(p.Holds, s.Holds)
	out.Upstreams = maps.Clone(p.Upstreams)
	for name, up := range p.Upstreams {
		if s.Suspended[name] && !up.Suspend {
			suspended := *up
			suspended.Suspend = true
			out.Upstreams[name] = &suspended
		}
	}
	return &out
}

// together are the holds that run and those of stops: first what is ahead of its
// configuration, the newest first, so that a person reads the newest reason; then what
// belongs to the configuration that was applied.
func together(run, stops []Hold) []Hold {
	var applied, ahead []Hold
	for i := range run {
		if !run[i].Ahead {
			applied = append(applied, run[i])
		}
	}
	add := func(h Hold, most int) {
		known := func(o Hold) bool { return o.Name == h.Name && o.means(&h) }
		if len(ahead) < most && !slices.ContainsFunc(applied, known) && !slices.ContainsFunc(ahead, known) {
			h.Ahead = true
			ahead = append(ahead, h)
		}
	}
	for i := range stops {
		add(stops[i], len(stops))
	}
	for i := range run {
		if run[i].Ahead {
			add(run[i], maxAhead)
		}
	}
	return slices.Concat(ahead, applied)
}

// means tells whether it keeps the mail of the same.
func (h *Hold) means(o *Hold) bool {
	return slices.Equal(h.Networks, o.Networks) && slices.Equal(h.Users, o.Users) && slices.Equal(h.Senders, o.Senders)
}

// strictness orders what is done with new mail.
func strictness(in Intake) int {
	return slices.Index([]Intake{IntakeAccept, IntakeHold, IntakeRefuse}, in)
}

// WithAhead is r with those of the holds that are ahead of its manifests, in an
// annotation that Compile reads: spec.holds has room for one of each name, and what
// waits for a release is found by the name that a person gave. None takes it out.
func WithAhead(r *v1alpha1.PrinterRelay, holds []Hold) *v1alpha1.PrinterRelay {
	var ahead []Hold
	for i := range holds {
		if holds[i].Ahead {
			ahead = append(ahead, holds[i])
		}
	}
	out := *r
	out.Annotations = maps.Clone(r.Annotations)
	delete(out.Annotations, v1alpha1.AnnotationHoldsAhead)
	if len(ahead) == 0 {
		return &out
	}
	text, err := json.Marshal(ahead)
	if err != nil {
		panic(err) // plain data
	}
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	out.Annotations[v1alpha1.AnnotationHoldsAhead] = string(text)
	return &out
}

// aheadOf reads the annotation.
func aheadOf(r *v1alpha1.PrinterRelay) ([]Hold, error) {
	text := r.Annotations[v1alpha1.AnnotationHoldsAhead]
	if text == "" {
		return nil, nil
	}
	var out []Hold
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Ahead = true
	}
	return out, nil
}
