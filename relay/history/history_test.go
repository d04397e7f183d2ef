package history

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// A digest that tells of a message does not hide in the list why it failed, or is late.
func TestADigestIsNoReason(t *testing.T) {
	inWorld(t, month, func(w *world) {
		s := oneUpstream()
		s.Delivery.Bounce.PerHour, s.Delivery.Warn = 0, time.Minute
		s.Delivery.RetryFirst, s.Delivery.RetryMax = 12*time.Hour, 12*time.Hour // no answer comes behind the digest
		w.queue(s)
		w.answer = func(_ queue.Attempt, to envelope.Address) upstream.Outcome {
			if to == bert {
				return nobody
			}
			return tarry
		}
		failed, late := w.submit(message(bert)), w.submit(message(anna))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		for id, want := range map[string]string{failed: "told digest ", late: "warn digest "} {
			d := w.show(id)
			if !strings.Contains(story(d), want) {
				t.Errorf("no digest told of it:\n%s", story(d))
			}
			if o := map[string]upstream.Outcome{failed: nobody, late: tarry}[id]; d.Reply != words(o.Code, o.Enhanced, o.Text) {
				t.Errorf("the reason is %q, want %q", d.Reply, o.Text)
			}
		}
	})
}

func TestAMessageIsFollowedToItsEnd(t *testing.T) {
	inWorld(t, month, func(w *world) {
		w.queue(oneUpstream())
		tries := 0
		w.answer = func(a queue.Attempt, to envelope.Address) upstream.Outcome {
			if to == bert {
				return nobody
			}
			if tries++; tries == 1 {
				return tarry
			}
			return good
		}
		id := w.submit(message(anna, bert))
		synctest.Wait()
		d := w.show(id)
		if d.State != Deferred || d.FailedCount != 1 || d.Attempts != 1 || d.Client != "10.20.3.7" || d.User != "mfp-3" || d.HELO != "MFP3" || d.TLS != "1.2" ||
			d.Rule != "office/mfps" || d.Listener != "legacy" || d.Sender != scans.String() || d.MessageID != "<1@copier>" || d.Subject != "" || d.RecipientCount != 2 {
			w.Errorf("after the first attempt: %+v", d.Entry)
		}
		if d.Recipients[0].Status != "pending" || d.Recipients[1].Status != "failed" {
			w.Errorf("recipients: %+v", d.Recipients)
		}
		if r := d.Events[0].Results; len(r) != 2 || r[0].Next.IsZero() || r[0].Remote != tarry.Remote || r[1].Remedy != "correct the address" || r[0].Remedy != "" {
			w.Errorf("results: %+v", r)
		}
		ctx := queue.WithPerson(w.Context(), queue.Person{Name: "system:serviceaccount:ns:office-queue"})
		for _, verb := range []func() ([]string, error){
			func() ([]string, error) { return w.q.Hold(ctx, queue.Filter{IDs: []string{id}}, "a look first") },
			func() ([]string, error) { return w.q.Release(ctx, queue.Filter{IDs: []string{id}}) },
		} {
			time.Sleep(time.Second)
			if _, err := verb(); err != nil {
				w.Fatal(err)
			}
			synctest.Wait()
		}
		want := `attempt ses [Deferred pending 451 Greylisted, come back later anna@corp.example] [Failed failed 550 Nobody of that name here bert@other.example]
notification ID to <it@corp.example>
hold a look first system:serviceaccount:ns:office-queue
release system:serviceaccount:ns:office-queue
attempt ses [Accepted accepted 250 OK queued as 4711 anna@corp.example]
`
		d = w.show(id)
		notice := ""
		for _, x := range d.Events {
			if x.Event == "notification" {
				notice, _, _ = strings.Cut(x.Text, " ")
			}
		}
		if got := strings.Replace(story(d), notice, "ID", 1); got != want {
			w.Errorf("got\n%swant\n%s", got, want)
		}
		if d.State != Failed || d.AcceptedCount != 1 || d.FailedCount != 1 {
			w.Errorf("at its end: %+v", d.Entry)
		}
		n := w.show(notice)
		if n.NotificationOf != id || n.State != Accepted || n.Client != "" || n.Sender != "" {
			w.Errorf("the notification: %+v", n.Entry)
		}
		time.Sleep(2 * time.Hour) // keepFailed is over
		if d := w.show(id); d.State != Failed || d.Events[len(d.Events)-1].Event != "forgotten" {
			w.Errorf("after keepFailed: %+v\n%s", d.Entry, story(d))
		}
	})
}

func TestHowMessagesEnd(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer upstream.Outcome
		held   string
		do     func(w *world, f queue.Filter) ([]string, error)
		want   State
	}{
		{name: "accepted", answer: good, want: Accepted},
		{name: "failed", answer: nobody, want: Failed},
		{name: "removed", answer: tarry, do: func(w *world, f queue.Filter) ([]string, error) { return w.q.Remove(context.Background(), f) }, want: Removed},
		{name: "bounced", answer: tarry, do: func(w *world, f queue.Filter) ([]string, error) {
			return w.q.Bounce(context.Background(), f, "enough")
		}, want: Failed},
		{name: "lost", answer: tarry, do: func(w *world, f queue.Filter) ([]string, error) {
			if err := w.spool.Remove(f.IDs[0]); err != nil {
				return nil, err
			}
			time.Sleep(time.Hour) // it is tried again
			return nil, nil
		}, want: Lost},
		{name: "held", held: "the relay's intake is Hold", want: Held},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, month, func(w *world) {
				w.queue(oneUpstream())
				w.answer = func(queue.Attempt, envelope.Address) upstream.Outcome { return c.answer }
				m := message(anna)
				m.Held = c.held
				id := w.submit(m)
				synctest.Wait()
				if c.do != nil {
					if _, err := c.do(w, queue.Filter{IDs: []string{id}}); err != nil {
						w.Fatal(err)
					}
					synctest.Wait()
				}
				if d := w.show(id); d.State != c.want || c.held != "" && d.Reply != c.held {
					w.Errorf("%+v\n%s", d.Entry, story(d))
				}
				if len(w.list(Filter{State: c.want})) == 0 || len(w.list(Filter{State: Waiting})) != 0 {
					w.Error("it is not found by its state")
				}
			})
		})
	}
}

func TestWhatASearchFinds(t *testing.T) {
	inWorld(t, month, func(w *world) {
		w.queue(oneUpstream())
		w.answer = func(_ queue.Attempt, to envelope.Address) upstream.Outcome {
			if to == bert {
				return nobody
			}
			return good
		}
		begin := time.Now()
		a := w.submit(message(anna))
		time.Sleep(time.Hour)
		b := w.submit(message(bert))
		m := message(anna, envelope.Address{Local: "carl", Domain: "sub.corp.example"})
		m.Origin.Client = queue.Client{Addr: netip.MustParseAddr("2001:db8::7"), HELO: "HP"}
		m.Origin.Sender = envelope.Address{}
		m.MessageID = "<Other@hp>"
		c := w.submit(m)
		synctest.Wait()
		time.Sleep(time.Second)
		r := refused(netip.MustParseAddr("10.20.4.9"), "boss")
		w.s.Refused(r)
		synctest.Wait()
		all := w.list(Filter{})
		notice, refusal := "", ""
		for _, e := range all {
			if e.NotificationOf != "" {
				notice = e.ID
			}
			if e.Kind == Refusal {
				refusal = e.ID
			}
		}
		names := strings.NewReplacer(a, "a", notice, "notice", b, "b", c, "c", refusal, "refusal")
		for _, x := range []struct {
			name string
			f    Filter
			want string
		}{
			{"all", Filter{}, "refusal c notice b a"},
			{"since", Filter{Since: begin.Add(time.Minute)}, "refusal c notice b"},
			{"until", Filter{Until: begin.Add(time.Minute)}, "a"},
			{"since and until", Filter{Since: begin.Add(time.Minute), Until: begin.Add(2 * time.Minute)}, ""},
			{"client", Filter{Client: "10.20.3.7"}, "b a"},
			{"client's network", Filter{Client: "10.20.0.0/16"}, "refusal b a"},
			{"client, IPv6", Filter{Client: "2001:db8::/32"}, "c"},
			{"login", Filter{Client: "mfp-3"}, "b a"},
			{"HELO", Filter{Client: "mfp9"}, "refusal"},
			{"sender", Filter{Sender: "boss@corp.example"}, "refusal"},
			{"sender's domain", Filter{Sender: "copier.corp.example"}, "b a"},
			{"sender's domain in capitals", Filter{Sender: "Copier.Corp.Example"}, "b a"},
			{"null sender", Filter{Sender: "<>"}, "c notice"},
			{"recipient", Filter{Recipient: "anna@corp.example"}, "c a"},
			{"any recipient of several", Filter{Recipient: "carl@sub.corp.example"}, "c"},
			{"recipient's domain", Filter{Recipient: "corp.example"}, "c notice a"},
			{"recipient pattern", Filter{Recipient: "*@*.corp.example"}, "c"},
			{"upstream", Filter{Upstream: "ses"}, "c notice b a"},
			{"another upstream", Filter{Upstream: "other"}, ""},
			{"state", Filter{State: Failed}, "b"},
			{"refusals", Filter{State: Refused}, "refusal"},
			{"kind", Filter{Kind: Message}, "c notice b a"},
			{"kind refusal", Filter{Kind: Refusal}, "refusal"},
			{"a server's words", Filter{Text: "NOBODY of that"}, "b"},
			{"our own words", Filter{Text: "in none of its networks"}, "refusal"},
			{"queue ID", Filter{Text: a}, "a"},
			{"Message-ID", Filter{Text: "other@HP"}, "c"},
			{"an address", Filter{Text: "Anna@corp.example"}, "c a"},
			{"over the @ of one", Filter{Text: "rl@sub"}, "c"},
			{"a sender's", Filter{Text: "SS@CORP"}, "refusal"},
			{"from the @ on", Filter{Text: "@sub.corp"}, "c"},
			{"up to the @", Filter{Text: "boss@"}, "refusal"},
			{"two of them", Filter{Text: "a@b@c"}, ""},
			{"halves of two", Filter{Text: "carl@corp.example"}, ""},
			{"more than there is", Filter{Text: "boss@corp.example.org"}, ""},
			{"text and kind", Filter{Text: "anna@corp", Kind: Refusal}, ""},
			{"several at once", Filter{Recipient: "corp.example", Client: "10.20.3.7"}, "a"},
			{"no such text", Filter{Text: "payroll"}, ""},
		} {
			var ids []string
			for _, e := range w.list(x.f) {
				ids = append(ids, e.ID)
			}
			if got := names.Replace(strings.Join(ids, " ")); got != x.want {
				w.Errorf("%s: got %q, want %q", x.name, got, x.want)
			}
		}
		for _, f := range []Filter{{Client: "10.0.0.0/33"}, {Sender: "a b@c"}, {Recipient: "@"}, {State: "nowhere"}, {Kind: "thing"}, {Since: begin, Until: begin}} {
			if p, err := w.s.List(w.Context(), f); err == nil {
				w.Errorf("%+v: %+v", f, p)
			}
		}
		if _, err := w.s.Show(w.Context(), "none"); !errors.Is(err, ErrNotFound) {
			w.Error(err)
		}
	})
}

func TestPages(t *testing.T) {
	inWorld(t, month, func(w *world) {
		var want []string
		for i := range 25 {
			want = append([]string{w.arrive(i)}, want...)
			if i%5 == 0 {
				r := refused(copier, fmt.Sprint("x", i))
				w.s.Refused(r)
			}
			time.Sleep(time.Second)
		}
		var got []string
		f := Filter{Limit: 7}
		for pages := 0; ; pages++ {
			p, err := w.s.List(w.Context(), f)
			if err != nil || pages > 10 {
				w.Fatal(pages, err)
			}
			for _, e := range p.Entries {
				if e.Kind == Message {
					got = append(got, e.ID)
				}
			}
			if p.Next == "" {
				break
			}
			if len(p.Entries) != 7 {
				w.Errorf("a page of %d", len(p.Entries))
			}
			w.arrive(1000 + pages) // what comes meanwhile does not shift the pages
			f.Cursor = p.Next
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			w.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

func TestSubjectsAreKeptWhereTheyMayBe(t *testing.T) {
	for _, keep := range []bool{false, true} {
		set := month
		set.Subjects = keep
		inWorld(t, set, func(w *world) {
			id := w.arrive(1)
			if d := w.show(id); (d.Subject != "") != keep || len(w.list(Filter{Text: "payroll"})) > 0 != keep {
				w.Errorf("subjects kept %t: %q", keep, d.Subject)
			}
		})
	}
}

func TestBigMessagesAreBounded(t *testing.T) {
	inWorld(t, month, func(w *world) {
		w.queue(oneUpstream())
		w.answer = func(queue.Attempt, envelope.Address) upstream.Outcome {
			o := tarry
			o.Text = strings.Repeat("x", 4000)
			return o
		}
		var to []envelope.Address
		for i := range 1000 {
			to = append(to, envelope.Address{Local: fmt.Sprint("r", i), Domain: "corp.example"})
		}
		id := w.submit(message(to...))
		synctest.Wait()
		for range 100 {
			if _, err := w.q.Retry(w.Context(), queue.Filter{All: true}); err != nil {
				w.Fatal(err)
			}
			synctest.Wait()
		}
		d := w.show(id)
		if len(d.Recipients) != maxRecipients || d.RecipientCount != 1000 || len(d.Events) != firstEvents+lastEvents || d.EventsOmitted == 0 {
			w.Errorf("%d of %d recipients, %d events and %d", len(d.Recipients), d.RecipientCount, len(d.Events), d.EventsOmitted)
		}
		if e, err := w.s.db.Load().entry(messagesBucket, id); err != nil || len(e.appendTo(nil)) > 64<<10 {
			w.Errorf("%v: a record has %d octets", err, len(e.appendTo(nil)))
		}
		if d.Events[0].Number != 1 || d.Events[len(d.Events)-1].Number <= 50 {
			w.Errorf("kept are %d to %d", d.Events[0].Number, d.Events[len(d.Events)-1].Number)
		}
	})
}
