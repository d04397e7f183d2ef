package console

import (
	"fmt"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/traffic"
)

// plot is the last day of a relay as an SVG image, and in words.
type plot struct {
	Known    bool // somebody told
	Total    traffic.Counts
	Accepted string // paths
	Refused  string
	Failed   string
	Top      int64 // messages in a bar as high as the plot
	Ticks    []tick
	Hours    []hour
	Width    int
	Height   int
	Begin    time.Time
}

// tick is a mark on the axis of time.
type tick struct {
	At      time.Time
	X       int    // in the plot's units
	Percent string // of its width
	Anchor  string // which part of its label is there: at the sides no label goes beyond them
}

// hour is a row of the table that says the same as the plot.
type hour struct {
	At time.Time
	traffic.Counts
}

// Of a plot: bars of a quarter of an hour, each some units wide.
const (
	perBar    = 3
	barWidth  = 7
	barGap    = 1
	plotHigh  = 120
	barsAHour = int(time.Hour / (perBar * traffic.Step))
	tickEvery = 3 * time.Hour
	nearSide  = 0.06 // of the width: half a label, in a narrow window
)

// plotOf puts together what the instances of a relay counted. Their days are the
// same up to a step.
func plotOf(days []traffic.Day, now time.Time) plot {
	bars := traffic.Steps / perBar
	p := plot{Width: bars * barWidth, Height: plotHigh}
	if len(days) == 0 {
		return p
	}
	p.Known = true
	p.Begin = now.Truncate(traffic.Step).Add(-(traffic.Steps - 1) * traffic.Step)
	counts := make([]traffic.Counts, bars)
	for _, d := range days {
		for i, c := range d.Steps[:min(len(d.Steps), traffic.Steps)] {
			counts[i/perBar].Add(c)
			p.Total.Add(c)
		}
	}
	for _, c := range counts {
		p.Top = max(p.Top, c.Accepted+c.Refused+c.Failed)
	}
	p.Top = roundUp(p.Top)
	var accepted, refused, failed strings.Builder
	for i, c := range counts {
		y := int64(0)
		for _, part := range []struct {
			n int64
			b *strings.Builder
		}{{c.Accepted, &accepted}, {c.Refused, &refused}, {c.Failed, &failed}} {
			if part.n <= 0 {
				continue
			}
			low, high := scaled(y, p.Top), scaled(y+part.n, p.Top)
			fmt.Fprintf(part.b, "M%d %dh%dv-%dh-%dz", i*barWidth, plotHigh-low, barWidth-barGap, max(high-low, 1), barWidth-barGap)
			y += part.n
		}
		if i%barsAHour == 0 {
			p.Hours = append(p.Hours, hour{At: p.Begin.Add(time.Duration(i*perBar) * traffic.Step)})
		}
		p.Hours[len(p.Hours)-1].Add(c)
	}
	p.Accepted, p.Refused, p.Failed = accepted.String(), refused.String(), failed.String()
	p.ticks()
	return p
}

// ticks marks the hours that people say: every third one, by UTC.
func (p *plot) ticks() {
	const day = traffic.Steps * traffic.Step
	for at := p.Begin.Truncate(tickEvery).Add(tickEvery); at.Before(p.Begin.Add(day)); at = at.Add(tickEvery) {
		part := float64(at.Sub(p.Begin)) / float64(day)
		t := tick{At: at, X: int(part * float64(p.Width)), Percent: fmt.Sprintf("%.2f%%", 100*part), Anchor: "middle"}
		switch {
		case part < nearSide:
			t.Anchor = "start"
		case part > 1-nearSide:
			t.Anchor = "end"
		}
		p.Ticks = append(p.Ticks, t)
	}
}

// Half is what the line in the middle stands for.
func (p plot) Half() int64 { return p.Top / 2 }

func scaled(n, top int64) int64 { return n * plotHigh / max(top, 1) }

// roundUp gives the next figure that a scale may end with: one that has a half.
func roundUp(n int64) int64 {
	for unit := int64(1); ; unit *= 10 {
		for _, m := range []int64{4, 6, 8, 10, 20} {
			if n <= unit*m {
				return unit * m
			}
		}
	}
}
