package conformance

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

const sender = "mfp@copier.test"

// Mail is a message of content from mfp@copier.test to the recipients.
func Mail(t testing.TB, content string, to ...string) *upstream.Message {
	t.Helper()
	m := &upstream.Message{ID: "0Ab1", Sender: address(t, sender), Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
	for line := range strings.SplitSeq(content, "\r\n") {
		m.MaxLine = max(m.MaxLine, len(line))
	}
	_, body, _ := strings.Cut(content, "\r\n\r\n")
	m.EightBit = strings.ContainsFunc(body, func(r rune) bool { return r >= 0x80 })
	for _, a := range to {
		m.Recipients = append(m.Recipients, address(t, a))
	}
	return m
}

func address(t testing.TB, s string) envelope.Address {
	t.Helper()
	a, err := envelope.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Kinds are outcomes in short, in their order: "Accepted Failed/Message".
func Kinds(out []upstream.Outcome) string {
	all := make([]string, len(out))
	for i, o := range out {
		all[i] = o.Kind.String()
		if o.Kind != upstream.Accepted {
			all[i] += "/" + o.Scope.String()
		}
	}
	return strings.Join(all, " ")
}

// Narrow gives connections that hold little of what is not read yet: else the
// kernel takes in a message whole, and then nobody knows whether a server that hung
// up had read it.
type Narrow struct{ net.Listener }

// Accept implements net.Listener.
func (l Narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return c, c.(*net.TCPConn).SetReadBuffer(32 << 10)
}
