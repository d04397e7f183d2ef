package message

import (
	"bytes"
	"io"
	"slices"
	"strings"
)

// Field is one header field as it stands in the message.
type Field struct {
	Name string // as written
	Raw  []byte // the whole field: name, colon, value, folds, the CRLF at its end
}

// Header is the header of a message: its fields in order, octet for octet.
type Header struct {
	Fields []Field
}

// usualFields are as many as a header has room for at once.
const usualFields = 32

// ParseHeader splits the octets of a header, which end its lines with CRLF and
// do not hold the empty line. A line that is no field is part of the one before it,
// or dropped if it is the first.
func ParseHeader(b []byte) *Header {
	h := &Header{Fields: make([]Field, 0, min(bytes.Count(b, []byte{'\n'}), usualFields))}
	for len(b) > 0 {
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line = b[:i+1]
		}
		b = b[len(line):]
		if name, ok := fieldName(line); ok {
			h.Fields = append(h.Fields, Field{Name: name, Raw: line[:len(line):len(line)]})
		} else if n := len(h.Fields); n > 0 {
			h.Fields[n-1].Raw = append(h.Fields[n-1].Raw, line...)
		}
	}
	return h
}

// fieldName gives the name of a line that begins a field (RFC 5322 2.2), with
// the space before the colon that RFC 5322 4.5 knows from old mail.
func fieldName(line []byte) (string, bool) {
	i := bytes.IndexByte(line, ':')
	if i < 1 {
		return "", false
	}
	name := bytes.TrimRight(line[:i], " \t")
	if len(name) == 0 {
		return "", false
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return "", false
		}
	}
	return string(name), true
}

// NewField makes a field of a value that is folded already.
func NewField(name, value string) Field {
	return Field{Name: name, Raw: []byte(name + ": " + value + "\r\n")}
}

// Is tells whether the field has this name, without regard to case.
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// Value is the field's value unfolded (RFC 5322 2.2.3), without the space at
// its ends.
func (f Field) Value() string {
	i := bytes.IndexByte(f.Raw, ':')
	v := bytes.Trim(f.Raw[i+1:], " \t\r\n")
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 { // most are on one line
		return string(v)
	}
	return string(slices.DeleteFunc(bytes.Clone(v), func(c byte) bool { return c == '\r' || c == '\n' }))
}

// All gives every field of a name.
func (h *Header) All(name string) []Field {
	var out []Field
	for _, f := range h.Fields {
		if f.Is(name) {
			out = append(out, f)
		}
	}
	return out
}

// Get gives the value of the first field of a name, "" if there is none.
func (h *Header) Get(name string) string {
	for _, f := range h.Fields {
		if f.Is(name) {
			return f.Value()
		}
	}
	return ""
}

// Has tells whether there is a field of a name.
func (h *Header) Has(name string) bool {
	for _, f := range h.Fields {
		if f.Is(name) {
			return true
		}
	}
	return false
}

// Remove drops every field of the names.
func (h *Header) Remove(names ...string) {
	kept := h.Fields[:0:0]
	for _, f := range h.Fields {
		drop := false
		for _, n := range names {
			drop = drop || f.Is(n)
		}
		if !drop {
			kept = append(kept, f)
		}
	}
	h.Fields = kept
}

// removeEmpty drops the fields of the names that have no value at all.
func (h *Header) removeEmpty(names ...string) {
	h.Fields = slices.DeleteFunc(h.Fields, func(f Field) bool {
		return slices.ContainsFunc(names, f.Is) && strings.TrimSpace(f.Value()) == ""
	})
}

// Set replaces the first field of a name, drops the others, or adds it.
func (h *Header) Set(name, value string) {
	done := false
	kept := h.Fields[:0:0]
	for _, f := range h.Fields {
		if f.Is(name) {
			if done {
				continue
			}
			f, done = NewField(name, value), true
		}
		kept = append(kept, f)
	}
	if !done {
		kept = append(kept, NewField(name, value))
	}
	h.Fields = kept
}

// Append writes the header, without the empty line, to b.
func (h *Header) Append(b []byte) []byte {
	for _, f := range h.Fields {
		b = append(b, f.Raw...)
	}
	return b
}

// Render gives a message of a header and the body that r holds.
func Render(h *Header, body io.Reader) io.Reader {
	b := append(h.Append(nil), '\r', '\n')
	return io.MultiReader(bytes.NewReader(b), body)
}
