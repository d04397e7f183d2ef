package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/message"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

const head = "From: <mfp@copier.test>\r\nTo: <somebody@else.test>\r\nSubject: scan\r\n"

// content: what arrives is what was sent, octet for octet.
func content(t *testing.T, h Harness, u *Upstream) {
	long := strings.Repeat("x", 998)
	bodies := []string{
		"hello\r\n",
		"",
		"\r\n\r\n\r\n",
		"no last line end, but there is one\r\n",
		".\r\n..\r\n.hidden\r\n...\r\n",
		"\r\n.\r\nMAIL FROM:<evil@copier.test>\r\n",
		" leading and trailing space \r\n\ttab\t\r\n",
		long + "\r\n" + long + "\r\n",
		"8-bit: gr\xc3\xbcn und Latin-1 gr\xfcn\r\n",
		strings.Repeat("a line that is not long\r\n", 10_000),
		strings.Repeat(".\r\n", 50_000),
	}
	var sent []string
	for i, body := range bodies {
		m := scan(t, fmt.Sprintf("C%04d", i), head+"\r\n"+body, "a@corp.test")
		if taken(t, h, deliver(t, h, u, m)) {
			sent = append(sent, head+"\r\n"+body)
		}
	}
	all := u.Received(t)
	if len(all) != len(sent) {
		t.Fatalf("%d messages arrived, want %d", len(all), len(sent))
	}
	for i := range all {
		same(t, h, all[i], sender, sent[i], "a@corp.test")
	}
}

// envelopeAlone: what the header says of recipients is nobody's business here.
func envelopeAlone(t *testing.T, h Harness, u *Upstream) {
	c := "From: <mfp@copier.test>\r\nTo: <x@else.test>, <y@else.test>\r\nCc: <z@else.test>\r\nBcc: <w@else.test>\r\n\r\nhello\r\n"
	want(t, deliver(t, h, u, scan(t, "E1", c, "b@corp.test", "a@corp.test")), "Accepted")
	arrived(t, h, u, sender, c, "b@corp.test", "a@corp.test")
}

// addresses of every form that envelope has.
func addresses(t *testing.T, h Harness, u *Upstream) {
	forms := []string{`"a b"@corp.test`, `"a\"b"@corp.test`, `"a@b"@corp.test`, "o'brien+tag@corp.test", "a@[192.0.2.1]"}
	c := head + "\r\nhello\r\n"
	if h.PlainAddresses {
		for i, f := range forms {
			out := deliver(t, h, u, scan(t, fmt.Sprintf("A%d", i), c, f))
			if i != 3 && out[0].Kind != upstream.Failed {
				t.Errorf("%s: %s", f, out[0])
			}
		}
		arrived(t, h, u, sender, c, forms[3])
		return
	}
	want(t, deliver(t, h, u, scan(t, "A1", c, forms...)), "Accepted")
	arrived(t, h, u, sender, c, forms...)
}

func nullSender(t *testing.T, h Harness, u *Upstream) {
	c := "From: <relay@copier.test>\r\nAuto-Submitted: auto-replied\r\n\r\nfailed\r\n"
	m := scan(t, "N1", c, "it@corp.test")
	m.Sender = envelope.Address{}
	want(t, deliver(t, h, u, m), "Accepted")
	from := ""
	if h.HeaderSender {
		from = "relay@copier.test"
	}
	arrived(t, h, u, from, c, "it@corp.test")
}

// smuggling: whatever a device writes to look like the end of its message, as
// intake stores it, is one message at the upstream.
func smuggling(t *testing.T, h Harness, u *Upstream) {
	const evil = "MAIL FROM:<boss@corp.test>\r\nRCPT TO:<victim@corp.test>\r\nDATA\r\nFrom: <boss@corp.test>\r\n\r\npay\r\n.\r\n"
	var sent []string
	for _, before := range []string{"\r\n", "\n", "\r", "\r\r\n", "\x00\r\n", "\n\n"} {
		for _, dot := range []string{".", "..", ".\x00", "\x00.", ".\r"} {
			for _, after := range []string{"\r\n", "\n", "\r", "\r\r\n", "\n\r"} {
				var b bytes.Buffer
				raw := head + "\r\nscan" + before + dot + after + evil
				if _, err := message.Intake(&b, strings.NewReader(raw), message.IntakeOptions{Hostname: "relay.test", ID: "S", Now: time.Unix(0, 0).UTC()}); err != nil {
					t.Fatal(err)
				}
				if taken(t, h, deliver(t, h, u, scan(t, fmt.Sprintf("S%04d", len(sent)), b.String(), "a@corp.test"))) {
					sent = append(sent, b.String())
				}
			}
		}
	}
	all := u.Received(t)
	if len(all) != len(sent) {
		t.Fatalf("%d messages arrived, want %d", len(all), len(sent))
	}
	for i := range all {
		same(t, h, all[i], sender, sent[i], "a@corp.test")
	}
}

// boundedMemory: what one attempt allocates does not grow with the message.
func boundedMemory(t *testing.T, h Harness, u *Upstream) {
	// Half of it, so that the buffers of TLS, which the race detector does not let
	// be used again each time, are not taken for the message.
	const size, bound = 16 << 20, 8 << 20
	m := scan(t, "M1", head+"\r\n", "a@corp.test")
	m.Open, m.Size = large(h, size)
	deliver(t, h, u, scan(t, "M0", head+"\r\n", "a@corp.test")) // what is made once
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out := deliver(t, h, u, m)
	runtime.ReadMemStats(&after)
	want(t, out, "Accepted")
	if n := after.TotalAlloc - before.TotalAlloc; n > bound {
		t.Errorf("%d octets allocated for a message of %d, want at most %d", n, m.Size, bound)
	}
	if all := u.Received(t); len(all) != 2 || h.Digest == nil && all[1].Size != m.Size {
		t.Errorf("arrived: %d messages", len(all))
	}
}

// large is a message of some octets: a text of many lines, or a file in one of the
// parts.
func large(h Harness, size int) (open func() (io.ReadCloser, error), octets int64) {
	if h.Large > 0 {
		size = min(size, h.Large)
	}
	line := strings.Repeat("A", 76) + "\r\n"
	before, after := head+"\r\n", ""
	if h.Attached {
		before = head + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
			"--b\r\nContent-Type: text/plain\r\n\r\nthe scan\r\n" +
			"--b\r\nContent-Type: application/pdf; name=scan.pdf\r\nContent-Transfer-Encoding: base64\r\n" +
			"Content-Disposition: attachment; filename=scan.pdf\r\n\r\n"
		after = "--b--\r\n"
	}
	n := size / len(line)
	return func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(before), &repeat{line, n, 0}, strings.NewReader(after))), nil
	}, int64(len(before) + n*len(line) + len(after))
}

// repeat reads line n times.
type repeat struct {
	line string
	n    int
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && r.n > 0 {
		k := copy(p[n:], r.line[r.at:])
		n += k
		if r.at += k; r.at == len(r.line) {
			r.at, r.n = 0, r.n-1
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// brokenSource: a stored message that cannot be read to its end is never taken
// for a whole one.
func brokenSource(t *testing.T, h Harness, u *Upstream) {
	spoilt := errors.New("checksum differs")
	c := head + "\r\n" + strings.Repeat("a line that is not long\r\n", 10_000)
	for i, whole := range []int{0, len(head), len(c) / 2, len(c)} {
		m := scan(t, fmt.Sprintf("B%d", i), c, "a@corp.test", "b@corp.test")
		m.Open = func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(c[:whole]), failing{spoilt})), nil
		}
		for _, o := range deliver(t, h, u, m) {
			if o.Kind == upstream.Accepted || o.Kind == upstream.Unknown || o.Scope == upstream.ScopeUpstream || !errors.Is(o.Cause, spoilt) {
				t.Errorf("after %d octets: %s/%s, cause %v", whole, o.Kind, o.Scope, o.Cause)
			}
		}
	}
	m := scan(t, "B9", c, "a@corp.test")
	m.Open = func() (io.ReadCloser, error) { return nil, spoilt }
	if o := deliver(t, h, u, m)[0]; o.Kind == upstream.Accepted || !errors.Is(o.Cause, spoilt) {
		t.Errorf("not to be opened: %s, cause %v", o, o.Cause)
	}
	none(t, u)
	want(t, deliver(t, h, u, scan(t, "B10", c, "a@corp.test")), "Accepted")
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func atOnce(t *testing.T, h Harness, u *Upstream) {
	const n = 16
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			m := scan(t, fmt.Sprintf("P%04d", i), head+"\r\n"+strings.Repeat("x\r\n", i*1000), fmt.Sprintf("user-%d@corp.test", i))
			want(t, deliver(t, h, u, m), "Accepted")
		})
	}
	wg.Wait()
	all := u.Received(t)
	if len(all) != n {
		t.Fatalf("%d messages arrived, want %d", len(all), n)
	}
	for i := range n {
		to := fmt.Sprintf("user-%d@corp.test", i)
		j := slices.IndexFunc(all, func(r Received) bool { return len(r.Recipients) == 1 && r.Recipients[0] == to })
		if j < 0 {
			t.Fatalf("nothing arrived for %s", to)
		}
		same(t, h, all[j], sender, head+"\r\n"+strings.Repeat("x\r\n", i*1000), to)
	}
}

func endedContext(t *testing.T, h Harness, u *Upstream) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := scan(t, "X1", head+"\r\nhello\r\n", "a@corp.test")
	out := u.Transport.Deliver(ctx, m)
	check(t, h, m, out)
	want(t, out, "Deferred/Upstream")
	none(t, u)
}

// closeTransport: what is under way when an upstream leaves the plan still goes.
func closeTransport(t *testing.T, h Harness, u *Upstream) {
	c := head + "\r\nhello\r\n"
	if err := u.Transport.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, deliver(t, h, u, scan(t, "L1", c, "a@corp.test")), "Accepted")
	arrived(t, h, u, sender, c, "a@corp.test")
}

func perRecipient(t *testing.T, h Harness, u *Upstream) {
	c := head + "\r\nhello\r\n"
	if h.NeverDelays {
		out := deliver(t, h, u, scan(t, "R1", c, "a@corp.test", Refused, "b@corp.test"))
		want(t, out, "Accepted", "Failed/Recipient", "Accepted")
	} else {
		out := deliver(t, h, u, scan(t, "R1", c, "a@corp.test", Refused, Delayed, "b@corp.test"))
		want(t, out, "Accepted", "Failed/Recipient", "Deferred/Recipient", "Accepted")
	}
	arrived(t, h, u, sender, c, "a@corp.test", "b@corp.test")
	want(t, deliver(t, h, u, scan(t, "R2", c, Refused)), "Failed/Recipient")
	want(t, deliver(t, h, u, scan(t, "R3", c, "c@corp.test")), "Accepted")
}

func messageRefused(t *testing.T, h Harness, u *Upstream) {
	want(t, deliver(t, h, u, scan(t, "F1", head+"\r\nhello\r\n", "a@corp.test", "b@corp.test")), "Failed/Message")
	none(t, u)
}

func cutEarly(t *testing.T, h Harness, u *Upstream) {
	m := scan(t, "K1", head+"\r\n", "a@corp.test", "b@corp.test")
	m.Open, m.Size = large(h, 12<<20) // more than a kernel keeps for the sender
	want(t, deliver(t, h, u, m), "Deferred/Upstream")
	none(t, u)
}

func cutLate(t *testing.T, h Harness, u *Upstream) {
	to := []string{"a@corp.test", "b@corp.test"}
	if h.Separate { // the second waits then, and nothing of it was sent
		to = to[:1]
	}
	want(t, deliver(t, h, u, scan(t, "K2", head+"\r\nhello\r\n", to...)), "Unknown/Upstream")
	if n := len(u.Received(t)); n > 1 {
		t.Errorf("%d messages arrived: the transport tried again by itself", n)
	}
}

// stalls: Deliver ends with its context, and does not claim to know.
func stalls(t *testing.T, h Harness, u *Upstream) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		select {
		case <-u.Reached:
			cancel()
		case <-ctx.Done(): // it never came so far: the outcome says why
		}
	}()
	m := scan(t, "T1", head+"\r\nhello\r\n", "a@corp.test")
	out := u.Transport.Deliver(ctx, m)
	cancel()
	<-stop
	check(t, h, m, out)
	want(t, out, "Unknown/Upstream")
}

func wrongCredentials(t *testing.T, h Harness, u *Upstream) {
	for _, o := range deliver(t, h, u, scan(t, "W1", head+"\r\nhello\r\n", "a@corp.test", "b@corp.test")) {
		if o.Kind == upstream.Accepted || o.Kind == upstream.Unknown || o.Scope != upstream.ScopeUpstream {
			t.Errorf("%s/%s, want the upstream's scope, so that nothing bounces: %s", o.Kind, o.Scope, o)
		}
	}
	none(t, u)
}

// split: where some of the recipients wait, the next attempt is for them alone,
// whatever the header says.
func split(t *testing.T, h Harness, u *Upstream) {
	other, kind := Delayed, "Deferred/Recipient"
	if h.NeverDelays {
		other, kind = Refused, "Failed/Recipient"
	}
	c := "From: <mfp@copier.test>\r\nTo: <a@corp.test>, <" + other + ">\r\nCc: <b@corp.test>\r\n\r\nhello\r\n"
	want(t, deliver(t, h, u, scan(t, "V1", c, "a@corp.test", other)), "Accepted", kind)
	want(t, deliver(t, h, u, scan(t, "V1", c, other)), kind)
	want(t, deliver(t, h, u, scan(t, "V1", c, "b@corp.test")), "Accepted")
	all := u.Received(t)
	if len(all) != 2 {
		t.Fatalf("%d messages arrived, want 2", len(all))
	}
	for i, to := range []string{"a@corp.test", "b@corp.test"} {
		same(t, h, all[i], sender, c, to)
	}
}

// subset: on a retry the recipients are those that are pending still, whatever the
// header says; what another attempt had makes no difference.
func subset(t *testing.T, h Harness, u *Upstream) {
	c := "From: <mfp@copier.test>\r\nTo: A <a@corp.test>, <b@corp.test>\r\nCc: <c@corp.test>\r\n\r\nhello\r\n"
	attempts := [][]string{{"a@corp.test", "b@corp.test", "c@corp.test"}, {"b@corp.test"}, {"c@corp.test", "d@corp.test"}}
	for i, to := range attempts {
		want(t, deliver(t, h, u, scan(t, fmt.Sprintf("Z%d", i), c, to...)), "Accepted")
	}
	all := u.Received(t)
	if len(all) != len(attempts) {
		t.Fatalf("%d messages arrived, want %d", len(all), len(attempts))
	}
	for i, to := range attempts {
		same(t, h, all[i], sender, c, to...)
	}
}

func throttles(t *testing.T, h Harness, u *Upstream) {
	for _, o := range deliver(t, h, u, scan(t, "H1", head+"\r\nhello\r\n", "a@corp.test", "b@corp.test")) {
		if o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream {
			t.Errorf("%s/%s, want Deferred/Upstream: %s", o.Kind, o.Scope, o)
		}
		if h.RetryAfter && o.RetryIn <= 0 {
			t.Errorf("the upstream said how long to wait, the outcome does not: %s", o)
		}
	}
	none(t, u)
}

// expiredToken: a token that is refused is replaced, at once or at the next
// attempt, and nothing fails for it.
func expiredToken(t *testing.T, h Harness, u *Upstream) {
	c := head + "\r\nhello\r\n"
	for range 3 {
		out := deliver(t, h, u, scan(t, "Y1", c, "a@corp.test"))
		if out[0].Kind == upstream.Accepted {
			break
		}
		want(t, out, "Deferred/Upstream")
	}
	arrived(t, h, u, sender, c, "a@corp.test")
}

// utf8: an address that only SMTPUTF8 can carry goes as it is, or is refused.
func utf8(t *testing.T, h Harness, u *Upstream) {
	c := "From: <mfp@copier.test>\r\nTo: <jürgen@corp.test>\r\nSubject: grüße\r\n\r\nhello\r\n"
	m := scan(t, "U1", c, "jürgen@corp.test")
	m.UTF8 = true
	out := deliver(t, h, u, m)
	if h.UTF8 {
		want(t, out, "Accepted")
		arrived(t, h, u, sender, c, "jürgen@corp.test")
		return
	}
	if out[0].Kind != upstream.Failed {
		t.Errorf("%s", out[0])
	}
	none(t, u)
}

// Benchmark delivers a scan of 25 MB; its B/op says whether memory grows with
// the message.
func Benchmark(b *testing.B, u upstream.Transport) { benchmark(b, u, Harness{}) }

// BenchmarkAttached is Benchmark for a type that is Attached.
func BenchmarkAttached(b *testing.B, u upstream.Transport) { benchmark(b, u, Harness{Attached: true}) }

// BenchmarkLarge is BenchmarkAttached with a scan of at most large octets.
func BenchmarkLarge(b *testing.B, u upstream.Transport, large int) {
	benchmark(b, u, Harness{Attached: true, Large: large})
}

func benchmark(b *testing.B, u upstream.Transport, h Harness) {
	to, err := envelope.ParseAddress("a@corp.test")
	if err != nil {
		b.Fatal(err)
	}
	from, err := envelope.ParseAddress(sender)
	if err != nil {
		b.Fatal(err)
	}
	m := &upstream.Message{ID: "B1", Sender: from, Recipients: []envelope.Address{to}, MaxLine: 76}
	m.Open, m.Size = large(h, 25<<20)
	b.SetBytes(m.Size)
	b.ReportAllocs()
	for b.Loop() {
		if out := u.Deliver(b.Context(), m); out[0].Kind != upstream.Accepted {
			b.Fatal(out[0])
		}
	}
}
