package senderdns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of what one Check asks. All answers of a name count, however many
// mechanisms want them.
const (
	askTime      = 5 * time.Second  // for one answer
	checkTime    = 40 * time.Second // for all of them
	maxQuestions = 200
	atOnce       = 4 // records that are looked at at once
)

// errBusy ends a walk through records that lead on and on.
var errBusy = errors.New("too many DNS lookups for one domain")

// memo asks each question once.
type memo struct {
	dns   Resolver
	mu    sync.Mutex
	asked map[string]*answer
}

type answer struct {
	once sync.Once
	txt  []string
	mx   []*net.MX
	ips  []netip.Addr
	name string
	err  error
}

func (m *memo) ask(ctx context.Context, kind, name string, fn func(context.Context, string, *answer)) *answer {
	m.mu.Lock()
	a := m.asked[kind+name]
	if a == nil {
		a = &answer{}
		if len(m.asked) >= maxQuestions {
			a.once.Do(func() { a.err = errBusy })
		} else {
			m.asked[kind+name] = a
		}
	}
	m.mu.Unlock()
	a.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		fn(ctx, name+".", a) // a whole name: no search list
	})
	return a
}

func (m *memo) txt(ctx context.Context, name string) ([]string, error) {
	a := m.ask(ctx, "TXT ", name, func(ctx context.Context, name string, a *answer) {
		a.txt, a.err = m.dns.LookupTXT(ctx, name)
		slices.Sort(a.txt) // servers turn them round
	})
	return a.txt, a.err
}

func (m *memo) mx(ctx context.Context, name string) ([]*net.MX, error) {
	a := m.ask(ctx, "MX ", name, func(ctx context.Context, name string, a *answer) { a.mx, a.err = m.dns.LookupMX(ctx, name) })
	return a.mx, a.err
}

// cname is what a name is an alias of; "" if it is none.
func (m *memo) cname(ctx context.Context, name string) (string, error) {
	a := m.ask(ctx, "CNAME ", name, func(ctx context.Context, name string, a *answer) { a.name, a.err = m.dns.LookupCNAME(ctx, name) })
	if to := bare(a.name); to != name {
		return to, a.err
	}
	return "", a.err
}

func (m *memo) ips(ctx context.Context, name string) ([]netip.Addr, error) {
	a := m.ask(ctx, "IP ", name, func(ctx context.Context, name string, a *answer) {
		a.ips, a.err = m.dns.LookupNetIP(ctx, "ip", name)
		slices.SortFunc(a.ips, netip.Addr.Compare)
	})
	return a.ips, a.err
}

// isGone tells that DNS did answer: there is no such name, or no such record.
func isGone(err error) bool {
	var d *net.DNSError
	return errors.As(err, &d) && d.IsNotFound
}

func only(list []string, match func(string) bool) (out []string) {
	for _, s := range list {
		if match(s) {
			out = append(out, s)
		}
	}
	return out
}
