package policy

import (
	"container/list"
	"encoding/json"
	"net/netip"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// maxKeys bounds what a Limiter remembers of clients, and as much of users and
// rules. The least recently used key goes first; a key that has used nothing for a
// day has nothing left to remember. They are two tables since a client can come from
// thousands of addresses: whoever does must not have it forgotten what a user whose
// password they have, or a rule, has used.
const maxKeys = 10_000

// Limiter counts messages and recipients for the rate limits of rules. A
// message limit is a token bucket that holds a minute's worth; a recipient
// limit counts the last 24 hours by the hour. It is safe for concurrent use.
type Limiter struct {
	mu      sync.Mutex
	clients *table
	named   *table // users and rules: manifests and Secrets bound how many there are
}

// table is the use of some keys.
type table struct {
	keys  map[string]*list.Element // of *usage
	order *list.List               // most recent first
}

func newTable() *table { return &table{keys: map[string]*list.Element{}, order: list.New()} }

// NewLimiter makes an empty Limiter.
func NewLimiter() *Limiter { return &Limiter{clients: newTable(), named: newTable()} }

type usage struct {
	Key   string    `json:"key"`
	Named bool      `json:"named,omitempty"` // of a user or a rule
	Due   time.Time `json:"due"`             // when the bucket is full again
	Hours [24]int   `json:"hours"`
	Hour  int64     `json:"hour"` // of Hours' newest entry, since 1970
}

// Take counts one message with n recipients of a client under rule r and says
// what its rate limit makes of it. A message that is refused is not counted.
func (l *Limiter) Take(now time.Time, r *Rule, client netip.Addr, user string, n int) Verdict {
	if r.Rate == nil {
		return Verdict{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.usage(r.key(client, user))
	u.advance(now)
	v := Verdict{Exceeded: r.Rate.Exceeded}
	due := u.Due
	if m := r.Rate.MessagesPerMinute; m > 0 {
		step := time.Minute / time.Duration(m)
		if due.Before(now) {
			due = now
		}
		due = due.Add(step)
		if wait := due.Sub(now) - time.Minute; wait > 0 {
			v.Over, v.Delay = true, wait
		}
	}
	if d := r.Rate.RecipientsPerDay; d > 0 && u.day()+n > d {
		v.Over = true
		v.Delay = max(v.Delay, u.room(now, d-n))
	}
	if v.Over && v.Exceeded == Refuse {
		return v
	}
	u.Due = due
	u.Hours[0] += n
	return v
}

// key is what r counts by; named tells that it is no client's.
func (r *Rule) key(client netip.Addr, user string) (key string, named bool) {
	k := r.Policy + "\x00" + r.Name + "\x00"
	switch {
	case r.Rate.Per == PerUser && user != "":
		return k + "u\x00" + user, true
	case r.Rate.Per == PerUser, r.Rate.Per == PerClient:
		return k + envelope.Device(client).String(), false
	}
	return k, true
}

func (l *Limiter) usage(key string, named bool) *usage {
	if named {
		return l.named.usage(key, named)
	}
	return l.clients.usage(key, named)
}

func (t *table) usage(key string, named bool) *usage {
	if e := t.keys[key]; e != nil {
		t.order.MoveToFront(e)
		return e.Value.(*usage)
	}
	if t.order.Len() >= maxKeys {
		last := t.order.Back()
		delete(t.keys, last.Value.(*usage).Key)
		t.order.Remove(last)
	}
	u := &usage{Key: key, Named: named}
	t.keys[key] = t.order.PushFront(u)
	return u
}

// advance moves the hours on to now. A clock that was ahead and has been set
// right would keep a device over its limit until it is there again, so what was
// used then counts as used now.
func (u *usage) advance(now time.Time) {
	h := now.Unix() / 3600
	n := h - u.Hour
	if n < -1 { // less is an hour that ends while a clock is being adjusted
		u.Hour = h
		u.Due = u.Due.Add(time.Duration(n) * time.Hour)
	}
	if n <= 0 {
		return
	}
	u.Hour = h
	if n >= int64(len(u.Hours)) {
		u.Hours = [24]int{}
		return
	}
	copy(u.Hours[n:], u.Hours[:])
	clear(u.Hours[:n])
}

func (u *usage) day() int {
	sum := 0
	for _, n := range u.Hours {
		sum += n
	}
	return sum
}

// room is how long it takes until at most left recipients are counted.
func (u *usage) room(now time.Time, left int) time.Duration {
	sum := u.day()
	for age := len(u.Hours) - 1; age >= 0; age-- {
		if sum -= u.Hours[age]; sum <= left || age == 0 {
			end := time.Unix((u.Hour-int64(age)+int64(len(u.Hours)))*3600, 0)
			return max(end.Sub(now), 0)
		}
	}
	return 0
}

// MarshalJSON gives what the Limiter remembers, so that a restart is no way
// around a limit.
func (l *Limiter) MarshalJSON() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*usage, 0, l.clients.order.Len()+l.named.order.Len())
	for _, t := range []*table{l.clients, l.named} {
		for e := t.order.Front(); e != nil; e = e.Next() {
			all = append(all, e.Value.(*usage))
		}
	}
	return json.Marshal(all)
}

// UnmarshalJSON takes what MarshalJSON gave, in place of what is remembered.
func (l *Limiter) UnmarshalJSON(b []byte) error {
	var all []*usage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients, l.named = newTable(), newTable()
	for _, u := range all {
		if u == nil {
			continue
		}
		t := l.clients
		if u.Named {
			t = l.named
		}
		if t.keys[u.Key] == nil && t.order.Len() < maxKeys {
			t.keys[u.Key] = t.order.PushBack(u)
		}
	}
	return nil
}
