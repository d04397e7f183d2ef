package dsn

import (
	"bytes"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/message"
)

// subjectOmitted stands for a subject that is not to be told.
const subjectOmitted = "Subject: [omitted: history.subjects is not Keep]\r\n"

// aboutContent are the fields that say what is in a message: those of RFC 5322 3.6.5, and
// what Exchange makes of the first. Those of MIME (Content-) may name a file.
var aboutContent = []string{"subject", "comments", "keywords", "thread-topic"}

// WithoutContent is a message's header without the fields that say what is in it, for
// who is not to be told subjects.
func WithoutContent(head []byte) []byte {
	var out bytes.Buffer
	for _, f := range message.ParseHeader(head).Fields {
		switch name := strings.ToLower(f.Name); {
		case name == "subject":
			out.WriteString(subjectOmitted)
		case slices.Contains(aboutContent, name), strings.HasPrefix(name, "content-"):
		default:
			out.Write(f.Raw)
		}
	}
	return out.Bytes()
}
