package kubectl

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/relay/reply"
)

func encode(w io.Writer, format string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil && format == "yaml" {
		b, err = yaml.JSONToYAML(b)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(b), "\n"))
	return err
}

// terminal tells whether w is one that may have colours: a person's, who has not set
// NO_COLOR.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// painter writes words in colour, on a terminal.
type painter bool

func (p painter) good(s string) string { return p.in("32", s) }
func (p painter) bad(s string) string  { return p.in("31", s) }
func (p painter) note(s string) string { return p.in("33", s) }

func (p painter) in(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// line is text of others on one line of a terminal: without what moves the cursor.
func line(s string) string { return reply.Line(s, 2000) }

// progress says on a terminal what is being done, over what was said before.
type progress struct {
	w  io.Writer
	on bool
}

func newProgress(w io.Writer) *progress { return &progress{w, terminal(w)} }

func (p *progress) say(format string, a ...any) {
	if p.on {
		fmt.Fprintf(p.w, "\r\x1b[K%s", line(fmt.Sprintf(format, a...)))
	}
}

func (p *progress) done() {
	if p.on {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
