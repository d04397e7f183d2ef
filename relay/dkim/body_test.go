package dkim

import (
	"bytes"
	"crypto/sha256"
	"regexp"
	"testing"
)

var (
	spaces     = regexp.MustCompile("[ \t]+")
	spaceAtEnd = regexp.MustCompile(" \r\n")
	emptyLines = regexp.MustCompile("(\r\n)*$")
)

// FuzzRelaxedBody: a body in pieces, cut anywhere, has the hash of what RFC 6376
// 3.4.4 makes of it in words.
func FuzzRelaxedBody(f *testing.F) {
	for _, b := range []string{
		"", "\r\n\r\n", "x", " x \t y \r\n\r\n\r\n", "a\r\n \r\nb", "\n\r\n\n", "a\r\r\n", "a\r \n", "\tJVBERi0xLjQK\r\nJVBERi0xLjQK\r\n\r\n--scan--\r\n",
	} {
		f.Add([]byte(b), uint8(3))
	}
	f.Fuzz(func(t *testing.T, body []byte, piece uint8) {
		want := spaceAtEnd.ReplaceAll(spaces.ReplaceAll(append(bytes.Clone(body), "\r\n"...), []byte{' '}), []byte("\r\n"))
		if want = emptyLines.ReplaceAll(want, nil); len(want) > 0 {
			want = append(want, "\r\n"...)
		}
		h := sha256.New()
		r := newRelaxed(h)
		for rest := body; len(rest) > 0; {
			n := min(len(rest), int(piece)+1)
			r.Write(rest[:n]) //nolint:errcheck // it takes everything
			rest = rest[n:]
		}
		r.close()
		if sha256.Sum256(want) != [sha256.Size]byte(h.Sum(nil)) {
			t.Errorf("%q in pieces of %d is not hashed as %q", body, int(piece)+1, want)
		}
	})
}
