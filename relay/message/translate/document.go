package translate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/printerrelay/printer-relay/relay/message"
)

// Document is a JSON document with parts of the message in it. It is written
// from its start; what it says is made when it is read.
type Document struct {
	m    *Message
	segs []segment
	n    int64
}

// segment is text of the document, or a part in place of it.
type segment struct {
	text string
	part *Part
}

// Document begins a document.
func (m *Message) Document() *Document { return &Document{m: m} }

// Put puts text of the document, as it is.
func (d *Document) Put(text string) {
	d.n += int64(len(text))
	if k := len(d.segs) - 1; k >= 0 && d.segs[k].part == nil {
		d.segs[k].text += text
		return
	}
	d.segs = append(d.segs, segment{text: text})
}

// Value puts a value. It has to be one that JSON can write.
func (d *Document) Value(v any) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("translate: a value that is no JSON: %v", err))
	}
	d.Put(strings.TrimSuffix(b.String(), "\n"))
}

// Part puts a part as a JSON string: a text as it is, an attachment in base64.
func (d *Document) Part(p *Part) {
	d.Put(`"`)
	d.segs = append(d.segs, segment{part: p})
	d.n += p.json
	d.Put(`"`)
}

// Length is the octets of the document.
func (d *Document) Length() int64 { return d.n }

// TooLarge is the error of a document that is larger than the service takes.
func (d *Document) TooLarge() error {
	if limit := d.m.rules.Request; limit > 0 && d.n > limit {
		return d.m.rules.tooLarge("a request", d.n, limit)
	}
	return nil
}

// Open reads the document from its start. Its last text comes when the message
// was read to its end, so that what cannot be read whole is never sent whole.
func (d *Document) Open() (io.ReadCloser, error) {
	src, err := d.m.open()
	if err != nil {
		return nil, err
	}
	r := &reader{d: d, src: src}
	if r.parts, err = message.NewParts(src); err != nil {
		src.Close()
		return nil, err
	}
	return r, nil
}

// reader reads a document. Parts that are not in the order of the message make it
// read that anew.
type reader struct {
	d       *Document
	src     io.ReadCloser
	parts   *message.Parts
	at      int // number of the part that the source stands at
	seg     int
	text    string
	content io.Reader // of the part that is read
	begun   bool      // the segment is open
}

func (r *reader) Read(b []byte) (int, error) {
	for {
		if !r.begun {
			if r.seg == len(r.d.segs) {
				return 0, io.EOF
			}
			if err := r.begin(); err != nil {
				return 0, err
			}
		}
		var n int
		var err error
		if r.content != nil {
			n, err = r.content.Read(b)
		} else if n = copy(b, r.text); n == len(r.text) {
			r.text, err = "", io.EOF
		} else {
			r.text = r.text[n:]
		}
		if errors.Is(err, io.EOF) {
			r.seg, r.begun, r.content, err = r.seg+1, false, nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (r *reader) begin() error {
	s := r.d.segs[r.seg]
	r.begun, r.text = true, s.text
	switch {
	case s.part != nil:
		if err := r.seek(s.part.source.Number); err != nil {
			return err
		}
		r.content = s.part.inJSON(r.parts)
	case r.seg == len(r.d.segs)-1:
		for {
			if _, err := r.parts.Next(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) seek(number int) error {
	if r.at >= number {
		src, err := r.d.m.open()
		if err != nil {
			return err
		}
		r.src.Close()
		r.src, r.at = src, 0
		if r.parts, err = message.NewParts(src); err != nil {
			return err
		}
	}
	for r.at < number {
		p, err := r.parts.Next()
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		r.at = p.Number
	}
	return nil
}

// Close closes the message.
func (r *reader) Close() error { return r.src.Close() }
