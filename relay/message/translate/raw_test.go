package translate

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// An attachment comes decoded, and ends where the message was read to its end.
func TestContent(t *testing.T) {
	const m = "From: a@x.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\ntext\r\n" +
		"--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nb25l\r\nIA==\r\n" +
		"--b\r\nContent-Type: text/csv; name=b.csv\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nt=77o\r\n--b--\r\n"
	var end error
	msg, err := Read(t.Context(), func() (io.ReadCloser, error) {
		r := io.Reader(strings.NewReader(m))
		if end != nil {
			r = io.MultiReader(r, broken{end})
		}
		return io.NopCloser(r), nil
	}, &Rules{Service: "X"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"one ", "two"} {
		r, err := msg.Content(msg.Attachments[i])
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); string(b) != want || err != nil {
			t.Errorf("%q, %v; want %q", b, err, want)
		}
		r.Close()
	}
	end = errors.New("checksum")
	r, err := msg.Content(msg.Attachments[0])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); !errors.Is(err, end) {
		t.Errorf("%q, %v: what was not read whole has an end", b, err)
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
