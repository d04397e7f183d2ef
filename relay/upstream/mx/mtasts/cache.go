package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"sync"
	"time"
)

// Config is what New takes; all but Roots is required.
type Config struct {
	Dir string // where policies are kept
	// TXT gives the TXT records of a name.
	TXT func(ctx context.Context, name string) ([]string, error)
	// Dial connects to a policy host ("mta-sts.corp.example:443"), where the
	// upstream's rules let it be.
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Roots *x509.CertPool // nil: the system's
	Log   *slog.Logger
	// Failed hears of a policy that could not be had: one of the Results.
	Failed func(result string)
}

// The results of RFC 8460 4.3 that speak of policies.
const (
	ResultFetch   = "sts-policy-fetch-error"
	ResultInvalid = "sts-policy-invalid"
	ResultWebPKI  = "sts-webpki-invalid"
)

const (
	fetchTime   = time.Minute     // RFC 8461 3.3
	retryAfter  = 5 * time.Minute // ... after a failure
	refreshTime = 24 * time.Hour  // how old a policy gets until it is looked at again
	maxFailures = 1024
	maxAtOnce   = 4 // refreshes
)

// Cache gives policies. It is safe for concurrent use.
type Cache struct {
	c      Config
	client *http.Client
	store  *store
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	slots  chan struct{}

	mu     sync.Mutex
	failed map[string]time.Time // domains whose policy could not be fetched, and when to try again
	busy   map[string]bool      // being refreshed
}

// New makes a cache with what an earlier process has left in Dir.
func New(c Config) (*Cache, error) {
	s, err := open(c.Dir, time.Now())
	if err != nil {
		return nil, fmt.Errorf("MTA-STS policies: %w", err)
	}
	t := &Cache{c: c, store: s, slots: make(chan struct{}, maxAtOnce), failed: map[string]time.Time{}, busy: map[string]bool{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.client = &http.Client{
		Transport: &http.Transport{ // no proxy: what is asked for decides where mail goes
			DialContext: c.Dial, TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // RFC 8461 3.3
	}
	return t, nil
}

// Close ends refreshes that are under way.
func (t *Cache) Close() {
	t.cancel()
	t.wg.Wait()
}

// Policy gives the policy of a domain (A-labels, lower case); false: it has
// none, or none that can be had, and none that we know is still in force.
func (t *Cache) Policy(ctx context.Context, domain string) (Policy, bool) {
	if tooLong(domain) {
		return Policy{}, false
	}
	now := time.Now()
	have := t.store.get(domain, now)
	txt, err := t.c.TXT(ctx, "_mta-sts."+domain)
	id, published := "", false
	if err == nil {
		id, published = ID(txt)
	}
	switch {
	case !published: // somebody may be hiding it (RFC 8461 5.1)
	case have != nil && have.ID == id:
		if now.Sub(have.Fetched) > min(refreshTime, have.Policy.MaxAge/2) {
			t.refresh(domain, id)
		}
	default:
		if e := t.fetch(ctx, domain, id); e != nil {
			have = e
		}
	}
	if have == nil {
		return Policy{}, false
	}
	return have.Policy, true
}

// refresh fetches a policy behind the back of mail that does not wait for it.
func (t *Cache) refresh(domain, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy[domain] || t.ctx.Err() != nil {
		return
	}
	select {
	case t.slots <- struct{}{}:
	default:
		return // next time
	}
	t.busy[domain] = true
	t.wg.Go(func() {
		t.fetch(t.ctx, domain, id)
		t.mu.Lock()
		delete(t.busy, domain)
		t.mu.Unlock()
		<-t.slots
	})
}

// fetch gets and keeps the policy of a domain; nil: it cannot be had, and is
// not asked for again for a while.
func (t *Cache) fetch(ctx context.Context, domain, id string) *entry {
	now := time.Now()
	if !t.mayFetch(domain, now) {
		return nil
	}
	p, err := t.get(ctx, domain)
	if err != nil {
		if ctx.Err() == nil {
			t.failure(domain, now, err)
		}
		return nil
	}
	e := &entry{Domain: domain, ID: id, Policy: p, Fetched: now}
	if err := t.store.put(e, now); err != nil {
		t.c.Log.Error("an MTA-STS policy cannot be kept: it is fetched again after a restart", "domain", domain, "error", err)
	}
	return e
}

func (t *Cache) mayFetch(domain string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.After(t.failed[domain])
}

func (t *Cache) failure(domain string, now time.Time, err error) {
	t.c.Log.Warn("the MTA-STS policy of a domain cannot be had", "domain", domain, "cause", err)
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, ErrInvalid):
		t.c.Failed(ResultInvalid)
	case errors.As(err, &cert):
		t.c.Failed(ResultWebPKI)
	default:
		t.c.Failed(ResultFetch)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for d, until := range t.failed {
		if now.After(until) || len(t.failed) >= maxFailures {
			delete(t.failed, d)
		}
	}
	t.failed[domain] = now.Add(retryAfter)
}

// get asks the policy host (RFC 8461 3.3).
func (t *Cache) get(ctx context.Context, domain string) (Policy, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://mta-sts."+domain+"/.well-known/mta-sts.txt", http.NoBody)
	if err != nil {
		return Policy{}, err
	}
	res, err := t.client.Do(req)
	if err != nil {
		return Policy{}, err
	}
	defer res.Body.Close() //nolint:errcheck // read-only
	if res.StatusCode != http.StatusOK {
		return Policy{}, fmt.Errorf("the policy host answers %d: only 200 counts, and no redirect", res.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return Policy{}, fmt.Errorf("the policy is of type %.60q: only text/plain counts", res.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return Policy{}, err
	}
	if len(body) > maxBody {
		return Policy{}, invalid("it has more than %d octets", maxBody)
	}
	return ParsePolicy(body)
}
