package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// FuzzParse: what go-smtp gets to see is one printable line that begins with a
// command it knows, holds an address that this relay reads alike, and is read
// again as the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"EHLO [IPv6:::1]", "helo RICOH_7", "MAIL FROM:<a@b.example> SIZE=10 BODY=8BITMIME", "MAIL FROM: < mfp @ copier > X=1", "RCPT TO:\"a b\"@c.example NOTIFY=NEVER",
		"AUTH PLAIN AGEAYg", "RCPT TO:<@x,@y:a@b.example>", "MAIL FROM:<>", "NOOP x", "DATA ", "GET / HTTP/1.1", "BDAT 3 LAST", "VRFY jürgen",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, line []byte, lenient bool) {
		line = bytes.TrimRight(line, "\r\n")
		if bytes.IndexByte(line, '\n') >= 0 {
			return // readLine ends there
		}
		c, refused := parse(bytes.Clone(line), lenient, "corp.example")
		if refused != nil {
			if refused.Code/100 != 4 && refused.Code/100 != 5 {
				t.Fatalf("%q is refused with %s", line, refused)
			}
			return
		}
		if _, ok := known[c.verb]; !ok || !bytes.HasPrefix(c.line, []byte(c.verb)) || hasControl(c.line) {
			t.Fatalf("%q became %q", line, c.line)
		}
		if c.verb == "MAIL" || c.verb == "RCPT" {
			_, arg, _ := strings.Cut(string(c.line), ":")
			addr, _, ok := cutPath(arg)
			a, err := envelope.ParseAddress(addr)
			if !ok || err != nil || a.String() != addr {
				t.Fatalf("%q became %q, whose address is %q (%v)", line, c.line, a, err)
			}
		}
		again, refused := parse(bytes.Clone(c.line), lenient, "corp.example")
		if refused != nil || !bytes.Equal(again.line, c.line) {
			t.Fatalf("%q became %q, and that %q (%v)", line, c.line, again.line, refused)
		}
	})
}

// pieces is a socket that gives its octets in pieces of changing size.
type pieces struct {
	net.Conn
	data  []byte
	sizes []byte
	n     int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	size := 1
	if len(p.sizes) > 0 {
		size += int(p.sizes[p.n%len(p.sizes)])
		p.n++
	}
	n := copy(b[:min(len(b), size)], p.data)
	p.data = p.data[n:]
	return n, nil
}

func (p *pieces) SetReadDeadline(time.Time) error  { return nil }
func (p *pieces) SetWriteDeadline(time.Time) error { return nil }

// unstuff is RFC 5321 4.5.2, word for word, for a message that is all there.
func unstuff(in string) (message, rest string, whole bool) {
	end := strings.Index("\r\n"+in, "\r\n.\r\n")
	if end < 0 {
		return "", "", false
	}
	lines := strings.SplitAfter(in[:end], "\r\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, ".")
	}
	return strings.Join(lines, ""), in[end+3:], true
}

// FuzzBody: however the octets arrive and are asked for, a message ends where
// the RFC says and nowhere else, and what follows it is not lost.
func FuzzBody(f *testing.F) {
	f.Add([]byte("a\r\n..b\r\n.\r\nQUIT\r\n"), []byte{0, 3, 200}, byte(1))
	f.Add([]byte(".\r\n"), []byte{}, byte(9))
	f.Add([]byte("a\n.\n\r.\r\r\n.\r\r\n.\n\r\n.\r\n"), []byte{1}, byte(255))
	f.Fuzz(func(t *testing.T, in, sizes []byte, ask byte) {
		c := newConn(&Listener{}, &slot{}, &pieces{data: bytes.Clone(in), sizes: sizes}, netip.MustParseAddrPort("10.0.0.1:1"))
		c.Settings.Idle, c.data = time.Minute, dataOpen
		body := c.Body()
		var got []byte
		var err error
		p := make([]byte, 1+int(ask))
		for err == nil {
			var n int
			n, err = body.Read(p)
			got = append(got, p[:n]...)
		}
		want, rest, whole := unstuff(string(in))
		switch {
		case !whole && errors.Is(err, io.EOF):
			t.Fatalf("%q ended a message: %q", in, got)
		case whole && (!errors.Is(err, io.EOF) || string(got) != want):
			t.Fatalf("%q: message %q (%v), want %q", in, got, err, want)
		}
		if !whole {
			return
		}
		left, err := io.ReadAll(io.MultiReader(bytes.NewReader(c.buf[c.r:c.w]), c.sock))
		if err != nil || string(left) != rest {
			t.Fatalf("%q: behind the message %q, want %q", in, left, rest)
		}
	})
}
