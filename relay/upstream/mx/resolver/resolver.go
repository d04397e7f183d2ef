// Package resolver asks the system's recursive resolvers what direct delivery
// has to know of a domain, and whether DNSSEC vouches for it: the standard
// library's resolver tells neither that nor TLSA records, and searches domains
// of the cluster first.
//
// It may import golang.org/x/net/dns/dnsmessage and the standard library.
package resolver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TypeTLSA is the type of RFC 6698.
const TypeTLSA dnsmessage.Type = 52

// Answer is what DNS says of one name and type.
type Answer struct {
	Name     string // where the records are: the end of a chain of CNAMEs; lower case, no dot at the end
	Secure   bool   // validated by DNSSEC, all of the chain, or that there is nothing
	NXDomain bool   // the name is not there
	Records  []dnsmessage.ResourceBody
}

// Error is a lookup without an answer. It is temporary: what is not there is an
// Answer.
type Error struct {
	Name   string
	Type   dnsmessage.Type
	Silent bool // no resolver answered at all
	why    string
}

// Error says which lookup failed, and why.
func (e *Error) Error() string {
	return fmt.Sprintf("DNS lookup of %s %s: %s", typeName(e.Type), cmp.Or(e.Name, "."), e.why)
}

func typeName(t dnsmessage.Type) string {
	if t == TypeTLSA {
		return "TLSA"
	}
	return strings.TrimPrefix(t.String(), "Type")
}

// Resolver asks those of resolv.conf; it follows changes of it. It is safe for
// concurrent use.
type Resolver struct {
	file string

	mu    sync.Mutex
	conf  conf
	cache cache
	alive time.Time // a resolver answered last
}

// Default asks the system's resolvers.
func Default() *Resolver { return New("/etc/resolv.conf") }

// New asks those that a file in the form of resolv.conf(5) names.
func New(file string) *Resolver { return &Resolver{file: file, cache: cache{}} }

// Lookup gives the records of a name, which is absolute with or without a dot at
// the end, and in ASCII.
func (r *Resolver) Lookup(ctx context.Context, name string, kind dnsmessage.Type) (Answer, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	key := cacheKey{name, kind}
	now := time.Now()
	r.mu.Lock()
	a, ok := r.cache.get(key, now)
	r.mu.Unlock()
	if ok {
		return a, nil
	}
	a, ttl, err := r.ask(ctx, name, kind)
	if err != nil {
		return Answer{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache.put(key, a, now, ttl)
	return a, nil
}

// aliveFor is how long an answer shows that the resolver works.
const aliveFor = 5 * time.Second

// Alive tells whether a resolver answers anything at all: one that is silent
// about one domain may wait for that domain's own servers.
func (r *Resolver) Alive(ctx context.Context) error {
	r.mu.Lock()
	fresh := time.Since(r.alive) < aliveFor
	r.mu.Unlock()
	if fresh {
		return nil
	}
	_, _, err := r.ask(ctx, "", dnsmessage.TypeNS)
	var e *Error
	if errors.As(err, &e) && e.Silent {
		return err
	}
	return nil
}

// ask asks each resolver in turn, as often as resolv.conf says.
func (r *Resolver) ask(ctx context.Context, name string, kind dnsmessage.Type) (Answer, time.Duration, error) {
	failure := &Error{Name: name, Type: kind, Silent: true, why: "no resolver answers"}
	host, err := dnsmessage.NewName(name + ".")
	if err != nil {
		failure.Silent, failure.why = false, "it is no domain name"
		return Answer{}, 0, failure
	}
	q := dnsmessage.Question{Name: host, Type: kind, Class: dnsmessage.ClassINET}
	c := r.configuration()
	for range c.attempts {
		for _, s := range c.servers {
			m, err := exchange(ctx, s, q, c.timeout)
			if ctx.Err() != nil {
				failure.why = "stopped while it was under way"
				return Answer{}, 0, failure
			}
			if err != nil {
				if failure.Silent {
					failure.why = fmt.Sprintf("no resolver answers (%s: %v)", s, err)
				}
				continue
			}
			r.mu.Lock()
			r.alive = time.Now()
			r.mu.Unlock()
			failure.Silent = false
			switch m.RCode {
			case dnsmessage.RCodeSuccess, dnsmessage.RCodeNameError:
				a, ttl := read(m, name, kind)
				a.Secure = m.AuthenticData && (c.trustAD || s.Addr().IsLoopback())
				return a, ttl, nil
			case dnsmessage.RCodeServerFailure:
				failure.why = "the resolver fails (SERVFAIL): the domain's servers do not answer it, or DNSSEC finds their answer false"
			default:
				failure.why = "the resolver refuses: " + strings.TrimPrefix(m.RCode.String(), "RCode")
			}
		}
	}
	return Answer{}, 0, failure
}

// maxChain is how many CNAMEs are followed.
const maxChain = 16

// read finds the records at the end of the chain of CNAMEs.
func read(m *dnsmessage.Message, name string, kind dnsmessage.Type) (Answer, time.Duration) {
	a := Answer{Name: name, NXDomain: m.RCode == dnsmessage.RCodeNameError}
	ttl := maxTTL
	lower := func(n dnsmessage.Name) string { return strings.ToLower(strings.TrimSuffix(n.String(), ".")) }
	shorten := func(seconds uint32) { ttl = min(ttl, time.Duration(seconds)*time.Second) }
	for hop := 0; hop < maxChain && kind != dnsmessage.TypeCNAME; hop++ {
		next := ""
		for i := range m.Answers {
			if c, ok := m.Answers[i].Body.(*dnsmessage.CNAMEResource); ok && lower(m.Answers[i].Header.Name) == a.Name {
				next = lower(c.CNAME)
				shorten(m.Answers[i].Header.TTL)
			}
		}
		if next == "" {
			break
		}
		a.Name = next
	}
	for i := range m.Answers {
		if h := &m.Answers[i].Header; h.Type == kind && h.Class == dnsmessage.ClassINET && lower(h.Name) == a.Name {
			a.Records = append(a.Records, m.Answers[i].Body)
			shorten(h.TTL)
		}
	}
	if len(a.Records) == 0 { // RFC 2308 5
		ttl = min(ttl, maxNegativeTTL)
		for i := range m.Authorities {
			if soa, ok := m.Authorities[i].Body.(*dnsmessage.SOAResource); ok {
				shorten(min(soa.MinTTL, m.Authorities[i].Header.TTL))
			}
		}
	}
	return a, ttl
}
