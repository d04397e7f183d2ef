package history

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestTogether(t *testing.T) {
	page := func(next string, ids ...string) Page {
		p := Page{Next: next, Entries: []Entry{}}
		for _, id := range ids {
			p.Entries = append(p.Entries, Entry{ID: id})
		}
		return p
	}
	late := page("7", "9", "7")
	late.Incomplete = true
	for name, tc := range map[string]struct {
		pages []Page
		want  string
	}{
		"nobody answered":                 {nil, "[] next  false"},
		"one":                             {[]Page{page("", "3", "2")}, "[3 2] next  false"},
		"in the order of time":            {[]Page{page("", "4", "1"), page("", "3", "2")}, "[4 3 2 1] next  false"},
		"more than the limit":             {[]Page{page("", "6", "4", "1"), page("", "5", "3", "2")}, "[6 5 4 3] next 3 false"},
		"one has more":                    {[]Page{page("5", "6", "5"), page("", "4", "3")}, "[6 5] next 5 false"},
		"one looked less far than others": {[]Page{late, page("2", "8", "6", "2")}, "[9 8 7] next 7 true"},
		"one found nothing so far":        {[]Page{{Next: "5", Incomplete: true}, page("", "4")}, "[] next 5 true"},
	} {
		got := Together(4, tc.pages...)
		ids := []string{}
		for _, e := range got.Entries {
			ids = append(ids, e.ID)
		}
		if s := fmt.Sprint(ids, " next ", got.Next, " ", got.Incomplete); strings.Join(strings.Fields(s), " ") != strings.Join(strings.Fields(tc.want), " ") || got.Entries == nil {
			t.Errorf("%s: %s, want %s", name, s, tc.want)
		}
	}
}

// TestTogetherPages: page by page nothing is left out, and nothing comes twice.
func TestTogetherPages(t *testing.T) {
	var instances [3][]Entry
	var want []string
	for n := range 100 {
		id := fmt.Sprintf("%03d", 999-n)
		k := n * n % 7 % 3
		instances[k] = append(instances[k], Entry{ID: id})
		want = append(want, id)
	}
	const limit = 6
	var got []string
	for cursor, n := "", 0; n < 200; n++ {
		var pages []Page
		for _, all := range instances {
			from := 0
			for from < len(all) && cursor != "" && all[from].ID >= cursor {
				from++
			}
			p := Page{Entries: all[from:min(from+limit, len(all))]}
			if from+limit < len(all) {
				p.Next = p.Entries[limit-1].ID
			}
			pages = append(pages, p)
		}
		p := Together(limit, pages...)
		for _, e := range p.Entries {
			got = append(got, e.ID)
		}
		if cursor = p.Next; cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
