package policy

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

func patterns(t *testing.T, ss ...string) []envelope.Pattern {
	t.Helper()
	var out []envelope.Pattern
	for _, s := range ss {
		p, err := envelope.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func address(t *testing.T, s string) envelope.Address {
	t.Helper()
	a, err := envelope.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func nets(ss ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func client(s string) Client { return Client{Addr: netip.MustParseAddr(s)} }

func TestAtMail(t *testing.T) {
	set := Set{
		{Name: "trial", DryRun: true, Rules: []Rule{{Policy: "trial", Name: "none", Action: Reject, Match: Match{Networks: nets("10.0.0.0/8")}}}},
		{Name: "office", Rules: []Rule{
			{Policy: "office", Name: "blocked", Action: Reject, Match: Match{Networks: nets("10.9.0.0/16")}},
			{
				Policy: "office", Name: "finance", Action: Allow, Match: Match{Networks: nets("10.20.3.0/24", "2001:db8::/32")},
				Connection: Connection{TLSRequired: true, MinimumTLS: tls.VersionTLS12}, Senders: Senders{Allowed: patterns(t, "*@copier.example")},
			},
			{Policy: "office", Name: "both", Action: Hold, Match: Match{Networks: nets("10.30.0.0/16"), Users: []string{"mfp1"}}},
			{Policy: "office", Name: "rewrite", Action: Allow, Match: Match{Networks: nets("10.40.0.0/16")}, Senders: Senders{Allowed: patterns(t, "*@copier.example"), Rewrite: true}},
			{Policy: "office", Name: "by-sender", Action: Allow, Match: Match{Networks: nets("10.50.0.0/16"), Senders: patterns(t, "a@copier.example")}},
			{Policy: "office", Name: "nobody", Action: Allow},
		}},
		{Name: "guests", Rules: []Rule{{Policy: "guests", Name: "login", Action: Allow, Match: Match{Users: []string{"guest"}}, Connection: Connection{Authenticated: true}}}},
	}
	with := func(c Client, user string, version uint16) Client {
		c.User, c.TLSVersion = user, version
		return c
	}
	for name, tc := range map[string]struct {
		client       Client
		from         string
		rule, reply  string
		covered, fix bool
	}{
		"allowed":                    {with(client("10.20.3.4"), "", tls.VersionTLS12), "x@copier.example", "finance", "", true, false},
		"IPv4-mapped":                {with(client("::ffff:10.20.3.4"), "", tls.VersionTLS13), "x@copier.example", "finance", "", true, false},
		"IPv6":                       {with(client("2001:db8::1"), "", tls.VersionTLS13), "x@copier.example", "finance", "", true, false},
		"clear text":                 {client("10.20.3.4"), "x@copier.example", "finance", "530 5.7.0", false, false},
		"old TLS":                    {with(client("10.20.3.4"), "", tls.VersionTLS10), "x@copier.example", "finance", "530 5.7.0", false, false},
		"sender not allowed":         {with(client("10.20.3.4"), "", tls.VersionTLS12), "md@corp.example", "finance", "550 5.7.1", false, false},
		"null sender not allowed":    {with(client("10.20.3.4"), "", tls.VersionTLS12), "", "finance", "550 5.7.1", false, false},
		"rejected":                   {client("10.9.1.1"), "x@copier.example", "blocked", "550 5.7.1", false, false},
		"network without the user":   {client("10.30.1.1"), "x@copier.example", "", "530 5.7.0", false, false},
		"network with the user":      {with(client("10.30.1.1"), "mfp1", 0), "x@copier.example", "both", "", false, false},
		"network with another user":  {with(client("10.30.1.1"), "mfp2", 0), "x@copier.example", "", "550 5.7.1", false, false},
		"rewritten":                  {client("10.40.1.1"), "md@corp.example", "rewrite", "", false, true},
		"matched by sender":          {client("10.50.1.1"), "A@copier.example", "by-sender", "", false, false},
		"not matched by sender":      {client("10.50.1.1"), "b@copier.example", "", "530 5.7.0", false, false},
		"login of another policy":    {with(client("192.0.2.1"), "guest", 0), "x@any.example", "login", "", false, false},
		"nobody":                     {client("192.0.2.1"), "x@copier.example", "", "530 5.7.0", false, false},
		"hidden address":             {Client{Addr: netip.MustParseAddr("10.40.1.1"), Hidden: true}, "x@copier.example", "blocked", "550 5.7.1 PR-033", false, false},
		"no address at all":          {Client{}, "x@copier.example", "", "530 5.7.0", false, false},
		"zone does not matter":       {with(client("fe80::1%eth0"), "", 0), "x@copier.example", "", "530 5.7.0", false, false},
		"empty match matches nobody": {with(client("192.0.2.1"), "stranger", 0), "x@copier.example", "", "550 5.7.1", false, false},
		"dry run decides nothing":    {client("10.40.1.1"), "x@copier.example", "rewrite", "", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := set.AtMail(tc.client, address(t, tc.from))
			rule, reply := "", ""
			if d.Rule != nil {
				rule = d.Rule.Name
			}
			if d.Reply != nil {
				reply = d.Reply.String()
			}
			if rule != tc.rule || !strings.HasPrefix(reply, tc.reply) || (reply == "") != (tc.reply == "") || d.Covered != tc.covered || d.Force != tc.fix {
				t.Errorf("rule %q, reply %q, covered %v, force %v", rule, reply, d.Covered, d.Force)
			}
			if len(d.Steps) == 0 || rule != "" && !d.Steps[len(d.Steps)-1].Match {
				t.Errorf("cannot be explained: %+v", d.Steps)
			}
		})
	}
	d := set.AtMail(client("10.40.1.1"), address(t, "x@copier.example"))
	if len(d.DryRun) != 1 || d.DryRun[0].Action != Reject {
		t.Errorf("dry run: %+v", d.DryRun)
	}
}

func TestNoPolicyNoMail(t *testing.T) {
	for _, s := range []Set{nil, {}, {{Name: "empty"}}, {{Name: "dry", DryRun: true, Rules: []Rule{{Action: Allow, Match: Match{Networks: nets("0.0.0.0/0")}}}}}} {
		if d := s.AtMail(client("10.0.0.1"), envelope.Address{Local: "a", Domain: "b"}); d.Reply == nil || d.Action != Reject {
			t.Errorf("%+v lets mail in", s)
		}
	}
}

func TestCheckRecipient(t *testing.T) {
	r := Rule{Recipients: Recipients{Allowed: patterns(t, "*@corp.example"), Maximum: 2}}
	for to, want := range map[string]string{
		"a@corp.example": "", "A@CORP.example": "",
		"a@else.example": "550 5.7.1", "a%else.example@corp.example": "550 5.7.1", "else.example!a@corp.example": "550 5.7.1",
		`"a@else.example"@corp.example`: "550 5.7.1", "a@[192.0.2.1]": "550 5.7.1", "a@sub.corp.example": "550 5.7.1",
	} {
		got := ""
		if x := r.CheckRecipient(address(t, to), 0, 100); x != nil {
			got = x.String()
		}
		if !strings.HasPrefix(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: %q, want %q", to, got, want)
		}
	}
	if x := r.CheckRecipient(address(t, "a@corp.example"), 2, 100); x == nil || x.Code != 452 {
		t.Errorf("third recipient: %v", x)
	}
	open := Rule{}
	if x := open.CheckRecipient(address(t, "a%b@corp.example"), 0, 100); x == nil {
		t.Error("a rule for everybody lets a routed address in")
	}
	if x := open.CheckRecipient(address(t, "a@corp.example"), 5, 5); x == nil || x.Code != 452 {
		t.Errorf("over the listener's limit: %v", x)
	}
}

func TestCheckHeader(t *testing.T) {
	allowed := Senders{Allowed: patterns(t, "*@copier.example")}
	rewrite, envelopeOnly := allowed, allowed
	rewrite.Rewrite, envelopeOnly.EnvelopeOnly = true, true
	good, bad := address(t, "a@copier.example"), address(t, "md@corp.example")
	for name, tc := range map[string]struct {
		senders      Senders
		addresses    []envelope.Address
		force, refus bool
	}{
		"all allowed":   {allowed, []envelope.Address{good, good}, false, false},
		"second is not": {allowed, []envelope.Address{good, bad}, false, true},
		"rewritten":     {rewrite, []envelope.Address{bad}, true, false},
		"envelope only": {envelopeOnly, []envelope.Address{bad}, false, false},
		"any":           {Senders{}, []envelope.Address{bad}, false, false},
		"null":          {allowed, []envelope.Address{{}}, false, true},
	} {
		force, refusal := (&Rule{Senders: tc.senders}).CheckHeader(tc.addresses)
		if force != tc.force || (refusal != nil) != tc.refus {
			t.Errorf("%s: %v, %v", name, force, refusal)
		}
	}
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestMessagesPerMinute(t *testing.T) {
	r := &Rule{Rate: &Rate{MessagesPerMinute: 6, Per: PerClient, Exceeded: Pace}}
	l := NewLimiter()
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for i := range 6 {
		if v := l.Take(noon, r, a, "", 1); v.Over {
			t.Fatalf("message %d is over", i+1)
		}
	}
	for i := range 3 { // paced behind each other, ten seconds apart
		if v := l.Take(noon, r, a, "", 1); !v.Over || v.Delay != time.Duration(i+1)*10*time.Second {
			t.Errorf("message %d: %+v", 7+i, v)
		}
	}
	if v := l.Take(noon, r, b, "", 1); v.Over {
		t.Error("another client pays for the first")
	}
	if v := l.Take(noon.Add(2*time.Minute), r, a, "", 1); v.Over {
		t.Error("still over when the bucket is full again")
	}
}

func TestRefusedMessagesAreNotCounted(t *testing.T) {
	r := &Rule{Rate: &Rate{MessagesPerMinute: 1, Per: PerRule, Exceeded: Refuse}}
	l := NewLimiter()
	l.Take(noon, r, netip.Addr{}, "", 1)
	for range 100 {
		if v := l.Take(noon, r, netip.Addr{}, "", 1); !v.Over {
			t.Fatal("not over")
		}
	}
	if v := l.Take(noon.Add(time.Minute), r, netip.Addr{}, "", 1); v.Over {
		t.Error("the refused ones were counted")
	}
}

func TestRecipientsPerDay(t *testing.T) {
	r := &Rule{Rate: &Rate{RecipientsPerDay: 10, Per: PerUser, Exceeded: HoldExcess}}
	l := NewLimiter()
	if v := l.Take(noon, r, netip.Addr{}, "u", 10); v.Over {
		t.Fatal("ten are over")
	}
	v := l.Take(noon.Add(time.Hour), r, netip.Addr{}, "u", 1)
	if !v.Over || v.Exceeded != HoldExcess || v.Delay <= 22*time.Hour || v.Delay > 23*time.Hour {
		t.Errorf("the eleventh: %+v", v)
	}
	if v := l.Take(noon.Add(25*time.Hour), r, netip.Addr{}, "u", 9); v.Over {
		t.Errorf("a day later: %+v", v)
	}
}

func TestRestartIsNoWayAroundALimit(t *testing.T) {
	r := &Rule{Policy: "p", Name: "r", Rate: &Rate{MessagesPerMinute: 1, RecipientsPerDay: 5, Per: PerClient, Exceeded: Refuse}}
	l, a := NewLimiter(), netip.MustParseAddr("10.0.0.1")
	l.Take(noon, r, a, "", 5)
	b, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	again := NewLimiter()
	if err := json.Unmarshal(b, again); err != nil {
		t.Fatal(err)
	}
	if v := again.Take(noon.Add(time.Hour), r, a, "", 1); !v.Over {
		t.Error("the restart forgot")
	}
}

// Who has places kept for it: whoever a rule could let in by its address.
func TestNames(t *testing.T) {
	nets := func(n ...string) Match {
		m := Match{}
		for _, p := range n {
			m.Networks = append(m.Networks, netip.MustParsePrefix(p))
		}
		return m
	}
	withUser := func(m Match) Match { m.Users = []string{"mfp"}; return m }
	s := Set{
		{DryRun: true, Rules: []Rule{{Match: nets("10.9.0.0/16"), Action: Allow}, {Match: nets("10.1.0.0/16"), Action: Reject}}},
		{Rules: []Rule{
			{Match: nets("10.1.6.6/32"), Action: Reject},
			{Match: withUser(nets("10.1.7.7/32")), Action: Reject},
			{Match: nets("10.1.0.0/16"), Action: Allow},
			{Match: withUser(nets("10.2.0.0/16", "2001:db8::/32")), Action: Hold},
			{Match: Match{Users: []string{"mfp"}}, Action: Allow},
		}},
	}
	for addr, want := range map[string]bool{
		"10.1.0.1": true, "::ffff:10.1.0.1": true, "10.2.0.1": true, "2001:db8::1": true, "10.1.7.7": true,
		"10.1.6.6": false, "10.9.0.1": false, "192.0.2.1": false,
	} {
		if got := s.Names(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if s.Names(netip.Addr{}) || (Set{}).Names(netip.MustParseAddr("10.1.0.1")) {
		t.Error("no address, or no policy, is named")
	}
}

// Whatever the policies are: who is let in is named by the rule that let it in.
func TestNobodyIsLetInWhoIsNotNamed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		var s Set
		for p := range rng.IntN(3) {
			pol := Policy{Name: fmt.Sprint(p), DryRun: rng.IntN(4) == 0}
			for k := range rng.IntN(4) {
				r := Rule{Policy: pol.Name, Name: fmt.Sprint(k), Action: []Action{Allow, Reject, Hold}[rng.IntN(3)]}
				if rng.IntN(3) > 0 {
					r.Match.Networks = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(rng.IntN(4)), 0, 0}), 16)}
				}
				if rng.IntN(3) == 0 {
					r.Match.Users = []string{fmt.Sprint("u", rng.IntN(3))}
				}
				pol.Rules = append(pol.Rules, r)
			}
			s = append(s, pol)
		}
		c := Client{Addr: netip.AddrFrom4([4]byte{10, byte(rng.IntN(5)), 1, 1}), Hidden: rng.IntN(5) == 0}
		if rng.IntN(2) == 0 {
			c.User = fmt.Sprint("u", rng.IntN(4))
		}
		d := s.AtMail(c, envelope.Address{Local: "a", Domain: "b.example"})
		if d.Reply != nil {
			continue
		}
		inNetwork := len(d.Rule.Match.Networks) > 0 && d.Rule.Match.Networks[0].Contains(c.Addr) && !c.Hidden
		isUser := len(d.Rule.Match.Users) > 0 && d.Rule.Match.Users[0] == c.User && c.User != ""
		if !inNetwork && !isUser {
			t.Fatalf("%+v was let in by %+v", c, d.Rule)
		}
		if !c.Hidden {
			continue
		}
	past:
		for _, pol := range s { // wherever the client may be, it would have been let in
			for _, r := range pol.Rules {
				if pol.Name == d.Rule.Policy && r.Name == d.Rule.Name {
					break past
				}
				forIt := len(r.Match.Users) == 0 && len(r.Match.Networks) > 0 || len(r.Match.Users) > 0 && r.Match.Users[0] == c.User
				if !pol.DryRun && r.Action == Reject && forIt {
					t.Fatalf("%+v was let in by %+v, past %+v", c, d.Rule, r)
				}
			}
		}
	}
}

// A client whose address is hidden: no network lets it in, each network that
// keeps somebody out keeps it out, and the refusal says what would help.
func TestHiddenAddress(t *testing.T) {
	reject := Rule{Name: "no", Action: Reject, Match: Match{Networks: nets("10.9.0.0/16")}}
	network := Rule{Name: "net", Action: Allow, Match: Match{Networks: nets("10.20.0.0/16")}}
	held := Rule{Name: "held", Action: Hold, Match: Match{Networks: nets("10.20.0.0/16")}}
	both := Rule{Name: "both", Action: Allow, Match: Match{Networks: nets("10.20.0.0/16"), Users: []string{"mfp"}}}
	login := Rule{Name: "login", Action: Allow, Match: Match{Users: []string{"mfp"}}}
	mine := Rule{Name: "mine", Action: Reject, Match: Match{Networks: nets("10.9.0.0/16"), Users: []string{"mfp"}}}
	sender := Rule{Name: "sender", Action: Allow, Match: Match{Networks: nets("10.20.0.0/16"), Senders: patterns(t, "other@b.example")}}
	for name, tc := range map[string]struct {
		rules      []Rule
		user       string
		rule, said string
	}{
		"network":                       {[]Rule{network}, "", "", "550 5.7.1 PR-039"},
		"network that holds":            {[]Rule{held}, "", "", "550 5.7.1 PR-039"},
		"network and login":             {[]Rule{both}, "mfp", "", "550 5.7.1 PR-039"},
		"network and login, without it": {[]Rule{both}, "", "", "550 5.7.1 PR-030"},
		"login":                         {[]Rule{network, login}, "mfp", "login", ""},
		"login would help":              {[]Rule{network, login}, "", "", "530 5.7.0 PR-022"},
		"another login":                 {[]Rule{login}, "guest", "", "550 5.7.1 PR-030"},
		"network of another sender":     {[]Rule{sender}, "", "", "550 5.7.1 PR-030"},
		"rejected network first":        {[]Rule{reject, login}, "mfp", "no", "550 5.7.1 PR-033"},
		"rejected network last":         {[]Rule{login, reject}, "mfp", "login", ""},
		"rejected network and login":    {[]Rule{mine, login}, "mfp", "mine", "550 5.7.1 PR-033"},
		"rejected for another login":    {[]Rule{mine, network}, "guest", "", "550 5.7.1 PR-039"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, a := range []string{"10.20.1.1", "::ffff:10.20.1.1", "10.9.0.1", "2001:db8::1"} { // whatever it comes from
				c := client(a)
				c.Hidden, c.User = true, tc.user
				d := Set{{Name: "p", Rules: tc.rules}}.AtMail(c, address(t, "a@b.example"))
				rule := ""
				if d.Rule != nil {
					rule = d.Rule.Name
				}
				if rule != tc.rule || !strings.HasPrefix(said(d.Reply), tc.said) || (d.Reply == nil) != (tc.said == "") {
					t.Errorf("%s: rule %q, %v", a, rule, d.Reply)
				}
			}
		})
	}
}
