package plan

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/envelope"
)

// hold is of one login; its name may be that of another.
func hold(name, user string) Hold { return Hold{Name: name, Users: []string{user}} }

// saysHolds is holds as a test compares them, with a plus where one is ahead.
func saysHolds(holds []Hold) string {
	var out []string
	for i := range holds {
		s := holds[i].Name + "=" + strings.Join(holds[i].Users, "|")
		if holds[i].Ahead {
			s = "+" + s
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// What counts of the holds of configurations that cannot be applied, one after the
// other: what stops, at once; what lets go, not before one is applied.
func TestHoldsOfConfigurationsThatCannotBeApplied(t *testing.T) {
	one, two, edited := hold("one", "mfp-1"), hold("two", "mfp-2"), hold("one", "mfp-9")
	wider := Hold{Name: "one", Users: []string{"mfp-1", "mfp-9"}}
	reason := one
	reason.Reason = "ticket 4711"
	for name, tc := range map[string]struct {
		runs []Hold
		next [][]Hold
		want string
	}{
		"the same":                       {[]Hold{one}, [][]Hold{{one}}, "one=mfp-1"},
		"one more":                       {[]Hold{one}, [][]Hold{{one, two}}, "+two=mfp-2 one=mfp-1"},
		"one is taken away":              {[]Hold{one, two}, [][]Hold{{two}}, "one=mfp-1 two=mfp-2"},
		"one is edited":                  {[]Hold{one}, [][]Hold{{edited}}, "+one=mfp-9 one=mfp-1"},
		"one is made wider":              {[]Hold{one}, [][]Hold{{wider}}, "+one=mfp-1|mfp-9 one=mfp-1"},
		"another reason only":            {[]Hold{one}, [][]Hold{{reason}}, "one=mfp-1"},
		"another reason, of one ahead":   {nil, [][]Hold{{one}, {reason}}, "+one=mfp-1"},
		"one comes, and is taken away":   {[]Hold{one}, [][]Hold{{one, two}, {one}, nil}, "+two=mfp-2 one=mfp-1"},
		"one comes, and is edited":       {nil, [][]Hold{{one}, {edited}}, "+one=mfp-9 +one=mfp-1"},
		"one is edited, and edited back": {[]Hold{one}, [][]Hold{{edited}, {one}}, "+one=mfp-9 one=mfp-1"},
		"its name goes to another":       {[]Hold{one}, [][]Hold{{hold("other", "mfp-1")}}, "+other=mfp-1 one=mfp-1"},
	} {
		pl := &Plan{Holds: tc.runs}
		for _, next := range tc.next {
			for range 3 { // it is tried again and again
				pl = pl.Stopping(Stops{Holds: next})
			}
		}
		if got := saysHolds(pl.Holds); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

// However long a configuration stays wrong, and however often a hold in it is edited,
// there is a bound: what was applied and what the newest says are within it.
func TestHoldsAheadAreBounded(t *testing.T) {
	runs, next := []Hold{hold("applied", "mfp-0")}, []Hold{}
	for i := range 32 {
		next = append(next, hold(fmt.Sprint("now-", i), "mfp-1"))
	}
	pl := &Plan{Holds: runs}
	for i := range 1000 {
		pl = pl.Stopping(Stops{Holds: []Hold{hold("edited", fmt.Sprint("mfp-", i))}})
	}
	if n := len(pl.Holds); n != maxAhead+1 {
		t.Errorf("%d holds, want %d", n, maxAhead+1)
	}
	pl = pl.Stopping(Stops{Holds: next})
	got := strings.Split(saysHolds(pl.Holds), " ")
	if len(got) != maxAhead+1 || got[0] != "+now-0=mfp-1" || got[31] != "+now-31=mfp-1" || got[32] != "+edited=mfp-999" || got[maxAhead] != "applied=mfp-0" {
		t.Errorf("%d holds: %s", len(got), got)
	}
}

// Intake is never made milder, and an upstream never let go; what runs is not changed.
func TestWhatAConfigurationStopsCountsThoughItCannotBeApplied(t *testing.T) {
	modes := []Intake{IntakeAccept, IntakeHold, IntakeRefuse}
	for i, runs := range modes {
		for k, next := range modes {
			if got := (&Plan{Intake: runs}).Stopping(Stops{Intake: next}).Intake; got != modes[max(i, k)] {
				t.Errorf("%s, then %s: %s", runs, next, got)
			}
		}
		if got := (&Plan{Intake: runs}).Stopping(Stops{}).Intake; got != runs {
			t.Errorf("%s, then nothing: %s", runs, got)
		}
	}
	runs := &Plan{Upstreams: map[string]*Upstream{"a": {Name: "a", Connections: 3}, "b": {Name: "b", Suspend: true}, "c": {Name: "c"}, "d": {Name: "d"}}}
	next := &Plan{Upstreams: map[string]*Upstream{"a": {Name: "a", Suspend: true}, "b": {Name: "b"}, "new": {Name: "new", Suspend: true}}}
	beside := map[string]*v1alpha1.MailUpstream{"b": {}, "d": {Spec: v1alpha1.MailUpstreamSpec{Suspend: true}}} // next does not name d any more
	got := runs.Stopping(StopsOf(next, beside)).Upstreams
	if len(got) != 4 || !got["a"].Suspend || got["a"].Connections != 3 || !got["b"].Suspend || got["c"].Suspend || !got["d"].Suspend || runs.Upstreams["a"].Suspend {
		t.Errorf("%+v", got)
	}
}

// A hold with a fault stops what can be read of it, and nobody else's mail.
func TestAHoldWithAFault(t *testing.T) {
	for name, tc := range map[string]struct {
		hold v1alpha1.Hold
		want string
	}{
		"one network of two":     {v1alpha1.Hold{ClientNetworks: []v1alpha1.CIDR{"10.20.9.66/32", "10.20.9.666"}}, "10.20.9.66/32"},
		"its only network":       {v1alpha1.Hold{ClientNetworks: []v1alpha1.CIDR{"10.20.9.666"}}, ""},
		"its network, of a user": {v1alpha1.Hold{ClientNetworks: []v1alpha1.CIDR{"10.20.9.666"}, Users: []string{"mfp-1"}}, ""},
		"its sender, of a user":  {v1alpha1.Hold{Senders: []v1alpha1.AddressPattern{"*@*@*"}, Users: []string{"mfp-1"}}, ""},
		"nobody":                 {v1alpha1.Hold{}, ""},
	} {
		in := Input{Relay: &v1alpha1.PrinterRelay{Spec: v1alpha1.PrinterRelaySpec{Holds: []v1alpha1.Hold{tc.hold}}}}
		p, found := Compile(in)
		var got []string
		for _, h := range p.Holds {
			for _, n := range h.Networks {
				got = append(got, n.String())
			}
		}
		told := slices.ContainsFunc(found, func(d Diagnostic) bool { return d.Severity == Error && strings.HasPrefix(d.Field, "spec.holds[0]") })
		if strings.Join(got, " ") != tc.want || len(p.Holds) > 0 != (tc.want != "") || !told {
			t.Errorf("%s: %+v, want %q; %v", name, p.Holds, tc.want, found)
		}
	}
}

// What is ahead goes through the manifests of an instance as it is.
func TestHoldsAheadInManifests(t *testing.T) {
	pattern, err := envelope.ParsePattern("*@old.example")
	if err != nil {
		t.Fatal(err)
	}
	ahead := Hold{
		Name: "one", Reason: "ticket 4711", Ahead: true, Users: []string{"mfp-9"}, Senders: []envelope.Pattern{pattern},
		Networks: []netip.Prefix{netip.MustParsePrefix("10.20.9.66/32"), netip.MustParsePrefix("fd00::/8")},
	}
	r := &v1alpha1.PrinterRelay{Spec: v1alpha1.PrinterRelaySpec{Holds: []v1alpha1.Hold{{Name: "one", Users: []string{"mfp-1"}}}}}
	with := WithAhead(r, []Hold{ahead, hold("one", "mfp-1")})
	p, _ := Compile(Input{Relay: with})
	if want := []Hold{ahead, hold("one", "mfp-1")}; !reflect.DeepEqual(p.Holds, want) {
		t.Errorf("%+v, want %+v", p.Holds, want)
	}
	if r.Annotations != nil {
		t.Errorf("the object itself has %v", r.Annotations)
	}
	if got := WithHidden(with, HiddenClients{Networks: []netip.Prefix{netip.MustParsePrefix("10.20.9.0/24")}}, nil).Annotations[v1alpha1.AnnotationHiddenClients]; got != "10.20.9.66" {
		t.Errorf("hidden where the hold asks: %q", got)
	}
	if without := WithAhead(with, p.Holds[1:]); without.Annotations[v1alpha1.AnnotationHoldsAhead] != "" {
		t.Errorf("it stays: %v", without.Annotations)
	}
	with.Annotations[v1alpha1.AnnotationHoldsAhead] = "no JSON"
	if _, found := Compile(Input{Relay: with}); !slices.ContainsFunc(found, func(d Diagnostic) bool { return strings.Contains(d.Field, v1alpha1.AnnotationHoldsAhead) }) {
		t.Errorf("what cannot be read is not told: %v", found)
	}
	if text, err := json.Marshal(hold("one", "mfp-1")); err != nil || strings.Contains(string(text), "ahead") {
		t.Errorf("%s, %v", text, err)
	}
}
