package history

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	copier = netip.MustParseAddr("10.20.3.7")
	anna   = envelope.Address{Local: "anna", Domain: "corp.example"}
	bert   = envelope.Address{Local: "bert", Domain: "other.example"}
	scans  = envelope.Address{Local: "scan", Domain: "copier.corp.example"}
	good   = upstream.Outcome{Kind: upstream.Accepted, Code: 250, Enhanced: "2.0.0", Text: "OK queued as 4711", Remote: "mx.example [192.0.2.1]", RemoteID: "4711"}
	tarry  = upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeRecipient, Code: 451, Enhanced: "4.7.1", Text: "Greylisted, come back later", Remote: "mx.example [192.0.2.1]"}
	nobody = upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeRecipient, Code: 550, Enhanced: "5.1.1", Text: "Nobody of that name here"}
)

// world is a store in a synctest bubble, and a queue that it hears of.
type world struct {
	*testing.T
	dir     string
	o       Options
	free    int64
	s       *Store
	end     func()
	mu      sync.Mutex
	dropped map[string]int

	spool  *spool.Spool
	q      *queue.Queue
	answer func(a queue.Attempt, to envelope.Address) upstream.Outcome
}

// inWorld runs f with a store that runs.
func inWorld(t *testing.T, settings Settings, f func(w *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, dir: dir, free: 1 << 40, dropped: map[string]int{}}
		w.o = Options{
			Dir: dir, Settings: settings, Reserve: 1 << 20,
			Free:    func() int64 { w.mu.Lock(); defer w.mu.Unlock(); return w.free },
			Dropped: func(why string) { w.mu.Lock(); defer w.mu.Unlock(); w.dropped[why]++ },
			Advise: func(_ string, o *upstream.Outcome) string {
				if o.Code == 550 {
					return "correct the address"
				}
				return ""
			},
		}
		w.start()
		f(w)
		w.end()
	})
}

func (w *world) start() {
	w.s = New(w.o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.s.Run(ctx) }()
	w.end = func() { cancel(); <-done }
}

func (w *world) setFree(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = n
}

func (w *world) drops(why string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped[why]
}

// month is what is kept by default.
var month = Settings{Keep: 30 * 24 * time.Hour, Size: 64 << 20}

// queue runs a queue that tells the store; it ends with the test.
func (w *world) queue(settings queue.Settings) {
	w.Helper()
	var err error
	if w.spool, err = spool.Open(w.TempDir(), spool.Options{}); err != nil {
		w.Fatal(err)
	}
	w.q = queue.New(w.spool, queue.Options{Deliver: w, Settings: settings, Witness: w.s.Witness})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.q.Run(ctx) }() //nolint:errcheck // always nil
	end := w.end
	w.end = func() {
		cancel()
		<-done
		w.spool.Close() //nolint:errcheck // the test is over
		end()
	}
}

// lives gives what runs a queue over one spool, as one process after the other does, while
// f runs. What happens once one is killed the store does not hear of.
func (w *world) lives(killed *atomic.Bool) (run func(f func())) {
	w.Helper()
	var err error
	if w.spool, err = spool.Open(w.TempDir(), spool.Options{}); err != nil {
		w.Fatal(err)
	}
	end := w.end
	w.end = func() {
		w.spool.Close() //nolint:errcheck // the test is over
		end()
	}
	return func(f func()) {
		w.Helper()
		w.q = queue.New(w.spool, queue.Options{Deliver: w, Settings: oneUpstream(), Witness: func(p queue.Progress) {
			if !killed.Load() {
				w.s.Witness(p)
			}
		}})
		if err := w.q.Load(); err != nil {
			w.Fatal(err)
		}
		w.q.Recall(w.s.Witness)
		w.s.Review(w.q.Has)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); w.q.Run(ctx) }() //nolint:errcheck // always nil
		synctest.Wait()
		f()
		cancel()
		<-done
	}
}

// Deliver implements queue.Deliverer.
func (w *world) Deliver(_ context.Context, a queue.Attempt) []upstream.Outcome {
	out := make([]upstream.Outcome, len(a.Recipients))
	for i, to := range a.Recipients {
		out[i] = good
		if w.answer != nil && a.Message.DSNOf == "" {
			out[i] = w.answer(a, to)
		}
	}
	return out
}

func oneUpstream() queue.Settings {
	s := queue.Settings{
		Relay: "ns/office", Hostname: "relay.example", Routes: []plan.Route{{Upstream: "ses"}},
		Upstreams: map[string]*plan.Upstream{"ses": {Name: "ses", Type: "SMTP"}},
	}
	s.Delivery.Expire, s.Delivery.KeepFailed = 24*time.Hour, time.Hour
	s.Delivery.RetryFirst, s.Delivery.RetryMax = time.Minute, time.Hour
	s.Delivery.Bounce = plan.Bounce{To: "Postmaster", Postmaster: envelope.Address{Local: "it", Domain: "corp.example"}, PerHour: 100}
	return s
}

// submit gives the queue a message.
func (w *world) submit(m *queue.Message) string {
	w.Helper()
	sw, err := w.spool.Create(w.spool.NewID())
	if err != nil {
		w.Fatal(err)
	}
	io.WriteString(sw, "Subject: hello\r\n\r\nsecret contents\r\n") //nolint:errcheck // Submit tells
	m.ID, m.Size, m.HeaderSize = sw.ID(), sw.Size(), 18
	if _, err := w.q.Submit(sw, m); err != nil {
		w.Fatal(err)
	}
	return m.ID
}

// message is one from the copier.
func message(to ...envelope.Address) *queue.Message {
	m := &queue.Message{MessageID: "<1@copier>", Subject: "Payroll of Bert", Origin: &queue.Origin{
		Relay: "ns/office", Listener: "legacy", Policy: "office", Rule: "mfps", Sender: scans,
		Client: queue.Client{Addr: copier, HELO: "MFP3", User: "mfp-3", TLS: 0x0303},
	}}
	for _, a := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: a})
	}
	return m
}

// arrive tells the store of a message that just came in, without a queue.
func (w *world) arrive(n int) (id string) {
	m := message(anna)
	m.Arrived = time.Now()
	m.ID = spool.IDAt(m.Arrived) + fmt.Sprintf("%05d", n)
	w.s.Witness(queue.Progress{Message: m, At: m.Arrived, Event: queue.Arrived, State: queue.Pending})
	return m.ID
}

func (w *world) list(f Filter) []Entry {
	w.Helper()
	p, err := w.s.List(w.Context(), f)
	if err != nil {
		w.Fatalf("%+v: %v", f, err)
	}
	return p.Entries
}

func (w *world) show(id string) Detail {
	w.Helper()
	d, err := w.s.Show(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return d
}

// story is what happened to a message, a line an event.
func story(d Detail) string {
	var b strings.Builder
	for _, x := range d.Events {
		b.WriteString(x.Event)
		for _, s := range []string{x.Upstream, x.Text, x.By} {
			if s != "" {
				b.WriteString(" " + s)
			}
		}
		for _, r := range x.Results {
			fmt.Fprintf(&b, " [%s %s %d %s %s]", r.Outcome, r.Status, r.Code, r.Text, strings.Join(r.Recipients, ","))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// refused is a refusal of a command.
func refused(client netip.Addr, sender string) RefusedCommand {
	return RefusedCommand{
		At: time.Now(), Listener: "legacy", Client: queue.Client{Addr: client, HELO: "MFP9"}, Sender: envelope.Address{Local: sender, Domain: "corp.example"},
		Step: "MAIL", Reply: "550 5.7.1 PR-030 Sender not allowed here, ask your IT", Cause: "no rule matched; last office/mfps: the client is in none of its networks",
	}
}
