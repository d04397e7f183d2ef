// Package conformance is what every upstream type has to pass: the contract of
// relay/upstream as tests. A type's own tests give a Harness and call Run; what
// only that type has (TLS, time limits of a step) it tests itself.
//
// Only tests import it. It may import relay/smtpd and what that runs on, which hand
// a transport what clients sent, but not relay/delivery, which imports the types.
package conformance

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Fault is what is wrong with an upstream that a Harness starts.
type Fault uint8

// The faults. Nothing is wrong with None.
const (
	None             Fault = iota
	RefusesSome            // Refused is refused for good, Delayed for now
	RefusesMessage         // for good, for its content or size
	CutsEarly              // the connection breaks in the middle of the content
	CutsLate               // ... when the whole message is there, before a reply
	Stalls                 // no reply when the whole message is there
	WrongCredentials       // ours
	Throttles              // it is asked too often, or too much of it today
	ExpiresToken           // the token that the transport holds stops to be valid; another can be had
	Downgrades             // the way to it offers no TLS, or none that can be trusted
)

// The recipients that an upstream with RefusesSome does not take.
const (
	Refused = "refused@conformance.test"
	Delayed = "delayed@conformance.test"
)

// Harness starts upstreams of one type.
type Harness struct {
	// Start starts an upstream with a transport to it, both of which end with the
	// test.
	Start func(t *testing.T, f Fault) *Upstream
	// Faults are those that the type can meet, beside None.
	Faults []Fault
	// Secrets are values that no outcome may show.
	Secrets []string

	// Digest is of what a message says, for a type that translates it: what arrives
	// then has the same Digest. Such a type may refuse what it cannot carry. nil: of
	// the octets, and the type carries them all.
	Digest func(content io.Reader) ([sha256.Size]byte, error)
	// HeaderSender says that the type has no envelope sender of its own: it is the
	// header's From.
	HeaderSender bool
	// PlainAddresses says that the type cannot carry quoted local parts and address
	// literals; it has to refuse them.
	PlainAddresses bool
	// RetryAfter says that a Throttles upstream tells how long to wait.
	RetryAfter bool
	// Attached says that the type carries what is large as an attachment only, not as
	// a text of many megabytes.
	Attached bool
	// Large bounds the large mail of the suite, in octets; 0: its own sizes.
	Large int
	// NeverDelays says that the type has no answer that defers one recipient.
	NeverDelays bool
	// Separate says that the type sends to each recipient apart where the header
	// names none of them.
	Separate bool
	// UTF8 says that the type carries SMTPUTF8 addresses; otherwise it has to refuse them.
	UTF8 bool
}

// Upstream is one upstream under test.
type Upstream struct {
	Transport upstream.Transport
	// Received gives what the upstream took whole until now. It waits for what is
	// under way at its side.
	Received func(t *testing.T) []Received
	// Reached is closed when the upstream stalls.
	Reached <-chan struct{}
}

// Received is one message as it arrived, without what the type adds on top.
type Received struct {
	Sender     string // empty: <>
	Recipients []string
	Size       int64
	Sum        [sha256.Size]byte // of the content
}

// Read fills in what the content tells, and does not hold it.
func (r *Received) Read(content io.Reader) error {
	h := sha256.New()
	n, err := io.Copy(h, content)
	r.Size = n
	h.Sum(r.Sum[:0])
	return err
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range []struct {
		name  string
		fault Fault
		run   func(*testing.T, Harness, *Upstream)
	}{
		{"Content", None, content},
		{"EnvelopeAloneDecides", None, envelopeAlone},
		{"Addresses", None, addresses},
		{"NullSender", None, nullSender},
		{"Smuggling", None, smuggling},
		{"SmugglingByListener", None, smugglingByListener},
		{"BoundedMemory", None, boundedMemory},
		{"BrokenSource", None, brokenSource},
		{"AtOnce", None, atOnce},
		{"EndedContext", None, endedContext},
		{"Close", None, closeTransport},
		{"OutcomePerRecipient", RefusesSome, perRecipient},
		{"MessageRefused", RefusesMessage, messageRefused},
		{"CutEarly", CutsEarly, cutEarly},
		{"CutLate", CutsLate, cutLate},
		{"Stall", Stalls, stalls},
		{"WrongCredentials", WrongCredentials, wrongCredentials},
		{"Split", RefusesSome, split},
		{"Throttle", Throttles, throttles},
		{"ExpiredToken", ExpiresToken, expiredToken},
		{"Downgrade", Downgrades, wrongCredentials}, // the upstream's own trouble, and nothing is sent
		{"Subset", None, subset},
		{"UTF8", None, utf8},
	} {
		if c.fault != None && !slices.Contains(h.Faults, c.fault) {
			continue // the type cannot meet it
		}
		t.Run(c.name, func(t *testing.T) { c.run(t, h, h.Start(t, c.fault)) })
	}
}

// scan is Mail with an ID.
func scan(t *testing.T, id, content string, to ...string) *upstream.Message {
	t.Helper()
	m := Mail(t, content, to...)
	m.ID = id
	return m
}

// deliver makes one attempt and checks what holds of every result.
func deliver(t *testing.T, h Harness, u *Upstream, m *upstream.Message) []upstream.Outcome {
	t.Helper()
	out := u.Transport.Deliver(t.Context(), m)
	check(t, h, m, out)
	return out
}

func check(t *testing.T, h Harness, m *upstream.Message, out []upstream.Outcome) {
	t.Helper()
	if len(out) != len(m.Recipients) {
		t.Fatalf("%d outcomes for %d recipients", len(out), len(m.Recipients))
	}
	for i, o := range out {
		if o.Kind < upstream.Accepted || o.Kind > upstream.Unknown || o.Kind != upstream.Accepted && (o.Scope < upstream.ScopeRecipient || o.Scope > upstream.ScopeUpstream) {
			t.Fatalf("%s: an outcome that does not exist: %+v", m.Recipients[i], o)
		}
		if o.Text == "" || o.Remote == "" || strings.ContainsAny(o.Text, "\r\n\x00") {
			t.Errorf("%s: an outcome without words or remote, or of more than a line: %+v", m.Recipients[i], o)
		}
		for _, s := range h.Secrets {
			if strings.Contains(o.Text, s) || o.Cause != nil && strings.Contains(o.Cause.Error(), s) {
				t.Errorf("%s: a secret in %q (%v)", m.Recipients[i], o.Text, o.Cause)
			}
		}
	}
}

func want(t *testing.T, out []upstream.Outcome, kinds ...string) {
	t.Helper()
	for i, o := range out {
		if got := Kinds(out[i : i+1]); got != kinds[min(i, len(kinds)-1)] {
			t.Errorf("recipient %d: %s, want %s: %s", i, got, kinds[min(i, len(kinds)-1)], o)
		}
	}
}

// arrived checks that exactly one message arrived, and as it was sent.
func arrived(t *testing.T, h Harness, u *Upstream, from, content string, to ...string) {
	t.Helper()
	all := u.Received(t)
	for h.Separate && len(all) > 1 && all[0].Sum == all[1].Sum {
		all[1].Recipients = append(all[0].Recipients, all[1].Recipients...)
		all = all[1:]
	}
	if len(all) != 1 {
		t.Fatalf("%d messages arrived, want 1", len(all))
	}
	same(t, h, all[0], from, content, to...)
}

func same(t *testing.T, h Harness, r Received, from, content string, to ...string) {
	t.Helper()
	if r.Sender != from || fmt.Sprint(r.Recipients) != fmt.Sprint(to) {
		t.Errorf("envelope %q -> %q, want %q -> %q", r.Sender, r.Recipients, from, to)
	}
	if h.Digest == nil {
		if r.Size != int64(len(content)) || r.Sum != sha256.Sum256([]byte(content)) {
			t.Errorf("%d octets arrived that are not the %d sent", r.Size, len(content))
		}
		return
	}
	sum, err := h.Digest(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if r.Sum != sum {
		t.Errorf("what arrived says something else than what was sent:\n%.200q", content)
	}
}

// taken tells whether a message was accepted; one that the type cannot carry is
// refused for good, with a reason, and that is as good where it translates.
func taken(t *testing.T, h Harness, out []upstream.Outcome) bool {
	t.Helper()
	if h.Digest != nil && out[0].Kind == upstream.Failed && out[0].Scope == upstream.ScopeMessage {
		return false
	}
	want(t, out, "Accepted")
	return true
}

func none(t *testing.T, u *Upstream) {
	t.Helper()
	if all := u.Received(t); len(all) != 0 {
		t.Errorf("%d messages arrived, want none", len(all))
	}
}
