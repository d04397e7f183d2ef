package queue

import (
	"bytes"
	"io"
	"strings"

	"github.com/printerrelay/printer-relay/relay/dsn"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// maxHeaderBack bounds what of a message's header its notification gives back.
const maxHeaderBack = 16 << 10

// WriteNotice writes n as a delivery status notification (RFC 3464) to w. It is
// what Options.Notice is by default.
func WriteNotice(w io.Writer, n *Notice) (Content, error) {
	m := n.Message
	r := dsn.Report{
		ID: n.ID, At: n.At, Delayed: n.Delayed, Until: n.Until, Hostname: n.Hostname, From: n.From.String(), To: n.To.String(),
		MessageQueueID: m.ID, Arrived: m.Arrived, Device: m.device(), Rule: m.ruleName(), Subject: m.Subject, Sender: m.Sender.String(), Size: m.Size,
		Header: n.header(),
	}
	for _, x := range n.Recipients {
		d := dsn.Recipient{Address: x.Address.String(), Code: x.Outcome.Code, Status: x.Outcome.Enhanced, Text: x.Outcome.Text, Remote: x.Outcome.Remote, Cause: x.Advice.Cause, Remedy: x.Advice.Remedy, Attempts: x.Attempts}
		if x.Original != (envelope.Address{}) {
			d.Original = x.Original.String()
		}
		r.Recipients = append(r.Recipients, d)
	}
	l := &lines{w: w}
	size, err := dsn.Write(l, r)
	return Content{HeaderSize: size, EightBit: l.eight, UTF8: !n.To.ASCII(), MaxLine: max(l.longest, l.n), MessageID: "<" + n.ID + "@" + n.Hostname + ">"}, err
}

// header is the header of the message that n is about, without its empty line.
// A message that cannot be read any more is reported without it.
func (n *Notice) header() []byte {
	b, err := n.Body()
	if err != nil {
		return nil
	}
	defer b.Close()
	h, err := io.ReadAll(io.LimitReader(b, min(n.Message.HeaderSize, maxHeaderBack)))
	if err != nil {
		return nil
	}
	if n.Message.HeaderSize <= maxHeaderBack {
		h = bytes.TrimSuffix(h, []byte("\r\n"))
	}
	return h
}

// device is what is known of the device that sent m, by the name that its rule gives
// it where that is one.
func (m *Message) device() string {
	s := m.Client.name()
	if name := m.Identity.DisplayName; name != "" && !strings.Contains(name, "{") {
		s = name + ": " + s
	}
	return s
}

// name is what is known of a device, for a person.
func (c *Client) name() string {
	s := c.HELO
	if c.User != "" {
		s = c.User + " " + s
	}
	if a := c.text(); a != "" {
		s += " [" + a + "]"
	}
	return s
}

// ShownSender is the sender as logs, and others that keep it, may have it.
func (m *Message) ShownSender() string {
	if m.SenderSecret {
		return transcript.NotShown
	}
	return m.Sender.String()
}

// text is the address; empty for what the relay wrote itself.
func (c *Client) text() string {
	if !c.Addr.IsValid() {
		return ""
	}
	return c.Addr.String()
}

// lines notes what the transports want to know of what passes through it.
type lines struct {
	w       io.Writer
	n       int // octets of the line so far
	longest int
	eight   bool
}

func (l *lines) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c == '\n':
			l.longest, l.n = max(l.longest, l.n), 0
		case c != '\r':
			l.n++
		}
		l.eight = l.eight || c >= 0x80
	}
	return l.w.Write(p)
}
