package history

import (
	"slices"
	"strings"
)

// Together makes one page of what several instances answered to the same Filter, the
// newest first; limit is that of the page. IDs are in the order of time on all
// instances, so that one cursor serves all. An entry behind the cursor comes again on
// the next page.
func Together(limit int, pages ...Page) Page {
	out := Page{Entries: []Entry{}}
	for i := range pages {
		p := &pages[i]
		out.Entries = append(out.Entries, p.Entries...)
		out.Next = max(out.Next, p.Next) // behind the newest of them: no instance's are left out
		out.Incomplete = out.Incomplete || p.Incomplete
	}
	slices.SortStableFunc(out.Entries, func(a, b Entry) int { return strings.Compare(b.ID, a.ID) })
	if len(out.Entries) > limit {
		out.Entries = out.Entries[:limit]
		out.Next = max(out.Next, out.Entries[limit-1].ID)
	}
	for n := len(out.Entries); n > 0 && out.Entries[n-1].ID < out.Next; n = len(out.Entries) {
		out.Entries = out.Entries[:n-1]
	}
	return out
}
