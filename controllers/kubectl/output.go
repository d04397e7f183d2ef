package kubectl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// Encode writes v as JSON or YAML that a terminal can show.
func Encode(w io.Writer, format string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	switch {
	case err != nil:
	case format == "yaml": // whose writer spells out some of them only
		if b, err = yaml.JSONToYAML(visible(b, false)); err == nil {
			b = bytes.Map(question, b)
		}
	default:
		b = visible(b, true)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(b), "\n"))
	return err
}

// visible spells out what encoding/json leaves of the characters that move a cursor or
// turn the direction of text: those beyond ASCII, which stand in strings only. pairs: as
// JSON has it, in two where one is not enough, which YAML does not take.
func visible(b []byte, pairs bool) []byte {
	out := make([]byte, 0, len(b))
	for _, r := range string(b) {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff && !pairs:
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// question is what stands in for a character of a text that is not to be seen raw.
func question(r rune) rune {
	if r == '\n' || unicode.IsPrint(r) {
		return r
	}
	return '?'
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

// Painter writes words in colour, on a terminal. No colour says what the word does not.
type Painter bool

// PainterFor paints what a person sees.
func PainterFor(w io.Writer) Painter { return Painter(terminal(w)) }

// Colour is one that a Painter has; the zero value is that of all other text.
type Colour byte

// The colours.
const (
	Plain Colour = iota
	Good         // as it should be
	Bad          // failed, or refused
	Note         // is to be looked at
)

var escapes = [...]string{Good: "\x1b[32m", Bad: "\x1b[31m", Note: "\x1b[33m"}

// In is s in a colour.
func (p Painter) In(c Colour, s string) string {
	if !p || c == Plain || s == "" {
		return s
	}
	return escapes[c] + s + "\x1b[0m"
}

func (p Painter) good(s string) string { return p.In(Good, s) }
func (p Painter) bad(s string) string  { return p.In(Bad, s) }
func (p Painter) note(s string) string { return p.In(Note, s) }

// line is text of others on one line of a terminal: without what moves the cursor.
func line(s string) string {
	return reply.Line(reply.Printable(strings.ReplaceAll(s, "\n", " ")), 2000)
}

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
