package explain_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/explain"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
)

func office() *plan.Plan {
	return &plan.Plan{
		Namespace: "printers", Name: "office", Intake: plan.IntakeAccept,
		Addresses: plan.Addresses{DefaultDomain: "corp.example"},
		Policies: policy.Set{{Name: "office", Rules: []policy.Rule{{
			Policy: "office", Name: "floor3", Action: policy.Allow,
			Match:      policy.Match{Networks: []netip.Prefix{netip.MustParsePrefix("10.20.3.0/24")}},
			Senders:    policy.Senders{Allowed: patterns("*@corp.example")},
			Recipients: policy.Recipients{Allowed: patterns("*@corp.example")},
		}}}},
		Routes:    []plan.Route{{Name: "it", Senders: patterns("it@corp.example"), Upstream: "mx"}, {Upstream: "ses"}},
		Upstreams: map[string]*plan.Upstream{"ses": {Name: "ses"}, "mx": {Name: "mx"}},
	}
}

func patterns(s string) []envelope.Pattern {
	p, err := envelope.ParsePattern(s)
	if err != nil {
		panic(err)
	}
	return []envelope.Pattern{p}
}

func TestAsk(t *testing.T) {
	for name, tc := range map[string]struct {
		client, from, to              string
		change                        func(*plan.Plan)
		rule, refusal, rcpt, upstream string
	}{
		"goes":                {client: "10.20.3.7", from: "scan@corp.example", to: "a@corp.example", rule: "office/floor3", rcpt: "a@corp.example", upstream: "ses"},
		"a route":             {client: "10.20.3.7", from: "<it@corp.example>", to: "a@corp.example", rule: "office/floor3", rcpt: "a@corp.example", upstream: "mx"},
		"without domains":     {client: "10.20.3.7", from: "scan", to: "a", rule: "office/floor3", rcpt: "a@corp.example", upstream: "ses"},
		"mapped":              {client: "::ffff:10.20.3.7", from: "scan", rule: "office/floor3"},
		"no rule":             {client: "10.20.4.7", from: "scan", to: "a", refusal: "550 5.7.1 PR-030 Device 10.20.4.7 may not send here"},
		"another's recipient": {client: "10.20.3.7", from: "scan", to: "a@else.example", rule: "office/floor3", rcpt: "a@else.example"},
		"hidden": {
			client: "10.20.3.7", from: "scan", change: func(p *plan.Plan) { p.HiddenClients.All = true },
			refusal: "550 5.7.1 PR-039 Network hides this device, ask your IT",
		},
	} {
		p := office()
		if tc.change != nil {
			tc.change(p)
		}
		a, err := explain.Ask(p, explain.Question{Client: netip.MustParseAddr(tc.client), From: tc.from, To: tc.to})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if a.Rule != tc.rule || a.Refusal != tc.refusal {
			t.Errorf("%s: rule %q, refusal %q, want %q, %q", name, a.Rule, a.Refusal, tc.rule, tc.refusal)
		}
		var r explain.Recipient
		if len(a.Recipients) > 0 {
			r = a.Recipients[0]
		}
		if r.Address != tc.rcpt || r.Upstream != tc.upstream || (r.Address != "") != (r.Upstream != "" || r.Refusal != "") {
			t.Errorf("%s: recipient %+v", name, r)
		}
	}
}

// Who asks why nothing arrives is told of an upstream that somebody suspended.
func TestAskOfASuspendedUpstream(t *testing.T) {
	p := office()
	p.Upstreams["ses"].Suspend = true
	for from, want := range map[string]bool{"scan@corp.example": true, "it@corp.example": false} {
		a, err := explain.Ask(p, explain.Question{Client: netip.MustParseAddr("10.20.3.7"), From: from, To: "a@corp.example"})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		a.WriteText(&b)
		if a.Recipients[0].Suspended != want || strings.Contains(b.String(), "suspended") != want {
			t.Errorf("%s: %+v\n%s", from, a.Recipients, b.String())
		}
	}
}

func TestAskWhatCannotBeRead(t *testing.T) {
	good := explain.Question{Client: netip.MustParseAddr("10.1.1.1"), From: "a@b.example", To: "c@d.example"}
	for field, change := range map[string]func(*explain.Question){
		"client": func(q *explain.Question) { q.Client = netip.Addr{} },
		"from":   func(q *explain.Question) { q.From = "@" },
		"to":     func(q *explain.Question) { q.To = "<>" },
	} {
		q := good
		change(&q)
		_, err := explain.Ask(office(), q)
		var f *explain.FieldError
		if !errors.As(err, &f) || f.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
