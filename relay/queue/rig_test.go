package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a queue over a real spool, in a synctest bubble, with upstreams whose
// answers the test gives.
type rig struct {
	*testing.T
	dir     string
	s       Settings
	sp      *spool.Spool
	wrap    func(store) store // what stands between queue and spool; nil: nothing
	options func(*Options)
	q       *Queue
	up      *upstreams
	log     bytes.Buffer
	logMu   sync.Mutex
	cancel  context.CancelFunc
	ran     chan struct{}
	notices []*Notice
	digests []*Digest
}

// upstreams is a Deliverer.
type upstreams struct {
	mu     sync.Mutex
	answer func(ctx context.Context, a Attempt) []upstream.Outcome
	log    []tried
}

type tried struct {
	at time.Time
	Attempt
}

func (t tried) String() string {
	var to []string
	for _, r := range t.Recipients {
		to = append(to, r.String())
	}
	return t.Upstream + ":" + strings.Join(to, ",")
}

func (u *upstreams) Deliver(ctx context.Context, a Attempt) []upstream.Outcome {
	u.mu.Lock()
	u.log = append(u.log, tried{time.Now(), a})
	f := u.answer
	u.mu.Unlock()
	return f(ctx, a)
}

// say sets the answer for every recipient from now on.
func (u *upstreams) say(f func(a Attempt, to envelope.Address) upstream.Outcome) {
	u.sayAll(func(_ context.Context, a Attempt) []upstream.Outcome {
		out := make([]upstream.Outcome, len(a.Recipients))
		for i, to := range a.Recipients {
			out[i] = f(a, to)
		}
		return out
	})
}

func (u *upstreams) sayAll(f func(context.Context, Attempt) []upstream.Outcome) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answer = f
}

func (u *upstreams) attempts() []tried {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.log)
}

// of are the attempts about messages other than notifications.
func (r *rig) tried() []string {
	var out []string
	for _, a := range r.up.attempts() {
		if a.Message.DSNOf == "" {
			out = append(out, a.String())
		}
	}
	return out
}

func (r *rig) Write(p []byte) (int, error) {
	r.logMu.Lock()
	defer r.logMu.Unlock()
	return r.log.Write(p)
}

func (r *rig) logged(s string) int {
	r.logMu.Lock()
	defer r.logMu.Unlock()
	return strings.Count(r.log.String(), s)
}

var (
	ok         = upstream.Outcome{Kind: upstream.Accepted, Code: 250, Enhanced: "2.0.0", Text: "ok"}
	greylisted = upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeRecipient, Code: 450, Enhanced: "4.7.1", Text: "greylisted"}
	noUser     = upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeRecipient, Code: 550, Enhanced: "5.1.1", Text: "no such user"}
	tooLarge   = upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeMessage, Code: 552, Enhanced: "5.3.4", Text: "too large"}
	down       = upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: "connection refused"}
	badLogin   = upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeUpstream, Code: 535, Enhanced: "5.7.8", Text: "bad login"}
	brokeOff   = upstream.Outcome{Kind: upstream.Unknown, Scope: upstream.ScopeUpstream, Text: "connection lost after the final dot"}
)

func always(o upstream.Outcome) func(Attempt, envelope.Address) upstream.Outcome {
	return func(Attempt, envelope.Address) upstream.Outcome { return o }
}

// by answers by upstream.
func by(m map[string]upstream.Outcome) func(Attempt, envelope.Address) upstream.Outcome {
	return func(a Attempt, _ envelope.Address) upstream.Outcome { return m[a.Upstream] }
}

func addr(s string) envelope.Address {
	a, err := envelope.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// settings: upstream a, with fallback b; "never" as the default for time limits
// that a test does not speak of.
func settings() Settings {
	return Settings{
		Relay: "ns/office", Hostname: "relay.corp.example",
		Routes:    []plan.Route{{Upstream: "a"}},
		Fallbacks: []string{"b"},
		Upstreams: map[string]*plan.Upstream{
			"a": {Name: "a", Connections: 4},
			"b": {Name: "b", Connections: 4},
		},
		Delivery: plan.Delivery{
			Expire: 5 * 24 * time.Hour, Warn: 4 * time.Hour, KeepFailed: 7 * 24 * time.Hour, OnUnknown: "RetrySame",
			RetryFirst: 30 * time.Second, RetryMax: time.Hour,
			Bounce: plan.Bounce{To: "Postmaster", Postmaster: addr("it@corp.example"), From: addr("relay@copier.corp.example"), PerHour: 1000},
		},
	}
}

// only takes the fallback away.
func only(s Settings) Settings {
	s.Fallbacks = nil
	s.Upstreams = map[string]*plan.Upstream{"a": s.Upstreams["a"]}
	return s
}

// inBubble runs f with a queue that has s and whose upstreams accept all.
func inBubble(t *testing.T, s Settings, f func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, dir: t.TempDir(), s: s, up: &upstreams{}}
		r.up.say(always(ok))
		r.start()
		defer r.stop()
		f(r)
	})
}

func (r *rig) start() {
	r.Helper()
	sp, err := spool.Open(r.dir, spool.Options{NoSyncFS: true})
	if err != nil {
		r.Fatal(err)
	}
	r.sp = sp
	o := Options{
		Deliver: r.up, Settings: r.s, Notice: r.render, Digest: r.renderDigest,
		Log: slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if r.options != nil {
		r.options(&o)
	}
	var st store = sp
	if r.wrap != nil {
		st = r.wrap(st)
	}
	r.q = newQueue(st, o)
	if err := r.q.Load(); err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.ran = cancel, make(chan struct{})
	go func() {
		defer close(r.ran)
		if err := r.q.Run(ctx); err != nil {
			r.Error(err)
		}
	}()
	synctest.Wait()
}

func (r *rig) stop() {
	r.cancel()
	<-r.ran
	r.sp.Close()
}

func (r *rig) restart() {
	r.Helper()
	r.stop()
	r.start()
}

func (r *rig) render(w io.Writer, n *Notice) (Content, error) {
	head := fmt.Sprintf("From: %s\r\nTo: %s\r\n\r\n", n.From, n.To)
	if _, err := io.WriteString(w, head+n.Message.ID+"\r\n"); err != nil {
		return Content{}, err
	}
	r.up.mu.Lock()
	r.notices = append(r.notices, n)
	r.up.mu.Unlock()
	return Content{HeaderSize: int64(len(head))}, nil
}

func (r *rig) renderDigest(w io.Writer, d *Digest) (Content, error) {
	head := fmt.Sprintf("From: %s\r\nTo: %s\r\n\r\n", d.From, d.To)
	if _, err := io.WriteString(w, head); err != nil {
		return Content{}, err
	}
	r.up.mu.Lock()
	r.digests = append(r.digests, d)
	r.up.mu.Unlock()
	return Content{HeaderSize: int64(len(head))}, nil
}

func (r *rig) noticed() []*Notice {
	r.up.mu.Lock()
	defer r.up.mu.Unlock()
	return slices.Clone(r.notices)
}

// message is one for the given recipients, from a rule that covers its sender.
func message(to ...string) *Message {
	m := &Message{Origin: &Origin{
		Relay: "ns/office", Listener: "legacy", Policy: "office", Rule: "mfps",
		Client: Client{Addr: netip.MustParseAddr("10.20.3.7"), HELO: "mfp"},
		Sender: addr("scan@copier.corp.example"), SenderCovered: true,
	}}
	for _, a := range to {
		m.Recipients = append(m.Recipients, Recipient{Address: addr(a)})
	}
	return m
}

// send submits m and waits until all that can happen at once has happened.
func (r *rig) send(m *Message) *Ticket {
	r.Helper()
	t := r.submit(m)
	synctest.Wait()
	return t
}

func (r *rig) submit(m *Message) *Ticket {
	r.Helper()
	t, err := r.trySubmit(m)
	if err != nil {
		r.Fatal(err)
	}
	return t
}

func (r *rig) trySubmit(m *Message) (*Ticket, error) {
	m.ID = r.sp.NewID()
	w, err := r.sp.Create(m.ID)
	if err != nil {
		return nil, err
	}
	body := "Subject: scan\r\n\r\npage\r\n"
	if _, err := io.WriteString(w, body); err != nil {
		return nil, err
	}
	if m.Size == 0 {
		m.Size = int64(len(body))
	}
	return r.q.Submit(w, m)
}

// sent is what an upstream is given of a message, whole.
func (r *rig) sent(a Attempt) []byte {
	rc, err := r.sp.Body(a.Message.ID)
	if err != nil {
		r.Error(err)
		return nil
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		r.Error(err)
	}
	return b
}

// pass lets time go by, and all that it brings happen.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// state is that of one message; empty: it is not in the queue.
func (r *rig) state(id string) State {
	r.Helper()
	d, err := r.q.Show(id)
	if errors.Is(err, ErrNotFound) {
		return ""
	}
	if err != nil {
		r.Fatal(err)
	}
	return d.State
}

// stored tells whether the spool holds the entry.
func (r *rig) stored(id string) bool {
	r.Helper()
	_, err := r.sp.Read(id)
	if err != nil && !errors.Is(err, spool.ErrNotFound) {
		r.Fatal(err)
	}
	return err == nil
}

func (r *rig) wantTried(want ...string) {
	r.Helper()
	if got := r.tried(); !slices.Equal(got, want) {
		r.Errorf("attempts\n got %v\nwant %v", got, want)
	}
}

func (r *rig) wantState(id string, want State) {
	r.Helper()
	if got := r.state(id); got != want {
		r.Errorf("message %s is %q, want %q", id, got, want)
	}
}

// wantNotices checks whom notifications went to, as "kind to recipient,...".
func (r *rig) wantNotices(want ...string) {
	r.Helper()
	var got []string
	for _, n := range r.noticed() {
		kind := "failed"
		if n.Delayed {
			kind = "delayed"
		}
		var about []string
		for _, x := range n.Recipients {
			about = append(about, x.Address.String())
		}
		got = append(got, kind+" "+n.To.String()+" "+strings.Join(about, ","))
	}
	if !slices.Equal(got, want) {
		r.Errorf("notifications\n got %q\nwant %q", got, want)
	}
}

func drain(t *testing.T, rc io.ReadCloser) string {
	t.Helper()
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
