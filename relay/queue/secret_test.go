package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// A password that was typed as a device's sender stands in no notice, and in no line of
// the log, and nothing is sent to it.
func TestAPasswordAsSenderIsNotTold(t *testing.T) {
	s := perHour(1)
	s.Delivery.Bounce.To = "OriginalSender"
	inBubble(t, s, func(r *rig) {
		r.stop()
		r.options = func(o *Options) { o.Notice, o.Digest = nil, nil }
		r.start()
		var mails []string
		r.up.say(func(a Attempt, to envelope.Address) upstream.Outcome {
			if a.Message.DSNOf == "" {
				return noUser
			}
			mails = append(mails, to.String()+"\r\n"+string(r.sent(a)))
			return ok
		})
		for range 3 {
			m := message("gone@corp.example")
			m.Sender.Local, m.SenderSecret = "hunter2", true
			r.send(m)
		}
		r.pass(2 * time.Hour)
		if len(mails) != 2 {
			t.Fatalf("%d mails", len(mails))
		}
		for _, m := range mails {
			if !strings.HasPrefix(m, "it@corp.example\r\n") || strings.Contains(m, "hunter2") {
				t.Errorf("%s", m)
			}
		}
		for _, line := range []string{"msg=notification ", `msg="gathered for a digest" `, "msg=digest "} {
			if r.logged(line) == 0 {
				t.Errorf("the log has no %s", line)
			}
		}
		if r.logged("hunter2") > 0 {
			t.Errorf("the log says it:\n%s", &r.log)
		}
	})
}
