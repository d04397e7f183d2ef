//go:build bench

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
)

// sink is the server behind a system.
type sink struct {
	port  int
	count func() int
	stop  func()
}

var (
	sinkPort  = regexp.MustCompile(`port=(\d+)`)
	sinkCount = regexp.MustCompile(`mesg=(\d+)\n`)
)

// startSink is Postfix's smtp-sink, or with keys one that speaks TLS.
func startSink(t *testing.T, k *keys) *sink {
	if k == nil {
		s := postfix.StartSink(t, false, "-c")
		return &sink{port: s.Port, count: s.Count, stop: s.Stop}
	}
	t.Setenv(toolEnv, "sink")
	p := env.Start(t, k.dir, os.Args[0], k.cert, k.key)
	os.Unsetenv(toolEnv) //nolint:errcheck // its name is well-formed
	last := func(r *regexp.Regexp, of string) int {
		all := r.FindAllStringSubmatch(of, -1)
		if len(all) == 0 {
			return 0
		}
		n, _ := strconv.Atoi(all[len(all)-1][1]) // digits only
		return n
	}
	s := &sink{count: func() int { return last(sinkCount, p.Tail(200)) }, stop: p.Stop}
	env.Eventually(t, "the sink listens", p.Output, func() bool { s.port = last(sinkPort, p.Output()); return s.port > 0 })
	return s
}

// startSource runs the source that speaks TLS to its end.
func startSource(t *testing.T, port int, k *keys, messages, sessions, size, rate int) (string, error) {
	encryption := "plain"
	if k != nil {
		encryption = "starttls"
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], env.Loopback(port), encryption, //nolint:gosec // the test's own binary
		strconv.Itoa(messages), strconv.Itoa(sessions), strconv.Itoa(size), strconv.Itoa(rate))
	cmd.Env = append(os.Environ(), toolEnv+"=source")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// acknowledgement measures how long the reply to the final dot takes at 50
// messages a second, while they are delivered, and what fdatasync(2) of as many
// octets takes on that volume, in turn.
func acknowledgement(t *testing.T) {
	const messages, rate, size = 1000, 50, 4 << 10
	fmt.Printf("| 250 after the final dot, 4 kB, %d messages/s | median ms | p99 ms |\n|---|---|---|\n", rate)
	var ratios []float64
	for range *rounds {
		sync := fdatasyncs(t, messages, rate, size)
		snk := startSink(t, nil)
		s := startRelay(t, snk.port, nil)
		out, err := startSource(t, s.port, nil, messages, 20, size, rate)
		if err != nil {
			t.Fatalf("the source: %v\n%s\n%s", err, out, s.says())
		}
		s.stop()
		snk.stop()
		var reply []time.Duration
		for line := range strings.Lines(out) {
			n, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			reply = append(reply, time.Duration(n)*time.Microsecond)
		}
		row := func(name string, took []time.Duration) time.Duration {
			slices.Sort(took)
			p99 := took[len(took)*99/100]
			fmt.Printf("| %s | %.2f | %.2f |\n", name, ms(took[len(took)/2]), ms(p99))
			return p99
		}
		ratios = append(ratios, float64(row("Printer Relay", reply))/float64(row("fdatasync alone", sync)))
	}
	slices.Sort(ratios)
	fmt.Printf("| **of fdatasync's** | | **%.2f ×** |\n\n", ratios[len(ratios)/2])
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// fdatasyncs writes and syncs octets at the end of a file, rate times a second.
func fdatasyncs(t *testing.T, times, rate, size int) (took []time.Duration) {
	f, err := os.Create(filepath.Join(env.SharedDir(t), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // nothing is kept
	block := make([]byte, size)
	started := time.Now()
	for i := range times {
		time.Sleep(time.Until(started.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := fdatasync(f); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	return took
}

// idle measures the memory of the relay with 1,000 connections that say EHLO
// and nothing more.
func idle(t *testing.T) {
	const connections = 1000
	snk := startSink(t, nil)
	defer snk.stop()
	s := startRelay(t, snk.port, nil)
	defer s.stop()
	before := memory(s.groups)
	for range 25 { // what only the start needed is given back a moment later
		time.Sleep(200 * time.Millisecond)
		before = min(before, memory(s.groups))
	}
	var open []*dialogue
	for range connections {
		d, err := dial(env.Loopback(s.port), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, s.says())
		}
		open = append(open, d)
	}
	with := memory(s.groups)
	for _, d := range open {
		if err := d.say(250, "NOOP"); err != nil {
			t.Fatal(err)
		}
		d.conn.Close() //nolint:errcheck // it is over
	}
	fmt.Printf("| memory MiB | before | with %d idle connections |\n|---|---|---|\n| Printer Relay | %.1f | %.1f |\n\n",
		connections, float64(before)/(1<<20), float64(with)/(1<<20))
}
