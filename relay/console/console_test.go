package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/senderdns"
	"github.com/printerrelay/printer-relay/relay/traffic"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// world is a Source whose relays answer with documents.
type world struct {
	relays []Relay
	err    error
}

func (w world) Relays(context.Context) ([]Relay, error) { return slices.Clone(w.relays), w.err }

func (w world) Fill(context.Context, *Relay) error { return nil }

// answers are documents by the first part of their path.
type answers map[string]any

func (a answers) ask(_ context.Context, path string, _ url.Values, into any) error {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	key := parts[0]
	if len(parts) > 1 {
		key += "/"
	}
	if a[key] == nil {
		return errors.New("no such document: " + path)
	}
	b, err := json.Marshal(a[key])
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// fill puts s into every string of v, and one element into every list. Words that
// have a meaning keep one.
func fill(v reflect.Value, s string) {
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)))
		return
	case reflect.TypeFor[queue.State]():
		v.SetString(string(queue.Deferred))
		return
	case reflect.TypeFor[history.State](), reflect.TypeFor[history.Kind]():
		v.SetString("refused")
		return
	case reflect.TypeFor[transcript.Failure]():
		v.SetString(string(transcript.Refused))
		return
	case reflect.TypeFor[netip.Addr]():
		v.Set(reflect.ValueOf(netip.MustParseAddr("10.1.1.1")))
		return
	case reflect.TypeFor[envelope.Address]():
		v.Set(reflect.ValueOf(envelope.Address{Local: "a", Domain: "b.example"}))
		return
	case reflect.TypeFor[policy.Identity]():
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), s)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), s)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), s)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint64:
		v.SetUint(3)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Float64:
		v.SetFloat(3)
	}
}

func filled[T any](s string) T {
	var out T
	fill(reflect.ValueOf(&out).Elem(), s)
	return out
}

// saying is a world in which everybody says s.
func saying(s string) world {
	state := filled[admin.State](s)
	state.Relays[0].Namespace, state.Relays[0].Name = "printers", "office"
	state.Relays[0].Listeners[0].Name = "scans"
	state.Relays[0].Upstreams = append(state.Relays[0].Upstreams, state.Relays[0].Upstreams[0])
	state.Relays[0].Upstreams[0].Name, state.Relays[0].Upstreams[1].Name = "ses", "z"+s
	one := filled[queue.Detail](s)
	one.ID = s + "-" // never one that a relay makes: whatever s is, the page has no commands
	docs := answers{
		"state": state, "traffic": traffic.Day{Steps: []traffic.Counts{{Accepted: 4, Refused: 2, Failed: 1}}},
		"queue": filled[queue.Page](s), "queue/": one,
		"messages": filled[history.Page](s), "messages/": filled[history.Detail](s),
		"copiers":  filled[inventory.Page](s),
		"sessions": filled[admin.FailedDevices](s), "sessions/": filled[admin.FailedSessions](s),
	}
	p := &plan.Plan{
		Namespace: "printers", Name: "office", Hostname: s, Intake: plan.IntakeAccept,
		Listeners: []plan.Listener{{Name: "scans", Port: 25, TLS: plan.ListenerTLS{Mode: plan.TLSStartTLS, Profile: "Legacy"}, Auth: plan.ListenerAuth{Mode: plan.AuthOptional, Secret: s}}},
		Policies:  policy.Set{{Name: s, Rules: []policy.Rule{{Policy: s, Name: s, Action: policy.Allow, Match: policy.Match{Users: []string{s}, Networks: []netip.Prefix{netip.MustParsePrefix("10.1.1.0/24")}}}}}},
		Holds:     []plan.Hold{{Name: s, Reason: s, Users: []string{s}}},
		Routes:    []plan.Route{{Name: s, RecipientDomains: []string{"x"}, Upstream: "ses"}, {Upstream: "ses"}},
		Upstreams: map[string]*plan.Upstream{"ses": {Name: "ses", Type: "SES"}},
	}
	instance := Instance{Name: s, Ask: docs.ask}
	return world{relays: []Relay{{
		Namespace: "printers", Name: "office", Plan: p, Addresses: []string{s, s + "2"}, Findings: []Finding{{What: s, Text: s}},
		Instances: []Instance{instance, instance, {Name: s, Err: errors.New(s)}},
		DNS:       map[string]Domain{"ses": {Name: s, Records: []senderdns.Record{filled[senderdns.Record](s)}, Notes: []string{s}, Asked: true}},
	}}}
}

const office = "/console/relays/printers/office/"

// pages are the paths of all pages; what a person enters is s.
func pages(s string) []string {
	e := url.QueryEscape(s)
	return []string{
		"/console/", office, office + "setup", office + "upstreams", office + "queue", office + "queue/" + url.PathEscape(s), office + "messages?text=" + e, office + "messages/" + url.PathEscape(s), office + "copiers", office + "copiers?who=" + e + "~", office + "sessions?client=" + e,
		office + "sessions/" + url.PathEscape(s), office + "why", office + "why?client=10.1.1.1&from=a%40b.example&to=c%40d.example",
		office + "why?client=" + e + "&from=" + e + "&to=" + e + "&user=" + e, office + "why?client=10.1.1.1&from=" + e, "/console/" + url.PathEscape(s), office + "queue?state=" + e,
	}
}

func get(c http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest(method, path, http.NoBody))
	return w
}

func consoleOf(s Source) *Console {
	return New(Options{Source: s, Version: "v1", Log: slog.New(slog.DiscardHandler)})
}

// skeleton is what a page is made of, without what it says.
func skeleton(t *testing.T, page string) string {
	t.Helper()
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.TextToken, html.DoctypeToken:
		case html.CommentToken:
			t.Error("there is a comment in a page")
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			tag := z.Token()
			b.WriteString("<" + tag.Data)
			for _, a := range tag.Attr {
				b.WriteString(" " + a.Key)
				if a.Key == "href" || a.Key == "action" || a.Key == "src" {
					if !strings.HasPrefix(a.Val, "/console/") && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "?") {
						t.Errorf("a page leads to %q", a.Val)
					}
				}
			}
			b.WriteString(">\n")
		}
	}
}

// attacks are texts that a device, a server or a person may say.
var attacks = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onfocus=alert(1) autofocus='`, `</textarea></title></style></script><svg onload=alert(1)>`,
	`javascript:alert(1)`, `{{.}}`, `--><b>`, "\u202egnp.exe\u2066\u200b\u00ad\ufeff\u3164", "a\x00b\x1b[31m\r\nX: y\x7f\u0085\u2028", "\xff\xfe\xc0\xaf", `../../../etc/passwd`, `%2e%2e%2f`, strings.Repeat("A", 900),
}

// TestHostileText: whatever anybody says changes nothing of a page but its text,
// and what is not seen is spelled out.
func TestHostileText(t *testing.T) {
	harmless := map[int]string{}
	for i, path := range pages("harmless") {
		harmless[i] = skeleton(t, get(consoleOf(saying("harmless")), "GET", path).Body.String())
	}
	for _, s := range attacks {
		looked(t, s, harmless)
	}
}

func looked(t *testing.T, s string, harmless map[int]string) {
	t.Helper()
	c := consoleOf(saying(s))
	for i, path := range pages(s) {
		w := get(c, "GET", path)
		page := w.Body.String()
		if w.Code >= 300 && w.Code < 400 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			continue // the path was cleaned
		}
		if i < len(harmless)-4 && w.Code < 400 { // the last are about what was entered
			if got := skeleton(t, page); got != harmless[i] {
				t.Errorf("%q changes the page %s:\n%s", s, path, firstDifference(harmless[i], got))
			}
		}
		if strings.ContainsFunc(page, func(r rune) bool {
			return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || strings.ContainsRune("\u202e\u2066\u200b\u00ad\ufeff\u3164\u2028\u00a0", r)
		}) {
			t.Errorf("%q: the page %s has characters that are not seen", s, path)
		}
	}
}

func firstDifference(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(la), len(lb)) {
		if la[i] != lb[i] {
			return strings.Join(la[max(0, i-3):min(len(la), i+3)], "\n") + "\n---\n" + strings.Join(lb[max(0, i-3):min(len(lb), i+3)], "\n")
		}
	}
	return "one ends early"
}

// FuzzPages: the same, with whatever comes to mind.
func FuzzPages(f *testing.F) {
	for _, s := range attacks {
		f.Add(s)
	}
	harmless := map[int]string{}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.TrimSpace(s) == "" || len(s) > 900 {
			return // says nothing, or more than a QR code holds: what would show it is left out
		}
		if len(harmless) == 0 {
			for i, path := range pages("harmless") {
				harmless[i] = skeleton(t, get(consoleOf(saying("harmless")), "GET", path).Body.String())
			}
		}
		looked(t, s, harmless)
	})
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"Grüße, 東京 👍\n\tx": "Grüße, 東京 👍\n\tx",
		"a\u202eb":         "a⟨U+202E⟩b",
		"a\x1bb\rc":        "a⟨U+001B⟩b⟨U+000D⟩c",
		"a\u00a0b\u3164":   "a⟨U+00A0⟩b⟨U+3164⟩",
		"a\xffb\ufffd":     "a⟨FF⟩b\ufffd",
		"\U000e0041":       "⟨U+E0041⟩",
	} {
		if got := string(visible([]byte(in))); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestHeaders: every answer keeps a browser from loading, sending or showing it
// anywhere else, and nothing but reading is possible.
func TestHeaders(t *testing.T) {
	c := consoleOf(saying("x"))
	for _, path := range append(pages("x"), "/", c.assets+"console.css", c.assets+"nothing", c.assets+"..%2fconsole.go") {
		h := get(c, "GET", path).Header()
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "http") {
			t.Errorf("%s: %q", path, csp)
		}
		if cached := h.Get("Cache-Control"); cached != "no-store" && !strings.HasPrefix(path, c.assets+"console") {
			t.Errorf("%s: Cache-Control is %q", path, cached)
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			if code := get(c, method, path).Code; code != http.StatusMethodNotAllowed && code != http.StatusNotFound {
				t.Errorf("%s %s: %d", method, path, code)
			}
		}
	}
}

// TestPartial: one that does not answer leaves a page with what the others say, and
// the page says who is missing.
func TestPartial(t *testing.T) {
	w := saying("x")
	w.relays[0].Instances = []Instance{w.relays[0].Instances[0], {Name: "office-1", Err: errors.New("its admin port cannot be reached")}}
	w.relays[0].Instances[0].Name = "office-0"
	c := consoleOf(w)
	for _, path := range []string{"/console/", office, office + "upstreams", office + "queue", office + "sessions"} {
		page := get(c, "GET", path)
		body := page.Body.String()
		if page.Code != 200 || !strings.Contains(body, "office-1: its admin port cannot be reached") || !strings.Contains(body, "not complete") {
			t.Errorf("%s: %d\n%s", path, page.Code, body)
		}
	}
	w.err = errors.New("the cache is not ready")
	if page := get(consoleOf(w), "GET", "/console/"); page.Code != http.StatusBadGateway || !strings.Contains(page.Body.String(), "the cache is not ready") {
		t.Errorf("without a source: %d %s", page.Code, page.Body)
	}
}

// The links in notices of failure lead to pages that there are.
func TestLinksOfNotices(t *testing.T) {
	docs := answers{"messages": history.Page{}, "messages/": history.Detail{}, "queue": queue.Page{}, "queue/": queue.Detail{}}
	c := consoleOf(world{relays: []Relay{{Namespace: "a", Name: "b", Instances: []Instance{{Name: "b-0", Ask: docs.ask}}}}})
	for _, keep := range []time.Duration{0, time.Hour} {
		s := queue.SettingsOf(&plan.Plan{Namespace: "a", Name: "b", Console: "https://printers.corp.example", History: plan.History{Keep: keep}})
		for _, link := range []string{s.PageOf("8DqSCAN"), s.PageOfClient("10.20.3.7")} {
			path, ok := strings.CutPrefix(link, "https://printers.corp.example")
			if w := get(c, "GET", path); !ok || w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", link, w.Code, w.Body)
			}
		}
	}
}

// What an instance says need not be so: of a Pod that was broken into each page is made
// all the same.
func TestAnswersThatCannotBe(t *testing.T) {
	docs := answers{
		"state": admin.State{}, "traffic": traffic.Day{Steps: make([]traffic.Counts, 3)}, "copiers": inventory.Page{Next: "1-x"}, "queue": queue.Page{Next: "x"},
		"messages": history.Page{Next: "x"}, "sessions": admin.FailedDevices{},
	}
	s := world{relays: []Relay{{Namespace: "a", Name: "b", Instances: []Instance{{Name: "b-0", Ask: docs.ask}}}}}
	c := consoleOf(s)
	for _, page := range []string{"", "relays/a/b/", "relays/a/b/copiers", "relays/a/b/queue", "relays/a/b/messages", "relays/a/b/sessions", "relays/a/b/upstreams"} {
		if w := get(c, "GET", Root+page); w.Code != 200 {
			t.Errorf("%q: %d", page, w.Code)
		}
	}
}

func TestHealth(t *testing.T) {
	well := admin.RelayState{Ready: true, Intake: "Accept"}
	for name, tc := range map[string]struct {
		instances int
		states    []admin.RelayState
		phase     string
		findings  []Finding
		want      string
	}{
		"well":        {instances: 1, states: []admin.RelayState{well}, want: "Works"},
		"silent":      {instances: 1, want: "No answer"},
		"none":        {want: "No answer"},
		"half":        {instances: 2, states: []admin.RelayState{well}, want: "Works, with a problem"},
		"not ready":   {instances: 1, states: []admin.RelayState{{Intake: "Accept"}}, want: "Not ready"},
		"starting":    {instances: 1, states: []admin.RelayState{well}, phase: "starting", want: "Not ready"},
		"off":         {instances: 1, states: []admin.RelayState{{Ready: true, Intake: "Refuse"}}, want: "Takes no mail"},
		"holds":       {instances: 1, states: []admin.RelayState{{Ready: true, Intake: "Hold"}}, want: "Holds all mail"},
		"complains":   {instances: 1, states: []admin.RelayState{{Ready: true, Intake: "Accept", Problems: []string{"x"}}}, want: "Works, with a problem"},
		"has finding": {instances: 1, states: []admin.RelayState{well}, findings: []Finding{{What: "x", Text: "y"}}, want: "Works, with a problem"},
	} {
		s := &standing{instances: tc.instances}
		for i := range tc.states {
			s.add(&admin.State{Phase: tc.phase}, &tc.states[i])
		}
		if got := s.health(&Relay{Findings: tc.findings}); got.Word != tc.want {
			t.Errorf("%s: %q, want %q", name, got.Word, tc.want)
		}
	}
}

func TestPlot(t *testing.T) {
	now := time.Date(2026, 11, 26, 10, 2, 0, 0, time.UTC)
	d := traffic.Day{Steps: make([]traffic.Counts, traffic.Steps)}
	d.Steps[0], d.Steps[traffic.Steps-1] = traffic.Counts{Accepted: 10}, traffic.Counts{Accepted: 1, Refused: 1, Failed: 1}
	p := plotOf([]traffic.Day{d, d}, now)
	if p.Total != (traffic.Counts{Accepted: 22, Refused: 2, Failed: 2}) || p.Top != 20 || len(p.Hours) != 24 {
		t.Errorf("%+v", p)
	}
	if p.Hours[0].Accepted != 20 || p.Hours[23].Counts != (traffic.Counts{Accepted: 2, Refused: 2, Failed: 2}) {
		t.Errorf("hours %+v", p.Hours)
	}
	if !strings.HasPrefix(p.Accepted, "M0 120h6v-120h-6z") || p.Refused != "M665 108h6v-12h-6z" || p.Failed != "M665 96h6v-12h-6z" {
		t.Errorf("bars %s, %s, %s", p.Accepted, p.Refused, p.Failed)
	}
	if got := plotOf([]traffic.Day{{Steps: make([]traffic.Counts, 10000)}}, now); got.Top != 4 {
		t.Errorf("nothing, and too much of it: %+v", got)
	}
}

// The relays that something is to be said against are on the first page.
func TestRelaysWithAProblemComeFirst(t *testing.T) {
	var w world
	for i := range perPage + 10 {
		r := Relay{Namespace: "a", Name: fmt.Sprintf("r%03d", i)}
		if i == 3 || i == perPage+5 {
			r.Findings = []Finding{{What: "Durable", Text: "x"}}
		}
		w.relays = append(w.relays, r)
	}
	c := consoleOf(w)
	name := regexp.MustCompile(`r\d{3}`)
	order := func(query string) []string {
		return slices.Compact(name.FindAllString(get(c, "GET", "/console/"+query).Body.String(), -1))
	}
	first, second := order(""), order("?page=2")
	if len(first) != perPage || !slices.Equal(first[:4], []string{"r003", "r055", "r000", "r001"}) {
		t.Errorf("the first page: %v", first)
	}
	if len(second) != 10 || second[0] != "r049" && second[0] != "r048" {
		t.Errorf("the second page: %v", second)
	}
}
