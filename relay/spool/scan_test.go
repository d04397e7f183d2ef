package spool

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// counted counts reads.
type counted struct {
	*os.File
	reads  int
	octets int64
}

func (c *counted) ReadAt(b []byte, at int64) (int, error) {
	n, err := c.File.ReadAt(b, at)
	c.reads++
	c.octets += int64(n)
	if n < len(b) {
		c.reads++ // os.File asked once more, to find the end
	}
	return n, err
}

// The start reads an entry by one call if it is small, by two if it is large, and
// leaves the bodies of large ones alone: of 100,000 entries.
func TestWhatTheStartReads(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Slots: -1})
	for _, tc := range []struct {
		body  int
		reads int
	}{{0, 1}, {100, 1}, {5000, 1}, {7500, 1}, {9000, 2}, {200_000, 2}} {
		t.Run(fmt.Sprint(tc.body), func(t *testing.T) {
			id := put(t, s, strings.Repeat("x", tc.body), strings.Repeat("m", 400))
			if err := s.Append(id, []byte(strings.Repeat("r", 200))); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(s.path(id))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close() //nolint:errcheck // it only reads
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			c := &counted{File: f}
			e, end, err := readEntry(c, info.Size(), make([]byte, scanBuffer))
			if err != nil || end != info.Size() || len(e.Meta) != 400 || len(e.Records) != 1 {
				t.Fatalf("%d octets of meta, %d records, %v", len(e.Meta), len(e.Records), err)
			}
			if c.reads != tc.reads || c.octets > scanBuffer+1000 {
				t.Errorf("%d reads of %d octets, want %d reads", c.reads, c.octets, tc.reads)
			}
		})
	}
}
