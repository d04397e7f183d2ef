package console

import (
	"cmp"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/explain"
	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/senderdns"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// functions are those of the templates.
var functions = template.FuncMap{
	"root":    func() string { return Root },
	"ago":     ago,
	"when":    when,
	"short":   short,
	"odd":     func(n int) bool { return n%2 == 1 },
	"exact":   exact,
	"minute":  func(t time.Time) template.HTML { return stamp(t, "minute", "2006-01-02 15:04 UTC") },
	"instant": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"size":    size,
	"seconds": func(s float64) string { return span(time.Duration(s * float64(time.Second))) },
	"join":    strings.Join,
	"path":    url.PathEscape,
	"query":   url.QueryEscape,
	"oneLine": oneLine,
	"verdict": explain.Verdict,
	"dns":     func(s senderdns.State) health { return dnsWords[s] },
	"failure": func(f transcript.Failure) string { return failures[f] },
	"good":    func(s string) health { return findings[s] },
	"offset":  func(ms int64) string { return fmt.Sprintf("%.3f", float64(ms)/1000) },
	"percent": func(part, all int64) int64 { return part * 100 / max(all, 1) },
	"pages":   pagesOf,
	"list":    func(a ...any) []any { return a },
	"sender":  senderOf,
	"dryrun":  func(v inventory.Verdict) string { return verdicts[v] },
	"clock":   func(t time.Time) string { return t.UTC().Format("15:04") },
}

// verdicts are those of a policy, for people.
var verdicts = map[inventory.Verdict]string{inventory.Accept: "accepted", inventory.Hold: "held", inventory.Refuse: "refused"}

// findings of a preflight check, for people.
var findings = map[string]health{"Good": {"ok", "good"}, "Bad": {"bad", "bad"}, "Unknown": {"warn", "not known"}}

// when shows a time: how long ago, and exactly for who wants to know. It is made of
// figures alone.
func when(now, t time.Time) template.HTML {
	if t.IsZero() {
		return "never"
	}
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.Format(time.RFC3339), t.Format("2006-01-02 15:04:05 UTC"), ago(now, t))) //nolint:gosec // see above
}

// maxName is how much of a name that a device gives itself stands in a list. What was said
// has all of it.
const maxName = 60

func short(s string) string {
	if r := []rune(s); len(r) > maxName {
		return string(r[:maxName]) + "…"
	}
	return s
}

// exact is a time to the second; a script shows it in the reader's own zone.
func exact(t time.Time) template.HTML { return stamp(t, "second", "2006-01-02 15:04:05 UTC") }

// stamp shows a time in a layout, of which a script is told how fine it is. It is made of
// figures alone.
func stamp(t time.Time, to, layout string) template.HTML {
	if t.IsZero() {
		return "-"
	}
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s" data-to="%s">%s</time>`, t.Format(time.RFC3339), to, t.Format(layout))) //nolint:gosec // see above
}

// senderOf is who a message is from: nobody that was named yet, where a login was refused.
func senderOf(e history.Entry) string {
	if e.Step == "AUTH" {
		return "-"
	}
	return cmp.Or(e.Sender, "<>")
}

// size is a number of octets for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%d kB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// tab is one of the pages of a relay.
type tab struct {
	Path, Name string
	Current    bool
}

// pagesOf are the pages of the relay that a page is about.
func pagesOf(v *view) (out []tab) {
	for _, t := range []struct{ id, path, name string }{
		{"relay", "", "Overview"},
		{"setup", "setup", "Set up a copier"},
		{"copiers", "copiers", "Copiers"},
		{"sessions", "sessions", "Failed sessions"},
		{"messages", "messages", "Messages"},
		{"upstreams", "upstreams", "Upstreams"},
		{"queue", "queue", "Waiting mail"},
		{"why", "why", "Why refused?"},
	} {
		out = append(out, tab{v.Relay.Path() + t.path, t.name, t.id == v.Tab})
	}
	return out
}
