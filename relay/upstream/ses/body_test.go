package ses

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

func payloadOf(message io.Reader) *payload {
	return &payload{before: []byte(`{"Data":"`), after: []byte(`"}`), message: func() (io.ReadCloser, error) { return io.NopCloser(message), nil }}
}

func TestPayload(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{0, 1, 2, 3, 4, 24<<10 - 1, 24 << 10, 24<<10 + 1, 48<<10 + 2, 1 << 20} {
		message := make([]byte, size)
		random.Read(message) //nolint:errcheck // never fails
		want := `{"Data":"` + base64.StdEncoding.EncodeToString(message) + `"}`
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "half": iotest.HalfReader, "EOF with the last": iotest.DataErrReader,
		} {
			r, err := payloadOf(wrap(bytes.NewReader(message))).Open()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(iotest.HalfReader(r))
			if err != nil || string(got) != want {
				t.Errorf("%d octets, %s: %d octets, %v, want %d", size, name, len(got), err, len(want))
			}
			sum, n, err := payloadOf(wrap(bytes.NewReader(message))).sum(t.Context())
			if hash := sha256.Sum256([]byte(want)); err != nil || n != int64(len(want)) || sum != hex.EncodeToString(hash[:]) {
				t.Errorf("%d octets, %s: sum %s of %d, %v", size, name, sum, n, err)
			}
		}
	}
}

// What comes before a read error is never taken for a whole message: the end of
// the JSON is not reached.
func TestPayloadOfBrokenMessage(t *testing.T) {
	spoilt := errors.New("checksum differs")
	for _, size := range []int{0, 1, 3, 24 << 10, 100_000} {
		r, err := payloadOf(io.MultiReader(strings.NewReader(strings.Repeat("x", size)), iotest.ErrReader(spoilt))).Open()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); !errors.Is(err, spoilt) || bytes.HasSuffix(got, []byte("}")) {
			t.Errorf("after %d octets: %v", size, err)
		}
	}
}

// No header makes the search for repeated fields panic, or find a field in the body.
func FuzzRepeated(f *testing.F) {
	f.Add("From: a\r\nfrom: b\r\n\r\n")
	f.Add(strings.Repeat("x", 5000) + "\r\nContent-Type: a\r\nContent-Type : b\r\n\r\nFrom: c\r\nFrom: d\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		m := &upstream.Message{Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }}
		name, err := repeated(m)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(s, "\n\r\n")
		if n := strings.Count(strings.ToLower(head), strings.ToLower(name)); name != "" && n < 2 {
			t.Errorf("%q stands there %d times", name, n)
		}
	})
}
