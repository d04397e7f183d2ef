package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/textproto"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

func stuffed(t testing.TB, r io.Reader) string {
	t.Helper()
	var b bytes.Buffer
	w := &dotWriter{write: func(p []byte) error { b.Write(p); return nil }}
	if err := w.copy(r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDotWriter(t *testing.T) {
	for in, want := range map[string]string{
		"":                          ".\r\n",
		"a\r\n":                     "a\r\n.\r\n",
		"a":                         "a\r\n.\r\n",
		".\r\n":                     "..\r\n.\r\n",
		"..\r\n":                    "...\r\n.\r\n",
		".":                         "..\r\n.\r\n",
		"a\r\n.\r\nb\r\n":           "a\r\n..\r\nb\r\n.\r\n",
		"a\r\n.b\r\n..\r\n.\r\n":    "a\r\n..b\r\n...\r\n..\r\n.\r\n",
		"a.b\r\n":                   "a.b\r\n.\r\n",
		"a\n.\nMAIL FROM:<x>\r\n":   "a\n..\nMAIL FROM:<x>\r\n.\r\n", // should there ever be a bare LF
		"a\n.\r\nMAIL FROM:<x>\r\n": "a\n..\r\nMAIL FROM:<x>\r\n.\r\n",
	} {
		if got := stuffed(t, strings.NewReader(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if got := stuffed(t, iotest.OneByteReader(strings.NewReader(in))); got != want {
			t.Errorf("%q by single octets: %q, want %q", in, got, want)
		}
	}
}

func TestDotWriterErrors(t *testing.T) {
	w := &dotWriter{write: func([]byte) error { return io.ErrClosedPipe }}
	if err := w.copy(strings.NewReader("a\r\n")); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	var out bytes.Buffer
	w = &dotWriter{write: func(p []byte) error { out.Write(p); return nil }}
	if err := w.copy(iotest.DataErrReader(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("a\r\n"))))); err == nil || strings.Contains(out.String(), ".") {
		t.Errorf("%v, sent %q", err, out.String())
	}
}

// endOfData is every form that some server takes for the end of the message
// (SMTP smuggling, CVE-2023-51764), but for those of a bare CR, which no spooled
// message holds.
var endOfData = regexp.MustCompile(`\n\.\r*\n`)

func FuzzDotWriter(f *testing.F) {
	for _, s := range []string{"", ".", "\r\n.\r\n", "a\r\n..b\r\n", "\n.\n", strings.Repeat(".\r\n", 40_000), strings.Repeat("x", 1<<15) + "\r\n."} {
		f.Add([]byte(s), byte(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, by byte) {
		got := stuffed(t, &stepReader{in, int(by) + 1})
		content, ok := strings.CutSuffix(got, ".\r\n")
		if !ok {
			t.Fatalf("%q: no final dot: %q", in, got)
		}
		if endOfData.MatchString("\n" + content) {
			t.Fatalf("%q: the message ends early: %q", in, got)
		}
		if bytes.ContainsAny(bytes.ReplaceAll(in, []byte("\r\n"), nil), "\r\n") {
			return // the reader below is lenient on line ends
		}
		back, err := io.ReadAll(textproto.NewReader(bufio.NewReader(strings.NewReader(got))).DotReader())
		want := strings.ReplaceAll(string(in), "\r\n", "\n")
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		if err != nil || string(back) != want {
			t.Fatalf("%q came back as %q (%v)", in, back, err)
		}
	})
}

// stepReader gives n octets at a time.
type stepReader struct {
	b []byte
	n int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.n)], r.b)
	r.b = r.b[n:]
	return n, nil
}

func BenchmarkDotWriter(b *testing.B) {
	in := bytes.Repeat([]byte(strings.Repeat("A", 76)+"\r\n"), 10<<20/78)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		w := &dotWriter{write: func([]byte) error { return nil }}
		if err := w.copy(bytes.NewReader(in)); err != nil {
			b.Fatal(err)
		}
	}
}
