package queue

import (
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/remedy"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Advise says what an outcome at the upstream up means, and what to do; up may be
// nil. Of what was accepted there is nothing to say.
func Advise(up *plan.Upstream, o *upstream.Outcome) remedy.Advice {
	if o == nil || o.Kind == upstream.Accepted {
		return remedy.Advice{}
	}
	if o.Kind == 0 && o.Text == lostText {
		return lostAdvice
	}
	f := remedy.Failure{Code: o.Code, Enhanced: o.Enhanced, Text: o.Text}
	if up != nil {
		f.Type = up.Type
	}
	a, _ := remedy.Find(f)
	return a
}

// AdviseFailed is Advise on what failed for good: trouble that passes by itself has
// lasted too long then.
func AdviseFailed(up *plan.Upstream, o *upstream.Outcome) remedy.Advice {
	a := Advise(up, o)
	if a.Passes() {
		a.Remedy = lastedTooLong
	}
	return a
}

// adviceOf is advise for an upstream by its name. It wants q.mu held.
func (q *Queue) adviceOf(name string, o *upstream.Outcome) remedy.Advice {
	return Advise(q.routing.Upstreams[name], o)
}

// remedyOf says what to do about why it has not gone out: the words of the first
// recipient that reason speaks of. It wants q.mu held.
func (q *Queue) remedyOf(it *item, now int64) string {
	if it.ended == 0 && it.held != "" {
		return ""
	}
	for i := range it.rcpts {
		x := &it.rcpts[i]
		if x.status == accepted {
			continue
		}
		if l := q.laneOf(it, i); l != nil && l.whyDown(now) != "" {
			if l.suspended() {
				return ""
			}
			return l.advice.String()
		}
		if x.last != nil {
			return q.adviceOf(x.by(), x.outcome()).String()
		}
	}
	return ""
}
