package smtp

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

// On a connection that is up, a small message is one write for the envelope
// and one for the content with its final dot.
func TestAMessageIsTwoWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		tr := f.start(t)
		tr.Deliver(t.Context(), message(t, text))
		_, _, before, _ := f.seen()
		if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text, "a@corp.test", "b@corp.test"))); got != "Accepted Accepted" {
			t.Fatal(got)
		}
		if _, _, after, dials := f.seen(); after-before != 2 || dials != 1 {
			t.Errorf("%d writes on %d connections, want 2 on 1", after-before, dials)
		}
	})
}

// Replies that nobody reads fill the socket's buffers (RFC 2920 3.1): here
// they have none, so an endless group would be a deadlock.
func TestManyRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		var to []string
		for i := range 170 {
			to = append(to, fmt.Sprintf("user-%d@corp.test", i))
		}
		out := f.start(t).Deliver(t.Context(), message(t, text, to...))
		if got, want := conformance.Kinds(out), strings.TrimSpace(strings.Repeat("Accepted ", 170)); got != want {
			t.Errorf("got %s", got)
		}
		if commands, _, writes, _ := f.seen(); len(commands) != 173 || writes != 6 { // EHLO, 172 by 50, the message
			t.Errorf("%d commands in %d writes, want 173 in 6", len(commands), writes)
		}
	})
}

// An idle connection that the server closed is no failure of the upstream.
func TestStaleConnection(t *testing.T) {
	for _, words := range []string{cut, "421 4.4.2 idle for too long"} {
		both(t, func(t *testing.T, on bool) {
			mails := 0
			f := &fake{answer: func(line string) string {
				if strings.HasPrefix(line, "MAIL") {
					if mails++; mails == 2 {
						return words
					}
				}
				return ""
			}}
			pipelining(f, on)
			tr := f.start(t)
			for range 3 {
				if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != "Accepted" {
					t.Errorf("%s: %s", words, got)
				}
			}
			if _, data, _, dials := f.seen(); len(data) != 3 || dials != 2 {
				t.Errorf("%s: %d messages on %d connections, want 3 on 2", words, len(data), dials)
			}
		})
	}
}

// A new connection that is closed at MAIL is one, and is not tried for ever.
func TestClosedAtMail(t *testing.T) {
	for _, words := range []string{cut, "421 4.3.2 busy"} {
		both(t, func(t *testing.T, on bool) {
			f := &fake{answer: func(line string) string {
				if strings.HasPrefix(line, "MAIL") {
					return words
				}
				return ""
			}}
			pipelining(f, on)
			if got := conformance.Kinds(f.start(t).Deliver(t.Context(), message(t, text))); got != "Deferred/Upstream" {
				t.Errorf("%s: %s", words, got)
			}
			if _, _, _, dials := f.seen(); dials != 1 {
				t.Errorf("%s: %d connections, want 1", words, dials)
			}
		})
	}
}

// What is cut behind MAIL counts, also on a used connection: the server may
// have taken a recipient.
func TestCutBehindMailOnAUsedConnection(t *testing.T) {
	both(t, func(t *testing.T, on bool) {
		rcpts := 0
		f := &fake{answer: func(line string) string {
			if strings.HasPrefix(line, "RCPT") {
				if rcpts++; rcpts == 2 {
					return cut
				}
			}
			return ""
		}}
		pipelining(f, on)
		tr := f.start(t)
		tr.Deliver(t.Context(), message(t, text))
		if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != "Deferred/Upstream" {
			t.Error(got)
		}
	})
}

func TestIdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		tr := f.start(t, func(c *Config) { c.IdleTime = time.Minute })
		tr.Deliver(t.Context(), message(t, text))
		<-time.After(59 * time.Second)
		synctest.Wait()
		if idle(tr) != 1 {
			t.Fatalf("%d idle connections, want 1", idle(tr))
		}
		<-time.After(time.Second)
		synctest.Wait()
		commands, _, _, _ := f.seen()
		if idle(tr) != 0 || commands[len(commands)-1] != "QUIT" {
			t.Errorf("%d idle connections after a minute; last command %s", idle(tr), commands[len(commands)-1])
		}
	})
}

func idle(t *Transport) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.idle)
}

func TestBoundsOfThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		f := &fake{answer: func(line string) string {
			if line == "." {
				<-gate
			}
			return ""
		}}
		tr := f.start(t, func(c *Config) { c.MaxIdle = 2; c.MaxMessages = 3 })
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { tr.Deliver(t.Context(), message(t, text)) })
		}
		synctest.Wait()
		close(gate)
		wg.Wait()
		if _, _, _, dials := f.seen(); idle(tr) != 2 || dials != 5 {
			t.Errorf("%d of %d connections kept, want 2 of 5", idle(tr), dials)
		}
		for range 2 { // the third message of the one on top is its last
			tr.Deliver(t.Context(), message(t, text))
		}
		if idle(tr) != 1 {
			t.Errorf("%d connections kept, want 1: one has had its messages", idle(tr))
		}
		tr.Close()
		if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != "Accepted" {
			t.Errorf("a delivery that comes late: %s", got)
		}
		if idle(tr) != 0 {
			t.Error("a closed transport keeps a connection")
		}
	})
}

func TestFit(t *testing.T) {
	for _, c := range []struct {
		name string
		ext  []string
		m    func(*upstream.Message)
		want string
	}{
		{"fits", []string{"SIZE 100"}, func(m *upstream.Message) { m.Size = 100 }, "Accepted 250 2.0.0"},
		{"too large", []string{"SIZE 99"}, func(m *upstream.Message) { m.Size = 100 }, "Failed/Message 552 5.3.4 the message has 100 octets, the server takes 99"},
		{"SIZE without a figure", []string{"SIZE"}, func(m *upstream.Message) { m.Size = 1 << 40 }, "Accepted 250 2.0.0"},
		{"SIZE 0", []string{"SIZE 0"}, func(m *upstream.Message) { m.Size = 1 << 40 }, "Accepted 250 2.0.0"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{ext: c.ext}
			m := message(t, text)
			c.m(m)
			o := f.start(t).Deliver(t.Context(), m)[0]
			if got := fmt.Sprintf("%s %d %s %s", conformance.Kinds([]upstream.Outcome{o}), o.Code, o.Enhanced, o.Text); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
			if _, data, _, _ := f.seen(); len(data) != 0 && o.Kind != upstream.Accepted {
				t.Errorf("%s: it was sent all the same", c.name)
			}
		})
	}
}

// Where a transport has sessions with many servers, the one that was idle longest
// makes room, and none serves another server.
func TestTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		tr := f.start(t, func(c *Config) { c.MaxIdle = 2 })
		dials := map[string]int{}
		offer := func(key string) {
			t.Helper()
			to := &Target{Key: key, Host: key, TLS: plan.TLSNone, Dial: func(ctx context.Context) (net.Conn, error) {
				dials[key]++
				return f.dial(ctx, "", "")
			}}
			if out, err := tr.Offer(t.Context(), to, message(t, text)); err != nil || conformance.Kinds(out) != "Accepted" || out[0].Remote != key+" [pipe]" {
				t.Errorf("%s: %v, %v", key, out, err)
			}
			<-time.After(time.Second)
		}
		for _, key := range []string{"a", "b", "a", "c", "a", "c", "b", "b"} {
			offer(key)
		}
		if got := fmt.Sprint(dials); got != "map[a:1 b:2 c:1]" || idle(tr) != 2 {
			t.Errorf("%s connections, %d idle", got, idle(tr))
		}
	})
}

// The parameters of MAIL say what the message needs and the server has.
func TestMailParameters(t *testing.T) {
	all := []string{"SIZE 1000", "8BITMIME", "SMTPUTF8"}
	for _, c := range []struct {
		ext    []string
		change func(*upstream.Message)
		want   string
	}{
		{all, func(*upstream.Message) {}, "MAIL FROM:<mfp@copier.test> SIZE=61"},
		{all, func(m *upstream.Message) { m.EightBit = true }, "MAIL FROM:<mfp@copier.test> SIZE=61 BODY=8BITMIME"},
		{all, func(m *upstream.Message) { m.UTF8 = true }, "MAIL FROM:<mfp@copier.test> SIZE=61 SMTPUTF8"},
		{[]string{"HELP"}, func(*upstream.Message) {}, "MAIL FROM:<mfp@copier.test>"},
		{[]string{"HELP"}, func(m *upstream.Message) { m.Sender = envelope.Address{} }, "MAIL FROM:<>"},
		{[]string{"HELP"}, func(m *upstream.Message) { m.Sender = envelope.Address{Local: "a b", Domain: "corp.test"} }, `MAIL FROM:<"a b"@corp.test>`},
		{[]string{"HELP"}, func(m *upstream.Message) { m.Sender = envelope.Address{Local: "a", Domain: "bücher.test"} }, "MAIL FROM:<a@xn--bcher-kva.test>"},
		{all, func(m *upstream.Message) {
			m.Sender, m.UTF8 = envelope.Address{Local: "grün", Domain: "bücher.test"}, true
		}, "MAIL FROM:<grün@bücher.test> SIZE=61 SMTPUTF8"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{ext: c.ext}
			m := message(t, text)
			m.Size = 61
			c.change(m)
			if got := conformance.Kinds(f.start(t).Deliver(t.Context(), m)); got != "Accepted" {
				t.Fatal(got)
			}
			if commands, _, _, _ := f.seen(); commands[1] != c.want {
				t.Errorf("%s, want %s", commands[1], c.want)
			}
		})
	}
}
