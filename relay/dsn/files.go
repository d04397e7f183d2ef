package dsn

import (
	"errors"
	"io"
	"strings"

	"github.com/printerrelay/printer-relay/relay/message"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// Bounds of the names of attachments.
const (
	maxFiles = 10 // named
	maxFile  = 80 // octets of a name
)

// Files are the attachments of a message, by the names that they have in it.
type Files struct {
	Names []string
	More  bool // or there may be more
}

// String is the names in a line.
func (f Files) String() string {
	s := oneLine(strings.Join(f.Names, ", "))
	if f.More {
		s += ", ..."
	}
	return s
}

// FilesOf reads the names of the attachments of a stored message, of which it looks
// at limit octets. Where programs could read different names it gives none.
func FilesOf(r io.Reader, limit int64) Files {
	var f Files
	in := &io.LimitedReader{R: r, N: limit}
	parts, err := message.NewParts(in)
	for err == nil {
		var p *message.Part
		if p, err = parts.Next(); err != nil || p.Name == "" {
			continue
		}
		if len(f.Names) == maxFiles {
			f.More = true
			return f
		}
		if name := reply.Printable(reply.Line(p.Name, maxFile)); name != "" {
			f.Names = append(f.Names, name)
		}
	}
	f.More = len(f.Names) > 0 && (!errors.Is(err, io.EOF) || in.N == 0)
	return f
}
