package benchcount

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/bench"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/ledger"
)

var binary = flag.String("relay", "", "the relay's binary; empty: built from this checkout")

// warm is how many messages go before those that count: pools are filled, the
// connection to the upstream is open, the file of small messages has grown.
const warm = 20

// idle is how long the relay is watched doing nothing: what it allocates each time
// that it looks at its manifests is not the messages'.
const idle = time.Second

// BenchmarkMessage is one message after the other, each in a session of its own,
// from listener to upstream, through the program that ships.
func BenchmarkMessage(b *testing.B) {
	for _, bc := range []struct {
		name   string
		size   int
		pieces bool // it comes and goes in as many pieces as the network likes, which cost calls and allocations: only its files count
	}{
		{name: "4kB", size: 4 << 10},   // shares a file of the spool
		{name: "40kB", size: 40 << 10}, // has a file of its own
		{name: "1MB", size: 1 << 20, pieces: true},
	} {
		b.Run(bc.name, func(b *testing.B) {
			s := start(b)
			message := scan(bc.size)
			for range warm {
				s.send(message)
			}
			s.say(begins)
			before := s.allocated()
			for b.Loop() {
				s.send(message)
			}
			after := s.allocated()
			s.say(ends)
			var asking, resting allocation
			if !bc.pieces {
				asking, resting = s.resting()
			}
			s.say(rested)
			c := s.counted()
			b.ReportMetric(0, "ns/op") // it depends on the machine
			per := func(n float64, unit string) { b.ReportMetric(n/float64(b.N), unit) }
			if !bc.pieces {
				if c.looksAtRest == 0 {
					b.Fatalf("the relay did not look at its manifests in %s", idle)
				}
				looks := float64(c.looks) / float64(c.looksAtRest)
				per(after.objects-before.objects-asking.objects-looks*resting.objects, "allocs/msg")
				per(after.octets-before.octets-asking.octets-looks*resting.octets, "alloc-B/msg")
			}
			per(float64(c.total(bc.pieces)), "syscalls/msg")
			per(float64(c.syncs), "syncs/msg")
			per(float64(c.written), "written-B/msg")
			b.Log(bc.name, "per message:", c.text(b.N, bc.pieces))
		})
	}
}

// text names the calls, and how often each was made per message.
func (c *counts) text(messages int, filesAlone bool) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.calls)) {
		n := c.calls[name]
		if filesAlone {
			n -= c.sockets[name]
		}
		if n > 0 {
			out = append(out, fmt.Sprintf("%s %.4g", name, float64(n)/float64(messages)))
		}
	}
	return strings.Join(out, ", ")
}

// scan is a message with its final dot, but for the end of that line, which Ask adds.
func scan(size int) string {
	line := strings.Repeat("0123456789", 7) + "\r\n"
	return "From: <copier@example.test>\r\nTo: <inbox@example.test>\r\nSubject: scan\r\n\r\n" + strings.Repeat(line, size/len(line)) + "."
}

type system struct {
	b     *testing.B
	relay *ledger.Relay
	trace string
}

// start runs the relay under strace, which is not told of waiting: how often that
// happens depends on who is faster, and it is most of what a program does.
func start(b *testing.B) *system {
	b.Helper()
	if *binary == "" {
		var err error
		if *binary, err = ledger.Build(env.SharedDir(b)); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { *binary = "" })
	}
	dir, err := filepath.EvalSymlinks(b.TempDir()) // as strace prints it
	if err != nil {
		b.Fatal(err)
	}
	sink := startSink(b)
	s := &system{b: b, trace: filepath.Join(dir, "trace")}
	s.relay = &ledger.Relay{
		T: b, Bin: *binary, Dir: dir, State: filepath.Join(dir, "state"), Name: "bench", Log: "info",
		Manifests: func(port int) string { return bench.Manifests(port, sink, 2, "") },
		Under: []string{
			"strace", "--env=GOGC=off", "--env=GOMAXPROCS=1", "--follow-forks", "--seccomp-bpf", "--decode-fds=all", "--output=" + s.trace,
			"--trace=!futex,nanosleep,clock_nanosleep,sched_yield,epoll_pwait,madvise,mmap,munmap,mprotect,getpid,tgkill,rt_sigaction,rt_sigprocmask,rt_sigreturn",
		},
	}
	s.relay.Start()
	return s
}

// send sends one message, and waits until the relay has nothing more to do with it:
// that log line is its last.
func (s *system) send(message string) {
	s.b.Helper()
	answer := s.session("MAIL FROM:<copier@example.test>", "RCPT TO:<inbox@example.test>", "DATA", message)
	f := strings.Fields(answer)
	last := "msg=outcome relay=default/bench id=" + f[len(f)-1] + " "
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(env.Wait); !strings.Contains(s.relay.Process.Tail(4000), last); {
		select {
		case <-tick.C:
		case <-deadline:
			s.b.Fatalf("%s: no %q in the log after %s:\n%s", answer, last, env.Wait, s.relay.Process.Tail(4000))
		}
	}
}

// say says it in a session of its own.
func (s *system) say(line string) {
	s.b.Helper()
	s.session(line)
}

// session says these lines, then QUIT, and gives the answer to the last.
func (s *system) session(lines ...string) (answer string) {
	s.b.Helper()
	d, err := ledger.Dial(s.relay.Address())
	if err != nil {
		s.b.Fatal(err)
	}
	defer d.Close()
	for _, line := range lines {
		if answer, err = d.Ask(line); err != nil || answer[0] > '3' {
			s.b.Fatalf("%.60q: %s %v\n%s", line, answer, err, s.relay.Process.Tail(4000))
		}
	}
	if bye, err := d.Ask("QUIT"); err != nil || !strings.HasPrefix(bye, "221") {
		s.b.Fatalf("QUIT: %s %v", bye, err)
	}
	return answer
}

// allocation is what the program has allocated, so far or meanwhile.
type allocation struct{ objects, octets float64 }

func (s *system) allocated() (a allocation) {
	s.b.Helper()
	_, metrics := s.relay.Get("/metrics")
	for line := range strings.Lines(metrics) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "go_memstats_mallocs_total":
			a.objects, _ = strconv.ParseFloat(value, 64)
		case "go_memstats_alloc_bytes_total":
			a.octets, _ = strconv.ParseFloat(value, 64)
		}
	}
	if a.objects == 0 || a.octets == 0 {
		s.b.Fatalf("/metrics does not tell what was allocated:\n%.500s", metrics)
	}
	return a
}

// resting gives what the program allocates to be asked that, and what it does
// while it is left alone.
func (s *system) resting() (asking, resting allocation) {
	s.b.Helper()
	one := s.allocated()
	two := s.allocated()
	<-time.After(idle)
	three := s.allocated()
	asking = allocation{two.objects - one.objects, two.octets - one.octets}
	return asking, allocation{three.objects - two.objects - asking.objects, three.octets - two.octets - asking.octets}
}

// counted ends the relay, at once, and reads what strace wrote.
func (s *system) counted() *counts {
	s.b.Helper()
	env.Eventually(s.b, "strace has written all", s.relay.Process.Output, func() bool {
		b, err := os.ReadFile(s.trace)
		return err == nil && bytes.Contains(b, []byte(rested))
	})
	s.relay.Kill()
	f, err := os.Open(s.trace)
	if err != nil {
		s.b.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it was read
	c, err := read(f, filepath.Join(s.relay.Dir, "manifests"), s.relay.Spool())
	if err != nil {
		s.b.Fatal(err)
	}
	return c
}
