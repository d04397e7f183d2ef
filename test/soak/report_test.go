//go:build soak

package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/test/ledger"
)

// report is what was seen, as tables of Markdown.
func (x *soak) report(a ledger.Account) string {
	var b strings.Builder
	again := map[string]int{}
	for _, r := range a.Repeats {
		if !r.Notice {
			again[profileOf(r.ID)]++
		}
	}
	arrived := map[string]int{}
	for _, id := range x.load.ledger.Acknowledged() {
		if x.upstream.Has(id) || x.upstream.Notified(id) {
			arrived[profileOf(id)]++
		}
	}
	fmt.Fprintf(&b, "%s of load and restarts\n\n| scans | sent | acknowledged | of them arrived | twice | refused | cut off |\n|---|---|---|---|---|---|---|\n", x.lasted.Round(time.Second))
	for _, p := range profiles {
		t := x.load.tallies[p.name]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d |\n", p.name, t.sent, t.acknowledged, arrived[p.name], again[p.name], t.refused, t.cut)
	}
	fmt.Fprintf(&b, "\nAll: %d acknowledged, %d lost, %d broken, %d arrived that may not; %d arrived, %d bounced; %d scans and %d notifications twice, of at most %s\n",
		a.Acknowledged, len(a.Lost), len(a.Broken), len(a.Intruders), a.Arrived, a.Notified, ledger.Sum(a.Again), ledger.Sum(a.NoticesAgain), x.chaos.room())
	b.WriteString("\n| what was done | times |\n|---|---|\n")
	for _, what := range slices.Sorted(maps.Keys(x.chaos.done)) {
		fmt.Fprintf(&b, "| %s | %d |\n", what, x.chaos.done[what])
	}
	b.WriteString("\n| memory of one process | from | over | live heap: first third, last third | resident: first, last |\n|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(x.before.address)) {
		life := x.watch.life(name)
		if name == office || len(life) < enough {
			continue // it was restarted
		}
		live := trendOf(figures(life, func(s sample) float64 { return s.live }))
		rss := trendOf(figures(life, func(s sample) float64 { return s.resident }))
		fmt.Fprintf(&b, "| %s | %s | %d samples | %.1f MB, %.1f MB | %.1f MB, %.1f MB |\n", name, time.Unix(int64(life[0].started), 0).UTC().Format(time.TimeOnly), len(life),
			live.begin/1e6, live.end/1e6, rss.begin/1e6, rss.end/1e6)
	}
	b.WriteString("\n| at rest | goroutines before, after | files before, after |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(x.before.samples)) {
		before, after := x.before.samples[name], x.after.samples[name]
		fmt.Fprintf(&b, "| %s | %.0f, %.0f | %.0f, %.0f |\n", name, before.goroutines, after.goroutines, before.files, after.files)
	}
	if len(x.load.refusals) > 0 {
		b.WriteString("\nRefused for the moment:\n")
		for _, what := range slices.Sorted(maps.Keys(x.load.refusals)) {
			fmt.Fprintf(&b, "%5d %s\n", x.load.refusals[what], what)
		}
	}
	return b.String()
}

// profileOf gives the profile in the ID of a scan: KIND.NAME.RELAY-NUMBER.
func profileOf(id string) string { return id[:strings.LastIndexByte(id, '.')] }

// room is how much may come again, of all kills.
func (c *chaos) room() string {
	var all room
	for _, r := range c.kills {
		all.scans, all.notices = all.scans+r.scans, all.notices+r.notices
	}
	return fmt.Sprintf("%d and %d", all.scans, all.notices)
}
