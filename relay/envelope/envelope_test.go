package envelope

import (
	"errors"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]Address{
		"":                       {},
		"a@b.example":            {"a", "b.example"},
		"First.Last@B.example":   {"First.Last", "B.example"},
		`"a b"@c.example`:        {"a b", "c.example"},
		`"a@b"@c.example`:        {"a@b", "c.example"},
		`"a\"b"@c.example`:       {`a"b`, "c.example"},
		"a@[192.0.2.1]":          {"a", "[192.0.2.1]"},
		"a@[IPv6:2001:db8::1]":   {"a", "[IPv6:2001:db8::1]"},
		"käse@münchen.example":   {"käse", "münchen.example"},
		"a%b@c.example":          {"a%b", "c.example"},
		"scan+tray-1@mfp_3.corp": {"scan+tray-1", "mfp_3.corp"},
	} {
		got, err := ParseAddress(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	for _, in := range []string{
		"@b.example", "a@", "a@b..example", ".a@b.example", "a.@b.example", "a..b@c.example", "a b@c.example", "a@b c", "a@b@c.example",
		"@x.example,@y.example:a@b.example", "@x.example:a@b.example", `"a@b.example`, `"a"b@c.example`, `""@b.example`, `"a\`,
		"a\r\nRCPT TO:<x>@b.example", "a\x00@b.example", "a@b.example\n", "a@-b.example", "a@b-.example", "<a@b.example>", "a@[192.0.2.1", "a@[a]b]", "a@[300.1.1.1]", "a@[2001:db8::1]", "a@[IPv6:192.0.2.1]", "a@[IPv6:fe80::1%eth0]", "a@[]", "a@[a b]", "a@[\x01]",
		strings.Repeat("a", 65) + "@b.example", "a@" + strings.Repeat("b", 64) + ".example", "a@" + strings.Repeat("b.", 130) + "example", "\xff@b.example",
	} {
		if got, err := ParseAddress(in); err == nil {
			t.Errorf("%q passed as %+v", in, got)
		}
	}
	if a, err := ParseAddress("scanner"); !errors.Is(err, ErrNoDomain) || a.Local != "scanner" {
		t.Errorf("scanner: %+v, %v", a, err)
	}
}

func TestPatterns(t *testing.T) {
	for _, tc := range []struct {
		pattern, address string
		match            bool
	}{
		{"*", "a@b.example", true},
		{"*", "", false},
		{"*@b.example", "a@B.Example", true},
		{"*@b.example", "a@sub.b.example", false},
		{"*@b.example", "a@xb.example", false},
		{"*@*.b.example", "a@sub.b.example", true},
		{"*@*.b.example", "a@b.example", false},
		{"*@*.b.example", "a@evilb.example", false},
		{"it@b.example", "IT@b.example", true},
		{"it@b.example", "it2@b.example", false},
		{"scan-*@b.example", "scan-3@b.example", true},
		{"scan-*@b.example", "scan@b.example", false},
		{"*-mfp@b.example", "x-mfp@b.example", true},
		{"a*a@b.example", "a@b.example", false},
		{"*@münchen.example", "a@xn--mnchen-3ya.example", true},
		{"*@b.example", `"x@b.example"@c.example`, false},
		{"*@b.example", "a@b.example.", true},
	} {
		p, err := ParsePattern(tc.pattern)
		if err != nil {
			t.Errorf("%s: %v", tc.pattern, err)
			continue
		}
		a := Address{}
		if i := strings.LastIndex(tc.address, "@"); i >= 0 {
			a = Address{strings.Trim(tc.address[:i], `"`), tc.address[i+1:]}
		}
		if got := p.Match(a); got != tc.match {
			t.Errorf("%s matches %s: %v", tc.pattern, tc.address, got)
		}
	}
	for _, bad := range []string{"", "b.example", "@b.example", "a@", "a@*b.example", "a@b.*", "*x*@b.example", "a b@c.example", "a@b,c@d"} {
		if p, err := ParsePattern(bad); err == nil {
			t.Errorf("%q passed as %s", bad, p)
		}
	}
	if (Pattern{}).Match(Address{"a", "b"}) {
		t.Error("the zero pattern matches")
	}
}

func TestCaptureAndExpand(t *testing.T) {
	from, err := ParsePattern("mfp-*@old.example")
	if err != nil {
		t.Fatal(err)
	}
	to, err := ParsePattern("scans+*@corp.example")
	if err != nil {
		t.Fatal(err)
	}
	star, ok := from.Capture(Address{"MFP-Floor3", "old.example"})
	if !ok || star != "Floor3" {
		t.Fatalf("%q, %v", star, ok)
	}
	if got, err := to.Expand(star); err != nil || got.String() != "scans+Floor3@corp.example" {
		t.Errorf("%s, %v", got, err)
	}
	every, err := ParsePattern("*")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := every.Expand("a"); err == nil {
		t.Error("a rewrite to every domain passed")
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"a@b", `"a\"b"@c`, "käse@münchen.example", "a@[1.2.3.4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(a.String(), "\r\n\x00") {
			t.Fatalf("%q: control characters passed", s)
		}
		b, err := ParseAddress(a.String())
		if err != nil || b != a {
			t.Fatalf("%q -> %+v -> %q -> %+v, %v", s, a, a.String(), b, err)
		}
	})
}

func FuzzParsePattern(f *testing.F) {
	f.Add("*@b.example", "a@b.example")
	f.Add("0@0\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xfb\xf0", "")
	f.Add("İ@"+strings.Repeat("İ", 31), "")
	f.Fuzz(func(t *testing.T, s, addr string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		if p.Match(Address{}) {
			t.Fatal("matches the null sender")
		}
		if a, err := ParseAddress(addr); err == nil {
			p.Match(a)
		}
		if q, err := ParsePattern(p.String()); err != nil || q != p {
			t.Fatalf("%q -> %q -> %v, %v", s, p, q, err)
		}
	})
}
