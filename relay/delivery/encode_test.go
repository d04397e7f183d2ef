package delivery

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// sevenBit is a Transport to servers of which those for @old.example take no 8-bit
// text.
type sevenBit struct{ fake }

func (s *sevenBit) Deliver(ctx context.Context, m *upstream.Message) []upstream.Outcome {
	out := s.fake.Deliver(ctx, m)
	for i, to := range m.Recipients {
		if m.EightBit && to.Domain == "old.example" {
			out[i] = upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeMessage, Code: 554, Enhanced: "5.6.3", Text: "no 8BITMIME", Cause: upstream.ErrUnencoded}
		}
	}
	return out
}

// hasOld gives the Delivery such an upstream.
func (r *rig) hasOld(name string, s *plan.Sender) *sevenBit {
	f := &sevenBit{fake{answer: accepted}}
	r.upstreams[name] = &route{&plan.Upstream{Name: name, Sender: s}, f, &keyring{}}
	return f
}

const (
	eightBitHead = "From: mfp@copier.test\r\nTo: a@old.example\r\nSubject: scan\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
	eightBitBody = "Gr\xc3\xbc\xc3\x9fe\r\n"
)

func (r *rig) eightBit(id, head, body string, to ...string) (*queue.Message, queue.Attempt) {
	m := r.stored(id, head, body)
	m.EightBit = true
	a := queue.Attempt{Upstream: "out", Message: m, Number: 1}
	m.Recipients = nil
	for _, x := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: addr(x)})
		a.Recipients = append(a.Recipients, addr(x))
	}
	return m, a
}

// Only who could not be sent the message as it is is offered it encoded; what it has
// then, and how long it is, is told right, with a rewritten sender and without.
func TestEncodedForThoseWhoNeedIt(t *testing.T) {
	for name, sender := range map[string]*plan.Sender{"as it is": nil, "rewritten": {Domain: "scans.example", LocalPart: "scans", Rewrite: "Always"}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			f := r.hasOld("out", sender)
			_, a := r.eightBit("m1", eightBitHead, eightBitBody, "a@corp.example", "a@old.example", "b@corp.example", "b@old.example")
			for i, o := range r.Deliver(t.Context(), a) {
				if o.Kind != upstream.Accepted {
					t.Errorf("recipient %d: %s", i, o)
				}
			}
			got := f.all()
			if len(got) != 2 {
				t.Fatalf("offered %d times", len(got))
			}
			if !got[0].EightBit || !strings.HasSuffix(got[0].data, "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"+eightBitBody) {
				t.Errorf("first %q", got[0].data)
			}
			m := got[1]
			if m.EightBit || m.Size != int64(len(m.data)) || m.MaxLine > longestLine || len(m.Recipients) != 2 || m.Recipients[1].String() != "b@old.example" {
				t.Errorf("then %+v of %d octets", m.Message, len(m.data))
			}
			if !strings.HasSuffix(m.data, "\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n") || strings.Contains(m.data, "scans.example") != (sender != nil) {
				t.Errorf("then %q", m.data)
			}
		})
	}
}

// What cannot be encoded is refused in the server's words, with the reason.
func TestWhatCannotBeEncodedIsRefused(t *testing.T) {
	r := newRig(t)
	f := r.hasOld("out", nil)
	_, a := r.eightBit("m1", "From: mfp@copier.test\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n", "--b\r\n\r\n"+eightBitBody+"--b--\r\n", "a@old.example")
	o := r.Deliver(t.Context(), a)[0]
	if want := "no 8BITMIME; and it cannot be encoded: a signed or encrypted message, which would not be that any more"; o.Kind != upstream.Failed || o.Scope != upstream.ScopeMessage || o.Text != want {
		t.Errorf("%s, want %s", o, want)
	}
	if n := len(f.all()); n != 1 {
		t.Errorf("offered %d times", n)
	}
}

// A message whose body is larger than memory should hold is encoded as a stream.
func TestEncodedIsAStream(t *testing.T) {
	r := newRig(t)
	r.hasOld("out", nil)
	m, a := r.eightBit("m1", eightBitHead, strings.Repeat(strings.Repeat("\xc3\xbc", 400)+"\r\n", 5000), "a@old.example")
	p, err := r.prepare(t.Context(), r.upstreams["out"], a, encoded)
	if err != nil {
		t.Fatal(err)
	}
	open, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	buf := make([]byte, 4096)
	largest, all := 0, int64(0)
	for err == nil {
		var n int
		n, err = open.Read(buf)
		largest, all = max(largest, n), all+int64(n)
	}
	if !errors.Is(err, io.EOF) || all != p.Size || all < 2*m.Size || largest == 0 {
		t.Errorf("%v: %d octets of %d, stored %d", err, all, p.Size, m.Size)
	}
}
