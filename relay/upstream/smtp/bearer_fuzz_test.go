package smtp

import (
	"strings"
	"testing"
)

// Whatever a server says of a token, its reason is one short line.
func FuzzReason(f *testing.F) {
	for _, s := range []string{"", `{"status":"invalid_token","scope":"mail"}`, `{"status":401}`, `{"status":{"a":["\r\n"]}}`, "not JSON"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, said string) {
		why := reason(Reply{Code: 334, Lines: []string{b64(said)}})
		if len(why) > 256 || strings.ContainsAny(why, "\r\n\x00") {
			t.Errorf("%q: %q", said, why)
		}
		reason(Reply{Code: 334, Lines: []string{said}})
	})
}
