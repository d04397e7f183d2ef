package resolver

import (
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxEntries     = 4096
	maxTTL         = time.Hour // what changes in DNS counts after that
	maxNegativeTTL = time.Minute
)

type cacheKey struct {
	name string
	kind dnsmessage.Type
}

type cacheEntry struct {
	answer Answer
	until  time.Time
}

// cache holds at most maxEntries answers.
type cache map[cacheKey]cacheEntry

func (c cache) get(k cacheKey, now time.Time) (Answer, bool) {
	e, ok := c[k]
	return e.answer, ok && now.Before(e.until)
}

func (c cache) put(k cacheKey, a Answer, now time.Time, ttl time.Duration) {
	if ttl <= 0 {
		delete(c, k)
		return
	}
	if len(c) >= maxEntries {
		for old, e := range c {
			if !now.Before(e.until) {
				delete(c, old)
			}
		}
	}
	for old := range c { // any: it costs a question
		if len(c) < maxEntries {
			break
		}
		delete(c, old)
	}
	c[k] = cacheEntry{a, now.Add(ttl)}
}
