package cli

import (
	"bufio"
	"io"
	"unicode/utf8"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// columns is a table of text for lists that may be long: text/tabwriter takes two
// seconds for 100,000 rows. Whatever a cell holds, a terminal shows it on its line.
type columns struct {
	text   []byte
	ends   []int // of the cells in text
	widths []int // in characters
}

func newColumns(titles ...string) *columns {
	c := &columns{widths: make([]int, len(titles))}
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

const columnGap = 2

// write writes all rows; nothing pads the last cell of one.
func (c *columns) write(w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	begin := 0
	for n, end := range c.ends {
		cell := c.text[begin:end]
		begin = end
		out.Write(cell) //nolint:errcheck // Flush tells
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
