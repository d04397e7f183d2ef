package postfix

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// Sink is a running smtp-sink: a server that takes every mail at once.
type Sink struct {
	Port int

	dir     string
	process *env.Process
}

// StartSink starts an smtp-sink and waits until it answers. With keep it writes
// each mail to a file of its own; without, it throws mail away as it comes. args
// are added to its command line: -8, -f RCPT, -w 1.
func StartSink(t testing.TB, keep bool, args ...string) *Sink {
	t.Helper()
	s := &Sink{dir: env.SharedDir(t)}
	if keep {
		args = append(args, "-d", s.dir+"/mail.")
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(s.dir, id(t, "nobody"), -1); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-u", "nobody") // it does not run as root
	}
	for range 5 {
		s.Port = env.FreePort(t)
		s.process = env.Start(t, s.dir, "smtp-sink", append(args, fmt.Sprintf("127.0.0.1:%d", s.Port), "1000")...)
		env.Eventually(t, "smtp-sink answers", s.process.Output, func() bool {
			return !s.process.Running() || env.Greets(env.Loopback(s.Port))
		})
		if s.process.Running() {
			return s
		}
	}
	t.Fatalf("smtp-sink does not start:\n%s", s.process.Output())
	return nil
}

// Stop ends the sink.
func (s *Sink) Stop() { s.process.Stop() }

// Pid is the process ID of smtp-sink.
func (s *Sink) Pid() int { return s.process.Pid() }

var counted = regexp.MustCompile(`mesg=(\d+)`)

// Count is how many mails a sink that was started with -c has taken.
func (s *Sink) Count() int {
	all := counted.FindAllStringSubmatch(s.process.Tail(200), -1)
	if len(all) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(all[len(all)-1][1]) // digits only
	return n
}

// Files are the mails that a sink with keep has taken.
func (s *Sink) Files(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(s.dir + "/mail.*")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Source says what smtp-source sends.
type Source struct {
	Port     int
	Messages int
	Size     int // octets of a message's body
	Sessions int // at once
	From, To string
}

// Send runs smtp-source to its end: an error says that a message was not taken.
func (s Source) Send(t testing.TB) (output string, err error) {
	t.Helper()
	return env.Run(t, "", "smtp-source",
		"-m", strconv.Itoa(s.Messages), "-l", strconv.Itoa(s.Size), "-s", strconv.Itoa(s.Sessions),
		"-f", s.From, "-t", s.To, "-S", "smtp-source", "-M", "source.example.test", fmt.Sprintf("127.0.0.1:%d", s.Port))
}
