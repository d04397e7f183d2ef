//go:build soak

package soak

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/cluster"
	"github.com/printerrelay/printer-relay/test/ledger"
)

// warmUp is how long copiers send before anything is done: pools and caches fill.
const warmUp = 20 * time.Second

// settings are SOAK (a duration, an hour by default) and SOAK_SEED: the same seed does
// the same in the same order.
func settings(t *testing.T) (lasts time.Duration, seed uint64) {
	t.Helper()
	lasts, seed = time.Hour, uint64(time.Now().UnixNano())
	if v := os.Getenv("SOAK"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d < time.Minute {
			t.Fatalf("SOAK=%q: want a duration of a minute or more, such as 5m", v)
		}
		lasts = d
	}
	if v := os.Getenv("SOAK_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("SOAK_SEED=%q: want a number", v)
		}
		seed = n
	}
	t.Logf("SOAK=%s SOAK_SEED=%d", lasts, seed)
	return lasts, seed
}

// TestSoak is a soak: copiers send for a while, and what the processes then hold at
// rest is noted; they send for as long as was asked for, while everything is
// restarted; then all is accounted for.
func TestSoak(t *testing.T) {
	lasts, seed := settings(t)
	s := findSite(t)
	defer s.remove(t)
	s.install(t)
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be repeated
	x := &soak{site: s, load: newLoad(s, rng), watch: newWatcher(t, s)}
	x.chaos = &chaos{site: s, load: x.load, rng: rng, kills: map[int]room{}, done: map[string]int{}}

	x.load.start()
	time.Sleep(warmUp)
	x.load.end()
	x.drained(t)
	x.before = x.idle(t, nil)

	x.underLoad(t, lasts-warmUp)
	x.drained(t)
	x.after = x.idle(t, x.before.samples)
	x.judge(t)
}

// underLoad has everything restarted while copiers send. Where that fails, what was
// seen so far is told.
func (x *soak) underLoad(t *testing.T, lasts time.Duration) {
	t.Helper()
	begun, whole := time.Now(), false
	x.watch.follow(x.before.address)
	x.load.start()
	defer func() {
		x.load.end()
		x.watch.end()
		x.lasted = time.Since(begun)
		if !whole {
			t.Log(x.report(ledger.Of(&x.load.ledger, x.upstream)))
		}
	}()
	x.chaos.run(t, lasts)
	whole = true
}

// soak is one run.
type soak struct {
	*site
	load          *load
	chaos         *chaos
	watch         *watcher
	before, after rest
	lasted        time.Duration
}

// rest is what the processes are when nothing is to be done.
type rest struct {
	address map[string]string
	samples map[string]sample
}

// wait is Eventually for what the account is drawn after: it fails the test, and
// goes on to tell all.
func (x *soak) wait(t *testing.T, what string, ok func() (why string)) {
	t.Helper()
	for deadline := time.Now().Add(cluster.Patience); ; time.Sleep(200 * time.Millisecond) {
		why := ok()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("not so after %s: %s: %s", cluster.Patience, what, why)
			return
		}
	}
}

// drained waits until no relay has anything left to deliver.
func (x *soak) drained(t *testing.T) {
	t.Helper()
	for _, r := range relays {
		x.wait(t, "all is delivered", func() string {
			for name, ip := range x.watch.addresses(t, namespace, "app.kubernetes.io/instance="+r) {
				if s, err := x.watch.ask(ip); err != nil || s.waiting > 0 {
					return fmt.Sprintf("%s: %.0f wait, %v", name, s.waiting, err)
				}
			}
			return ""
		})
	}
	x.wait(t, "every acknowledged scan has arrived, or was bounced", func() string {
		if lost := ledger.Of(&x.load.ledger, x.upstream).Lost; len(lost) > 0 {
			return fmt.Sprintf("%d are missing, such as %.5q", len(lost), lost)
		}
		return ""
	})
}

// settled is how long processes that are compared with nothing must not have come
// down any more: longer than a relay keeps a connection to its upstream for the
// next message.
const settled = 25 * time.Second

// idle waits until processes have closed what they had open for the load: until
// they have no more than before, or, where there is no before, until they have not
// come down for some time.
func (x *soak) idle(t *testing.T, before map[string]sample) rest {
	t.Helper()
	out := rest{address: x.watch.all(t), samples: map[string]sample{}}
	since := time.Now()
	x.wait(t, "relays and operators are at rest", func() (why string) {
		now, err := x.ask(out.address)
		if err != nil {
			return err.Error()
		}
		for name, s := range now {
			least := out.samples[name]
			if before != nil {
				out.samples[name] = s
				why += judgeRest(name, before[name].figures(), s.figures())
			} else if least.started == 0 || s.files < least.files || s.goroutines < least.goroutines {
				out.samples[name], since = s, time.Now()
			}
		}
		if before == nil && time.Since(since) < settled {
			why += "they have just come down"
		}
		return why
	})
	return out
}

// ask asks them all, and tells the operators apart: one leads, and does more.
func (x *soak) ask(address map[string]string) (map[string]sample, error) {
	out := map[string]sample{}
	var operators []sample
	for name, ip := range address {
		s, err := x.watch.ask(ip)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if name == office || name == steady {
			out[name] = s
		} else {
			operators = append(operators, s)
		}
	}
	slices.SortFunc(operators, func(a, b sample) int { return cmp.Compare(b.goroutines, a.goroutines) })
	for i, s := range operators {
		out[fmt.Sprintf("operator %d", i+1)] = s
	}
	return out, nil
}

// judge prints the report, and fails the test for what is wrong.
func (x *soak) judge(t *testing.T) {
	t.Helper()
	account := ledger.Of(&x.load.ledger, x.upstream)
	t.Log(x.report(account))
	for _, wrong := range judgeMail(account, x.chaos.kills) {
		t.Error(wrong)
	}
	for what := range x.load.faults {
		t.Errorf("an answer that nobody may get: %s", what)
	}
	x.judgeMemory(t)
	for _, p := range profiles {
		if tally := x.load.tallies[p.name]; tally.sent == 0 || !p.refused() && !p.hangUp && tally.acknowledged == 0 {
			t.Errorf("%s: %+v: the load was none", p.name, *tally)
		}
	}
	if x.chaos.life == 0 || account.Acknowledged < 100 {
		t.Errorf("%d scans acknowledged in %d lives: nothing was shown", account.Acknowledged, x.chaos.life)
	}
}

// judgeMemory fails the test for memory that grows in a process that has run long
// enough to tell: steady's, which nothing may have ended, and the operators' where
// they were left alone for the second half of a long soak.
func (x *soak) judgeMemory(t *testing.T) {
	t.Helper()
	for name := range x.before.address {
		life := x.watch.life(name)
		if name == steady && (len(life) == 0 || life[0].started != x.before.samples[name].started) {
			t.Errorf("the process of %s is another", name)
		}
		if name == office || name != steady && len(life) < 5*enough {
			continue // it was restarted too often to tell
		}
		for _, f := range []struct {
			what  string
			tol   tolerance
			field func(sample) float64
		}{
			{"live heap", liveHeap, func(s sample) float64 { return s.live }},
			{"resident memory", resident, func(s sample) float64 { return s.resident }},
		} {
			if wrong := judgeFlat(f.what+" of "+name, figures(life, f.field), f.tol); wrong != "" {
				t.Error(wrong)
			}
		}
	}
}
