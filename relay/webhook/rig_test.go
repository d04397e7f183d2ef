package webhook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/remedy"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait: far above what any step takes.
const patience = 60 * time.Second

var (
	anna   = envelope.Address{Local: "anna", Domain: "corp.example"}
	bert   = envelope.Address{Local: "bert", Domain: "other.example"}
	scans  = envelope.Address{Local: "scan", Domain: "copier.corp.example"}
	good   = upstream.Outcome{Kind: upstream.Accepted, Code: 250, Enhanced: "2.0.0", Text: "OK queued as 4711", Remote: "mx.example [192.0.2.1]", RemoteID: "4711"}
	tarry  = upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeRecipient, Code: 451, Enhanced: "4.7.1", Text: "Greylisted, come back later", Remote: "mx.example [192.0.2.1]"}
	nobody = upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeRecipient, Code: 550, Enhanced: "5.1.1", Text: "Nobody of that name here"}
)

// secret is a signing secret made of n.
func secret(n byte) string {
	return secretPrefix + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune('a'+n)), 32)))
}

// told is a request that a receiver got.
type told struct {
	id     string
	header http.Header
	body   []byte
	Payload
}

// receiver is a server that webhooks post to.
type receiver struct {
	*testing.T
	*httptest.Server
	mu     sync.Mutex
	got    []told
	answer func(w http.ResponseWriter, t told, n int) // n: of the request, from 1; nil: 204
}

func receive(t *testing.T, answer func(w http.ResponseWriter, t told, n int)) *receiver {
	t.Helper()
	r := &receiver{T: t, answer: answer}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	b, err := io.ReadAll(q.Body)
	if err != nil {
		return // it was cut off
	}
	t := told{id: q.Header.Get("Webhook-Id"), header: q.Header, body: b}
	if err := json.Unmarshal(b, &t.Payload); err != nil || q.Method != http.MethodPost || q.Header.Get("Content-Type") != "application/json" {
		r.Errorf("%s %s: %v: %s", q.Method, q.Header, err, b)
	}
	r.mu.Lock()
	r.got = append(r.got, t)
	n, answer := len(r.got), r.answer
	r.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(w, t, n)
}

// all are the requests so far.
func (r *receiver) all() []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]told(nil), r.got...)
}

func (r *receiver) answers(answer func(w http.ResponseWriter, t told, n int)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// wait gives the requests when there are n.
func (r *receiver) wait(n int) []told {
	r.Helper()
	eventually(r.T, fmt.Sprintf("%d requests", n), func() bool { return len(r.all()) >= n })
	return r.all()
}

// ca is the receiver's certificate, as a Secret holds it.
func (r *receiver) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %s: %s", patience, what)
		}
	}
}

// verify judges a request by the library of Standard Webhooks.
func verify(t told, secret string) error {
	w, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	return w.Verify(t.body, t.header)
}

// stage is hooks in a test, with Secrets that change.
type stage struct {
	*testing.T
	o   Options
	m   *metrics.Set
	reg *prometheus.Registry
	h   *Hooks

	mu  sync.Mutex
	src secrets.Map
}

// hurried is a pace at which tests need not wait.
var hurried = pace{
	gather: time.Millisecond, save: time.Millisecond, first: time.Millisecond, most: 4 * time.Millisecond,
	timeouts: httpapi.Timeouts{Connect: patience, Stall: patience, Answer: patience}, request: patience,
}

func newStage(t *testing.T) *stage {
	s := &stage{T: t, reg: prometheus.NewRegistry(), src: secrets.Map{"hook": {SecretKey: []byte(secret(0) + "\n")}}}
	s.m = metrics.New(s.reg, "default/office")
	s.o = Options{
		Dir: t.TempDir() + "/webhooks", Relay: "default/office", Instance: "office-0",
		Secrets: func() secrets.Source { s.mu.Lock(); defer s.mu.Unlock(); return s.src },
		Advise: func(_ string, o *upstream.Outcome, failed bool) remedy.Advice {
			if failed {
				return queue.AdviseFailed(nil, o)
			}
			return queue.Advise(nil, o)
		},
		Metrics: s.m, pace: hurried,
	}
	t.Cleanup(func() {
		if s.h != nil {
			s.h.Close()
		}
	})
	return s
}

// start begins with the webhooks given; once more, it is a restart.
func (s *stage) start(hooks ...plan.Webhook) {
	if s.h != nil {
		s.h.Close()
	}
	s.h = New(s.o)
	s.h.Update(Settings{Webhooks: hooks})
}

// put gives a Secret a key.
func (s *stage) put(name, key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := secrets.Map{}
	for n, d := range s.src {
		src[n] = d
	}
	data := map[string][]byte{key: []byte(value)}
	for k, v := range src[name] {
		if k != key {
			data[k] = v
		}
	}
	src[name] = data
	s.src = src
}

// hook is a webhook at the receiver, which is asked as fast as it goes.
func (s *stage) hook(r *receiver) plan.Webhook {
	s.put("ca", "ca.crt", string(r.ca()))
	return plan.Webhook{
		Name: "tickets", URL: r.URL + "/hooks", Events: []plan.WebhookEvent{plan.EventFailed}, Secret: "hook", CASecret: "ca", Private: true, PerMinute: 1 << 30,
	}
}

// state is that of the one webhook.
func (s *stage) state() State { return s.h.States()[0] }

// message is one as the queue has it.
func message(id string, rcpts ...envelope.Address) *queue.Message {
	m := &queue.Message{
		ID: id, Arrived: time.Now().UTC(), Size: 1234, MessageID: "<4711@mfp>", Subject: "Secret plans", Origin: &queue.Origin{
			Listener: "legacy", Policy: "office", Rule: "finance", Sender: scans, Identity: policy.Identity{DisplayName: "Finance MFP"},
			Client: queue.Client{Addr: netip.MustParseAddr("10.20.3.7"), HELO: "mfp-fin-1", User: "mfp", TLS: 0x303},
		},
	}
	for _, a := range rcpts {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: a})
	}
	return m
}

// world is a queue in a synctest bubble that tells hooks whose requests go nowhere: answer is
// what becomes of them.
type world struct {
	*stage
	q       *queue.Queue
	spool   *spool.Spool
	outcome func(to envelope.Address) upstream.Outcome

	mu     sync.Mutex
	got    []told
	at     []time.Time
	answer func(t told, n int) result
	hooks  atomic.Pointer[Hooks] // h, for the queue
}

var (
	capturing sync.Mutex
	captured  *queue.Progress
)

// capture is what a queue tells of a message that fails for anna.
func capture(t *testing.T) queue.Progress {
	t.Helper()
	capturing.Lock()
	defer capturing.Unlock()
	if captured != nil {
		return *captured
	}
	sp, err := spool.Open(t.TempDir(), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	found := make(chan queue.Progress, 100)
	w := &world{stage: &stage{T: t}, spool: sp, outcome: func(envelope.Address) upstream.Outcome { return nobody }}
	w.q = queue.New(sp, queue.Options{Deliver: w, Settings: onlyWay, Witness: func(p queue.Progress) {
		if p.Event == "attempt" {
			found <- p
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.q.Run(ctx) }() //nolint:errcheck // always nil
	w.submit(anna)
	select {
	case p := <-found:
		captured = &p
	case <-time.After(patience):
		t.Error("no attempt was made")
		captured = &queue.Progress{}
	}
	cancel()
	<-done
	sp.Close() //nolint:errcheck // the test is over
	return *captured
}

// onlyWay sends all mail by one upstream.
var onlyWay = queue.Settings{Routes: []plan.Route{{Upstream: "out"}}, Upstreams: map[string]*plan.Upstream{"out": {Name: "out", Type: "SMTP", Connections: 4}}}

// failure is what a queue tells of a message that fails for anna.
func (s *stage) failure(id string) queue.Progress {
	p := capture(s.T)
	p.Message, p.At = message(id, anna), time.Now().UTC()
	return p
}

// happens hands the hooks n messages that failed.
func (s *stage) happens(n int) {
	for i := range n {
		s.h.Witness(s.failure(fmt.Sprintf("m%d", i)))
	}
}

// inWorld runs f at the usual pace, in which time passes as if by itself.
func inWorld(t *testing.T, w plan.Webhook, settings queue.Settings, f func(w *world)) {
	t.Helper()
	capture(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		x := &world{stage: newStage(t), outcome: func(envelope.Address) upstream.Outcome { return nobody }}
		x.o.pace = usual
		x.begin(w)
		var err error
		if x.spool, err = spool.Open(dir, spool.Options{}); err != nil {
			t.Fatal(err)
		}
		x.q = queue.New(x.spool, queue.Options{Deliver: x, Settings: settings, Witness: func(p queue.Progress) { x.hooks.Load().Witness(p) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); x.q.Run(ctx) }() //nolint:errcheck // always nil
		f(x)
		cancel()
		<-done
		x.spool.Close() //nolint:errcheck // the test is over
		x.h.Close()
	})
}

// pass lets time go by, and all that it brings happen.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// begin starts the hooks with requests that go to w.
func (w *world) begin(hook plan.Webhook) {
	if w.h != nil {
		w.h.Close()
	}
	w.o.send = w.send
	w.h = New(w.o)
	w.hooks.Store(w.h)
	w.h.Update(Settings{Webhooks: []plan.Webhook{hook}})
}

func (w *world) send(_ context.Context, _ *config, d *delivery) result {
	t := told{id: d.ID, body: d.Body}
	if err := json.Unmarshal(d.Body, &t.Payload); err != nil {
		w.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got, w.at = append(w.got, t), append(w.at, time.Now())
	if w.answer == nil {
		return result{kind: taken}
	}
	return w.answer(t, len(w.got))
}

func (w *world) all() ([]told, []time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]told(nil), w.got...), append([]time.Time(nil), w.at...)
}

// Deliver implements queue.Deliverer.
func (w *world) Deliver(_ context.Context, a queue.Attempt) []upstream.Outcome {
	out := make([]upstream.Outcome, len(a.Recipients))
	for i, to := range a.Recipients {
		out[i] = w.outcome(to)
	}
	return out
}

// submit puts a message into the queue.
func (w *world) submit(rcpts ...envelope.Address) string {
	w.Helper()
	sw, err := w.spool.Create(w.spool.NewID())
	if err != nil {
		w.Fatal(err)
	}
	defer sw.Abort()
	if _, err := io.WriteString(sw, "Subject: x\r\n\r\nx\r\n"); err != nil {
		w.Fatal(err)
	}
	m := message(sw.ID(), rcpts...)
	m.Arrived, m.Size, m.HeaderSize = time.Time{}, sw.Size(), 14
	if _, err := w.q.Submit(sw, m); err != nil {
		w.Fatal(err)
	}
	return m.ID
}

// verb does something with one message by hand.
func (w *world) verb(do func(context.Context, queue.Filter, string) ([]string, error), id, why string) {
	w.Helper()
	if _, err := do(context.Background(), queue.Filter{IDs: []string{id}}, why); err != nil {
		w.Fatal(err)
	}
}
