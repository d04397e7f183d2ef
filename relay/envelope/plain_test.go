package envelope

import (
	"errors"
	"testing"
)

// What goes into a header reads the same for everyone, or does not go there.
func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"a@corp.test":                      "a@corp.test",
		"o'brien+tag@corp.test":            "o'brien+tag@corp.test",
		"a@büro.test":                      "a@xn--bro-hoa.test",
		`"a b"@corp.test`:                  "",
		`"a@b"@corp.test`:                  "",
		`"a,b"@corp.test`:                  "",
		"a@[192.0.2.1]":                    "",
		"jürgen@corp.test":                 "",
		"=?utf-8?q?v=40x.test?=@corp.test": "",
		"a":                                "",
	} {
		a, err := ParseAddress(in)
		if err != nil && !errors.Is(err, ErrNoDomain) {
			t.Fatal(err)
		}
		p, err := a.Plain()
		if got := p.String(); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
}
