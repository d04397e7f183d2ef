// Package translate reads a stored message for services that take no MIME: its
// header in fields, one text in plain and one in HTML, and attachments. What
// cannot be carried so is refused with a reason, never left out. It makes the
// request of such a service as a JSON document that is streamed from the message:
// no part is held.
//
// It may import relay/envelope and relay/message, golang.org/x/text and the
// standard library.
package translate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/message"
)

// Rules are what a service can carry.
type Rules struct {
	Service string // its name, for a person
	Fields  []Rule // of header fields; the first that matches counts, before the rules for all services
	Repeats bool   // a header field may be there twice
	Body    int64  // octets of a text in UTF-8; 0: no limit
	Request int64  // octets of the request; 0: no limit
}

// UncarriedError is a message that cannot be carried; What says why, in one line.
type UncarriedError = message.UncarriedError

func uncarried(format string, a ...any) error {
	return &UncarriedError{What: fmt.Errorf(format, a...).Error()}
}

func (r *Rules) tooLarge(what string, size, limit int64) error {
	return &UncarriedError{What: fmt.Sprintf("%s of %d octets, of which %s takes %d", what, size, r.Service, limit), TooLarge: true}
}

// Message is what a service is told of a message.
type Message struct {
	From        Mailbox
	ReplyTo     []Mailbox
	Subject     string // decoded; empty: there is none
	Fields      []Field
	Text, HTML  *Part // nil: there is none
	Attachments []*Part

	header *message.Header
	rules  *Rules
	open   func() (io.ReadCloser, error)
}

// Mailbox is a name, as a person reads it, and an address in ASCII.
type Mailbox struct {
	Name    string
	Address string
}

// Field is a header field that goes as it is, unfolded, in ASCII.
type Field struct{ Name, Value string }

// Part is a part of the message.
type Part struct {
	Type      string // media type
	Name      string // file name; never empty for an attachment
	ContentID string
	Inline    bool  // shown within the HTML by its ContentID
	Size      int64 // octets: of an attachment decoded, of a text in UTF-8
	Blank     bool  // a text of nothing but white space

	source message.Part
	text   bool  // goes as text
	json   int64 // octets of it in a JSON string
}

// Read reads a message once from its start. An *UncarriedError says why it
// cannot be carried; any other error is that of open, of what it gave, or of ctx.
func Read(ctx context.Context, open func() (io.ReadCloser, error), rules *Rules) (*Message, error) {
	src, err := open()
	if err != nil {
		return nil, err
	}
	defer src.Close()
	m := &Message{open: open, rules: rules}
	w := &watched{ctx: ctx, r: src}
	err = m.read(w)
	var u *UncarriedError
	if errors.As(err, &u) && w.err == nil {
		// What seems to be wrong with a message may be wrong with its storage.
		if _, bad := io.Copy(io.Discard, w); bad != nil {
			return nil, bad
		}
	}
	if w.err != nil {
		err = w.err
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// watched tells an error of the source from one of what it holds.
type watched struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (w *watched) Read(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		w.err = err
		return 0, err
	}
	n, err := w.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

func (m *Message) read(r io.Reader) error {
	parts, err := message.NewParts(r)
	if err != nil {
		return err
	}
	m.header = parts.Header
	if err := m.readHeader(parts.Header); err != nil {
		return err
	}
	for {
		source, err := parts.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := m.take(source, parts); err != nil {
			return err
		}
	}
}

// take finds the place of one part, and reads it to its end.
func (m *Message) take(source *message.Part, content io.Reader) error {
	if err := refused(source); err != nil {
		return err
	}
	p := &Part{Type: source.Type, Name: source.Name, ContentID: source.ContentID, source: *source}
	p.Inline = p.ContentID != "" && (source.Disposition == "inline" || source.Disposition == "" && len(source.In("related")) > 0)
	shown := (p.Type == "text/plain" || p.Type == "text/html") && p.Name == "" && (source.Disposition == "" || source.Disposition == "inline")
	p.text = shown && m.place(p)
	if !p.text && p.Name == "" {
		p.Name = nameFor(p)
	}
	if err := p.measure(content); err != nil {
		return err
	}
	switch {
	case p.text && m.rules.Body > 0 && p.Size > m.rules.Body:
		return m.rules.tooLarge("a text", p.Size, m.rules.Body)
	case p.text && p.Type == "text/html":
		m.HTML = p
	case p.text:
		m.Text = p
	case shown && p.Blank: // mail programs put such between attachments
	case p.Size == 0:
		return uncarried("the attachment %s, which is empty", p.Name)
	default:
		m.Attachments = append(m.Attachments, p)
	}
	return nil
}

// place tells whether a text that is shown is the text of the message, or the
// other form of it. One that stands beside that would hide it, or be hidden by it.
func (m *Message) place(p *Part) bool {
	have, same := m.HTML, m.Text
	if p.Type == "text/html" {
		have, same = m.Text, m.HTML
	}
	if same != nil {
		return false
	}
	if have == nil {
		return true
	}
	other := have.source.In("alternative")
	return slices.ContainsFunc(p.source.In("alternative"), func(n int) bool { return slices.Contains(other, n) })
}

// refused are the parts that are something else when they are taken apart.
func refused(p *message.Part) error {
	switch p.Type {
	case "message/partial", "message/external-body":
		return uncarried("%s, which is not the whole of a message", p.Type)
	case "application/pkcs7-mime", "application/x-pkcs7-mime", "application/pgp-encrypted":
		return uncarried("%s: a signature or encryption is over the message as it is", p.Type)
	}
	for _, subtype := range []string{"signed", "encrypted"} {
		if len(p.In(subtype)) > 0 {
			return uncarried("multipart/%s: a signature or encryption is over the message as it is", subtype)
		}
	}
	if odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' }; strings.ContainsFunc(p.ContentID, odd) {
		return uncarried("a Content-ID that is no msg-id")
	}
	return nil
}

// nameFor names an attachment that has no name, since services want one.
func nameFor(p *Part) string {
	ext, ok := map[string]string{
		"application/pdf": ".pdf", "image/tiff": ".tif", "image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif",
		"text/html": ".html", "text/csv": ".csv", "text/calendar": ".ics", "application/xml": ".xml", "text/xml": ".xml",
		"application/zip": ".zip", "message/rfc822": ".eml", "message/global": ".eml",
	}[p.Type]
	if kind := path.Dir(p.Type); !ok && (kind == "text" || kind == "message") {
		ext = ".txt"
	}
	return fmt.Sprintf("part-%d%s", p.source.Number, ext)
}

// Recipients gives the recipients of one request: those of an envelope that the
// header names, and the others.
func (m *Message) Recipients(pending []envelope.Address) (to, cc, bcc []Mailbox, err error) {
	r := m.header.Pending(pending)
	for _, list := range []struct {
		from []message.Mailbox
		into *[]Mailbox
	}{{r.To, &to}, {r.Cc, &cc}} {
		for _, b := range list.from {
			a, err := Plain(b.Address)
			if err != nil {
				return nil, nil, nil, err
			}
			*list.into = append(*list.into, Mailbox{Name: b.Display(), Address: a})
		}
	}
	for _, b := range r.Bcc {
		a, err := Plain(b)
		if err != nil {
			return nil, nil, nil, err
		}
		bcc = append(bcc, Mailbox{Address: a})
	}
	return to, cc, bcc, nil
}

// Plain writes an address as these services take them.
func Plain(a envelope.Address) (string, error) {
	p, err := a.Plain()
	if err != nil {
		return "", uncarried("the address %s: %w", a, err)
	}
	return p.String(), nil
}
