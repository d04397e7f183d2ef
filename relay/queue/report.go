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

// What of a message is looked at for the names of its files, in octets: a scan may be
// large, and a digest tells of many.
const (
	filesOfOne  = 16 << 20
	filesOfMany = 256 << 10
)

// WriteNotice writes n as a delivery status notification (RFC 3464) to w. It is
// what Options.Notice is by default.
func WriteNotice(w io.Writer, n *Notice) (Content, error) {
	m := n.Message
	r := dsn.Report{
		ID: n.ID, At: n.At, Delayed: n.Delayed, Lost: n.Lost, Until: n.Until, Hostname: n.Hostname, From: n.From.String(), To: n.To.String(),
		MessageQueueID: m.ID, Arrived: m.Arrived, Device: m.Device(), Rule: m.ruleName(), Subject: n.subject(), Files: n.files(filesOfOne), Sender: m.ShownSender(), Size: m.Size,
		Console: n.Console, Header: n.header(),
	}
	if !n.Subjects {
		r.Header = dsn.WithoutContent(r.Header)
	}
	for i := range n.Recipients {
		r.Recipients = append(r.Recipients, n.Recipients[i].report())
	}
	l := &lines{w: w}
	size, err := dsn.Write(l, r)
	return l.content(size, n.ID, n.Hostname, n.From, n.To), err
}

// WriteDigest writes d as a message to w. It is what Options.Digest is by default.
func WriteDigest(w io.Writer, d *Digest) (Content, error) {
	r := dsn.Digest{
		ID: d.ID, At: d.At, Hostname: d.Hostname, From: d.From.String(), To: d.To.String(),
		Device: d.Message.Device(), Client: d.Message.Client.selector(), Since: d.Since, Alone: d.Alone, Console: d.Console,
	}
	for i := range d.Causes {
		c := &d.Causes[i]
		out := dsn.Cause{Delayed: c.Delayed, Mixed: c.Mixed, Count: c.Count}
		for _, n := range c.Notices {
			first := n.Recipients[0].report()
			words := first.Words()
			if out.Scans == nil && !c.Mixed {
				out.Cause, out.Remedy, out.Words = first.Cause, first.Remedy, words
			}
			s := dsn.Scan{QueueID: n.Message.ID, Arrived: n.Message.Arrived, Size: n.Message.Size, Subject: n.subject(), Files: n.files(filesOfMany)}
			if words != out.Words {
				s.Words = words
			}
			if c.Mixed {
				s.Cause, s.Remedy = first.Cause, first.Remedy
			}
			for _, x := range n.Recipients {
				s.Recipients = append(s.Recipients, x.Address.String())
			}
			out.Scans = append(out.Scans, s)
			out.Lost = out.Lost || n.Lost
			if !c.Delayed && !n.Lost && (r.Until.IsZero() || n.Until.Before(r.Until)) {
				r.Until = n.Until
			}
		}
		r.Causes = append(r.Causes, out)
	}
	l := &lines{w: w}
	size, err := dsn.WriteDigest(l, r)
	return l.content(size, d.ID, d.Hostname, d.From, d.To), err
}

func (x *NoticeRecipient) report() dsn.Recipient {
	d := dsn.Recipient{Address: x.Address.String(), Code: x.Outcome.Code, Status: x.Outcome.Enhanced, Text: x.Outcome.Text, Remote: x.Outcome.Remote, Cause: x.Advice.Cause, Remedy: x.Advice.Remedy, Attempts: x.Attempts}
	if x.Original != (envelope.Address{}) {
		d.Original = x.Original.String()
	}
	return d
}

// subject is the message's, where it may be told.
func (n *Notice) subject() string {
	if !n.Subjects {
		return ""
	}
	return n.Message.Subject
}

// files are the names of the attachments, where they may be told: they say as much as a
// subject.
func (n *Notice) files(limit int64) dsn.Files {
	if !n.Subjects {
		return dsn.Files{}
	}
	b, err := n.Body()
	if err != nil {
		return dsn.Files{}
	}
	defer b.Close()
	return dsn.FilesOf(b, limit)
}

// header is the header of the message that n is about, without its empty line.
// A message that cannot be read any more is reported without it.
func (n *Notice) header() []byte {
	if n.head != nil {
		return n.head
	}
	b, err := n.Body()
	if err != nil {
		return nil
	}
	defer b.Close()
	return headerIn(b, n.Message)
}

// headerOf reads the same of m; nil: it cannot be read.
func (q *Queue) headerOf(m *Message) []byte {
	b, err := q.store.Body(m.ID)
	if err != nil {
		return nil
	}
	defer b.Close() //nolint:errcheck // it was read only
	return headerIn(b, m)
}

func headerIn(body io.Reader, m *Message) []byte {
	h, err := io.ReadAll(io.LimitReader(body, min(m.HeaderSize, maxHeaderBack)))
	if err != nil {
		return nil
	}
	if m.HeaderSize <= maxHeaderBack {
		h = bytes.TrimSuffix(h, []byte("\r\n"))
	}
	return h
}

// Device is what is known of the device that sent m, in a line, by the name that its rule gives
// it where that is one.
func (m *Message) Device() string {
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

// selector is the device as the commands take it: its user, or its address, or of IPv6
// the network that one machine has.
func (c *Client) selector() string {
	switch {
	case c.User != "":
		return c.User
	case c.Addr.IsValid() && !c.Addr.Unmap().Is4():
		return envelope.Device(c.Addr).String()
	}
	return c.text()
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

// content is what passed as a message.
func (l *lines) content(headerSize int64, id, hostname string, from, to envelope.Address) Content {
	return Content{HeaderSize: headerSize, EightBit: l.eight, UTF8: !to.ASCII() || !from.ASCII(), MaxLine: max(l.longest, l.n), MessageID: "<" + id + "@" + hostname + ">"}
}
