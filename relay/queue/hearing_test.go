package queue

import (
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// One mailbox is one, however a device spells it.
func TestSpellingsOfAMailboxAreOne(t *testing.T) {
	s := perHour(2)
	s.Delivery.Bounce.To = "OriginalSender"
	inBubble(t, s, func(r *rig) {
		r.up.say(deadAddress)
		for i := range 12 {
			m := message("gone@corp.example")
			m.Sender = []envelope.Address{addr("anna@corp.example"), addr("aNna@Corp.example"), addr("anna+1@corp.example")}[i%3]
			r.send(m)
		}
		m := message("gone@corp.example") // somebody else
		m.Sender = addr("annabel@corp.example")
		r.send(m)
		r.wantNotices("failed anna@corp.example gone@corp.example", "failed aNna@Corp.example gone@corp.example", "failed annabel@corp.example gone@corp.example")
		r.pass(2 * time.Hour)
		r.wantDigests("anna+1@corp.example: 10+0 of 10 after 2")
	})
}

func TestMailbox(t *testing.T) {
	for in, want := range map[string]string{
		"Anna@Corp.Example":       "anna@corp.example",
		"anna+x+y@corp.example":   "anna@corp.example",
		"+x@corp.example":         "+x@corp.example",
		"a.nna@corp.example":      "a.nna@corp.example",
		"anna@bücher.example":     "anna@xn--bcher-kva.example",
		"MAILER-DAEMON@a.example": "mailer-daemon@a.example",
	} {
		if got := mailbox(addr(in)); got.String() != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
