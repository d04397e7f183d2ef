// Command benchgate reads benchstat's comparison of two commits as CSV, and fails
// where the second needs more than the first, and nobody said that it may. It
// imports the standard library alone.
//
//	benchstat -format csv base=old.txt head=new.txt | benchgate [ACCEPTED...]
//
// ACCEPTED begins with the unit that may grow, and goes on with why.
package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// tolerances are by how many hundredths a figure may grow. What is counted one by
// one is the same in every run; the allocator tells of a span of objects at a time.
var tolerances = map[string]float64{
	"allocs/msg":    8,
	"alloc-B/msg":   10,
	"syscalls/msg":  1,
	"syncs/msg":     1,
	"written-B/msg": 2,
}

// least is what a figure has to grow by to count at all: chores of the relay, which
// come by the clock, can fall between the messages.
const least = 0.5

func main() {
	rows, err := parse(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchgate:", err)
		os.Exit(2)
	}
	grown := judge(os.Stdout, rows, os.Args[1:])
	if len(grown) == 0 {
		return
	}
	fmt.Fprintf(os.Stderr, `bench-compare: a message costs more than at the base: %s
If it has to, say so in the message of a commit since the base, a line for each
unit among its last lines, and why:

  Costs-More: %s to record who released a message
`, strings.Join(grown, ", "), grown[0])
	os.Exit(1)
}

// row is one figure at both commits.
type row struct {
	benchmark, unit string
	base, head      float64
	differs         bool // by more than chance, benchstat says
}

// parse reads benchstat's tables. Each is headed by the names of its files and a
// line with its unit, and ends with an empty line.
func parse(in io.Reader) ([]row, error) {
	r := csv.NewReader(in)
	r.FieldsPerRecord = -1
	lines, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	var rows []row
	unit := ""
	for _, f := range lines {
		switch {
		case len(f) < 6:
			continue // what the machine is, a benchmark that one side lacks
		case f[0] == "":
			unit = f[1] // the files' names, then the unit itself
			continue
		case f[0] == "geomean":
			continue
		}
		if f[1] == "" || f[3] == "" {
			return nil, fmt.Errorf("%s: %s was measured of one commit only", f[0], unit)
		}
		if _, known := tolerances[unit]; !known {
			return nil, fmt.Errorf("%s: no tolerance is known for the unit %q: add it to hack/benchgate", f[0], unit)
		}
		x := row{benchmark: f[0], unit: unit, differs: f[5] != "~"}
		var errBase, errHead error
		x.base, errBase = strconv.ParseFloat(f[1], 64)
		x.head, errHead = strconv.ParseFloat(f[3], 64)
		if err := errors.Join(errBase, errHead); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", f[0], unit, err)
		}
		rows = append(rows, x)
	}
	if len(rows) == 0 {
		return nil, errors.New("no figure in what benchstat wrote")
	}
	return rows, nil
}

// judge prints what grew, and gives the units that nobody accepted.
func judge(out io.Writer, rows []row, accepted []string) (grown []string) {
	seen := map[string]bool{}
	for _, x := range rows {
		more := x.head - x.base
		if !x.differs || more < least || more <= x.base*tolerances[x.unit]/100 {
			continue
		}
		why := ""
		for _, a := range accepted {
			if unit, reason, _ := strings.Cut(strings.TrimSpace(a), " "); strings.TrimRight(unit, ",:") == x.unit {
				why = "accepted: " + reason
			}
		}
		if why == "" {
			why = fmt.Sprintf("more than %g %%", tolerances[x.unit])
			if !seen[x.unit] {
				grown = append(grown, x.unit)
			}
			seen[x.unit] = true
		}
		fmt.Fprintf(out, "bench-compare: %s: %s grew from %.6g to %.6g (%s)\n", x.benchmark, x.unit, x.base, x.head, why)
	}
	return grown
}
