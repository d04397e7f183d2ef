package message

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// unclear says what of a message programs read differently, or what is beyond
// the bounds of what is looked into.
type unclear string

func (u unclear) Error() string { return string(u) }

// nesting is the boundaries of a message that is read from its start.
type nesting struct {
	open   []string // of the multiparts that are open, outermost first
	closed []string // of those that have ended
}

// clearBoundary tells whether every program reads this boundary where it is
// given. Some take off brackets or single quotes, end it at what ends a value
// without quotes, or decode it. RFC 2046 5.1.1 allows less than is seen, and the
// space that Domino writes.
func clearBoundary(b string) bool {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(" '+_-./:=?$#@&*!~^|{}", r)
	}
	return b != "" && len(b) <= maxBoundary && strings.Trim(b, " '") == b && !strings.ContainsFunc(b, odd)
}

// push opens a multipart.
func (n *nesting) push(boundary, encoding string) error {
	if !clearBoundary(boundary) {
		return unclear("boundary")
	}
	if !unencoded(encoding) {
		return unclear("encoded multipart")
	}
	if len(n.open) >= maxDepth {
		return unclear("nested too deeply")
	}
	for _, other := range append(slices.Clone(n.open), n.closed...) { // programs differ in what ends which
		if strings.HasPrefix(other, boundary) || strings.HasPrefix(boundary, other) {
			return unclear("boundaries that look alike")
		}
	}
	n.open = append(n.open, boundary)
	return nil
}

// at notes the delimiter of the multipart i: what is open inside it has ended.
func (n *nesting) at(i int, closing bool) {
	n.closed = append(n.closed, n.open[i+1:]...)
	n.open = n.open[:i+1]
	if closing {
		n.closed = append(n.closed, n.open[i])
		n.open = n.open[:i]
	}
}

// almost tells a line that begins as a boundary does and is none that is open:
// RFC 2046 5.1.2 has some programs compare the beginning only, and some read on
// behind the last one.
func (n *nesting) almost(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("--"))
	begins := func(b string) bool {
		b, _, _ = strings.Cut(b, " ") // where some end it
		return bytes.HasPrefix(rest, []byte(b))
	}
	return ok && (slices.ContainsFunc(n.open, begins) || slices.ContainsFunc(n.closed, begins))
}

// delimiter tells whether a line is one of the open boundaries (RFC 2046 5.1.1).
// A client may take any of them, so the outer ones count too.
func (n *nesting) delimiter(line []byte) (index int, closing, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("--"))
	if !ok {
		return 0, false, false
	}
	for i := len(n.open) - 1; i >= 0; i-- {
		tail, ok := bytes.CutPrefix(rest, []byte(n.open[i]))
		if !ok {
			continue
		}
		tail, closing = bytes.CutPrefix(tail, []byte("--"))
		if len(bytes.TrimRight(tail, " \t")) == 0 {
			return i, closing, true
		}
	}
	return 0, false, false
}

// parameterName is a parameter that gives a file's name.
var parameterName = regexp.MustCompile(`(?i);\s*(file)?name[0-9*]*\s*=`)

var contentFields = []string{"Content-Type", "Content-Transfer-Encoding", "Content-Disposition"}

func isContent(f Field) bool { return slices.ContainsFunc(contentFields, f.Is) }

// contentOf reads what the header of a message or of a part says of its content:
// the media type ("": it does not say), its parameters and the transfer encoding,
// all names in lower case.
func contentOf(h *Header) (declared string, params map[string]string, encoding string, err error) {
	for _, f := range h.Fields {
		if !isContent(f) && bytes.IndexByte(f.Raw, ';') >= 0 && parameterName.Match(f.Raw) {
			return "", nil, "", unclear(contentFields[0])
		}
	}
	for _, n := range contentFields {
		for i, f := range h.Fields {
			near := len(f.Name) > len(n) && contains([]byte(f.Name), strings.ToLower(n))                      // some look for the name anywhere
			goesOn := f.Is(n) && i+1 < len(h.Fields) && !isContent(h.Fields[i+1]) && named(h.Fields[i+1].Raw) // some read on
			if near || goesOn {
				return "", nil, "", unclear(n)
			}
		}
		all := h.All(n)
		if len(all) > 1 {
			return "", nil, "", unclear(n + " is there twice")
		}
		// A space before the colon (RFC 5322 4.5) is no field for some.
		if len(all) == 1 && all[0].Raw[len(n)] != ':' || !clearValue(h.Get(n)) {
			return "", nil, "", unclear(n)
		}
	}
	declared, params, err = mediaType(h.Get("Content-Type"))
	if err != nil || !clearParameters(h.Get("Content-Type"), params, "boundary") {
		return "", nil, "", unclear("Content-Type")
	}
	boundary := params["boundary"]
	if boundary != "" && !plainBoundary(h.Get("Content-Type")) {
		return "", nil, "", unclear("boundary")
	}
	// Some take any part for a multipart that has one, and some a fold within it
	// for another space.
	if boundary != "" && (!strings.HasPrefix(declared, "multipart/") || !bytes.Contains(h.All("Content-Type")[0].Raw, []byte(boundary))) {
		return "", nil, "", unclear("boundary")
	}
	// Not every program knows comments here.
	return declared, params, strings.ToLower(strings.TrimSpace(h.Get("Content-Transfer-Encoding"))), nil
}

// plainBoundary tells that there is no space between the name of the parameter
// and its =, which not every program passes over.
func plainBoundary(contentType string) bool {
	return slices.ContainsFunc(splitParameters(contentType), func(p string) bool {
		name, _, _ := strings.Cut(strings.TrimLeft(p, " \t"), "=")
		return strings.EqualFold(name, "boundary")
	})
}

// unencoded tells the transfer encodings that change nothing (RFC 2045 6.2).
func unencoded(encoding string) bool {
	return encoding == "" || encoding == "7bit" || encoding == "8bit" || encoding == "binary"
}
