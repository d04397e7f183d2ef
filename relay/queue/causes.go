package queue

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/printerrelay/printer-relay/relay/dsn"
)

// causes puts messages with one cause together.
type causes struct {
	all   []DigestCause
	index map[causeKey]int
}

type causeKey struct {
	delayed bool
	why     string
}

func (c *causes) add(n *Notice) {
	k := causeKey{n.Delayed, n.why()}
	i, ok := c.index[k]
	mixed := !ok && len(c.all) >= dsn.MaxCauses-2 // the others together
	if mixed {
		k.why = ""
		i, ok = c.index[k]
	}
	if !ok {
		if c.index == nil {
			c.index = make(map[causeKey]int)
		}
		i = len(c.all)
		c.index[k] = i
		c.all = append(c.all, DigestCause{Delayed: n.Delayed})
	}
	d := &c.all[i]
	d.Count++
	d.Mixed = d.Mixed || mixed
	if len(d.Notices) < dsn.MaxScans {
		d.Notices = append(d.Notices, n)
	}
}

// listed gives those that failed before those that are late, the most frequent first,
// with as many messages as a digest lists, of each cause some.
func (c *causes) listed() []DigestCause {
	slices.SortStableFunc(c.all, func(a, b DigestCause) int {
		if a.Delayed != b.Delayed {
			return map[bool]int{true: 1, false: -1}[a.Delayed]
		}
		return cmp.Compare(b.Count, a.Count)
	})
	each, spare := dsn.MaxScans/max(1, len(c.all)), dsn.MaxScans
	for i := range c.all {
		spare -= min(each, len(c.all[i].Notices))
	}
	for i := range c.all {
		d := &c.all[i]
		n := min(each, len(d.Notices))
		more := min(spare, len(d.Notices)-n)
		spare -= more
		d.Notices = d.Notices[:n+more]
	}
	return c.all
}

// why is what messages of one cause have in common: the cause where it is known, else
// the codes of the answer, else its words.
func (n *Notice) why() string {
	r := &n.Recipients[0]
	switch {
	case r.Advice.Cause != "":
		return r.Advice.Cause
	case r.Outcome.Code != 0:
		return fmt.Sprint(r.Outcome.Code, " ", r.Outcome.Enhanced)
	}
	return r.Outcome.Text
}
