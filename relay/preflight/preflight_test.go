package preflight

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider is a Checker that a test tells what to say.
type provider struct {
	mu   sync.Mutex
	says upstream.Health
	take time.Duration // a check takes so long, or until its context ends
	hit  func()
	at   []time.Time

	busy, most int // checks at once
}

func (p *provider) Check(ctx context.Context) upstream.Health {
	p.mu.Lock()
	p.at = append(p.at, time.Now())
	h, take, hit := p.says, p.take, p.hit
	p.busy++
	p.most = max(p.most, p.busy)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.busy--
		p.mu.Unlock()
	}()
	if hit != nil {
		hit()
	}
	select {
	case <-ctx.Done():
		return upstream.Health{Reachable: upstream.Bad, Text: "stopped"}
	case <-time.After(take):
	}
	return h
}

func (p *provider) say(h upstream.Health) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.says = h
}

func (p *provider) checks() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.at)
}

// rig is a Runner in a bubble, where time passes when everybody waits.
type rig struct {
	*testing.T
	*Runner
	mu      sync.Mutex
	targets []Target
	log     bytes.Buffer
	better  []string
	stop    func()
}

func inBubble(t *testing.T, f func(*rig), targets ...Target) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, targets: targets}
		r.Runner = New(Options{Recovered: func(name string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.better = append(r.better, name)
		}, Log: slog.New(slog.NewTextHandler(&r.log, nil)), Targets: func() []Target {
			r.mu.Lock()
			defer r.mu.Unlock()
			return slices.Clone(r.targets)
		}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { r.Runner.Run(ctx); close(ended) }()
		r.stop = func() { cancel(); <-ended }
		f(r)
		r.stop()
	})
}

// set changes the targets, as a reload does.
func (r *rig) set(targets ...Target) {
	r.mu.Lock()
	r.targets = targets
	r.mu.Unlock()
	r.Refresh()
}

// pass lets time pass, and what it brings.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) want(p *provider, name string, checks int, credentials upstream.Verdict) {
	r.Helper()
	if n, got := p.checks(), r.Result(name).Credentials; n != checks || got != credentials {
		r.Errorf("%s: %d checks, credentials %v; want %d, %v", name, n, got, checks, credentials)
	}
}

var (
	well    = upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good}
	refused = upstream.Health{Reachable: upstream.Good, Credentials: upstream.Bad, Text: "535 5.7.8 AUTH PLAIN: no"}
	away    = upstream.Health{Reachable: upstream.Bad, Text: "connecting to mx.test:587: connect: connection refused"}
)

var login = upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeUpstream, Code: 535, Enhanced: "5.7.8", Text: "no"}

func TestCheckedAtTheStartAndDaily(t *testing.T) {
	p := &provider{says: well}
	inBubble(t, func(r *rig) {
		if !r.Result("out").Checked.IsZero() || !r.Result("nobody").Checked.IsZero() {
			t.Error("checked before it was")
		}
		r.pass(startSpread)
		r.want(p, "out", 1, upstream.Good)
		r.pass(19 * time.Hour)
		r.want(p, "out", 1, upstream.Good)
		r.pass(5 * time.Hour)
		r.want(p, "out", 2, upstream.Good)
		if n := strings.Count(r.log.String(), "\n"); n != 1 {
			t.Errorf("%d lines of the log for the same result twice:\n%s", n, &r.log)
		}
	}, Target{Name: "out", Type: "SMTP", Checker: p, Print: "1"})
}

func TestCheckedWhenSettingsOrSecretsChange(t *testing.T) {
	p, q := &provider{says: refused}, &provider{says: well}
	inBubble(t, func(r *rig) {
		r.pass(startSpread)
		r.want(p, "out", 1, upstream.Bad)
		if x := r.Result("out"); !strings.HasPrefix(x.Remedy, "the server does not take user name and password") || x.Text != refused.Text {
			t.Errorf("%+v", x)
		}
		r.set(Target{Name: "out", Type: "SMTP", Checker: p, Print: "1"}) // a reload of something else
		r.pass(time.Minute)
		r.want(p, "out", 1, upstream.Bad)
		p.say(well)
		r.set(Target{Name: "out", Type: "SMTP", Checker: p, Print: "2"}, Target{Name: "new", Type: "SMTP", Checker: q, Print: "1"})
		r.pass(startSpread)
		r.want(p, "out", 2, upstream.Good)
		r.want(q, "new", 1, upstream.Good)
		if !slices.Equal(r.better, []string{"out"}) { // it has recovered; the other was never unwell
			t.Errorf("recovered: %q", r.better)
		}
		if x := r.Result("out"); x.Remedy != "" {
			t.Errorf("%+v", x)
		}
		r.set(Target{Name: "new", Type: "SMTP", Checker: q, Print: "1"}) // suspended, or gone
		r.pass(30 * time.Hour)
		if n := p.checks(); n != 2 || !r.Result("out").Checked.IsZero() {
			t.Errorf("one that is gone was checked %d times: %+v", n, r.Result("out"))
		}
	}, Target{Name: "out", Type: "SMTP", Checker: p, Print: "1"})
}

// What gives no token is put into plain words, too.
func TestNoTokenIsExplained(t *testing.T) {
	p := &provider{says: upstream.Health{Credentials: upstream.Bad, Text: "no token: AADSTS7000215: Invalid client secret provided."}}
	inBubble(t, func(r *rig) {
		r.pass(startSpread)
		r.want(p, "out", 1, upstream.Bad)
		if x := r.Result("out"); !strings.HasPrefix(x.Remedy, "the client secret is wrong; what to do: put the secret's Value, not its ID") || !strings.Contains(r.log.String(), `remedy="the client secret is wrong; what to do: `) {
			t.Errorf("%+v\n%s", x, &r.log)
		}
	}, Target{Name: "out", Type: "Microsoft365", Checker: p, Print: "1"})
}

// A check that began before a Secret changed says nothing of the new one.
func TestACheckOfOldSecretsDoesNotCount(t *testing.T) {
	p := &provider{says: refused, take: 10 * time.Second}
	inBubble(t, func(r *rig) {
		r.pass(startSpread + time.Second)
		p.say(well)
		r.set(Target{Name: "out", Type: "SMTP", Checker: p, Print: "2"})
		r.pass(9 * time.Second)
		if x := r.Result("out"); !x.Checked.IsZero() {
			t.Errorf("%+v", x)
		}
		r.pass(15 * time.Second)
		r.want(p, "out", 2, upstream.Good)
	}, Target{Name: "out", Type: "SMTP", Checker: p, Print: "1"})
}

// A refused credential shows within seconds of the delivery that met it, and one
// that works again too; a known one is not asked for again with each message.
func TestDeliveriesBringChecksForward(t *testing.T) {
	p := &provider{says: well}
	inBubble(t, func(r *rig) {
		r.pass(time.Hour)
		r.want(p, "out", 1, upstream.Good)
		for _, harmless := range []upstream.Outcome{
			{Kind: upstream.Accepted},
			{Kind: upstream.Failed, Scope: upstream.ScopeRecipient, Code: 550, Enhanced: "5.1.1"},
			{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Code: 432, Enhanced: "4.3.2"},
		} {
			r.Saw("out", []upstream.Outcome{harmless})
			r.Saw("nobody", []upstream.Outcome{login})
		}
		r.pass(time.Minute)
		r.want(p, "out", 1, upstream.Good)

		p.say(refused)
		r.Saw("out", []upstream.Outcome{login, login})
		r.pass(startSpread)
		r.want(p, "out", 2, upstream.Bad)
		for range 20 { // the queue tries on
			r.Saw("out", []upstream.Outcome{login})
			r.pass(10 * time.Second)
		}
		r.want(p, "out", 2, upstream.Bad)

		p.say(well)
		r.Saw("out", []upstream.Outcome{{Kind: upstream.Accepted}})
		r.pass(startSpread)
		r.want(p, "out", 3, upstream.Good)

		p.say(well) // an upstream of two minds is not asked more than a few times a minute
		for range 60 {
			r.Saw("out", []upstream.Outcome{login})
			r.pass(time.Second)
		}
		if n := p.checks() - 3; n < 3 || n > 5 {
			t.Errorf("%d checks in a minute of refusals that no check confirms", n)
		}
	}, Target{Name: "out", Type: "SMTP", Checker: p, Print: "1"})
}

// What is unwell is looked at again by itself, ever more seldom.
func TestUnwellIsCheckedAgain(t *testing.T) {
	for _, c := range []struct {
		health      upstream.Health
		first, last time.Duration
	}{{refused, unwellFirst, unwellMax}, {away, unreachFirst, unreachMax}} {
		p := &provider{says: c.health}
		inBubble(t, func(r *rig) {
			r.pass(12 * time.Hour)
			for i := 1; i < len(p.at); i++ {
				want := min(c.first<<min(i-1, 20), c.last)
				if gap := p.at[i].Sub(p.at[i-1]); gap > want || gap < want*4/5 {
					t.Errorf("%s: check %d came after %s, want about %s", c.health.Text, i, gap, want)
				}
			}
			if len(p.at) < 12 {
				t.Errorf("%d checks in 12 hours", len(p.at))
			}
			if n := strings.Count(r.log.String(), "\n"); n != 1 {
				t.Errorf("%d lines of the log:\n%s", n, &r.log)
			}
			p.say(well)
			r.pass(c.last)
			if r.Result("out").Credentials != upstream.Good || !strings.Contains(r.log.String(), "level=INFO") {
				t.Errorf("%+v\n%s", r.Result("out"), &r.log)
			}
		}, Target{Name: "out", Type: "SMTP", Checker: p, Print: "1"})
	}
}

// A server that cannot be reached says nothing of the credential.
func TestUnreachableKeepsWhatIsKnownOfTheCredential(t *testing.T) {
	p := &provider{says: well}
	inBubble(t, func(r *rig) {
		r.pass(startSpread)
		p.say(away)
		r.pass(daily)
		if x := r.Result("out"); x.Reachable != upstream.Bad || x.Credentials != upstream.Good {
			t.Errorf("%+v", x)
		}
		r.set(Target{Name: "out", Type: "SMTP", Checker: p, Print: "2"}) // another one
		r.pass(startSpread)
		if x := r.Result("out"); x.Reachable != upstream.Bad || x.Credentials != upstream.Untold {
			t.Errorf("%+v", x)
		}
	}, Target{Name: "out", Type: "SMTP", Checker: p, Print: "1"})
}

// A server that does not answer holds back neither the others for ever nor the end.
func TestBoundsAndEnd(t *testing.T) {
	slow := &provider{says: well, take: time.Hour}
	quick := &provider{says: well}
	var targets []Target
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		targets = append(targets, Target{Name: name, Type: "SMTP", Checker: slow, Print: "1"})
	}
	targets = append(targets, Target{Name: "z", Type: "SMTP", Checker: quick, Print: "1"})
	inBubble(t, func(r *rig) {
		r.pass(startSpread + 2*checkTime)
		r.want(quick, "z", 1, upstream.Good)
		if r.Result("a").Reachable != upstream.Bad {
			t.Errorf("%+v", r.Result("a"))
		}
		slow.mu.Lock()
		most := slow.most
		slow.mu.Unlock()
		if most != atOnce {
			t.Errorf("%d checks at once", most)
		}
		r.pass(time.Hour)
		began := time.Now()
		r.stop()
		if d := time.Since(began); d != 0 {
			t.Errorf("the end took %s", d)
		}
	}, targets...)
}

func TestAFaultOfATransportIsNotTheRelays(t *testing.T) {
	p := &provider{says: well, hit: func() { panic("oops") }}
	inBubble(t, func(r *rig) {
		r.pass(startSpread)
		if x := r.Result("out"); x.Text == "" || x.Credentials != upstream.Untold || !strings.Contains(r.log.String(), "oops") {
			t.Errorf("%+v\n%s", x, &r.log)
		}
		p.mu.Lock()
		p.hit = nil
		p.mu.Unlock()
		r.pass(hourly)
		r.want(p, "out", 2, upstream.Good)
	}, Target{Name: "out", Type: "SMTP", Checker: p, Print: "1"})
}

func TestWarningsAndExpiryAreLogged(t *testing.T) {
	p := &provider{says: well}
	inBubble(t, func(r *rig) {
		h := well
		h.Warnings, h.Expires = []string{"the account is in the sandbox"}, time.Now().Add(time.Hour)
		p.say(h)
		r.pass(startSpread)
		if got := r.log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "sandbox") || !strings.Contains(got, "expires=") {
			t.Errorf("%s", got)
		}
	}, Target{Name: "out", Type: "SMTP", Checker: p, Print: "1"})
}
