package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// inBubble runs f with a queue over a Delivery with the upstreams a, b and
// internal, each with an identity of its own. Mail to corp.example goes to
// internal, other mail to a, with b behind both.
func inBubble(t *testing.T, f func(r *rig, q *queue.Queue, up map[string]*fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		up := map[string]*fake{}
		s := queue.Settings{
			Relay: "ns/office", Hostname: "relay.test", Fallbacks: []string{"b"}, Upstreams: map[string]*plan.Upstream{},
			Routes: []plan.Route{{Name: "internal", RecipientDomains: []string{"corp.example"}, Upstream: "internal"}, {Upstream: "a"}},
		}
		for _, name := range []string{"a", "b", "internal"} {
			up[name] = r.has(name, &plan.Sender{Domain: name + ".example", LocalPart: "scans", Rewrite: "OutsideDomain"})
			s.Upstreams[name] = r.upstreams[name].plan
			s.Upstreams[name].Connections = 4
		}
		q := queue.New(r.Spool, queue.Options{Deliver: r, Settings: s, Capabilities: r.Capabilities})
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- q.Run(ctx) }()
		f(r, q, up)
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

// send submits a message and waits until all that can happen at once has.
func (r *rig) send(q *queue.Queue, id, body string, to ...string) {
	r.Helper()
	w, err := r.Spool.Create(id)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := w.Write([]byte(head + body)); err != nil {
		r.Fatal(err)
	}
	m := &queue.Message{ID: id, Origin: &queue.Origin{Sender: addr("mfp@copier.test")}, Size: int64(len(head + body)), HeaderSize: int64(len(head))}
	for _, a := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: addr(a)})
	}
	if _, err := q.Submit(w, m); err != nil {
		r.Fatal(err)
	}
	synctest.Wait()
}

// took is what an upstream got, as "queue ID sender -> recipients".
func took(f *fake) []string {
	var out []string
	for _, m := range f.all() {
		var to []string
		for _, a := range m.Recipients {
			to = append(to, a.String())
		}
		out = append(out, fmt.Sprintf("%s %s -> %s", m.ID, m.Sender, strings.Join(to, ",")))
	}
	return out
}

func want(t *testing.T, f *fake, lines ...string) {
	t.Helper()
	if got := took(f); !slices.Equal(got, lines) {
		t.Errorf("got %q, want %q", got, lines)
	}
}

func TestRoutesSplitAMessageByUpstreamAndIdentity(t *testing.T) {
	inBubble(t, func(r *rig, q *queue.Queue, up map[string]*fake) {
		r.send(q, "A", body, "x@corp.example", "y@else.example", "z@corp.example")
		want(t, up["internal"], "A scans@internal.example -> x@corp.example,z@corp.example")
		want(t, up["a"], "A scans@a.example -> y@else.example")
		want(t, up["b"])
		if u := r.Spool.Usage(); u.Entries != 0 {
			t.Errorf("%d entries are left", u.Entries)
		}
	})
}

func TestFallbackSendsTheOriginalUnderItsOwnIdentity(t *testing.T) {
	inBubble(t, func(r *rig, q *queue.Queue, up map[string]*fake) {
		up["a"].answer = upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeMessage, Code: 554, Text: "content"}
		r.send(q, "A", body, "y@else.example")
		want(t, up["a"], "A scans@a.example -> y@else.example")
		want(t, up["b"], "A scans@b.example -> y@else.example")
		if got := up["b"].all()[0].data; strings.Contains(got, "a.example>") || !strings.Contains(got, "<scans@b.example>") {
			t.Errorf("the fallback got the identity of another:\n%s", got)
		}
	})
}

func TestARecipientsOwnFailureDoesNotFallBack(t *testing.T) {
	inBubble(t, func(r *rig, q *queue.Queue, up map[string]*fake) {
		up["a"].answer = upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeRecipient, Code: 550, Text: "no such user"}
		r.send(q, "A", body, "y@else.example")
		want(t, up["a"], "A scans@a.example -> y@else.example")
		want(t, up["b"])
	})
}

func TestAMessageTooLargeForOneUpstreamGoesToTheNext(t *testing.T) {
	inBubble(t, func(r *rig, q *queue.Queue, up map[string]*fake) {
		up["a"].caps.MaxSize = 1000
		r.send(q, "A", strings.Repeat("0123456789\r\n", 200), "y@else.example")
		want(t, up["a"])
		want(t, up["b"], "A scans@b.example -> y@else.example")
		r.send(q, "B", body, "y@else.example")
		want(t, up["a"], "B scans@a.example -> y@else.example")
	})
}

func TestACircuitThatOpensSparesTheUpstreamAndCloses(t *testing.T) {
	inBubble(t, func(r *rig, q *queue.Queue, up map[string]*fake) {
		refused := upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: "connection refused"}
		up["a"].answer, up["b"].answer = refused, refused
		circuit := func(name string) string {
			time.Sleep(time.Second) // the snapshot may be as old
			for _, u := range q.Snapshot().Upstreams {
				if u.Name == name {
					return u.Circuit
				}
			}
			return ""
		}
		for i := range 10 {
			r.send(q, fmt.Sprintf("A%d", i), body, "y@else.example")
		}
		if got := circuit("a"); got != "Open" {
			t.Errorf("circuit %s after ten failures", got)
		}
		if n := len(up["a"].all()); n > 8 {
			t.Errorf("the upstream that is down was asked %d times by 10 messages", n)
		}
		r.send(q, "I", body, "x@corp.example")
		want(t, up["internal"], "I scans@internal.example -> x@corp.example") // the others do not wait for it
		up["a"].mu.Lock()
		up["a"].answer = accepted
		up["a"].mu.Unlock()
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if got := circuit("a"); got != "Closed" {
			t.Errorf("circuit %s after it works again", got)
		}
		if u := r.Spool.Usage(); u.Entries != 0 {
			t.Errorf("%d entries are left", u.Entries)
		}
	})
}
