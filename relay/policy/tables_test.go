package policy

import (
	"crypto/tls"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/reply"
)

var update = flag.Bool("update", false, "write the golden files; read the difference")

func said(r *reply.Reply) string {
	if r == nil {
		return ""
	}
	return r.String()
}

// code is the beginning of a reply that tells what it is: "550 5.7.1".
func code(r *reply.Reply) string {
	f := strings.Fields(said(r))
	return strings.Join(f[:min(2, len(f))], " ")
}

func TestNetworks(t *testing.T) {
	for _, tc := range []struct {
		network, client string
		hidden, in      bool
	}{
		{"10.20.3.0/24", "10.20.3.0", false, true},
		{"10.20.3.0/24", "10.20.3.255", false, true},
		{"10.20.3.0/24", "10.20.4.0", false, false},
		{"10.20.3.0/24", "10.20.2.255", false, false},
		{"10.20.3.7/32", "10.20.3.7", false, true},
		{"10.20.3.7/32", "10.20.3.8", false, false},
		{"10.20.3.0/24", "::ffff:10.20.3.4", false, true},
		{"10.20.3.0/24", "::ffff:10.20.4.4", false, false},
		{"10.20.3.0/24", "::10.20.3.4", false, false},        // IPv4-compatible is IPv6
		{"10.20.3.0/24", "64:ff9b::10.20.3.4", false, false}, // so is what NAT64 makes
		{"2001:db8::/64", "2001:db8::ffff:ffff", false, true},
		{"2001:db8::/64", "2001:db8:0:1::", false, false},
		{"2001:db8::1/128", "2001:db8::1", false, true},
		{"fe80::/10", "fe80::1%eth0", false, true},
		{"fe80::/10", "fec0::1%eth0", false, false},
		{"::/0", "10.20.3.4", false, false},
		{"0.0.0.0/0", "2001:db8::1", false, false},
		{"10.20.3.0/24", "10.20.3.4", true, false},
	} {
		s := Set{{Name: "p", Rules: []Rule{{Name: "r", Action: Allow, Match: Match{Networks: nets(tc.network)}}}}}
		c := client(tc.client)
		c.Hidden = tc.hidden
		d := s.AtMail(c, address(t, "a@b.example"))
		if got := d.Rule != nil; got != tc.in {
			t.Errorf("%s holds %s (hidden %v): %v", tc.network, tc.client, tc.hidden, got)
		}
		if !tc.in && code(d.Reply) != "550 5.7.1" {
			t.Errorf("%s: %v", tc.client, d.Reply)
		}
	}
}

// Logins are compared as they are written: RFC 4616 leaves that to the server,
// and who made the Secret wrote one spelling.
func TestUsers(t *testing.T) {
	s := Set{{Name: "p", Rules: []Rule{{Name: "r", Action: Allow, Match: Match{Users: []string{"mfp3@corp.example", `DOM\scan`}}}}}}
	for user, in := range map[string]bool{
		"mfp3@corp.example": true, `DOM\scan`: true, "MFP3@corp.example": false, "mfp3": false, "mfp3@corp.example ": false, "": false, "*": false,
	} {
		c := client("203.0.113.1")
		c.User = user
		d := s.AtMail(c, address(t, "a@b.example"))
		want := "550 5.7.1"
		if user == "" {
			want = "530 5.7.0" // a login could help
		}
		if in {
			want = ""
		}
		if (d.Rule != nil) != in || code(d.Reply) != want {
			t.Errorf("%q: rule %v, reply %v", user, d.Rule, d.Reply)
		}
	}
}

func TestSenderLists(t *testing.T) {
	for _, tc := range []struct {
		allowed, from string
		in            bool
	}{
		{"*@corp.example", "A.B@Corp.Example", true},
		{"*@corp.example", "a@sub.corp.example", false},
		{"*@corp.example", "a@evilcorp.example", false},
		{"*@corp.example", "a@corp.example.evil.example", false},
		{"*@*.corp.example", "a@a.b.corp.example", true},
		{"*@*.corp.example", "a@corp.example", false},
		{"scan-*@corp.example", "SCAN-3@corp.example", true},
		{"scan-*@corp.example", "xscan-3@corp.example", false},
		{"it@corp.example", "it@corp.example", true},
		{"it@corp.example", "it+x@corp.example", false},
		{"it@corp.example", `"it@corp.example"@evil.example`, false},
		{"*", "a@anything.example", true},
		{"*", "", false},
		{"*@corp.example", "", false},
		{"", "", true}, // no list: every sender
		{"", "a@anything.example", true},
		{"*@münchen.example", "a@XN--MNCHEN-3YA.example", true},
	} {
		r := Rule{Policy: "p", Name: "r", Action: Allow, Match: Match{Networks: nets("10.0.0.0/8")}}
		if tc.allowed != "" {
			r.Senders.Allowed = patterns(t, tc.allowed)
		}
		for _, rewrite := range []bool{false, true} {
			r.Senders.Rewrite = rewrite
			d := Set{{Name: "p", Rules: []Rule{r}}}.AtMail(client("10.1.1.1"), address(t, tc.from))
			refused, forced := d.Reply != nil, d.Force
			if refused != (!tc.in && !rewrite) || forced != (!tc.in && rewrite) {
				t.Errorf("%q lets <%s> send: refused %v, rewritten %v (%v)", tc.allowed, tc.from, refused, forced, rewrite)
			}
			if refused && code(d.Reply) != "550 5.7.1" {
				t.Errorf("<%s>: %v", tc.from, d.Reply)
			}
		}
	}
}

func TestConnections(t *testing.T) {
	const v10, v12, v13 = tls.VersionTLS10, tls.VersionTLS12, tls.VersionTLS13
	for _, tc := range []struct {
		asks    Connection
		version uint16
		user    string
		want    string
	}{
		{Connection{}, 0, "", ""},
		{Connection{TLSRequired: true}, 0, "", "530 5.7.0"},
		{Connection{TLSRequired: true}, v10, "", ""},
		{Connection{MinimumTLS: v12}, 0, "", "530 5.7.0"},
		{Connection{MinimumTLS: v12}, v10, "", "530 5.7.0"},
		{Connection{MinimumTLS: v12}, v12, "", ""},
		{Connection{MinimumTLS: v12}, v13, "", ""},
		{Connection{Authenticated: true}, 0, "", "530 5.7.0"},
		{Connection{Authenticated: true}, 0, "u", ""},
		{Connection{TLSRequired: true, MinimumTLS: v12, Authenticated: true}, v12, "u", ""},
		{Connection{TLSRequired: true, Authenticated: true}, 0, "u", "530 5.7.0"},
	} {
		r := Rule{Name: "r", Action: Allow, Match: Match{Networks: nets("10.0.0.0/8")}, Connection: tc.asks}
		next := Rule{Name: "next", Action: Allow, Match: Match{Networks: nets("10.0.0.0/8")}}
		c := client("10.1.1.1")
		c.TLSVersion, c.User = tc.version, tc.user
		d := Set{{Name: "p", Rules: []Rule{r, next}}}.AtMail(c, address(t, "a@b.example"))
		if code(d.Reply) != tc.want || d.Rule.Name != "r" {
			t.Errorf("%+v, TLS %x, user %q: %v by %s", tc.asks, tc.version, tc.user, d.Reply, d.Rule.Name)
		}
	}
	if s := said(Connection{MinimumTLS: v12}.check(Client{TLSVersion: v10})); !strings.Contains(s, "1.2") {
		t.Errorf("%q does not say which version", s)
	}
}

func TestRecipientBounds(t *testing.T) {
	for _, tc := range []struct {
		maximum, listener, have int
		want                    string
	}{
		{0, 100, 99, ""},
		{0, 100, 100, "452 4.5.3"},
		{2, 100, 1, ""},
		{2, 100, 2, "452 4.5.3"},
		{500, 100, 99, ""},
		{500, 100, 100, "452 4.5.3"},
	} {
		r := Rule{Recipients: Recipients{Maximum: tc.maximum}}
		if got := code(r.CheckRecipient(address(t, "a@b.example"), tc.have, tc.listener)); got != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

func TestSizeLimit(t *testing.T) {
	for _, tc := range []struct{ rule, listener, want int64 }{{0, 40, 40}, {20, 40, 20}, {60, 40, 40}, {40, 40, 40}} {
		if got := (&Rule{MessageSize: tc.rule}).SizeLimit(tc.listener); got != tc.want {
			t.Errorf("rule %d, listener %d: %d", tc.rule, tc.listener, got)
		}
	}
}

// TestExplained: the words in which every decision is explained.
func TestExplained(t *testing.T) {
	set := Set{
		{Name: "trial", DryRun: true, Rules: []Rule{{Policy: "trial", Name: "closed", Action: Reject, Match: Match{Networks: nets("10.0.0.0/8")}}}},
		{Name: "office", Rules: []Rule{
			{Policy: "office", Name: "stolen", Action: Reject, Match: Match{Networks: nets("10.9.0.0/16")}},
			{
				Policy: "office", Name: "finance", Action: Allow, Match: Match{Networks: nets("10.20.3.0/24", "2001:db8::/32"), Users: []string{"mfp-fin-1"}},
				Connection: Connection{MinimumTLS: tls.VersionTLS12}, Senders: Senders{Allowed: patterns(t, "*@copier.example")},
			},
			{Policy: "office", Name: "by-sender", Action: Hold, Match: Match{Networks: nets("10.0.0.0/8"), Senders: patterns(t, "hr@copier.example")}},
			{Policy: "office", Name: "broken", Action: Allow},
		}},
	}
	var b strings.Builder
	for _, tc := range []struct {
		client, user, from string
		version            uint16
		hidden             bool
	}{
		{"10.9.1.1", "", "a@copier.example", 0, false},
		{"10.20.3.4", "mfp-fin-1", "a@copier.example", tls.VersionTLS13, false},
		{"::ffff:10.20.3.4", "mfp-fin-1", "a@copier.example", tls.VersionTLS10, false},
		{"2001:db8::7", "mfp-fin-1", "a@copier.example", 0, false},
		{"10.20.3.4", "mfp-fin-1", "md@corp.example", tls.VersionTLS13, false},
		{"10.20.3.4", "mfp-fin-1", "", tls.VersionTLS13, false},
		{"10.20.3.4", "other", "hr@copier.example", tls.VersionTLS13, false},
		{"10.20.3.4", "", "a@copier.example", tls.VersionTLS13, false},
		{"203.0.113.5", "", "a@copier.example", 0, false},
		{"10.20.3.4", "mfp-fin-1", "a@copier.example", tls.VersionTLS13, true},
	} {
		c := Client{Addr: netip.MustParseAddr(tc.client), User: tc.user, TLSVersion: tc.version, Hidden: tc.hidden}
		d := set.AtMail(c, address(t, tc.from))
		fmt.Fprintf(&b, "%s user %q hidden %v TLS %x MAIL FROM:<%s>\n", tc.client, tc.user, tc.hidden, tc.version, tc.from)
		w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
		for _, s := range d.Steps {
			fmt.Fprintf(w, "  %s/%s\tmatch %v\tdry run %v\t%s\n", s.Policy, s.Rule, s.Match, s.DryRun, s.Why)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "  -> %s, %s\n", d.Action, said(d.Reply))
	}
	const path = "testdata/explained.golden"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil { //nolint:gosec // it is read by everybody
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s is out of date: run go test ./relay/policy -update, and read the difference. Now:\n%s", path, b.String())
	}
}

// FuzzPatterns: a pattern matches what a plain reading of its words does.
func FuzzPatterns(f *testing.F) {
	for _, p := range []string{"*", "*@b.example", "*@*.b.example", "scan-*@b.example", "a*a@b.example", "it@b.example", "*@*", "*@münchen.example", "İ*@b.example"} {
		f.Add(p, "scan-3@b.example")
		f.Add(p, "A@x.B.EXAMPLE")
		f.Add(p, "aa@xn--mnchen-3ya.example")
	}
	f.Fuzz(func(t *testing.T, pattern, addr string) {
		p, err := envelope.ParsePattern(pattern)
		if err != nil {
			return
		}
		a, err := envelope.ParseAddress(addr)
		if err != nil {
			return
		}
		got := p.Match(a)
		if got && a.IsNull() {
			t.Fatalf("%q matches <>", pattern)
		}
		if other := swapCase(a); envelope.MatchAny([]envelope.Pattern{p}, other) != got {
			t.Fatalf("%q matches <%s>: %v, and <%s> otherwise", pattern, a, got, other)
		}
		if !ascii(pattern) || !ascii(addr) {
			return
		}
		if want := plainly(strings.ToLower(pattern), strings.ToLower(a.Local), strings.ToLower(strings.TrimSuffix(a.Domain, "."))); want != got && !a.IsNull() {
			t.Fatalf("%q matches <%s>: %v", pattern, a, got)
		}
	})
}

// swapCase changes the case of ASCII letters, which never changes an address's meaning here.
func swapCase(a envelope.Address) envelope.Address {
	swap := func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}
	return envelope.Address{Local: strings.Map(swap, a.Local), Domain: strings.Map(swap, a.Domain)}
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0
}

// plainly reads a pattern the slow way: every split of the local part.
func plainly(pattern, local, domain string) bool {
	if pattern == "*" {
		return true
	}
	i := strings.LastIndex(pattern, "@")
	want := strings.TrimSuffix(pattern[i+1:], ".")
	switch {
	case want == "*":
	case strings.HasPrefix(want, "*."):
		if sub, ok := strings.CutSuffix(domain, want[1:]); !ok || sub == "" {
			return false
		}
	case domain != want:
		return false
	}
	for from := 0; from <= len(local); from++ {
		for to := from; to <= len(local); to++ {
			if strings.Replace(pattern[:i], "*", local[from:to], 1) == local {
				return true
			}
		}
	}
	return false
}

// FuzzAtMail: no client, user or sender makes a decision panic, or lets in whom
// no rule names.
func FuzzAtMail(f *testing.F) {
	f.Add("10.20.3.4", "mfp", "a@copier.example", uint16(0), "*@copier.example", "10.20.0.0/16")
	f.Add("::ffff:10.20.3.4", "", "", uint16(tls.VersionTLS13), "*", "2001:db8::/32")
	f.Add("fe80::1%eth0", "mfp", `"a b"@c.example`, uint16(1), "a*@*.c.example", "fe80::/10")
	f.Fuzz(func(t *testing.T, addr, user, from string, version uint16, pattern, network string) {
		sender, err := envelope.ParseAddress(from)
		if err != nil {
			return
		}
		a, _ := netip.ParseAddr(addr) //nolint:errcheck // no address is a client too
		r := Rule{Policy: "p", Name: "r", Action: Allow, Match: Match{Users: []string{"mfp"}}, Connection: Connection{MinimumTLS: tls.VersionTLS12}}
		if n, err := netip.ParsePrefix(network); err == nil {
			r.Match.Networks = []netip.Prefix{n.Masked()}
		}
		if p, err := envelope.ParsePattern(pattern); err == nil {
			r.Senders.Allowed = []envelope.Pattern{p}
		}
		d := Set{{Name: "p", Rules: []Rule{r}}}.AtMail(Client{Addr: a, User: user, TLSVersion: version}, sender)
		if len(d.Steps) != 1 || d.Steps[0].Why == "" {
			t.Fatalf("cannot be explained: %+v", d)
		}
		if d.Reply != nil {
			return
		}
		if user != "mfp" || version < tls.VersionTLS12 || len(r.Match.Networks) > 0 && !r.Match.Networks[0].Contains(a.Unmap().WithZone("")) ||
			len(r.Senders.Allowed) > 0 && !r.Senders.Allowed[0].Match(sender) {
			t.Fatalf("%q at %s with TLS %x may send as <%s>", user, a, version, sender)
		}
	})
}
