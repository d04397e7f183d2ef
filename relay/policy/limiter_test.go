package policy

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// What each way of dealing with a rate does to one message more than it allows.
func TestExceeded(t *testing.T) {
	a := netip.MustParseAddr("10.0.0.1")
	for _, tc := range []struct {
		rate  Rate
		n     int // recipients of each message
		ok    int // messages that pass
		delay time.Duration
	}{
		{Rate{MessagesPerMinute: 30, Exceeded: Pace}, 1, 30, 2 * time.Second},
		{Rate{MessagesPerMinute: 30, Exceeded: HoldExcess}, 1, 30, 2 * time.Second},
		{Rate{MessagesPerMinute: 30, Exceeded: Refuse}, 1, 30, 2 * time.Second},
		{Rate{RecipientsPerDay: 100, Exceeded: Pace}, 10, 10, 24 * time.Hour},
		{Rate{RecipientsPerDay: 100, Exceeded: Refuse}, 30, 3, 24 * time.Hour},
		{Rate{MessagesPerMinute: 30, RecipientsPerDay: 5, Exceeded: Pace}, 1, 5, 24 * time.Hour},
	} {
		for _, per := range []Per{PerClient, PerUser, PerRule} {
			tc.rate.Per = per
			r, l := &Rule{Policy: "p", Name: "r", Rate: &tc.rate}, NewLimiter()
			for i := range tc.ok {
				if v := l.Take(noon, r, a, "u", tc.n); v.Over {
					t.Errorf("%+v: message %d is over", tc.rate, i+1)
				}
			}
			v := l.Take(noon, r, a, "u", tc.n)
			if !v.Over || v.Exceeded != tc.rate.Exceeded || v.Delay != tc.delay {
				t.Errorf("%+v: %+v, want a delay of %v", tc.rate, v, tc.delay)
			}
		}
	}
}

// Whom a limit counts together.
func TestPer(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	v6, sameDevice, otherDevice := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8:0:1::1")
	for name, tc := range map[string]struct {
		per         Per
		first, then netip.Addr
		user, next  string
		together    bool
	}{
		"client, same":           {PerClient, a, a, "", "", true},
		"client, other login":    {PerClient, a, a, "u", "v", true},
		"client, other address":  {PerClient, a, b, "u", "u", false},
		"client, mapped":         {PerClient, a, netip.MustParseAddr("::ffff:10.0.0.1"), "", "", true},
		"client, same /64":       {PerClient, v6, sameDevice, "", "", true},
		"client, other /64":      {PerClient, v6, otherDevice, "", "", false},
		"user, same":             {PerUser, a, b, "u", "u", true},
		"user, other":            {PerUser, a, a, "u", "v", false},
		"user, none: the client": {PerUser, a, b, "", "", false},
		"user, named as address": {PerUser, a, a, "", "10.0.0.1/32", false},
		"rule":                   {PerRule, a, b, "u", "v", true},
	} {
		r, l := &Rule{Policy: "p", Name: "r", Rate: &Rate{RecipientsPerDay: 1, Per: tc.per, Exceeded: Refuse}}, NewLimiter()
		l.Take(noon, r, tc.first, tc.user, 1)
		if v := l.Take(noon, r, tc.then, tc.next, 1); v.Over != tc.together {
			t.Errorf("%s: over %v", name, v.Over)
		}
		other := *r
		other.Name = "other"
		if v := l.Take(noon, &other, tc.first, tc.user, 1); v.Over {
			t.Errorf("%s: another rule pays for it", name)
		}
	}
	if v := NewLimiter().Take(noon, &Rule{}, a, "", 1000); v.Over {
		t.Error("a rule without a limit has one")
	}
}

// Whatever comes when: in any 24 hours no more recipients pass than a day's.
func TestNoMorePassThanTheLimit(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	r := &Rule{Policy: "p", Name: "r", Rate: &Rate{RecipientsPerDay: 50, MessagesPerMinute: 10, Per: PerRule, Exceeded: Refuse}}
	l, now := NewLimiter(), noon
	type passed struct {
		at time.Time
		n  int
	}
	var all []passed
	for range 5000 {
		gap := []int{3, 3, 3, 3, 6000}[rng.IntN(5)]
		now = now.Add(time.Duration(rng.IntN(gap)) * time.Second)
		n := 1 + rng.IntN(4)
		if v := l.Take(now, r, netip.Addr{}, "", n); v.Over {
			continue
		}
		all = append(all, passed{now, n})
		day, minute := 0, 0
		for _, p := range all {
			if now.Sub(p.at) < 23*time.Hour { // the hours are whole ones
				day += p.n
			}
			if now.Sub(p.at) < time.Minute {
				minute++
			}
		}
		if day > 50 || minute > 20 { // a full bucket, and what flows in meanwhile
			t.Fatalf("%d recipients in a day, %d messages in a minute", day, minute)
		}
	}
	if len(all) < 250 {
		t.Errorf("%d messages passed only", len(all))
	}
}

// A clock that was a year ahead and is set right does not pace for a year, nor
// does it forget what was used.
func TestClockSetBack(t *testing.T) {
	a := netip.MustParseAddr("10.0.0.1")
	r := &Rule{Policy: "p", Name: "r", Rate: &Rate{MessagesPerMinute: 1, RecipientsPerDay: 3, Per: PerClient, Exceeded: Pace}}
	l := NewLimiter()
	for range 3 {
		l.Take(noon.AddDate(1, 0, 0), r, a, "", 1)
	}
	v := l.Take(noon, r, a, "", 1)
	if !v.Over || v.Delay > 25*time.Hour {
		t.Errorf("right after: %+v", v)
	}
	if v := l.Take(noon.Add(26*time.Hour), r, a, "", 1); v.Over {
		t.Errorf("a day later: %+v", v)
	}
}

// A crowd of clients pushes out other clients, and neither a user's nor a rule's
// count: who has one password and a network must not begin anew with it. A restart
// changes nothing of that.
func TestLimiterIsBounded(t *testing.T) {
	l := NewLimiter()
	rule := func(name string, per Per) *Rule {
		return &Rule{Policy: "p", Name: name, Rate: &Rate{RecipientsPerDay: 1, Per: per, Exceeded: Refuse}}
	}
	stolen, all, each := rule("user", PerUser), rule("rule", PerRule), rule("client", PerClient)
	a := netip.MustParseAddr("10.0.0.1")
	l.Take(noon, stolen, a, "mfp", 1)
	l.Take(noon, all, a, "", 1)
	for i := range 2 * maxKeys {
		l.Take(noon, each, netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), "mfp", 1)
	}
	b, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	again := NewLimiter()
	if err := json.Unmarshal(b, again); err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]*Limiter{"running": l, "restarted": again} {
		if len(l.clients.keys) != maxKeys || l.clients.order.Len() != maxKeys {
			t.Errorf("%s: %d clients are remembered", name, len(l.clients.keys))
		}
		if v := l.Take(noon, stolen, a, "mfp", 1); !v.Over {
			t.Errorf("%s: the user begins anew", name)
		}
		if v := l.Take(noon, all, a, "", 1); !v.Over {
			t.Errorf("%s: the rule begins anew", name)
		}
	}
}

// What is on disk may be anything after a crash.
func FuzzLimiterJSON(f *testing.F) {
	f.Add([]byte(`[{"key":"p\u0000r\u0000","due":"2026-11-23T12:00:00Z","hours":[1,2],"hour":494676}]`))
	f.Add([]byte(`[null,{}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := NewLimiter()
		if json.Unmarshal(b, l) != nil {
			return
		}
		r := &Rule{Policy: "p", Name: "r", Rate: &Rate{MessagesPerMinute: 1, RecipientsPerDay: 3, Per: PerRule, Exceeded: Refuse}}
		if v := l.Take(noon, r, netip.Addr{}, "", 1); v.Delay < 0 {
			t.Fatalf("%+v", v)
		}
		if _, err := json.Marshal(l); err != nil {
			t.Fatal(err)
		}
	})
}
