package queue

import (
	"slices"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// followed is what was told of a message so far, as "status upstream".
func followed(told <-chan Advance) (out []string) {
	for {
		select {
		case p := <-told:
			s := p.Status
			if p.Upstream != "" {
				s += " " + p.Upstream
			}
			out = append(out, s)
		default:
			return out
		}
	}
}

// Who follows a message is told at once what keeps it from being tried, and when there
// is nothing more to wait for.
func TestWhoFollowsIsToldWhatItWaitsFor(t *testing.T) {
	suspended := func(s Settings, names ...string) Settings {
		ups := map[string]*plan.Upstream{}
		for name, up := range s.Upstreams {
			is := *up
			is.Suspend = is.Suspend || slices.Contains(names, name)
			ups[name] = &is
		}
		s.Upstreams = ups
		return s
	}
	apart := settings() // other.example goes by b, without a fallback
	apart.Fallbacks = nil
	apart.Routes = []plan.Route{{RecipientDomains: []string{"other.example"}, Upstream: "b"}, {Upstream: "a"}}
	for name, tc := range map[string]struct {
		s    Settings
		do   func(*rig) // ahead of the message
		to   []string
		held string
		then func(*rig)
		want []string
	}{
		"nothing":                  {s: settings(), want: []string{"accepted a"}},
		"a hold":                   {s: settings(), held: "hold stolen", want: []string{"held"}},
		"its upstream":             {s: suspended(only(settings()), "a"), want: []string{"suspended a", "later"}},
		"its upstream, not both":   {s: suspended(settings(), "a"), want: []string{"accepted b"}},
		"both":                     {s: suspended(settings(), "a", "b"), want: []string{"suspended a", "later"}},
		"one of two recipients'":   {s: suspended(apart, "b"), to: []string{"a@corp.example", "b@other.example"}, want: []string{"suspended b", "accepted a", "later"}},
		"two recipients, the same": {s: suspended(only(settings()), "a"), to: []string{"a@corp.example", "b@corp.example"}, want: []string{"suspended a", "later"}},
		"it is suspended later on": {
			s: only(settings()), do: func(r *rig) { r.up.say(always(greylisted)) },
			then: func(r *rig) { r.q.Update(suspended(only(settings()), "a")); r.pass(time.Minute) },
			want: []string{"deferred a", "later", "later", "suspended a", "later"},
		},
		"it comes back": {
			s: suspended(only(settings()), "a"), then: func(r *rig) { r.q.Update(only(settings())); r.pass(time.Second) },
			want: []string{"suspended a", "later", "accepted a"},
		},
		"its upstream does not work": {
			s: only(settings()),
			do: func(r *rig) {
				r.up.say(always(down))
				for range breakerFailures {
					r.send(message("x@corp.example"))
				}
				r.up.say(always(ok))
			},
			then: func(r *rig) { r.pass(time.Minute) },
			want: []string{"waiting a", "accepted a"},
		},
		"a fallback that defers": {
			s: settings(), do: func(r *rig) { r.up.say(by(map[string]upstream.Outcome{"a": down, "b": down})) },
			want: []string{"deferred a", "deferred b", "later"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, tc.s, func(r *rig) {
				if tc.do != nil {
					tc.do(r)
				}
				told, stop := r.q.Follow("<test@relay>", "")
				defer stop()
				if tc.to == nil {
					tc.to = []string{"a@corp.example"}
				}
				m := message(tc.to...)
				m.MessageID, m.Held = "<test@relay>", tc.held
				r.send(m)
				if tc.then != nil {
					tc.then(r)
				}
				want := append([]string{"queued"}, tc.want...)
				if tc.held != "" {
					want = tc.want
				}
				if got := followed(told); !slices.Equal(got, want) {
					r.Errorf("told %q, want %q", got, want)
				}
			})
		})
	}
}

// A message that its rule's rate limit has wait is told of, and followed on.
func TestWhoFollowsIsToldOfPacing(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		told, stop := r.q.Follow("<test@relay>", "")
		defer stop()
		m := message("a@corp.example")
		m.MessageID, m.Arrived = "<test@relay>", time.Now()
		m.NotBefore = m.Arrived.Add(time.Minute)
		r.send(m)
		if got := followed(told); !slices.Equal(got, []string{"queued", "waiting"}) {
			r.Errorf("told %q", got)
		}
		r.pass(time.Minute)
		if got := followed(told); !slices.Equal(got, []string{"accepted a"}) {
			r.Errorf("told %q", got)
		}
	})
}
