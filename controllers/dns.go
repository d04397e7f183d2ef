package controllers

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/status"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/senderdns"
)

// How often DNS is asked about a domain: soon while somebody may be publishing
// records, seldom when all are there.
const (
	dnsSoon   = 10 * time.Minute
	dnsSeldom = time.Hour
)

// dnsWorkers is how many domains are asked about at once, with four questions
// each at most: 500 upstreams are no burst.
const dnsWorkers = 2

// dnsPatience is how many times in a row DNS may fail to answer before what it
// said last is given up.
const dnsPatience = 3

// domains asks DNS about the sender domains of MailUpstreams, beside the
// reconcilers, which never wait for it, and remembers what it said.
type domains struct {
	dns          senderdns.Resolver // nil: DNS is not asked
	soon, seldom time.Duration
	news         func(types.NamespacedName) // what DNS says has changed
	log          *slog.Logger

	mu    sync.Mutex
	queue workqueue.TypedDelayingInterface[types.NamespacedName] // nil: it does not run yet
	of    map[types.NamespacedName]*domainCheck
}

// domainCheck is one upstream's.
type domainCheck struct {
	needs    senderdns.Needs
	records  []senderdns.Record // nil: DNS has not answered yet
	failures int                // in a row
	due      time.Time
}

func newDomains(dns senderdns.Resolver, every time.Duration, log *slog.Logger) *domains {
	d := &domains{dns: dns, soon: dnsSoon, seldom: dnsSeldom, log: log, of: map[types.NamespacedName]*domainCheck{}}
	if every > 0 {
		d.soon, d.seldom = every, every
	}
	return d
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: one operator asks.
func (d *domains) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable.
func (d *domains) Start(ctx context.Context) error {
	queue := workqueue.NewTypedDelayingQueue[types.NamespacedName]()
	d.mu.Lock()
	d.queue = queue
	for key := range d.of {
		queue.Add(key)
	}
	d.mu.Unlock()
	var wg sync.WaitGroup
	for range dnsWorkers {
		wg.Go(func() {
			for d.next(ctx, queue) {
			}
		})
	}
	<-ctx.Done()
	queue.ShutDown()
	wg.Wait()
	return nil
}

// look gives what is known of an upstream's records, and has DNS asked about what
// is not.
func (d *domains) look(key types.NamespacedName, needs senderdns.Needs) *status.DNS {
	out := &status.DNS{Domain: needs.Domain, Why: needs.Why, NotSent: needs.NotSent, Off: d.dns == nil}
	if len(needs.Records) == 0 || d.dns == nil {
		d.forget(key)
		out.Records = shown(senderdns.Unchecked(needs.Records))
		return out
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.of[key]
	if c == nil || !reflect.DeepEqual(c.needs, needs) {
		c = &domainCheck{needs: needs}
		d.of[key] = c
		if d.queue != nil {
			d.queue.Add(key)
		}
	}
	if out.Pending = c.records == nil; out.Pending {
		out.Records = shown(senderdns.Unchecked(needs.Records))
	} else {
		out.Records = shown(c.records)
	}
	return out
}

func (d *domains) forget(key types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.of, key)
}

// next asks about one upstream; false when there is no next.
func (d *domains) next(ctx context.Context, queue workqueue.TypedDelayingInterface[types.NamespacedName]) bool {
	key, down := queue.Get()
	if down {
		return false
	}
	defer queue.Done(key)
	d.mu.Lock()
	c := d.of[key]
	var wait time.Duration
	if c != nil {
		wait = time.Until(c.due)
	}
	d.mu.Unlock()
	switch {
	case c == nil: // it is gone, or needs nothing more
		return true
	case wait > 0: // of a time before its needs changed
		queue.AddAfter(key, wait)
		return true
	}
	found := senderdns.Check(ctx, d.dns, c.needs.Records)
	if ctx.Err() != nil {
		return false
	}
	if changed, again := d.keep(key, c, found); again > 0 {
		queue.AddAfter(key, again)
		if changed {
			d.news(key)
		}
	}
	return true
}

// keep takes up what DNS said; again is when to ask anew, 0 if nobody wants to
// know any more.
func (d *domains) keep(key types.NamespacedName, c *domainCheck, found []senderdns.Record) (changed bool, again time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of[key] != c {
		return false, 0 // its needs have changed: it is in the queue again
	}
	silent := slices.ContainsFunc(found, func(r senderdns.Record) bool { return r.Unanswered })
	if silent {
		c.failures++
		d.log.Debug("DNS does not answer", "upstream", key.String(), "domain", c.needs.Domain, "times", c.failures)
	} else {
		c.failures = 0
	}
	again = d.seldom
	for i := range found {
		if found[i].Unanswered && c.records != nil && c.failures <= dnsPatience {
			found[i] = c.records[i] // the needs are the same, and so is their order
		}
		if found[i].State != senderdns.OK || silent {
			again = d.soon
		}
	}
	changed = !reflect.DeepEqual(c.records, found)
	c.records = found
	again += time.Duration(rand.Int64N(int64(again)/5 + 1)) //nolint:gosec // no secret: so that not all ask at the same time
	c.due = time.Now().Add(again)
	return changed, again
}

// shown is what DNS said as a status has it.
func shown(records []senderdns.Record) (out []status.DNSRecord) {
	for _, r := range records {
		out = append(out, status.DNSRecord{Why: r.Why, DNSRecordStatus: v1alpha1.DNSRecordStatus{
			Name: r.Name, Type: r.Type, Expected: r.Expected, Observed: r.Observed, State: string(r.State),
		}})
	}
	return out
}

// needsOf works out the records of an upstream. Its public keys are those that the
// relays tell, else those that they told before.
func needsOf(u *v1alpha1.MailUpstream, reports []status.UpstreamReport) senderdns.Needs {
	compiled, _ := plan.One(u)
	var keys []senderdns.Key
	for _, r := range reports {
		if r.Name != u.Name {
			continue
		}
		for _, k := range r.DKIM {
			keys = append(keys, senderdns.Key{Name: k.Name, Value: k.Value})
		}
	}
	if len(keys) == 0 && u.Spec.DKIM != nil {
		for _, r := range u.Status.DNS {
			if strings.HasPrefix(r.Name, strings.ToLower(u.Spec.DKIM.Selector)) && r.Type == "TXT" && r.Expected != "" {
				keys = append(keys, senderdns.Key{Name: r.Name, Value: r.Expected})
			}
		}
	}
	// While a new key reaches one instance after the other there are two of a name.
	slices.SortFunc(keys, func(a, b senderdns.Key) int {
		return strings.Compare(a.Name+" "+a.Value, b.Name+" "+b.Value)
	})
	keys = slices.CompactFunc(keys, func(a, b senderdns.Key) bool { return a.Name == b.Name })
	return senderdns.Of(compiled, keys)
}
