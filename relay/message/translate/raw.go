package translate

import (
	"errors"
	"io"

	"github.com/printerrelay/printer-relay/relay/message"
)

// Content gives an attachment decoded, for a service that takes it apart from the
// message. Its end comes when the message was read to its end: what cannot be
// read whole has none.
func (m *Message) Content(p *Part) (io.ReadCloser, error) {
	src, err := m.open()
	if err != nil {
		return nil, err
	}
	r := &reader{d: m.Document(), src: src}
	if r.parts, err = message.NewParts(src); err == nil {
		err = r.seek(p.source.Number)
	}
	if err != nil {
		r.Close() //nolint:errcheck // read-only
		return nil, err
	}
	return &rawContent{r, decoded(&p.source, r.parts)}, nil
}

type rawContent struct {
	*reader
	part io.Reader
}

func (c *rawContent) Read(b []byte) (int, error) {
	n, err := c.part.Read(b)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	for err = nil; err == nil; {
		_, err = c.parts.Next()
	}
	return n, err
}
