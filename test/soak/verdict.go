// Package soak has an office's scans go through relays in the one-node cluster
// for long, while everything around them is restarted in random order, and
// accounts for each of them, for memory, goroutines and files (tag soak; make
// soak). Without the tag only what it judges by is here: pure, with tests of its
// own. It imports test/cluster, test/ledger, test/env and test/netns.
package soak

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/printerrelay/printer-relay/test/ledger"
)

// room is how many transactions can have been open at a kill: so many may be made
// once more.
type room struct{ scans, notices int }

// judgeMail tells what is wrong with an account. The kills are by the life, of the
// upstream's count, in which they were made.
func judgeMail(a ledger.Account, kills map[int]room) (wrong []string) {
	for what, ids := range map[string][]string{
		"acknowledged, and neither arrived nor bounced": a.Lost,
		"arrived with other octets":                     a.Broken,
		"arrived, and refused or never sent to the end": a.Intruders,
	} {
		if len(ids) > 0 {
			wrong = append(wrong, fmt.Sprintf("%d scans %s, such as %.20q", len(ids), what, ids))
		}
	}
	scans, notices := map[int]int{}, map[int]int{}
	for life, r := range kills {
		scans[life], notices[life] = r.scans, r.notices
	}
	for _, r := range unexplained(a.Repeats, false, scans) {
		wrong = append(wrong, fmt.Sprintf("scan %s came again in life %d, after life %d: no kill between has room for it", r.ID, r.Again, r.First))
	}
	for _, r := range unexplained(a.Repeats, true, notices) {
		wrong = append(wrong, fmt.Sprintf("the notification about %s came again in life %d, after life %d: no kill between has room for it", r.ID, r.Again, r.First))
	}
	slices.Sort(wrong)
	return wrong
}

// unexplained gives each repeat a kill that lies between its two deliveries, no
// more to a kill than it has room for, and returns those that are left. Kills are
// filled in their order, by the repeats that can wait least: whatever fits, fits so.
func unexplained(repeats []ledger.Repeat, notices bool, kills map[int]int) (left []ledger.Repeat) {
	for _, r := range repeats {
		if r.Notice == notices {
			left = append(left, r)
		}
	}
	slices.SortFunc(left, func(a, b ledger.Repeat) int { return cmp.Or(cmp.Compare(a.Again, b.Again), cmp.Compare(a.ID, b.ID)) })
	lives := make([]int, 0, len(kills))
	for life := range kills {
		lives = append(lives, life)
	}
	slices.Sort(lives)
	for _, life := range lives {
		free := kills[life]
		left = slices.DeleteFunc(left, func(r ledger.Repeat) bool {
			if free == 0 || r.First > life || r.Again < life {
				return false
			}
			free--
			return true
		})
	}
	return left
}

// tolerance is how far a figure may grow that is flat but for noise: by a share of
// what it was, or by an absolute figure, whichever is more.
type tolerance struct{ share, absolute float64 }

// trend is the medians of a figure's first and last third, after a warm-up.
type trend struct{ begin, end float64 }

// enough is how many samples a judgement wants.
const enough = 24

// trendOf leaves out the first quarter of the samples, in which caches and pools
// fill, and compares thirds of the others: an outage or a burst lies within one
// of them and is no part of a median, and what leaks is more in the last.
func trendOf(samples []float64) trend {
	samples = samples[len(samples)/4:]
	third := len(samples) / 3
	return trend{begin: median(samples[:third]), end: median(samples[len(samples)-third:])}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// judgeFlat tells why a figure is not flat; empty: it is.
func judgeFlat(what string, samples []float64, tol tolerance) string {
	if len(samples) < enough {
		return fmt.Sprintf("%s: %d samples, and it takes %d to tell", what, len(samples), enough)
	}
	t := trendOf(samples)
	if most := t.begin + max(t.begin*tol.share, tol.absolute); t.end > most {
		return fmt.Sprintf("%s grows: a median of %.0f in the first third, %.0f in the last, and %.0f is the most for noise", what, t.begin, t.end, most)
	}
	return ""
}

// What noise is: of the heap that is in use behind a collection, and of the
// process's memory as the system counts it, which the runtime gives back late.
var (
	liveHeap = tolerance{share: 0.15, absolute: 2 << 20}
	resident = tolerance{share: 0.25, absolute: 16 << 20}
)

// restFigures is what a process holds when it has nothing to do.
type restFigures struct{ goroutines, files float64 }

// more is how much more that may be than it was: a scrape, a check of an upstream
// or a watch that is being made anew is under way at times.
var more = restFigures{goroutines: 3, files: 2}

// judgeRest tells what a process holds that it had not before the load; empty: nothing.
func judgeRest(name string, before, after restFigures) string {
	if after.goroutines > before.goroutines+more.goroutines || after.files > before.files+more.files {
		return fmt.Sprintf("%s had %.0f goroutines and %.0f open files at rest, and has %.0f and %.0f; ", name, before.goroutines, before.files, after.goroutines, after.files)
	}
	return ""
}
