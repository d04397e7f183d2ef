package queue

import (
	"bytes"
	"io"
	"net/mail"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestTheNotificationThatIsSent(t *testing.T) {
	t.Run("subjects=Keep", func(t *testing.T) { theNotificationThatIsSent(t, true) })
	t.Run("subjects=Omit", func(t *testing.T) { theNotificationThatIsSent(t, false) })
}

func theNotificationThatIsSent(t *testing.T, subjects bool) {
	t.Helper()
	s, subject := settings(), "\r\nSubject: scan\r\n"
	if s.Subjects = subjects; !subjects {
		subject = "\r\nSubject: [omitted: history.subjects is not Keep]\r\n"
	}
	inBubble(t, s, func(r *rig) {
		r.stop()
		r.options = func(o *Options) { o.Notice = nil }
		r.start()
		var sent []byte
		r.up.say(func(a Attempt, to envelope.Address) upstream.Outcome {
			if a.Message.DSNOf == "" {
				o := noUser
				o.Remote = "mx.corp.example [192.0.2.1]:25"
				return o
			}
			rc, err := r.sp.Body(a.Message.ID)
			if err != nil {
				t.Error(err)
				return ok
			}
			defer rc.Close()
			sent, err = io.ReadAll(rc)
			if err != nil || int64(len(sent)) != a.Message.Size {
				t.Errorf("%d octets, Size %d, %v", len(sent), a.Message.Size, err)
			}
			if h := a.Message.HeaderSize; h < 4 || string(sent[h-4:h]) != "\r\n\r\n" {
				t.Errorf("HeaderSize %d", h)
			}
			longest := 0
			for l := range bytes.SplitSeq(sent, []byte("\r\n")) {
				longest = max(longest, len(l))
			}
			if a.Message.MaxLine != longest {
				t.Errorf("MaxLine %d, want %d", a.Message.MaxLine, longest)
			}
			return ok
		})
		m := message("x@corp.example")
		m.HeaderSize = int64(len("Subject: scan\r\n\r\n"))
		m.Recipients[0].Original = addr("x@old.example")
		r.send(m)
		p, err := mail.ReadMessage(bytes.NewReader(sent))
		if err != nil {
			t.Fatalf("%v in %q", err, sent)
		}
		body, err := io.ReadAll(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		if p.Header.Get("To") != "<it@corp.example>" || !strings.Contains(p.Header.Get("From"), "relay@copier.corp.example") {
			t.Errorf("%v", p.Header)
		}
		for _, want := range []string{
			"no such user", "Final-Recipient: rfc822; x@corp.example", "Original-Recipient: rfc822; x@old.example", "Status: 5.1.1",
			m.ID, "10.20.3.7", subject,
		} {
			if !strings.Contains(string(body), want) {
				t.Errorf("the notification lacks %q:\n%s", want, body)
			}
		}
		if !subjects && strings.Contains(string(body), "Subject: scan") {
			t.Error("the notification tells the subject")
		}
		if strings.Contains(string(body), "page") {
			t.Error("the notification gives the body back")
		}
		r.wantState(m.ID, Failed)
	})
}
