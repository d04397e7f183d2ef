package senderdns

import (
	"slices"
	"strings"
	"testing"
)

// FuzzSPF: whatever is published, what we say to publish in its place can be
// read, lets the upstream send, and is left alone the next time.
func FuzzSPF(f *testing.F) {
	for _, s := range []string{
		"v=spf1 -all", "v=spf1 a mx/24 include:a.example ?all exp=x.example", "v=spf1 redirect=_spf.example", "v=spf1 a:%{d}/24//64 ip6:2001:db8::/32 all",
		"V=SPF1 +IP4:192.0.2.1 ~include:mailgun.org", "v=spf1 ip4:1.2.3.4/33 -all", "v=spf1  =x a=b include:d.example", "v=spf1 a//64 mx:x//0 ptr exists:%{ir}.x -all",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, published string) {
		if !isSPF(published) {
			return
		}
		terms := []string{"include:mailgun.org", "ip4:192.0.2.25"}
		z := zone{"TXT d.example": {published}, "TXT mailgun.org": {"v=spf1 -all"}}
		n := Need{Purpose: SPF, Name: "d.example", Type: "TXT", Value: freshSPF(terms), terms: terms}
		first := one(t, z, n)
		if first.State == Missing || first.State == Unknown {
			t.Fatalf("%s", stand(first))
		}
		r, err := parseSPF(first.Expected)
		if err != nil {
			t.Fatalf("%q cannot be read: %v", first.Expected, err)
		}
		before, _ := parseSPF(published)
		for _, o := range before.terms { // nothing that could be read is lost, but a +all
			if o.name != "all" && !slices.ContainsFunc(r.terms, func(x spfTerm) bool { return x.text == o.text }) {
				t.Fatalf("%q has lost %q", first.Expected, o.text)
			}
		}
		z["TXT d.example"] = []string{first.Expected}
		second := one(t, z, n)
		if second.Expected != first.Expected {
			t.Fatalf("%q, then %q", first.Expected, second.Expected)
		}
		if second.State != OK && !brokenElsewhere(second.Why) {
			t.Fatalf("published as said, and still: %s", stand(second))
		}
	})
}

// brokenElsewhere tells of faults that no merge can mend: what others publish, and
// too many lookups.
func brokenElsewhere(why string) bool {
	for _, s := range []string{"has no SPF record", "includes itself", "DNS lookups", "find nothing"} {
		if strings.Contains(why, s) && !strings.Contains(why, "lacks") {
			return true
		}
	}
	return false
}

// FuzzTags: a list of tags is read or refused, and what is read as a key
// compares with itself.
func FuzzTags(f *testing.F) {
	for _, s := range []string{"v=DKIM1; k=rsa; p=AA==", "p=", "v=DMARC1;p=none;", ";;", "a=b;a=c", " p = A A ; t = y:s "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isKey(s) {
			return
		}
		r := key(&Need{Purpose: DKIM, Value: s}, []string{s})
		have, _ := tags(s)
		if r.State != OK && unfit(have) == "" {
			t.Fatalf("%q is not itself: %s", s, stand(r))
		}
	})
}
