//go:build linux

package disk

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/bench"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/ledger"
)

const (
	copiers     = 8
	connections = 5 // to the upstream

	// open is how many transactions with the upstream can be open when the power
	// fails: those that run, and those that have ended and whose end is being written
	// down meanwhile (relay/queue: lane.free). A notification that is only being made
	// has none.
	open = 2 * connections
)

// delivery is what the experiment adds to the configuration of the bench: it
// does not wait half a minute for a retry, and has notifications too.
const delivery = `  delivery: {keepFailedSeconds: 0, retry: {initialSeconds: 1, maximumSeconds: 1}, bounce: {to: Postmaster, postmaster: it@example.test, maximumPerHour: 10000}}`

// experiment is a relay whose state is on a volume of its own.
type experiment struct {
	*ledger.Relay
	t        *testing.T
	volume   *volume
	upstream *ledger.Upstream
	copiers  *ledger.Copiers
	phases   map[string]int // that were hit
}

func newExperiment(t *testing.T, kind string, under ...string) *experiment {
	t.Helper()
	bin := program(t)
	x := &experiment{t: t, volume: newVolume(t, kind), upstream: ledger.StartUpstream(t), phases: map[string]int{}}
	x.upstream.Slow(5 * time.Millisecond)
	x.copiers = &ledger.Copiers{
		Pause: 10 * time.Millisecond,
		Kind: func() string {
			return []string{ledger.Now, ledger.Now, ledger.Now, ledger.Later, ledger.Never}[rand.IntN(5)]
		},
		Size: func() int { // up to 14 kB fits a slot
			return rand.IntN([]int{200, 200, 200, 1400, 14_000}[rand.IntN(5)])
		},
	}
	x.Relay = &ledger.Relay{
		T: t, Bin: bin, Dir: t.TempDir(), State: filepath.Join(x.volume.dir, "state"), Name: "bench", Under: under,
		Manifests: func(port int) string { return bench.Manifests(port, x.upstream.Port, connections, delivery) },
	}
	return x
}

// cutUnderLoad runs the relay under load, cuts the power at a random moment, and
// brings the volume back.
func (x *experiment) cutUnderLoad(log bool) {
	x.t.Helper()
	x.Start()
	moment := time.Duration(rand.Int64N(int64(time.Second)))
	x.copiers.During(x.Address(), copiers, func() {
		time.Sleep(moment) // the random moment that this test is about
		for _, phase := range ledger.Phases(x.copiers, x.upstream) {
			x.phases[phase]++
		}
		x.cut(log)
	})
	x.volume.restore()
	x.upstream.On()
}

// cut cuts the power of relay and volume; the network goes first, so that what
// the relay still sends without a disk is not counted as sent.
func (x *experiment) cut(log bool) {
	x.t.Helper()
	x.upstream.Off()
	x.volume.cut(log)
	if !x.Process.Running() {
		x.t.Errorf("the relay has ended by itself:\n%s", x.Process.Tail(3000))
	}
	x.Kill()
}

// settle runs the relay in peace until the queue is empty, and gives the account.
func (x *experiment) settle() ledger.Account {
	x.t.Helper()
	x.Start()
	if answer, err := x.copiers.One(x.Address()); err != nil {
		x.t.Fatalf("%s %v", answer, err)
	}
	x.Drain()
	for _, name := range x.Quarantine() {
		x.t.Logf("in quarantine: %s", name) // half-written and never acknowledged, or the account says more
	}
	x.Kill()
	return ledger.Of(x.copiers, x.upstream)
}

func cuts(t *testing.T) int {
	t.Helper()
	s := os.Getenv("POWER_CUTS")
	if s == "" {
		return 3
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("POWER_CUTS=%q: want a number", s)
	}
	return n
}

// TestPowerCutsLoseNothing is short by default; POWER_CUTS sets how often the
// power is cut on each file system.
func TestPowerCutsLoseNothing(t *testing.T) {
	for kind := range makers {
		t.Run(kind, func(t *testing.T) {
			x := newExperiment(t, kind)
			n := cuts(t)
			for i := range n {
				x.cutUnderLoad(i%2 == 1)
			}
			a := x.settle()
			t.Logf("%s, %d cuts, in these phases %v: %d acknowledged, %d arrived, %d bounced, %d lost; %d scans and %d notifications twice",
				kind, n, x.phases, a.Acknowledged, a.Arrived, a.Notified, len(a.Lost), ledger.Sum(a.Again), ledger.Sum(a.NoticesAgain))
			if len(a.Lost) > 0 {
				t.Errorf("%d of %d acknowledged messages are lost: %.20q", len(a.Lost), a.Acknowledged, a.Lost)
			}
			if len(a.Broken) > 0 {
				t.Errorf("%d messages are not what was sent: %.20q", len(a.Broken), a.Broken)
			}
			for life := range n {
				if a.Again[life] > open || a.NoticesAgain[life] > open {
					t.Errorf("cut %d: %d scans and %d notifications were sent twice, more than the %d transactions that can have been open", life+1, a.Again[life], a.NoticesAgain[life], open)
				}
			}
			if a.Again[n] > 0 {
				t.Errorf("%d messages were sent twice without a cut", a.Again[n])
			}
			if a.Acknowledged < n {
				t.Errorf("only %d messages were acknowledged: the load was none", a.Acknowledged)
			}
		})
	}
}

// noSync runs a program whose calls say that they have synced, and have not.
func noSync(t *testing.T, calls string) []string {
	t.Helper()
	return []string{env.FindOrFail(t, "strace"), "--follow-forks", "--seccomp-bpf", "--quiet=all", "--output=/dev/null", "--trace=" + calls, "--inject=" + calls + ":retval=0"}
}

// The experiment sees a relay that does not sync what it stores: the first
// control.
func TestWithoutFileSyncsPowerCutsLoseMail(t *testing.T) {
	for kind := range makers {
		t.Run(kind, func(t *testing.T) {
			x := newExperiment(t, kind, noSync(t, "fdatasync,syncfs")...)
			for n := range 20 {
				x.cutUnderLoad(false)
				a := x.settle()
				x.upstream.On()
				if len(a.Lost) > 0 {
					t.Logf("%s, no file syncs: after %d cuts %d of %d acknowledged messages are lost", kind, n+1, len(a.Lost), a.Acknowledged)
					return
				}
			}
			t.Error("nothing was lost in 20 cuts: the experiment cannot see a loss")
		})
	}
}

// A message that the upstream has taken is gone for certain: its removal is a
// change of the folder and nothing else. So a relay that does not sync its folder
// sends again after a power cut what it sent long before: the second control.
//
// A name that is new goes to the disk with its file on ext4 and xfs, whatever is
// done to the folder, so no mail is lost there. POSIX does not promise that.
// TestACutLosesWhatWasNotSynced shows that the loss of a name would be seen.
func TestRemovedMailComesBackOnlyWithoutDirectorySyncs(t *testing.T) {
	const messages = 10
	for kind := range makers {
		for name, under := range map[string][]string{"as it is": nil, "no directory syncs": noSync(t, "fsync")} {
			t.Run(kind+", "+name, func(t *testing.T) {
				x := newExperiment(t, kind, under...)
				x.copiers.Kind = func() string { return ledger.Now }
				x.copiers.Size = func() int { return 1400 } // has a file of its own
				rounds := 2
				if under != nil {
					rounds = 20
				}
				again, sent := 0, 0
				for again == 0 && sent < rounds*messages { // the control ends with the first: the journal may have been written by itself
					x.Start()
					for range messages {
						if answer, err := x.copiers.One(x.Address()); err != nil || answer[:3] != "250" {
							t.Fatalf("%s %v", answer, err)
						}
					}
					sent += messages
					x.Drain()
					x.cut(false)
					x.volume.restore()
					x.upstream.On()
					a := x.settle()
					x.upstream.On()
					if again = ledger.Sum(a.Again); len(a.Lost) > 0 {
						t.Errorf("%d messages are lost", len(a.Lost))
					}
				}
				t.Logf("%s, %s: %d of %d messages were sent again", kind, name, again, sent)
				if (again > 0) != (under != nil) {
					t.Errorf("%d of %d messages were sent again after cuts in peace", again, sent)
				}
			})
		}
	}
}
