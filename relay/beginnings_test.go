package relay

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// holder is a queue with its beginnings, in a synctest bubble.
type holder struct {
	*testing.T
	dir string
	pl  *plan.Plan
	sp  *spool.Spool
	q   *queue.Queue
	b   *beginnings
	end func()

	sender string // of what is sent
	secret bool   // it is a password

	mu   sync.Mutex
	busy bool     // the upstream takes nothing yet
	sent []string // notifications, whole
}

// Deliver implements queue.Deliverer.
func (h *holder) Deliver(_ context.Context, a queue.Attempt) []upstream.Outcome {
	h.mu.Lock()
	busy := h.busy
	h.mu.Unlock()
	if busy {
		return upstream.All(len(a.Recipients), upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeRecipient, Code: 450})
	}
	if a.Message.DSNOf != "" {
		body, err := h.sp.Body(a.Message.ID)
		if err != nil {
			h.Error(err)
			return upstream.All(len(a.Recipients), upstream.Outcome{Kind: upstream.Deferred})
		}
		defer body.Close() //nolint:errcheck // it was only read
		text, err := io.ReadAll(body)
		if err != nil {
			h.Error(err)
		}
		h.mu.Lock()
		h.sent = append(h.sent, string(text))
		h.mu.Unlock()
	}
	return upstream.All(len(a.Recipients), upstream.Outcome{Kind: upstream.Accepted, Code: 250})
}

func (h *holder) start() {
	h.Helper()
	var err error
	if h.sp, err = spool.Open(filepath.Join(h.dir, "spool"), spool.Options{NoSyncFS: true}); err != nil {
		h.Fatal(err)
	}
	h.b = newBeginnings(filepath.Join(h.dir, beginningsFile), func() *plan.Plan { return h.pl }, slog.New(slog.DiscardHandler))
	h.b.update(h.pl)
	h.q = queue.New(h.sp, queue.Options{Deliver: h, Settings: queue.SettingsOf(h.pl), Witness: h.b.Witness})
	h.b.queue = h.q
	if err := h.q.Load(); err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { h.q.Run(ctx) }) //nolint:errcheck // always nil
	wg.Go(func() { h.b.Run(ctx) })
	h.end = func() {
		cancel()
		wg.Wait()
		h.sp.Close() //nolint:errcheck // the test goes on or ends
	}
	synctest.Wait()
}

func (h *holder) restart() { h.end(); h.start() }

// runs has the queue run other holds.
func (h *holder) runs(change func(*plan.Plan)) {
	pl := *h.pl
	change(&pl)
	h.pl = &pl
	h.b.update(&pl)
	h.q.Update(queue.SettingsOf(&pl))
	time.Sleep(2 * beginningRetry)
	synctest.Wait()
}

func (h *holder) send(client, held string) string {
	h.Helper()
	w, err := h.sp.Create(h.sp.NewID())
	if err != nil {
		h.Fatal(err)
	}
	fmt.Fprint(w, "Subject: scan\r\n\r\npage\r\n")
	m := &queue.Message{
		ID: w.ID(), Size: w.Size(), HeaderSize: 17, Held: held, Recipients: []queue.Recipient{{Address: envelope.Address{Local: "a", Domain: "corp.example"}}},
		Origin: &queue.Origin{Sender: envelope.Address{Local: h.sender, Domain: "copier.test"}, SenderSecret: h.secret, Client: queue.Client{Addr: netip.MustParseAddr(client), HELO: "MFP3"}},
	}
	if _, err := h.q.Submit(w, m); err != nil {
		h.Fatal(err)
	}
	time.Sleep(2 * beginningRetry)
	synctest.Wait()
	return m.ID
}

func (h *holder) told(what string, n int, has ...string) {
	h.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.sent) != n {
		h.Fatalf("%s: %d notifications, want %d\n%s", what, len(h.sent), n, strings.Join(h.sent, "\n"))
	}
	for _, s := range has {
		if !strings.Contains(h.sent[n-1], s) {
			h.Errorf("%s: the notification does not say %q:\n%s", what, s, h.sent[n-1])
		}
	}
}

func stolenHold(networks string) []plan.Hold {
	return []plan.Hold{{Name: "stolen", Networks: []netip.Prefix{netip.MustParsePrefix(networks)}, Reason: "ticket 4711"}}
}

func inHolder(t *testing.T, f func(h *holder)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := &holder{T: t, dir: dir, sender: "mfp", pl: &plan.Plan{
			Namespace: "default", Name: "office", Hostname: "relay.example", Intake: plan.IntakeAccept, Routes: []plan.Route{{Upstream: "out"}},
			Upstreams: map[string]*plan.Upstream{"out": {Name: "out", Connections: 1}},
			Delivery: plan.Delivery{Expire: 24 * time.Hour, KeepFailed: time.Hour, Bounce: plan.Bounce{
				To: "Postmaster", Postmaster: envelope.Address{Local: "it", Domain: "corp.example"}, From: envelope.Address{Local: "relay", Domain: "relay.example"},
			}},
		}}
		h.start()
		f(h)
		h.end()
	})
}

// One mail for each beginning of a hold: not for each message, nor each start.
func TestABeginningIsToldOnce(t *testing.T) {
	inHolder(t, func(h *holder) {
		h.send("10.20.9.66", "")
		h.told("nothing is held", 0)
		h.runs(func(p *plan.Plan) { p.Holds = stolenHold("10.20.9.66/32") })
		h.told("a hold that has kept nothing", 0)
		first := h.send("10.20.9.66", "")
		h.told("the first message", 1, "To: <it@corp.example>", `hold "stolen"`, "ticket 4711", first, "MFP3 [10.20.9.66]", "Auto-Submitted: auto-generated", "--held-by stolen")
		h.send("10.20.9.66", "")
		h.restart()
		h.send("10.20.9.66", "")
		h.runs(func(*plan.Plan) {})
		if _, err := h.q.Release(h.Context(), queue.Filter{All: true}); err == nil { // they stay, and that is noted
			t.Error("released past the hold")
		}
		h.runs(func(p *plan.Plan) {
			p.Holds = append(stolenHold("10.20.9.66/32"), plan.Hold{Name: "other", Users: []string{"mfp-1"}})
		})
		h.told("more of it, and a restart", 1)

		h.runs(func(p *plan.Plan) { p.Holds = stolenHold("10.20.9.0/24") })
		h.send("10.20.9.1", "")
		h.told("the hold means others", 2)
		h.runs(func(p *plan.Plan) { p.Holds = nil })
		h.runs(func(p *plan.Plan) { p.Holds = stolenHold("10.20.9.0/24") })
		h.send("10.20.9.1", "")
		h.told("it comes back, and what it kept is there", 2)
		h.runs(func(p *plan.Plan) { p.Holds = nil })
		if _, err := h.q.Release(h.Context(), queue.Filter{All: true}); err != nil {
			t.Error(err)
		}
		h.runs(func(*plan.Plan) {})
		h.restart()
		h.runs(func(p *plan.Plan) { p.Holds = stolenHold("10.20.9.0/24") })
		h.send("10.20.9.1", "")
		h.told("it comes back after all went", 3)
	})
}

// An edit that counts ahead of its configuration is told of once: neither when it is
// applied, nor when its first meaning is left.
func TestAHoldThatIsEditedAheadIsToldOfOnce(t *testing.T) {
	inHolder(t, func(h *holder) {
		h.runs(func(p *plan.Plan) { p.Holds = stolenHold("10.20.9.66/32") })
		h.send("10.20.9.66", "")
		h.told("it begins", 1)
		edited := stolenHold("10.20.9.77/32")
		edited[0].Reason = "it was the other one"
		h.runs(func(p *plan.Plan) { *p = *p.Stopping(plan.Stops{Holds: edited}) })
		h.send("10.20.9.66", "")
		h.told("the old one goes on", 2, "it was the other one")
		h.runs(func(p *plan.Plan) { p.Holds = edited })
		h.send("10.20.9.77", "")
		h.told("it is applied", 2)
		h.runs(func(p *plan.Plan) { p.Holds = stolenHold("10.20.9.66/32") })
		h.send("10.20.9.66", "")
		h.told("it is edited back, and means others", 3)
	})
}

// What waits is kept by a hold too, and intake: Hold is one.
func TestWhichHoldsBegin(t *testing.T) {
	inHolder(t, func(h *holder) {
		h.runs(func(p *plan.Plan) { p.Intake = plan.IntakeHold })
		id := h.send("10.20.9.66", queue.IntakeHeld)
		h.told("intake", 1, "Subject: Mail is held in default/office: intake is Hold", id)
		h.send("10.20.9.66", queue.IntakeHeld)
		h.send("10.20.9.66", "rule office/guests holds")
		h.told("more of it, and what a rule holds", 1)
	})
	inHolder(t, func(h *holder) {
		pl := *h.pl
		pl.Upstreams = map[string]*plan.Upstream{"out": {Name: "out", Connections: 1, Suspend: true}}
		h.runs(func(p *plan.Plan) { *p = pl })
		id := h.send("10.20.9.66", "")
		h.runs(func(p *plan.Plan) {
			p.Holds = stolenHold("10.20.9.66/32")
			p.Upstreams = map[string]*plan.Upstream{"out": {Name: "out", Connections: 1}}
		})
		h.told("what waited", 1, id)
	})
	for name, change := range map[string]func(*plan.Plan){
		"bounce.to: None":    func(p *plan.Plan) { p.Delivery.Bounce.To = "None" },
		"no postmaster":      func(p *plan.Plan) { p.Delivery.Bounce.Postmaster = envelope.Address{} },
		"an ephemeral spool": func(p *plan.Plan) { p.Spool.Ephemeral = true },
	} {
		inHolder(t, func(h *holder) {
			h.runs(func(p *plan.Plan) { p.Holds = stolenHold("10.20.9.66/32"); change(p) })
			h.send("10.20.9.66", "")
			h.told(name, 0)
		})
	}
}

// An upstream that is suspended keeps mail back too, where no other takes it. The
// notification must have another way.
func TestAnUpstreamThatIsSuspendedIsToldOf(t *testing.T) {
	suspend := func(p *plan.Plan, suspended bool) {
		p.Upstreams = map[string]*plan.Upstream{"out": {Name: "out", Connections: 1, Suspend: suspended}, "other": {Name: "other", Connections: 1}}
		p.Delivery.Bounce.Upstream = "other"
	}
	inHolder(t, func(h *holder) {
		h.runs(func(p *plan.Plan) { suspend(p, true) })
		h.told("it has kept nothing", 0)
		id := h.send("10.20.9.66", "")
		h.told("it keeps mail back", 1, "Subject: Mail is held in default/office: upstream out is suspended", id, "queue list --upstream out")
		h.restart()
		h.send("10.20.9.66", "")
		h.told("more of it, and a restart", 1)
		h.runs(func(p *plan.Plan) { suspend(p, false) })
		h.runs(func(p *plan.Plan) { suspend(p, true) })
		h.send("10.20.9.66", "")
		h.told("it comes back", 2)
	})
	inHolder(t, func(h *holder) {
		h.runs(func(p *plan.Plan) { suspend(p, true); p.Fallbacks = []string{"other"}; p.Delivery.Bounce.Upstream = "" })
		h.send("10.20.9.66", "")
		h.told("the fallback takes it", 0)
	})
	inHolder(t, func(h *holder) {
		h.runs(func(p *plan.Plan) { suspend(p, true); p.Delivery.Bounce.Upstream = "" })
		h.send("10.20.9.66", "")
		h.runs(func(p *plan.Plan) { suspend(p, false); p.Delivery.Bounce.Upstream = "" })
		h.told("there is no other way", 0)
	})
	inHolder(t, func(h *holder) {
		h.runs(func(p *plan.Plan) {
			suspend(p, true)
			p.Routes = []plan.Route{{Networks: []netip.Prefix{netip.MustParsePrefix("10.20.9.0/24")}, Upstream: "out"}, {Upstream: "other"}}
			p.Delivery.Bounce.Upstream = ""
		})
		h.send("10.20.9.66", "")
		h.told("a route takes the notification by another", 1)
	})
}

// Two holds that begin with the same message are told of, though the first one's mail
// has not left yet.
func TestHoldsThatBeginWithOneMessage(t *testing.T) {
	inHolder(t, func(h *holder) {
		h.busy = true
		h.runs(func(p *plan.Plan) {
			p.Holds = stolenHold("10.20.9.66/32")
			p.Delivery.RetryFirst, p.Delivery.RetryMax = time.Minute, time.Hour
		})
		h.send("10.20.9.66", "")
		h.runs(func(p *plan.Plan) { p.Holds = nil })
		if _, err := h.q.Release(h.Context(), queue.Filter{All: true}); err != nil {
			t.Error(err)
		}
		h.runs(func(p *plan.Plan) {
			p.Holds = stolenHold("10.20.9.66/32")
			p.Holds[0].Name = "moved"
		})
		h.mu.Lock()
		h.busy = false
		h.mu.Unlock()
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		h.told("both", 2)
	})
}

// A password that was typed as the sender of what is held is not told.
func TestABeginningTellsNoPassword(t *testing.T) {
	for secret, want := range map[bool]string{false: "From:      <hunter2@copier.test>", true: "From:      <[not shown"} {
		inHolder(t, func(h *holder) {
			h.sender, h.secret = "hunter2", secret
			h.runs(func(p *plan.Plan) { p.Holds = stolenHold("10.20.9.66/32") })
			h.send("10.20.9.66", "")
			h.told("the first message", 1, want)
		})
	}
}

// A process that is killed before anybody was told tells when it runs again.
func TestABeginningThatWasMissed(t *testing.T) {
	inHolder(t, func(h *holder) {
		h.b.mu.Lock()
		h.b.holds = nil // nobody listens
		h.b.mu.Unlock()
		h.pl.Holds = stolenHold("10.20.9.66/32")
		h.q.Update(queue.SettingsOf(h.pl))
		id := h.send("10.20.9.66", "")
		h.told("killed", 0)
		h.restart()
		h.told("runs again", 1, id)
		h.restart()
		h.told("and again", 1)
	})
}
