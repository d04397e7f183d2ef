package queue

import (
	"bytes"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// A digest lists some of each cause, and counts the rest.
func TestCausesOfADigest(t *testing.T) {
	notice := func(o upstream.Outcome, delayed bool) *Notice {
		return &Notice{Delayed: delayed, Message: message("x@corp.example"), Recipients: []NoticeRecipient{{Outcome: o}}}
	}
	var c causes
	for i := range 300 {
		c.add(notice(greylisted, true))
		c.add(notice(noUser, false))
		if i%3 == 0 {
			c.add(notice(tooLarge, false))
		}
	}
	c.add(notice(brokeOff, false))
	var got []string
	for _, d := range c.listed() {
		got = append(got, fmt.Sprint(d.Delayed, d.Count, len(d.Notices)))
	}
	if want := []string{"false 300 49", "false 100 25", "false 1 1", "true 300 25"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c = causes{}
	for i := range 1000 {
		o := noUser
		o.Code = 200 + i
		c.add(notice(o, i%2 == 0))
	}
	n := 0
	for _, d := range c.listed() {
		n += d.Count
		if d.Mixed != (d.Count > 1) {
			t.Errorf("of reasons that differ: %v, of %d", d.Mixed, d.Count)
		}
	}
	if len(c.all) > 20 || n != 1000 {
		t.Errorf("%d causes of %d", len(c.all), n)
	}
}

// TestTheMailsAboutFailures reads what the postmaster gets, as a mail program does.
func TestTheMailsAboutFailures(t *testing.T) {
	const scan = "From: scan@copier.corp.example\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nsee there\r\n--x\r\n" +
		"Content-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''R%C3%BCckgabe.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--x--\r\n"
	for _, subjects := range []bool{false, true} {
		s := perHour(1)
		s.Subjects, s.History, s.Console = subjects, true, "https://printers.corp.example/console/relays/ns/office/"
		inBubble(t, s, func(r *rig) {
			r.stop()
			r.options = func(o *Options) { o.Notice, o.Digest = nil, nil }
			r.start()
			var mails [][]byte
			r.up.say(func(a Attempt, _ envelope.Address) upstream.Outcome {
				if a.Message.DSNOf == "" {
					return noUser
				}
				b := r.sent(a)
				if int64(len(b)) != a.Message.Size || !a.Message.Sender.IsNull() {
					t.Errorf("%d octets of %d, from %s", len(b), a.Message.Size, a.Message.Sender)
				}
				if h := a.Message.HeaderSize; h < 4 || string(b[h-4:h]) != "\r\n\r\n" {
					t.Errorf("header of %d octets", h)
				}
				mails = append(mails, b)
				return ok
			})
			var ids []string
			for range 3 {
				m := message("gone@corp.example")
				m.Subject, m.HeaderSize = "Invoice", int64(strings.Index(scan, "\r\n\r\n")+4)
				r.sendBody(m, scan)
				ids = append(ids, m.ID)
			}
			r.pass(2 * time.Hour)
			if len(mails) != 2 {
				t.Fatalf("%d mails", len(mails))
			}
			for i, b := range mails {
				m, err := mail.ReadMessage(bytes.NewReader(b))
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(m.Header.Get("Auto-Submitted"), "auto-") || m.Header.Get("To") != "<it@corp.example>" {
					t.Errorf("%v", m.Header)
				}
				text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(string(text), "Rückgabe.pdf") != subjects || strings.Contains(string(text), "Invoice") != subjects {
					t.Errorf("subjects %v, and it says\n%s", subjects, text)
				}
				want := []string{"mfp [10.20.3.7]", "gone@corp.example", "no such user", "correct the address"}
				if i == 0 {
					want = append(want, ids[0], "https://printers.corp.example/console/relays/ns/office/messages/"+ids[0])
				} else {
					want = append(want, ids[1], ids[2], "https://printers.corp.example/console/relays/ns/office/messages?client=10.20.3.7", "retry --client 10.20.3.7 --status failed")
				}
				for _, w := range want {
					if !strings.Contains(string(text), w) {
						t.Errorf("mail %d lacks %q:\n%s", i, w, text)
					}
				}
			}
			if m := strings.Count(string(mails[1]), "could not be sent"); m < 2 {
				t.Errorf("%s", mails[1])
			}
		})
	}
}
