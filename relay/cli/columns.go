package cli

import (
	"bufio"
	"io"
	"unicode/utf8"

	"github.com/printerrelay/printer-relay/controllers/kubectl"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// columns is a table of text for lists that may be long: text/tabwriter takes two
// seconds for 100,000 rows. Whatever a cell holds, a terminal shows it on its line.
type columns struct {
	text   []byte
	ends   []int                  // of the cells in text
	paints map[int]kubectl.Colour // of cells, by their place in ends
	widths []int                  // in characters
}

func newColumns(titles ...string) *columns {
	c := &columns{widths: make([]int, len(titles)), paints: map[int]kubectl.Colour{}}
	c.add(titles...)
	return c
}

// add adds a row of as many cells as there are titles.
func (c *columns) add(cells ...string) {
	for i, s := range cells {
		s = reply.Printable(s)
		c.text = append(c.text, s...)
		c.ends = append(c.ends, len(c.text))
		c.widths[i] = max(c.widths[i], utf8.RuneCountInString(s))
	}
}

// paint gives a cell of the row that was added last its colour on a terminal.
func (c *columns) paint(cell int, to kubectl.Colour) {
	if to != kubectl.Plain {
		c.paints[len(c.ends)-len(c.widths)+cell] = to
	}
}

const columnGap = 2

// write writes all rows, in colour where w is a person's terminal.
func (c *columns) write(w io.Writer) error { return c.writeIn(w, kubectl.PainterFor(w)) }

// writeIn writes all rows; nothing pads the last cell of one.
func (c *columns) writeIn(w io.Writer, p kubectl.Painter) error {
	out := bufio.NewWriterSize(w, 64<<10)
	begin := 0
	for n, end := range c.ends {
		cell := c.text[begin:end]
		begin = end
		if to := c.paints[n]; p && to != kubectl.Plain {
			out.WriteString(p.In(to, string(cell))) //nolint:errcheck // Flush tells
		} else {
			out.Write(cell) //nolint:errcheck // the same
		}
		i := n % len(c.widths)
		if i == len(c.widths)-1 {
			out.WriteByte('\n') //nolint:errcheck // the same
			continue
		}
		for pad := c.widths[i] + columnGap - utf8.RuneCount(cell); pad > 0; pad-- {
			out.WriteByte(' ') //nolint:errcheck // the same
		}
	}
	return out.Flush()
}
