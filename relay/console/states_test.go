package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/traffic"
)

// states are pages of relays in the states that a person is called for, and what they
// have to say.

// officeOf is a relay whose instances answer alike.
func officeOf(ask ...admin.Ask) world {
	r := Relay{Namespace: "printers", Name: "office", Plan: &plan.Plan{
		Namespace: "printers", Name: "office", Hostname: "relay.corp.example", Intake: plan.IntakeAccept,
		Policies: policy.Set{{Name: "office", Rules: []policy.Rule{{
			Policy: "office", Name: "floor-3", Action: policy.Allow, Match: policy.Match{Networks: []netip.Prefix{netip.MustParsePrefix("10.20.3.0/24")}},
			Recipients: policy.Recipients{Allowed: patternsOf("*@corp.example")},
		}}}},
		Holds:     []plan.Hold{{Name: "infected", Networks: []netip.Prefix{netip.MustParsePrefix("10.20.3.9/32")}, Reason: "it asked for money"}},
		Routes:    []plan.Route{{Upstream: "ses"}},
		Upstreams: map[string]*plan.Upstream{"ses": {Name: "ses", Type: "SES", Suspend: true}},
	}}
	for i, a := range ask {
		r.Instances = append(r.Instances, Instance{Name: "office-" + string(rune('0'+i)), Ask: a})
	}
	return world{relays: []Relay{r}}
}

func patternsOf(s string) []envelope.Pattern {
	p, err := envelope.ParsePattern(s)
	if err != nil {
		panic(err)
	}
	return []envelope.Pattern{p}
}

// says fails unless the page at path has the status, each of want, and none of not.
func says(t *testing.T, s Source, path string, status int, want []string, not ...string) {
	t.Helper()
	w := get(consoleOf(s), "GET", path)
	body := w.Body.String()
	if w.Code != status {
		t.Errorf("%s: status %d, want %d", path, w.Code, status)
	}
	for _, s := range want {
		if !strings.Contains(body, s) {
			t.Errorf("%s lacks %q:\n%s", path, s, body)
		}
	}
	for _, s := range not {
		if strings.Contains(body, s) {
			t.Errorf("%s has %q:\n%s", path, s, body)
		}
	}
}

// A problem of the whole process is said once, and makes no relay look ill.
func TestSharedFindings(t *testing.T) {
	w := world{}
	for _, name := range []string{"a", "b", "c"} {
		st := admin.State{Relays: []admin.RelayState{{Namespace: "n", Name: name, Ready: true, Intake: "Accept"}}}
		w.relays = append(w.relays, Relay{
			Namespace: "n", Name: name, Findings: []Finding{{"Configuration", "c.yaml: no YAML", true}},
			Instances: []Instance{{Ask: answers{"state": st, "traffic": traffic.Day{}}.ask}},
		})
	}
	w.relays[2].Findings = append(w.relays[2].Findings, Finding{What: "Configuration", Text: "its own"})
	body := get(consoleOf(w), "GET", Root).Body.String()
	if n := strings.Count(body, "c.yaml: no YAML"); n != 1 {
		t.Errorf("what is wrong with all stands there %d times", n)
	}
	if strings.Count(body, "</span>Works</span>") != 2 || strings.Count(body, "Works, with a problem") != 1 || strings.Index(body, "n/c") > strings.Index(body, "n/a") {
		t.Errorf("one of three has a problem of its own, and comes first:\n%s", body)
	}
	says(t, w, Root+"relays/n/a/", 200, []string{"c.yaml: no YAML", "</span>Works</span>"})
}

// What is no longer there is not found, and the page says where else to look.
func TestWhatIsGone(t *testing.T) {
	gone := func(context.Context, string, url.Values, any) error {
		return &admin.StatusError{Status: http.StatusNotFound, Text: "8DuX: not here"}
	}
	silent := func(context.Context, string, url.Values, any) error { return errors.New("does not answer") }
	for path, want := range map[string]string{"queue/8DuX": office + "messages/8DuX", "messages/8DuX": office + "messages", "sessions/8DuX": office + "sessions"} {
		says(t, officeOf(gone, gone), office+path, http.StatusNotFound, []string{"<h1>Not found</h1>", "8DuX: not here", `href="` + want + `"`})
		says(t, officeOf(gone, silent), office+path, http.StatusBadGateway, []string{"<h1>No answer</h1>", "office-0: 8DuX: not here", "office-1: does not answer"})
	}
}

// A search that cannot be read is no relay that does not answer.
func TestASearchThatCannotBeRead(t *testing.T) {
	misread := func(_ context.Context, _ string, q url.Values, _ any) error {
		return &admin.StatusError{Status: http.StatusBadRequest, Text: "since " + q.Get("since") + ": want a time"}
	}
	says(t, officeOf(misread), office+"messages?since=yesterday", http.StatusBadRequest,
		[]string{`role="alert"`, "since yesterday: want a time", `value="yesterday"`}, "not complete", "Nothing is like that")
}

// Holds stand on the first page, and in the answer to why a scan did not arrive.
func TestHoldsAreShown(t *testing.T) {
	st := admin.State{Relays: []admin.RelayState{{
		Namespace: "printers", Name: "office", Ready: true, Intake: "Accept", Queue: admin.QueueState{Held: 3, HeldBy: map[string]int{"infected": 1, "last-year": 2, "over": 0}},
	}}}
	s := officeOf(answers{"state": st, "traffic": traffic.Day{}}.ask, answers{"state": st, "traffic": traffic.Day{}}.ask)
	says(t, s, office, 200, []string{
		`<th scope="row">infected</th><td>mail from 10.20.3.9/32</td><td>it asked for money</td><td class="n">2</td>`,
		`<th scope="row">last-year</th><td>nothing more`,
	}, `<th scope="row">over</th>`)
	why := office + "why?client=10.20.3.9&from=a%40corp.example&to=b%40corp.example"
	says(t, s, why, 200, []string{"<b>Accepted, and held</b>", "held by the hold infected", "goes by upstream ses, which is suspended"})
	says(t, s, strings.Replace(why, "3.9", "3.8", 1), 200, []string{"<b>Accepted</b> by the rule office/floor-3."}, "held by")
}

// By an upstream that is suspended no mail goes, whatever its circuit breaker says.
func TestASuspendedUpstream(t *testing.T) {
	st := admin.State{Relays: []admin.RelayState{{Namespace: "printers", Name: "office", Upstreams: []admin.UpstreamState{{Name: "ses", Circuit: "Closed", Suspended: true, Deferred: 7}}}}}
	says(t, officeOf(answers{"state": st}.ask), office+"upstreams", 200, []string{"Suspended", "no mail goes this way", "7 for another try"}, "closed: mail goes")
}

// A login is refused before a sender was named; an empty sender is a bounce's.
func TestSenderOfARefusedLogin(t *testing.T) {
	for step, want := range map[string]string{"AUTH": ">-</td>", "MAIL": ">&lt;&gt;</td>"} {
		d := history.Detail{Entry: history.Entry{ID: "8Du-R", Kind: history.Refusal, State: history.Refused, Step: step, Recipients: []history.Recipient{{Address: "b@corp.example"}}}}
		s := officeOf(answers{"messages": history.Page{Entries: []history.Entry{d.Entry}}, "messages/": d}.ask)
		says(t, s, office+"messages", 200, []string{`data-label="From" class="mid"` + want})
		says(t, s, office+"messages/8Du-R", 200, []string{"<title>Refusal 8Du-R - Printer Relay</title>", "<dt>From</dt><dd" + strings.ReplaceAll(want, "td>", "dd>")})
	}
}

// What a policy in DryRun would change stands beside each device, and they can be chosen.
func TestDryRunOfCopiers(t *testing.T) {
	page := inventory.Page{Copiers: []inventory.Copier{{Device: "10.20.3.7", DryRun: []inventory.DryRun{{Policy: "new", Rule: "tls", Now: inventory.Accept, Would: inventory.Refuse, Count: 4}}}}, Next: "n"}
	var asked url.Values
	s := officeOf(func(_ context.Context, _ string, q url.Values, into any) error {
		asked = q
		*into.(*inventory.Page) = page
		return nil
	})
	says(t, s, office+"copiers?dryrun=1", 200, []string{"Dry run of new/tls: refused in place of accepted, 4 times", `name="dryrun" value="1" checked`, "dryrun=1\">Earlier ones"})
	if asked.Get("dry-run") != "true" {
		t.Errorf("asked for %v", asked)
	}
}

// Commands to copy are those that work where the relay is, for what can be done with the
// message; an ID that no relay makes stands in none of them.
func TestCommands(t *testing.T) {
	for _, tc := range []struct {
		kubectl bool
		id      string
		state   queue.State
		want    []string
		not     string
	}{
		{false, "8Du1", queue.Held, []string{`<code class="copy">printer-relay queue release --relay printers/office 8Du1</code>`}, "queue retry"},
		{true, "8Du1", queue.Failed, []string{`<code class="copy">kubectl printer-relay queue retry --namespace printers --relay office 8Du1</code>`, "queue reroute --namespace printers --relay office --to UPSTREAM 8Du1"}, "queue release"},
		{false, "$(reboot)", queue.Held, nil, "queue release"},
	} {
		d := queue.Detail{Summary: queue.Summary{ID: tc.id, State: tc.state}}
		c := New(Options{Source: officeOf(answers{"queue/": d, "queue": queue.Page{}}.ask), Kubectl: tc.kubectl, Log: slog.New(slog.DiscardHandler)})
		body := get(c, "GET", office+"queue/8Du1").Body.String()
		for _, w := range tc.want {
			if !strings.Contains(body, w) {
				t.Errorf("%+v lacks %q:\n%s", tc, w, body)
			}
		}
		if strings.Contains(body, tc.not) {
			t.Errorf("%+v has %q", tc, tc.not)
		}
		if list := get(c, "GET", office+"queue").Body.String(); !strings.Contains(list, "queue release") || strings.Contains(list, "kubectl") != tc.kubectl {
			t.Errorf("%+v: the list says\n%s", tc, list)
		}
	}
}

// Times stand exactly where something is looked into, and a script is told how exact.
func TestExactTimes(t *testing.T) {
	at := time.Date(2026, 11, 26, 10, 2, 3, 0, time.UTC)
	d := history.Detail{Entry: history.Entry{ID: "8Du1", Kind: history.Message, State: history.Held, At: at}}
	s := officeOf(answers{"messages": history.Page{Entries: []history.Entry{d.Entry}}, "messages/": d}.ask)
	says(t, s, office+"messages", 200, []string{`<time datetime="2026-11-26T10:02:03Z" data-to="minute">2026-11-26 10:02 UTC</time>`})
	says(t, s, office+"messages/8Du1", 200, []string{`<time datetime="2026-11-26T10:02:03Z" data-to="second">2026-11-26 10:02:03 UTC</time>`, `href="` + office + `queue/8Du1"`})
}

// Each state has a word for people.
func TestWords(t *testing.T) {
	for _, s := range history.States {
		if w := entryWords[s]; w.Word == "" || w.Class == "" {
			t.Errorf("history: %s has no word", s)
		}
	}
	for _, s := range []queue.State{queue.Pending, queue.Deferred, queue.Held, queue.Failed} {
		if w := stateWords[s]; w.Word == "" || w.Class == "" {
			t.Errorf("queue: %s has no word", s)
		}
	}
}
