package soak

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/ledger"
)

func TestJudgeMail(t *testing.T) {
	scan := func(id string, first, again int) ledger.Repeat {
		return ledger.Repeat{ID: id, First: first, Again: again}
	}
	notice := func(first, again int) ledger.Repeat {
		return ledger.Repeat{ID: "n", First: first, Again: again, Notice: true}
	}
	kills := map[int]room{1: {scans: 1, notices: 1}, 5: {scans: 2}}
	for name, tt := range map[string]struct {
		account ledger.Account
		wrong   int
		says    string
	}{
		"nothing to say":                      {account: ledger.Account{Acknowledged: 3, Arrived: 3}},
		"lost":                                {account: ledger.Account{Lost: []string{"a"}}, wrong: 1, says: "neither arrived"},
		"other octets":                        {account: ledger.Account{Broken: []string{"a", "b"}}, wrong: 1, says: "2 scans arrived with other octets"},
		"refused, and there":                  {account: ledger.Account{Intruders: []string{"a"}}, wrong: 1, says: "refused or never sent"},
		"twice around a kill":                 {account: ledger.Account{Repeats: []ledger.Repeat{scan("a", 0, 2)}}},
		"twice while the kill is under way":   {account: ledger.Account{Repeats: []ledger.Repeat{scan("a", 1, 1)}}},
		"twice in peace":                      {account: ledger.Account{Repeats: []ledger.Repeat{scan("a", 2, 2)}}, wrong: 1, says: "scan a"},
		"twice between kills":                 {account: ledger.Account{Repeats: []ledger.Repeat{scan("a", 2, 4)}}, wrong: 1},
		"twice before the first kill":         {account: ledger.Account{Repeats: []ledger.Repeat{scan("a", 0, 0)}}, wrong: 1},
		"as many as were open":                {account: ledger.Account{Repeats: []ledger.Repeat{scan("a", 0, 2), scan("b", 4, 6), scan("c", 4, 6)}}},
		"more than were open":                 {account: ledger.Account{Repeats: []ledger.Repeat{scan("a", 0, 2), scan("b", 0, 2)}}, wrong: 1},
		"the one that can wait takes a later": {account: ledger.Account{Repeats: []ledger.Repeat{scan("a", 0, 6), scan("b", 0, 2)}}},
		"three times, a kill between each":    {account: ledger.Account{Repeats: []ledger.Repeat{scan("a", 0, 2), scan("a", 2, 6)}}},
		"a notification around a kill":        {account: ledger.Account{Repeats: []ledger.Repeat{notice(0, 2)}}},
		"a notification where none was open":  {account: ledger.Account{Repeats: []ledger.Repeat{notice(4, 6)}}, wrong: 1, says: "notification"},
		"both, of one kill":                   {account: ledger.Account{Repeats: []ledger.Repeat{notice(0, 2), scan("a", 0, 2)}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := judgeMail(tt.account, kills)
			if len(got) != tt.wrong || !strings.Contains(strings.Join(got, "\n"), tt.says) {
				t.Errorf("%d wrong, want %d with %q: %q", len(got), tt.wrong, tt.says, got)
			}
		})
	}
}

func TestJudgeFlat(t *testing.T) {
	const mb = 1 << 20
	noise := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	saw := func(i int) float64 { return 8*mb + float64(i%7)*mb/4 + noise.Float64()*mb/2 }
	series := func(n int, f func(int) float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = f(i)
		}
		return out
	}
	for name, tt := range map[string]struct {
		samples []float64
		flat    bool
	}{
		"constant":                            {series(60, func(int) float64 { return 5 * mb }), true},
		"as a heap that is collected":         {series(150, saw), true},
		"fills while it warms up":             {series(120, func(i int) float64 { return saw(i) * (1 - math.Exp(-float64(i)/8)) }), true},
		"an outage near the end":              {series(120, func(i int) float64 { return saw(i) + outage(i, 100, 112)*30*mb }), true},
		"an outage in the middle":             {series(120, func(i int) float64 { return saw(i) + outage(i, 70, 80)*30*mb }), true},
		"falls":                               {series(60, func(i int) float64 { return float64(100-i) * mb }), true},
		"1 kB for each of 40 scans in 2 s":    {series(150, func(i int) float64 { return saw(i) + float64(i)*40*1024 }), false},
		"steps, one at each of 12 restarts":   {series(150, func(i int) float64 { return saw(i) + float64(i/12)*mb/2 }), false},
		"leaks in an hour 1 kB in 4 scans":    {series(1800, func(i int) float64 { return saw(i) + float64(i)*5*1024 }), false},
		"leaks, and an outage at the begin":   {series(150, func(i int) float64 { return saw(i) + float64(i)*40*1024 + outage(i, 40, 50)*30*mb }), false},
		"too few to tell":                     {series(enough-1, func(int) float64 { return mb }), false},
		"a figure that was nothing and grows": {series(60, func(i int) float64 { return float64(i) * mb / 4 }), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := judgeFlat("live heap", tt.samples, liveHeap); (got == "") != tt.flat {
				t.Errorf("flat: want %t, got %q; %+v", tt.flat, got, trendOf(tt.samples))
			}
		})
	}
}

func TestJudgeRest(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after restFigures
		ok            bool
	}{
		"the same":          {restFigures{20, 15}, restFigures{20, 15}, true},
		"less":              {restFigures{22, 16}, restFigures{20, 15}, true},
		"a scrape":          {restFigures{20, 15}, restFigures{22, 16}, true},
		"goroutines leaked": {restFigures{20, 15}, restFigures{24, 15}, false},
		"files leaked":      {restFigures{20, 15}, restFigures{20, 18}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := judgeRest("steady", tt.before, tt.after); (got == "") != tt.ok {
				t.Errorf("%q", got)
			}
		})
	}
}

// outage is 1 from sample begin to end, else 0.
func outage(i, begin, end int) float64 {
	if i >= begin && i < end {
		return 1
	}
	return 0
}
