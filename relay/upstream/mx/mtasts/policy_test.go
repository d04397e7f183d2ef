package mtasts

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParsePolicy(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"version: STSv1\r\nmode: enforce\r\nmx: a.test\r\nmx: *.b.test\r\nmax_age: 604800\r\n", "enforce [a.test *.b.test] 168h0m0s"},
		{"version: STSv1\nmode: testing\nmx: A.Test.\nmax_age: 0", "testing [a.test] 0s"},
		{"version:STSv1\nmode:none\nmax_age:86400\n", "none [] 24h0m0s"},
		{"max_age: 1\nmx: a.test\nmode: enforce\nversion: STSv1\nother: thing\n\n", "enforce [a.test] 1s"},
		{"version: STSv1\nmode: enforce\nmode: none\nmx: a.test\nmax_age: 1\n", "enforce [a.test] 1s"}, // the first counts
		{"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 4000000000\n", "enforce [a.test] 8766h0m0s"},
		{"", ""},
		{"version: STSv2\nmode: enforce\nmx: a.test\nmax_age: 1\n", ""},
		{"version: STSv1\nmode: strict\nmx: a.test\nmax_age: 1\n", ""},
		{"version: STSv1\nmode: enforce\nmax_age: 1\n", ""},
		{"version: STSv1\nmode: enforce\nmx: a.test\n", ""},
		{"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: -1\n", ""},
		{"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 99999999999\n", ""},
		{"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 1\nno colon\n", ""},
		{"version: STSv1\nmode: enforce\nmx: \xff\nmax_age: 1\n", ""},
		{"version: STSv1\nmode: enforce\n" + strings.Repeat("mx: a.test\n", maxMX+1) + "max_age: 1\n", ""},
		{"version: STSv1\nmode: enforce\nmx: " + strings.Repeat("a", 300) + "\nmax_age: 1\n", ""},
		{"<html>: not found</html>", ""},
	} {
		p, err := ParsePolicy([]byte(c.body))
		got := fmt.Sprintf("%s %v %s", p.Mode, p.MX, p.MaxAge)
		if c.want == "" && !errors.Is(err, ErrInvalid) || c.want != "" && (err != nil || got != c.want) {
			t.Errorf("%q: %s, %v; want %s", c.body, got, err, c.want)
		}
	}
}

func TestAllows(t *testing.T) {
	p := Policy{MX: []string{"mx.a.test", "*.b.test", "*."}}
	for host, want := range map[string]bool{
		"mx.a.test": true, "MX.A.test.": true, "mx2.a.test": false, "a.test": false, "x.mx.a.test": false,
		"one.b.test": true, "b.test": false, "two.one.b.test": false, "one.b.test.evil.test": false, "": false, "x.": false,
	} {
		if got := p.Allows(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestID(t *testing.T) {
	for _, c := range []struct {
		txt  []string
		want string
	}{
		{[]string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
		{[]string{"v=STSv1;id=1"}, "1"},
		{[]string{"v=spf1 -all", "v=STSv1; id=1;"}, "1"},
		{[]string{"v=STSv1; other=x; id=1;"}, "1"},
		{[]string{"v=STSv1; id=1;", "v=STSv1; id=2;"}, ""}, // RFC 8461 3.1
		{[]string{"v=STSv10; id=1;"}, ""},
		{[]string{"v=STSv1;"}, ""},
		{[]string{"v=STSv1; id=;"}, ""},
		{[]string{"v=STSv1; id=a b;"}, ""},
		{[]string{"v=STSv1; id=" + strings.Repeat("1", 33)}, ""},
		{[]string{"id=1; v=STSv1"}, ""},
		{nil, ""},
	} {
		if got, ok := ID(c.txt); got != c.want && (ok || c.want != "") || ok != (c.want != "") {
			t.Errorf("%q: %q, %v", c.txt, got, ok)
		}
	}
}

// What passes is within its bounds, and nothing panics.
func FuzzPolicy(f *testing.F) {
	f.Add("version: STSv1\r\nmode: enforce\r\nmx: a.test\r\nmax_age: 604800\r\n", "v=STSv1; id=1;")
	f.Fuzz(func(t *testing.T, body, txt string) {
		p, err := ParsePolicy([]byte(body))
		if err == nil && (p.MaxAge < 0 || p.MaxAge > maxAge || len(p.MX) > maxMX || p.Mode == Enforce && len(p.MX) == 0) {
			t.Errorf("%+v", p)
		}
		p.Allows(txt)
		if id, ok := ID([]string{txt}); ok && (id == "" || len(id) > 32) {
			t.Errorf("id %q", id)
		}
	})
}

var day = Policy{Mode: Enforce, MX: []string{"mx.test"}, MaxAge: 24 * time.Hour}
