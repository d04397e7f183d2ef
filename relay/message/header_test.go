package message

import (
	"strings"
	"testing"
)

// FuzzValue: a value is unfolded whatever its line ends, and nothing else of it
// changes.
func FuzzValue(f *testing.F) {
	for _, v := range []string{" plain\r\n", "\r\n folded\r\n\tonce more \r\n", " bare\nLF and\rCR", " bare\rCR", "", " \t \r\n", "\r\n \r\n x \r\n \r\n", " \xff\xfe\r\n"} {
		f.Add(v)
	}
	unfold := strings.NewReplacer("\r", "", "\n", "")
	f.Fuzz(func(t *testing.T, v string) {
		got := Field{Name: "Subject", Raw: []byte("Subject:" + v)}.Value()
		if want := strings.Trim(unfold.Replace(v), " \t"); got != want {
			t.Errorf("%q: got %q, want %q", v, got, want)
		}
	})
}
