package queue

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestBouncesGoToWhomTheyMay(t *testing.T) {
	for _, c := range []struct {
		name   string
		bounce func(*plan.Bounce)
		change func(*Message)
		want   string
	}{
		{"the postmaster by default", nil, nil, "it@corp.example"},
		{"the sender that the rule covers", func(b *plan.Bounce) { b.To = "OriginalSender" }, nil, "scan@copier.corp.example"},
		{"not a sender that no rule covers", func(b *plan.Bounce) { b.To = "OriginalSender" }, func(m *Message) { m.SenderCovered = false }, "it@corp.example"},
		{"nobody", func(b *plan.Bounce) { b.To = "None" }, nil, ""},
		{"nobody for the null sender", nil, func(m *Message) { m.Sender = envelope.Address{} }, ""},
		{"nobody for the null sender, covered", func(b *plan.Bounce) { b.To = "OriginalSender" }, func(m *Message) { m.Sender = envelope.Address{} }, ""},
		{"nobody where there is no postmaster", func(b *plan.Bounce) { b.Postmaster = envelope.Address{} }, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settings()
			if c.bounce != nil {
				c.bounce(&s.Delivery.Bounce)
			}
			inBubble(t, s, func(r *rig) {
				r.up.say(always(noUser))
				m := message("x@other.example")
				if c.change != nil {
					c.change(m)
				}
				r.send(m)
				if c.want == "" {
					r.wantNotices()
				} else {
					r.wantNotices("failed " + c.want + " x@other.example")
				}
				r.wantState(m.ID, Failed) // kept in any case
			})
		})
	}
}

func TestNoDSNAboutADSN(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(noUser)) // the postmaster's mailbox too
		r.send(message("x@corp.example"))
		r.wantNotices("failed it@corp.example x@corp.example")
		p, err := r.q.List(Filter{State: Failed})
		if err != nil || len(p.Messages) != 2 {
			t.Fatalf("%+v %v", p, err)
		}
		r.up.say(always(greylisted)) // nor a warning about one
		if _, err := r.q.Retry(r.Context(), Filter{All: true}); err != nil {
			t.Fatal(err)
		}
		r.pass(10 * time.Hour)
		r.wantNotices("failed it@corp.example x@corp.example", "delayed it@corp.example x@corp.example")
	})
}

func TestTheNotificationIsAMessageOfItsOwn(t *testing.T) {
	s := settings()
	s.Delivery.Bounce.Upstream = "b"
	inBubble(t, s, func(r *rig) {
		r.up.say(func(_ Attempt, to envelope.Address) upstream.Outcome {
			if to.Local == "x" {
				return noUser
			}
			return ok
		})
		m := message("x@corp.example")
		r.send(m)
		a := r.up.attempts()
		if len(a) != 2 {
			t.Fatalf("attempts %v", a)
		}
		dsn := a[1]
		if dsn.String() != "b:it@corp.example" || !dsn.Message.Sender.IsNull() || dsn.Message.DSNOf != m.ID ||
			!strings.HasPrefix(dsn.Message.ID, m.ID+"-") || dsn.Message.Size == 0 || dsn.Message.HeaderSize == 0 {
			t.Errorf("%v %+v", dsn, dsn.Message)
		}
		n := r.noticed()[0]
		if n.From != addr("relay@copier.corp.example") || n.Hostname != "relay.corp.example" || n.Recipients[0].Attempts != 1 {
			t.Errorf("%+v", n)
		}
	})
}

func TestDelayWarningOnce(t *testing.T) {
	inBubble(t, only(settings()), func(r *rig) {
		r.up.say(func(_ Attempt, to envelope.Address) upstream.Outcome {
			if to.Local == "it" {
				return ok
			}
			return greylisted
		})
		r.send(message("x@corp.example", "y@corp.example"))
		r.pass(4*time.Hour - time.Second)
		r.wantNotices()
		r.pass(2 * time.Second)
		r.wantNotices("delayed it@corp.example x@corp.example,y@corp.example")
		if n := r.noticed()[0]; n.Until.Sub(n.Message.Arrived) != 5*24*time.Hour || n.Recipients[0].Outcome.Text != "greylisted" {
			t.Errorf("%+v", n)
		}
		r.restart()
		r.pass(48 * time.Hour)
		r.wantNotices("delayed it@corp.example x@corp.example,y@corp.example")
	})
	s := only(settings())
	s.Delivery.Warn = 0
	inBubble(t, s, func(r *rig) {
		r.up.say(always(greylisted))
		r.send(message("x@corp.example"))
		r.pass(48 * time.Hour)
		r.wantNotices()
	})
}

func TestExpiryFailsWithOneNotification(t *testing.T) {
	s := only(settings())
	s.Delivery.Warn = 0
	for _, o := range []upstream.Outcome{greylisted, down} {
		inBubble(t, s, func(r *rig) {
			r.up.say(func(_ Attempt, to envelope.Address) upstream.Outcome {
				if to.Local == "it" {
					return ok
				}
				return o
			})
			m := message("x@corp.example", "y@corp.example")
			r.send(m)
			r.pass(5*24*time.Hour - time.Minute)
			r.wantNotices()
			r.wantState(m.ID, Deferred)
			r.pass(10 * time.Minute)
			r.wantState(m.ID, Failed)
			r.wantNotices("failed it@corp.example x@corp.example,y@corp.example")
			if text := r.noticed()[0].Recipients[0].Outcome.Text; !strings.Contains(text, "not accepted within 120h0m0s") || !strings.Contains(text, o.Text) {
				t.Errorf("the notification says %q", text)
			}
			before := len(r.tried())
			r.pass(24 * time.Hour)
			if n := len(r.tried()) - before; n != 0 {
				t.Errorf("%d attempts after it was given up", n)
			}
		})
	}
}

// Messages that were never tried expire too, while their upstream is down.
func TestExpiryBehindAnOpenCircuit(t *testing.T) {
	s := only(settings())
	s.Delivery.Warn, s.Delivery.Expire = 0, time.Hour
	inBubble(t, s, func(r *rig) {
		r.up.say(always(down))
		for range 20 {
			r.send(message("x@corp.example"))
		}
		if n := len(r.tried()); n > breakerFailures {
			t.Fatalf("%d attempts", n)
		}
		r.pass(time.Hour + 10*time.Minute)
		p, err := r.q.List(Filter{State: Failed})
		if err != nil || len(p.Messages) < 20 {
			t.Errorf("%d failed, %v", len(p.Messages), err)
		}
		if n := len(r.noticed()); n != 20 {
			t.Errorf("%d notifications, want 20", n)
		}
	})
}

func TestRecipientsOfOneMomentShareANotification(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		var to []string
		for _, c := range "abcdefghijklmnopqrst" {
			to = append(to, string(c)+"@corp.example")
		}
		r.up.say(func(_ Attempt, to envelope.Address) upstream.Outcome {
			o := noUser
			o.Text = "no such user: " + to.String() // different words
			return o
		})
		r.send(message(to...))
		if n := r.noticed(); len(n) != 1 || len(n[0].Recipients) != 20 {
			t.Errorf("%d notifications", len(n))
		} else if n[0].Recipients[3].Outcome.Text != "no such user: d@corp.example" {
			t.Errorf("%+v", n[0].Recipients[3])
		}
		synctest.Wait()
	})
}
