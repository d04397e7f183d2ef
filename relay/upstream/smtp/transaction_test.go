package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

func pipelining(f *fake, on bool) {
	f.ext = []string{"8BITMIME", "SIZE 1000000"}
	if on {
		f.ext = append(f.ext, "PIPELINING")
	}
}

// both runs a test with a server that pipelines, and with one that does not.
func both(t *testing.T, test func(t *testing.T, on bool)) {
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprintf("pipelining=%v", on), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, on) })
		})
	}
}

func TestEachRecipientHasItsOutcome(t *testing.T) {
	both(t, func(t *testing.T, on bool) {
		f := &fake{answer: func(line string) string {
			switch line {
			case "RCPT TO:<unknown@corp.test>":
				return "550 5.1.1 no such user"
			case "RCPT TO:<grey@corp.test>":
				return "450 4.7.1 greylisted"
			}
			return ""
		}}
		pipelining(f, on)
		out := f.start(t).Deliver(t.Context(), message(t, text, "a@corp.test", "unknown@corp.test", "grey@corp.test", "b@corp.test"))
		if got, want := conformance.Kinds(out), "Accepted Failed/Recipient Deferred/Recipient Accepted"; got != want {
			t.Fatalf("%s, want %s: %v", got, want, out)
		}
		if out[1].Enhanced != "5.1.1" || out[1].Text != "no such user" || out[0].RemoteID != "4F2A" || out[0].Remote != "mx.test [pipe]" {
			t.Errorf("details are wrong: %+v", out)
		}
	})
}

func TestNoRecipientLeft(t *testing.T) {
	both(t, func(t *testing.T, on bool) {
		refuse := true
		f := &fake{answer: func(line string) string {
			if refuse && strings.HasPrefix(line, "RCPT") {
				return "550 5.1.1 no such user"
			}
			return ""
		}}
		pipelining(f, on)
		tr := f.start(t)
		if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != "Failed/Recipient" {
			t.Fatalf("got %s", got)
		}
		// The server answered 354 to the pipelined DATA: it gets a lone dot, never
		// the message, and the connection goes on.
		_, data, _, _ := f.seen()
		if on && (len(data) != 1 || data[0] != ".\r\n") {
			t.Errorf("the server got %q, want a lone dot", data)
		}
		refuse = false
		if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != "Accepted" {
			t.Errorf("the next message: %s", got)
		}
		if _, _, _, dials := f.seen(); dials != 1 {
			t.Errorf("%d connections, want 1", dials)
		}
	})
}

func TestMailRefusedIsNotTheRecipientsFault(t *testing.T) {
	both(t, func(t *testing.T, on bool) {
		for _, c := range []struct{ reply, data, want string }{
			{"550 5.1.8 sender unknown", "503 5.5.1 no MAIL", "Failed/Message Failed/Message"},
			{"451 4.3.0 try later", "354 go ahead", "Deferred/Upstream Deferred/Upstream"},
			{"535 5.7.8 authentication required", cut, "Failed/Upstream Failed/Upstream"},
		} {
			refuse := true
			f := &fake{answer: func(line string) string {
				switch {
				case !refuse:
				case strings.HasPrefix(line, "MAIL"):
					return c.reply
				case strings.HasPrefix(line, "RCPT"):
					return "503 5.5.1 no MAIL"
				case line == "DATA":
					return c.data
				}
				return ""
			}}
			pipelining(f, on)
			tr := f.start(t)
			if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text, "a@corp.test", "b@corp.test"))); got != c.want {
				t.Errorf("%s: got %s, want %s", c.reply, got, c.want)
			}
			if _, data, _, _ := f.seen(); len(data) > 1 || len(data) == 1 && data[0] != ".\r\n" {
				t.Errorf("%s: the server got %q", c.reply, data)
			}
			refuse = false
			if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != "Accepted" {
				t.Errorf("%s: the next message: %s", c.reply, got)
			}
		}
	})
}

// 452 4.5.3: the rest goes at once, and those that were taken do not go twice,
// also where the connection breaks in between.
func TestTooManyRecipientsAreSplit(t *testing.T) {
	to := []string{"a@corp.test", "b@corp.test", "c@corp.test", "d@corp.test", "e@corp.test"}
	for _, reply := range []string{"452 4.5.3 too many", "452 too many", "552 too many"} {
		both(t, func(t *testing.T, on bool) {
			n := 0
			f := &fake{answer: func(line string) string {
				switch verb, _, _ := strings.Cut(line, " "); verb {
				case "MAIL":
					n = 0
				case "RCPT":
					if n++; n > 2 {
						return reply
					}
				}
				return ""
			}}
			pipelining(f, on)
			tr := f.start(t)
			if got, want := conformance.Kinds(tr.Deliver(t.Context(), message(t, text, to...))), strings.TrimSpace(strings.Repeat("Accepted ", 5)); got != want {
				t.Errorf("got %s", got)
			}
			if _, data, _, dials := f.seen(); len(data) != 3 || dials != 1 {
				t.Errorf("%d transactions on %d connections, want 3 on 1", len(data), dials)
			}
		})
	}
}

func TestBrokenBetweenTheTransactionsOfOneMessage(t *testing.T) {
	both(t, func(t *testing.T, on bool) {
		mails := 0
		f := &fake{answer: func(line string) string {
			switch {
			case strings.HasPrefix(line, "MAIL"):
				if mails++; mails == 3 {
					return cut
				}
			case line == "RCPT TO:<b@corp.test>":
				return "452 4.5.3 too many"
			}
			return ""
		}}
		pipelining(f, on)
		tr := f.start(t)
		tr.Deliver(t.Context(), message(t, text)) // so that the next one finds a used connection
		if got, want := conformance.Kinds(tr.Deliver(t.Context(), message(t, text, "a@corp.test", "b@corp.test"))), "Accepted Deferred/Upstream"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if _, data, _, _ := f.seen(); len(data) != 2 {
			t.Errorf("the server has %d messages, want 2: the one of a@corp.test must not go twice", len(data))
		}
	})
}

func TestMailboxFullIsNotTooMany(t *testing.T) {
	both(t, func(t *testing.T, on bool) {
		f := &fake{answer: func(line string) string {
			if line == "RCPT TO:<full@corp.test>" {
				return "452 4.2.2 mailbox full"
			}
			return ""
		}}
		pipelining(f, on)
		if got := conformance.Kinds(f.start(t).Deliver(t.Context(), message(t, text, "a@corp.test", "full@corp.test"))); got != "Accepted Deferred/Recipient" {
			t.Errorf("got %s", got)
		}
		if _, data, _, _ := f.seen(); len(data) != 1 {
			t.Errorf("%d transactions, want 1", len(data))
		}
	})
}

// What is said, or not said, after the final dot.
func TestAfterTheFinalDot(t *testing.T) {
	for _, c := range []struct{ answer, want string }{
		{"", "Accepted"},
		{cut, "Unknown/Upstream"},
		{stall, "Unknown/Upstream"},
		{"Hello?", "Unknown/Upstream"},
		{"250-a\r\n550 b", "Unknown/Upstream"},
		{"354 more", "Unknown/Upstream"},
		{"250" + strings.Repeat(" long", 2000), "Unknown/Upstream"},
		{strings.Repeat("250-line\r\n", 200) + "250 end", "Unknown/Upstream"},
		{"421 4.3.2 shutting down", "Deferred/Upstream"},
		{"451 4.3.0 disk", "Deferred/Upstream"},
		{"451 4.7.1 greylisted", "Deferred/Recipient"},
		{"554 5.7.1 looks like spam", "Failed/Message"},
		{"552 5.3.4 too big", "Failed/Message"},
	} {
		both(t, func(t *testing.T, on bool) {
			f := &fake{answer: func(line string) string {
				if line == "." {
					return c.answer
				}
				return ""
			}}
			pipelining(f, on)
			began := time.Now()
			if got := conformance.Kinds(f.start(t).Deliver(t.Context(), message(t, text))); got != c.want {
				t.Errorf("%.20q: got %s, want %s", c.answer, got, c.want)
			}
			if took := time.Since(began); c.answer == stall && took != 10*time.Minute {
				t.Errorf("waited %v for the verdict, RFC 5321 4.5.3.2.6 wants 10 min", took)
			}
		})
	}
}

// A server that is silent at any step has its time, and the outcome says so.
func TestTimeLimits(t *testing.T) {
	for _, c := range []struct {
		at    string
		limit time.Duration // RFC 5321 4.5.3.2
	}{{"", 5 * time.Minute}, {"EHLO", 5 * time.Minute}, {"MAIL", 5 * time.Minute}, {"RCPT", 5 * time.Minute}, {"DATA", 2 * time.Minute}} {
		both(t, func(t *testing.T, on bool) {
			f := &fake{answer: func(line string) string {
				if verb, _, _ := strings.Cut(line, " "); verb == c.at {
					return stall
				}
				return ""
			}}
			pipelining(f, on)
			began := time.Now()
			out := f.start(t).Deliver(t.Context(), message(t, text))
			if conformance.Kinds(out) != "Deferred/Upstream" || !strings.Contains(out[0].Text, "in time") {
				t.Errorf("silent at %q: %s %s", c.at, conformance.Kinds(out), out[0].Text)
			}
			if took := time.Since(began); took != c.limit {
				t.Errorf("silent at %q: waited %v, want %v", c.at, took, c.limit)
			}
		})
	}
}

// A server that stops reading while it is sent a message.
func TestTimeLimitOfAWrite(t *testing.T) {
	for words, want := range map[string]string{
		cut:                 "Deferred/Upstream: sending the message: the server did not answer in time",
		"552 5.3.4 too big": "Failed/Message: too big", // it says why before it closes
		"250 ok":            "Deferred/Upstream: sending the message: the server did not answer in time",
	} {
		both(t, func(t *testing.T, on bool) {
			f := &fake{frozen: make(chan struct{}), lastWords: words}
			pipelining(f, on)
			tr := f.start(t)
			began := time.Now()
			out := tr.Deliver(t.Context(), message(t, text))
			close(f.frozen)
			if got := conformance.Kinds(out) + ": " + out[0].Text; got != want {
				t.Errorf("%s: got %s, want %s", words, got, want)
			}
			if took := time.Since(began); took < 3*time.Minute || took > 3*time.Minute+partingTime {
				t.Errorf("%s: waited %v, want 3 min", words, took)
			}
		})
	}
}

func TestCtxEndsEveryWait(t *testing.T) {
	for _, at := range []string{"", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		both(t, func(t *testing.T, on bool) {
			f := &fake{answer: func(line string) string {
				if verb, _, _ := strings.Cut(line, " "); verb == at {
					return stall
				}
				return ""
			}}
			pipelining(f, on)
			tr := f.start(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			out := tr.Deliver(ctx, message(t, text))
			want := "Deferred/Upstream"
			if at == "." {
				want = "Unknown/Upstream"
			}
			if conformance.Kinds(out) != want || time.Since(began) != time.Second {
				t.Errorf("silent at %q: %s after %v, want %s after 1 s", at, conformance.Kinds(out), time.Since(began), want)
			}
		})
	}
}

// A stored message that cannot be read to its end never gets its final dot.
func TestBrokenSource(t *testing.T) {
	spoilt := errors.New("checksum")
	for _, whole := range []int{0, 10, len(text), 200_000} {
		both(t, func(t *testing.T, on bool) {
			f := &fake{}
			pipelining(f, on)
			tr := f.start(t)
			m := message(t, text)
			m.Open = func() (io.ReadCloser, error) {
				good := strings.NewReader((text + strings.Repeat("x\r\n", whole))[:whole])
				return io.NopCloser(io.MultiReader(good, errReader{spoilt})), nil
			}
			out := tr.Deliver(t.Context(), m)
			if conformance.Kinds(out) != "Deferred/Message" || !errors.Is(out[0].Cause, spoilt) {
				t.Errorf("%d octets: %s, cause %v", whole, conformance.Kinds(out), out[0].Cause)
			}
			m.Open = func() (io.ReadCloser, error) { return nil, spoilt }
			if out := tr.Deliver(t.Context(), m); conformance.Kinds(out) != "Deferred/Message" || !errors.Is(out[0].Cause, spoilt) {
				t.Errorf("not to be opened: %s", conformance.Kinds(out))
			}
			tr.Close()
			f.wg.Wait()
			if _, data, _, _ := f.seen(); len(data) != 0 {
				t.Errorf("%d octets: the server took %q", whole, data)
			}
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// A server that talks out of turn could have its words taken for the verdict.
func TestAnswersThatNobodyAskedFor(t *testing.T) {
	both(t, func(t *testing.T, on bool) {
		f := &fake{answer: func(line string) string {
			if line == "DATA" {
				return "354 go ahead\r\n250 2.0.0 queued"
			}
			return ""
		}}
		pipelining(f, on)
		if got := conformance.Kinds(f.start(t).Deliver(t.Context(), message(t, text))); got != "Deferred/Upstream" {
			t.Errorf("got %s", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(line string) string {
			if line == "." {
				return "250 ok\r\n250 ok"
			}
			return ""
		}}
		tr := f.start(t)
		for range 2 {
			if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != "Accepted" {
				t.Errorf("got %s", got)
			}
		}
		if _, _, _, dials := f.seen(); dials != 2 {
			t.Errorf("%d connections: one that is out of step was used again", dials)
		}
	})
}

func TestRemoteID(t *testing.T) {
	for text, want := range map[string]string{
		"Ok: queued as 4F2A1B":           "4F2A1B",
		"OK id=1qX2-0003-Zz":             "1qX2-0003-Zz",
		"Ok 010201890abc-000000":         "010201890abc-000000",
		"Queued mail for delivery":       "",
		"message accepted as <abc@host>": "abc@host",
		"OK":                             "",
		"Message queued as":              "",
		"<x@y> [InternalId=1, Hostname=h] Queued mail for …": "",
	} {
		if got := remoteID(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

var _ upstream.Transport = (*Transport)(nil)
