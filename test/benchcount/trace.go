// Package benchcount counts what a message costs the relay, in figures that do not
// depend on how fast the machine is: allocations, system calls, syncs and octets
// written. `make bench-compare` measures so the checkout and the commit that it is
// based on, and fails where the checkout needs more. It may import test/env,
// test/bench and test/ledger; only tests import it.
package benchcount

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// What a copier says where the counting begins and ends, and where the time
// without mail behind it does; and the sender by which the connections are known
// that carry mail: the relay's own checks of its listeners and upstreams come when
// they like.
const (
	begins = "HELO count-begins.test"
	ends   = "HELO count-ends.test"
	rested = "HELO count-rested.test"
	mail   = "MAIL FROM:<copier@example.test>"
)

// counts are of system calls on the spool, on the log, and on connections that
// carry mail.
type counts struct {
	calls   map[string]int // by name, those that ended well
	sockets map[string]int // the same of the connections alone
	syncs   int
	written int // octets, to files of the spool

	// looks are how often the relay looked at its manifests, which it does by the
	// clock: while it counted, and in the time without mail.
	looks, looksAtRest int
}

// total is the number of calls; with files alone it leaves out the connections.
func (c *counts) total(filesAlone bool) (n int) {
	for name, times := range c.calls {
		n += times
		if filesAlone {
			n -= c.sockets[name]
		}
	}
	return n
}

var (
	traced = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	resume = regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>(.*)$`)
	socket = regexp.MustCompile(`<TCP(?:v6)?:\[(\S+->\S+)\]>`)
)

// call is one line of strace, put together where another thread came between.
type call struct{ name, text string }

// read gives what `strace -f -yy` saw between begins and ends of a relay with these
// folders, whose log goes to a pipe.
func read(trace io.Reader, manifests, spool string) (*counts, error) {
	c := &counts{calls: map[string]int{}, sockets: map[string]int{}}
	carries := map[string]bool{} // a connection carries mail
	of := map[string][]call{}    // the calls on connections of which that is not known yet
	unfinished := map[string]string{}
	state := 0 // 1: it counts; 2: it rests; 3: it is over
	lines := bufio.NewScanner(trace)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if before, ok := strings.CutSuffix(line, " <unfinished ...>"); ok {
			thread, _, _ := strings.Cut(before, " ")
			unfinished[thread] = before
			continue
		}
		if m := resume.FindStringSubmatch(line); m != nil {
			line = unfinished[m[1]] + m[2]
		}
		m := traced.FindStringSubmatch(line)
		if m == nil {
			continue // a signal, an exit
		}
		x := call{name: m[2], text: m[3]}
		switch {
		case state == 0 && strings.Contains(x.text, begins):
			state = 1
		case state == 1 && strings.Contains(x.text, ends):
			state = 2
		case state == 2 && strings.Contains(x.text, rested):
			state = 3
		case x.name == "openat" && strings.Contains(x.text, `"`+manifests+`"`):
			switch state {
			case 1:
				c.looks++
			case 2:
				c.looksAtRest++
			}
		case state >= 2:
		default:
			if s := socket.FindStringSubmatch(x.text); s != nil {
				carries[s[1]] = carries[s[1]] || strings.Contains(x.text, mail)
				if state == 1 {
					of[s[1]] = append(of[s[1]], x)
				}
			} else if state == 1 && (strings.Contains(x.text, spool+"/") || strings.HasPrefix(x.text, "2<pipe:")) {
				if err := c.add(x, false); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if state != 3 {
		return nil, fmt.Errorf("the trace has no %q, %q and %q in turn", begins, ends, rested)
	}
	for connection, calls := range of {
		for _, x := range calls {
			if !carries[connection] {
				continue
			}
			if err := c.add(x, true); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// add counts x unless it failed: what has to be tried again, and how often,
// depends on who was faster.
func (c *counts) add(x call, onSocket bool) error {
	_, result, ok := cutLast(x.text, " = ")
	if !ok {
		return fmt.Errorf("a call without a result: %s(%s", x.name, x.text)
	}
	if strings.HasPrefix(result, "-1 EAGAIN") {
		return nil
	}
	c.calls[x.name]++
	if onSocket {
		c.sockets[x.name]++
		return nil
	}
	switch x.name {
	case "fsync", "fdatasync", "syncfs", "sync_file_range", "sync":
		c.syncs++
	case "write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile", "splice":
		if strings.HasPrefix(x.text, "2<") {
			return nil
		}
		octets, _, _ := strings.Cut(result, " ") // an error's name may follow
		n, err := strconv.Atoi(octets)
		if err != nil {
			return fmt.Errorf("%s(%s: its result is no number: %w", x.name, x.text, err)
		}
		c.written += max(n, 0)
	}
	return nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
