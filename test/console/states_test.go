package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/console"
	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/senderdns"
	"github.com/printerrelay/printer-relay/relay/traffic"
)

// cluster is a source of relays in states that a standalone one is hardly ever in: several
// instances of which one is down, no plan, quotas, records that are not published, full
// lists.
type cluster []console.Relay

func (c cluster) Relays(context.Context) ([]console.Relay, error) {
	return append([]console.Relay(nil), c...), nil
}
func (c cluster) Fill(context.Context, *console.Relay) error { return nil }

// saying answers with documents by the first part of their path.
func saying(t *testing.T, docs map[string]any) admin.Ask {
	t.Helper()
	raw := map[string][]byte{}
	for path, d := range docs {
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		raw[path] = b
	}
	return func(_ context.Context, path string, _ url.Values, into any) error {
		kind := strings.SplitAfterN(strings.TrimPrefix(path, "/"), "/", 2)[0]
		if raw[kind] == nil {
			return &admin.StatusError{Status: 404, Text: path + ": not here"}
		}
		return json.Unmarshal(raw[kind], into)
	}
}

// busy is a relay that has all of it.
func busy(t *testing.T, now time.Time) console.Relay {
	t.Helper()
	const long = "a-name-that-somebody-made-as-long-as-a-name-may-be-and-then-some"
	st := admin.State{Relays: []admin.RelayState{{
		Namespace: "mail", Name: "busy", Ready: true, Intake: "Accept", Problems: []string{"upstream ses is down: connecting to email-smtp.eu-central-1.amazonaws.com:587: i/o timeout"},
		Upstreams: []admin.UpstreamState{
			{
				Name: "ses", Circuit: "Open", Since: now.Add(-time.Hour), LastError: "connecting to email-smtp.eu-central-1.amazonaws.com:587: i/o timeout", Remedy: "see that the firewall lets port 587 out", Deferred: 40,
				Health: &admin.Health{Reachable: "Bad", Credentials: "Good", Checked: now, Warnings: []string{"nine tenths of the day's quota are used"}, Expires: now.Add(240 * time.Hour), Quota: admin.Quota{PerSecond: 14, DailyLimit: 50000, DailyUsed: 47001}},
			},
			{Name: "paused", Circuit: "Closed", Suspended: true, Deferred: 3},
		},
		Queue: admin.QueueState{Pending: 2, Deferred: 43, Held: 12, Failed: 4, HeldBy: map[string]int{"infected": 12}, OldestSeconds: 7200}, Spool: admin.SpoolState{Bytes: 3 << 30, Free: 1 << 30},
	}}}
	p := &plan.Plan{
		Namespace: "mail", Name: "busy", Hostname: "relay.corp.example", Intake: plan.IntakeAccept,
		Listeners: []plan.Listener{
			{Name: "legacy", Port: 25, AdvertisedSize: 40 << 20, TLS: plan.ListenerTLS{Mode: plan.TLSNone}, Auth: plan.ListenerAuth{Mode: plan.AuthNone}},
			{Name: "submission", Port: 587, AdvertisedSize: 40 << 20, TLS: plan.ListenerTLS{Mode: plan.TLSStartTLS, Profile: "Modern"}, Auth: plan.ListenerAuth{Mode: plan.AuthRequired, Secret: "copiers", Mechanisms: []string{"PLAIN"}}},
			{Name: "tls", Port: 465, AdvertisedSize: 40 << 20, TLS: plan.ListenerTLS{Mode: plan.TLSImplicit, Profile: "Legacy"}, Auth: plan.ListenerAuth{Mode: plan.AuthNone}},
		},
		Policies:  policy.Set{{Name: "trial", DryRun: true, Rules: []policy.Rule{{Policy: "trial", Name: "all", Action: policy.Reject, Match: policy.Match{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}}}},
		Holds:     []plan.Hold{{Name: "infected", Networks: []netip.Prefix{netip.MustParsePrefix("10.20.3.9/32")}, Reason: long}},
		Routes:    []plan.Route{{Upstream: "ses"}},
		Upstreams: map[string]*plan.Upstream{"ses": {Name: "ses", Type: "SES"}, "paused": {Name: "paused", Type: "SMTP", Suspend: true}},
	}
	var copiers []inventory.Copier
	var waiting []queue.Summary
	var entries []history.Entry
	day := traffic.Day{Steps: make([]traffic.Counts, traffic.Steps)}
	for i := range 16 {
		at := now.Add(-time.Duration(i) * time.Hour)
		ip := fmt.Sprintf("10.20.%d.%d", i/10, i)
		sender := fmt.Sprintf("%s.%d@copier.corp.example", long, i)
		copiers = append(copiers, inventory.Copier{
			Device: ip, Address: ip, Names: []string{long, "RICOH"}, First: at, Last: at, Accepted: 123456, Refused: 654321, Hidden: i%7 == 0, Known: i%3 > 0,
			LastScan: &inventory.Scan{At: at.Add(-time.Minute), Sender: sender, Octets: 1 << 30}, Auth: inventory.Auth{Mechanism: "CRAM-MD5", User: long},
			LastRefusal: &inventory.Refusal{At: at, Reply: "550 5.7.1 PR-032 Recipient " + sender + " not allowed", Why: "rule office/floor-3, recipient " + sender, Session: "QAEJTXW5F3"},
			DryRun:      []inventory.DryRun{{Policy: "trial", Rule: "all", Now: inventory.Accept, Would: inventory.Refuse, Count: 1 << 40, Last: at}},
		})
		state := []queue.State{queue.Pending, queue.Deferred, queue.Held, queue.Failed}[i%4]
		waiting = append(waiting, queue.Summary{ID: fmt.Sprintf("8Du%d", i), State: state, Arrived: at, Next: now.Add(time.Hour), Size: 1 << 30, Client: ip, User: long, Sender: sender, Recipients: 100, Waiting: 99, Attempts: 1000, Reason: "upstream \"ses\" does not work: " + sender, Remedy: "see that the firewall lets port 587 out"})
		entries = append(entries, history.Entry{
			ID: fmt.Sprintf("8Du%d", i), Kind: history.Message, State: history.States[i%len(history.States)], At: at, Client: ip, HELO: long, User: long, Sender: sender, Size: 1 << 30, Count: 12,
			Recipients: []history.Recipient{{Address: sender}}, RecipientCount: 100, Reply: "250 2.0.0 Ok " + long, Cause: "rule office/floor-3, recipient " + sender,
		})
		day.Steps[i*5] = traffic.Counts{Accepted: 1000, Refused: int64(i), Failed: 3}
	}
	docs := map[string]any{
		"state": st, "traffic": day, "copiers": inventory.Page{Copiers: copiers, Next: "x"}, "queue": queue.Page{Messages: waiting, Next: "8Du99"}, "messages": history.Page{Entries: entries, Next: "x", Incomplete: true},
		"sessions": admin.FailedDevices{}, "queue/": queue.Detail{Summary: waiting[2]}, "messages/": history.Detail{Entry: entries[1]},
	}
	return console.Relay{
		Namespace: "mail", Name: "busy", Plan: p, Addresses: []string{"192.0.2.25", "2001:db8::25"}, Findings: []console.Finding{{What: "Durable", Text: "the spool is Ephemeral"}},
		Instances: []console.Instance{
			{Name: "busy-0", Ask: saying(t, docs)},
			{Name: "busy-1", Ask: saying(t, docs)},
			{Name: "busy-2", Err: errors.New("its Pod does not run")},
		},
		DNS: map[string]console.Domain{"ses": {Name: "copier.corp.example", Asked: true, Records: []senderdns.Record{
			{Purpose: senderdns.SPF, Name: "copier.corp.example", Type: "TXT", Expected: "v=spf1 include:amazonses.com -all", Observed: "v=spf1 -all", State: senderdns.Different},
			{Purpose: senderdns.DKIM, Name: "s1._domainkey.copier.corp.example", Type: "TXT", Expected: "v=DKIM1; k=rsa; p=" + strings.Repeat("MIIB", 90), State: senderdns.Missing},
		}}},
	}
}

// TestStates: the pages of relays in such states, as TestPages looks at those of one that
// runs.
func TestStates(t *testing.T) {
	now := time.Now()
	quiet := saying(t, map[string]any{
		"state": admin.State{Relays: []admin.RelayState{{Namespace: "mail", Name: "quiet", Ready: true, Intake: "Hold"}}}, "traffic": traffic.Day{Steps: make([]traffic.Counts, traffic.Steps)},
		"copiers": inventory.Page{}, "queue": queue.Page{}, "messages": history.Page{}, "sessions": admin.FailedDevices{},
	})
	s := httptest.NewServer(console.New(console.Options{Version: "v1", Kubectl: true, Log: slog.New(slog.DiscardHandler), Source: cluster{
		busy(t, now),
		{Namespace: "mail", Name: "down", Instances: []console.Instance{{Name: "down-0", Err: errors.New("it has no Pod")}}, Findings: []console.Finding{{What: "Accepted", Text: "MailUpstream \"x\" is not there"}}},
		{Namespace: "mail", Name: "quiet", Plan: &plan.Plan{Namespace: "mail", Name: "quiet", Hostname: "q.example", Listeners: []plan.Listener{{Name: "scans", Port: 25}}}, Instances: []console.Instance{{Ask: quiet}}},
	}}))
	defer s.Close()
	paths := []string{"/console/"}
	for r, pages := range map[string][]string{
		"busy":  {"", "setup", "copiers", "messages", "messages/8Du2", "upstreams", "queue", "queue/8Du2"},
		"quiet": {"", "copiers", "messages", "upstreams", "queue", "sessions"},
		"down":  {"", "setup", "copiers"},
	} {
		for _, p := range pages {
			paths = append(paths, "/console/relays/mail/"+r+"/"+p)
		}
	}
	f := walk(t, job{Base: s.URL, Pages: paths, Checks: []string{"axe", "looks"}})
	titles := map[string]string{}
	for _, path := range paths {
		p := f.Pages[path]
		p.fine(t, path)
		if other, is := titles[p.Title]; is && p.Status == 200 {
			t.Errorf("%s and %s have the same title %q", path, other, p.Title)
		}
		if p.Status == 200 {
			titles[p.Title] = path
		}
		if p.Passes < 20 {
			t.Errorf("%s: status %d, axe looked at %d things", path, p.Status, p.Passes)
		}
	}
}
