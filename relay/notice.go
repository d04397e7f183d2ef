package relay

import (
	"bytes"
	"cmp"
	"fmt"
	"io"

	"github.com/printerrelay/printer-relay/relay/dsn"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// notice writes what the queue has to tell as a notification (RFC 3464).
func notice(w io.Writer, n *queue.Notice) (queue.Content, error) {
	header, err := noticeHeader(n)
	if err != nil {
		return queue.Content{}, err
	}
	m := n.Message
	r := dsn.Report{
		ID: n.ID, At: n.At, Delayed: n.Delayed, Until: n.Until, Hostname: n.Hostname, From: n.From.String(), To: n.To.String(),
		MessageQueueID: m.ID, Arrived: m.Arrived, Sender: m.Sender.String(), Size: m.Size, Header: header, Device: device(m),
	}
	for _, x := range n.Recipients {
		rc := dsn.Recipient{Address: x.Address.String(), Code: x.Outcome.Code, Status: x.Outcome.Enhanced, Text: reply.Line(x.Outcome.Text, 400), Remote: x.Outcome.Remote, At: n.At}
		if !x.Original.IsNull() {
			rc.Original = x.Original.String()
		}
		r.Recipients = append(r.Recipients, rc)
	}
	size, err := dsn.Write(w, r)
	return queue.Content{HeaderSize: size, MaxLine: 998, MessageID: fmt.Sprintf("<%s@%s>", n.ID, n.Hostname)}, err
}

// device is what a person knows the copier by.
func device(m *queue.Message) string {
	s := m.Client.Addr.String()
	if m.Client.HELO != "" {
		s = m.Client.HELO + " (" + s + ")"
	}
	if m.Client.User != "" {
		s += ", user " + m.Client.User
	}
	return cmp.Or(s, "unknown")
}

func noticeHeader(n *queue.Notice) ([]byte, error) {
	body, err := n.Body()
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // read-only
	b := make([]byte, n.Message.HeaderSize)
	if _, err := io.ReadFull(body, b); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b, []byte("\r\n")), nil
}
