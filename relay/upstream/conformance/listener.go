package conformance

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/smtpd"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/test/stream"
)

// sessionsEach is how many sessions are played with each profile of a listener.
const sessionsEach = 40

// limit is the octets that the listeners take: some messages are larger.
const limit = 16 << 10

// wait bounds every wait, far above what any step takes.
const wait = time.Minute

// smugglingByListener: whatever octets come in, at a listener of any profile, the
// upstream gets exactly the messages that the client was told were taken, each to
// its own recipient and with its own text. Sessions are those of test/stream, from
// fixed seeds; all between the socket and the transport is what a relay runs.
func smugglingByListener(t *testing.T, h Harness, u *Upstream) {
	r := startRelay(t, u.Transport)
	said := 0
	for i := range r.plan.Listeners {
		l := &r.plan.Listeners[i]
		for n := range sessionsEach {
			seed := uint64(i*sessionsEach + n)
			c := &client{t: t, Maker: stream.New(seed, fmt.Sprintf("case-%d", seed), limit), profile: l.Compat}
			c.Sender = sender
			c.name = fmt.Sprintf("listener %s, seed %d", l.Name, seed)
			said += c.play(r.addresses[l.Name])
		}
	}
	attempts := r.finish(said)
	var taken []attempt
	for _, a := range attempts {
		switch o := a.outcome; {
		case o.Kind == upstream.Accepted:
			taken = append(taken, a)
		case o.Kind != upstream.Failed || o.Scope != upstream.ScopeMessage: // else the type cannot carry it, and says so
			t.Errorf("%s -> %s: %s", a.content[:min(200, len(a.content))], a.to, o)
		}
		for _, name := range whose.FindAllString(a.content, -1) {
			if name != a.name {
				t.Errorf("what is for %s is of %s too:\n%.2000q", a.to, name, a.content)
			}
		}
	}
	if len(attempts) != said || len(taken) < said/2 || said < sessionsEach*len(r.plan.Listeners)/2 {
		t.Errorf("the clients were told of %d messages; %d were delivered, %d taken", said, len(attempts), len(taken))
	}
	match(t, h, u.Received(t), taken)
}

// whose finds the names of sessions.
var whose = regexp.MustCompile(`case-[0-9]+`)

// match finds for each message that arrived the one that was sent, once.
func match(t *testing.T, h Harness, got []Received, sent []attempt) {
	t.Helper()
	type key struct {
		to  string
		sum [sha256.Size]byte
	}
	want := map[key]int{}
	for _, a := range sent {
		sum := sha256.Sum256([]byte(a.content))
		if h.Digest != nil {
			var err error
			if sum, err = h.Digest(strings.NewReader(a.content)); err != nil {
				t.Fatal(err)
			}
		}
		want[key{a.to, sum}]++
	}
	for _, m := range got {
		k := key{strings.Join(m.Recipients, " "), m.Sum}
		if want[k]--; want[k] < 0 {
			t.Errorf("to %s came %d octets that nobody was told of", k.to, m.Size)
		}
	}
	if len(got) != len(sent) {
		t.Errorf("%d messages arrived, %d were taken", len(got), len(sent))
	}
}

// relayed is what of a relay is between a client and a transport: listeners of every
// profile, spool and queue. It is the queue's Deliverer.
type relayed struct {
	t         *testing.T
	plan      *plan.Plan
	addresses map[string]string // of listeners, by name
	transport upstream.Transport
	spool     *spool.Spool

	mu       sync.Mutex
	attempts []attempt
}

// attempt is one that the queue made.
type attempt struct {
	to, name string // recipient, and the session's name in it
	content  string
	outcome  upstream.Outcome
}

func startRelay(t *testing.T, transport upstream.Transport) *relayed {
	t.Helper()
	r := &relayed{t: t, plan: everyProfile(t), transport: transport, addresses: map[string]string{}}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	var err error
	if r.spool, err = spool.Open(t.TempDir(), spool.Options{NoSyncFS: true, MinFree: 1, Log: log}); err != nil {
		t.Fatal(err)
	}
	q := queue.New(r.spool, queue.Options{Deliver: r, Settings: queue.SettingsOf(r.plan), Log: log})
	set := metrics.New(prometheus.NewRegistry(), "conformance")
	s := smtpd.New(smtpd.Config{Bind: "127.0.0.1", State: t.TempDir(), Spool: r.spool, Queue: q, Limiter: policy.NewLimiter(), Metrics: set, Log: log})
	if err := s.Update(r.plan, secrets.Map{}); err != nil {
		t.Fatal(err)
	}
	for _, l := range s.Listeners() {
		r.addresses[l.Name] = l.Address
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		q.Run(ctx) //nolint:errcheck // always nil
	}()
	t.Cleanup(func() {
		now, over := context.WithCancel(context.Background())
		over()
		s.Shutdown(now)
		cancel()
		<-ran
		if err := r.spool.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// everyProfile is a relay that anybody on this machine may send by, with a listener
// for each profile.
func everyProfile(t *testing.T) *plan.Plan {
	t.Helper()
	p := &plan.Plan{
		Namespace: "default", Name: "office", Hostname: "relay.test", Intake: plan.IntakeAccept,
		Addresses: plan.Addresses{DefaultDomain: "corp.example"},
		Routes:    []plan.Route{{Upstream: "out"}}, Upstreams: map[string]*plan.Upstream{"out": {Name: "out", Type: "test", Connections: 4}},
		Delivery: plan.Delivery{Bounce: plan.Bounce{To: "None"}},
	}
	pattern := func(s string) []envelope.Pattern {
		out, err := envelope.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		return []envelope.Pattern{out}
	}
	p.Policies = policy.Set{{Name: "office", Rules: []policy.Rule{{
		Policy: "office", Name: "lan", Action: policy.Allow, Match: policy.Match{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Senders: policy.Senders{Allowed: pattern("*@copier.test")}, Recipients: policy.Recipients{Allowed: pattern("*@corp.example"), Maximum: 1},
	}}}}
	for _, endings := range []string{"Normalize", "Reject", "BareLF"} {
		for _, lenient := range []bool{false, true} {
			p.Listeners = append(p.Listeners, plan.Listener{
				Name: fmt.Sprintf("%s-lenient-%v", endings, lenient), TLS: plan.ListenerTLS{Mode: plan.TLSNone}, Auth: plan.ListenerAuth{Mode: plan.AuthNone},
				Compat: plan.Compat{LineEndings: endings, Lenient: lenient}, MessageSize: limit, AdvertisedSize: limit, Recipients: 10, IdleTimeout: wait,
			})
		}
	}
	return p
}

// Deliver implements queue.Deliverer: what it is asked, with what is in the spool.
func (r *relayed) Deliver(ctx context.Context, a queue.Attempt) []upstream.Outcome {
	q := a.Message
	m := &upstream.Message{
		ID: q.ID, Sender: q.Sender, Recipients: a.Recipients, Size: q.Size, EightBit: q.EightBit, UTF8: q.UTF8, MaxLine: q.MaxLine,
		Open: func() (io.ReadCloser, error) { return r.spool.Body(q.ID) },
	}
	body, err := r.spool.Body(q.ID)
	if err != nil {
		r.t.Error(err)
		return upstream.All(len(a.Recipients), upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeMessage, Text: err.Error()})
	}
	defer body.Close() //nolint:errcheck // it was read
	content, err := io.ReadAll(body)
	if err != nil {
		r.t.Error(err)
	}
	out := r.transport.Deliver(ctx, m)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, to := range a.Recipients {
		r.attempts = append(r.attempts, attempt{to: to.String(), name: whose.FindString(to.String()), content: string(content), outcome: out[i]})
	}
	return out
}

// finish waits until as many attempts were made as there are messages, and gives
// them.
func (r *relayed) finish(messages int) []attempt {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(wait); ; {
		r.mu.Lock()
		all := r.attempts
		r.mu.Unlock()
		if len(all) >= messages {
			return all
		}
		select {
		case <-tick.C:
		case <-end:
			return all
		}
	}
}

// client is that of one session.
type client struct {
	t *testing.T
	*stream.Maker
	profile plan.Compat
	name    string
	conn    net.Conn
}

// play holds a session and gives the number of messages that it was told were taken.
func (c *client) play(address string) int {
	c.t.Helper()
	var err error
	if c.conn, err = (&net.Dialer{Timeout: wait}).DialContext(c.t.Context(), "tcp", address); err != nil {
		c.t.Fatal(err)
	}
	defer c.conn.Close()
	if err := c.conn.SetDeadline(time.Now().Add(wait)); err != nil {
		c.t.Fatal(err)
	}
	before := ""
	if c.profile.Lenient && c.IntN(2) == 0 {
		c.write(c.Session())
	} else {
		before = c.inStep()
	}
	if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil && before == "" {
		c.t.Fatalf("%s: %v", c.name, err)
	}
	rest, _ := io.ReadAll(c.conn) //nolint:errcheck // what came before a reset counts too
	told := strings.Count(before+string(rest), "\r\n250 2.0.0 Queued as ")
	most := 1
	if c.profile.Lenient {
		most = 2 // it takes what comes behind the message at once
	}
	if before != "" && c.profile.LineEndings != "BareLF" && told > most {
		c.t.Errorf("%s: it sent one message with look-alikes, and %d were taken", c.name, told)
	}
	return told
}

// inStep waits for the reply to each command up to DATA, as a strict listener wants
// it, then sends a message and all that follows at once.
func (c *client) inStep() (replies string) {
	end := "\r\n"
	if c.profile.LineEndings == "BareLF" && c.IntN(2) == 0 {
		end = "\n"
	}
	commands := []string{"HELO mfp", "MAIL FROM:<" + sender + ">", "RCPT TO:<" + c.Name + "-0@corp.example>", "DATA"}
	for i := range len(commands) + 1 {
		reply := make([]byte, 512)
		n, err := c.conn.Read(reply)
		if replies += string(reply[:n]); err != nil || reply[0] > '3' {
			c.t.Fatalf("%s: %q (%v)", c.name, replies, err)
		}
		if i < len(commands) {
			c.write(commands[i] + end)
		}
	}
	c.write(c.Message() + "\r\n.\r\n" + c.Evil() + "QUIT\r\n")
	return replies
}

// write sends octets; a server that has closed does not take them.
func (c *client) write(s string) { c.conn.Write([]byte(s)) } //nolint:errcheck // what it said is judged
