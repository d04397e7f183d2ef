package queue

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// What a reply means is said wherever the reply is: in the log, the list, the
// message, the state of the upstream and the notification.
func TestWhatAReplyMeansIsSaid(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"].Type = "Postmark" // whose HTTP status says nothing
	inactive := upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeRecipient, Code: 422, Text: "ErrorCode 406: You tried to send to recipient(s) that have been marked as inactive."}
	const means = "Postmark no longer sends to this recipient"
	inBubble(t, s, func(r *rig) {
		r.up.say(func(a Attempt, _ envelope.Address) upstream.Outcome {
			if a.Message.DSNOf != "" {
				return ok
			}
			return inactive
		})
		id := r.send(message("x@corp.example")).ID
		if n := r.logged(`remedy="` + means); n != 1 {
			t.Errorf("%d lines of the log say it:\n%s", n, r.log.String())
		}
		n := r.noticed()
		if len(n) != 1 || !strings.HasPrefix(n[0].Recipients[0].Advice.Cause, means) {
			t.Fatalf("notifications %+v", n)
		}
		var b bytes.Buffer
		if _, err := WriteNotice(&b, n[0]); err != nil || !strings.Contains(b.String(), "Why:          "+means) {
			t.Errorf("%v in\n%s", err, b.String())
		}
		r.restart() // the records know only what the server said
		d, err := r.q.Show(id)
		if err != nil || !strings.HasPrefix(d.Remedy, means) || !strings.HasPrefix(d.Recipients[0].Remedy, means) {
			t.Errorf("%q, %+v, %v", d.Remedy, d.Recipients, err)
		}
	})
}

func TestWhatTheTroubleOfAnUpstreamMeansIsSaid(t *testing.T) {
	noToken := upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: "AUTH XOAUTH2: no token: AADSTS7000222: The provided client secret keys for app '0000' are expired."}
	for means, trouble := range map[string]upstream.Outcome{
		"the server does not take user name and password": badLogin,
		"the client secret has expired":                   noToken,
	} {
		t.Run(means, func(t *testing.T) { saysTheTrouble(t, trouble, means) })
	}
}

func saysTheTrouble(t *testing.T, trouble upstream.Outcome, means string) {
	t.Helper()
	inBubble(t, only(settings()), func(r *rig) {
		r.up.say(always(trouble))
		var first string
		for range breakerFailures {
			first = r.send(message("x@corp.example")).ID
		}
		r.pass(time.Second)
		st := r.q.Snapshot().Upstreams[0]
		if st.Circuit != "Open" || !strings.HasPrefix(st.Remedy, means) {
			t.Errorf("%+v", st)
		}
		for _, m := range []string{first, r.send(message("y@corp.example")).ID} { // tried, and waiting for the upstream
			d, err := r.q.Show(m)
			if err != nil || !strings.HasPrefix(d.Remedy, means) {
				t.Errorf("%s: %q, %q, %v", m, d.Reason, d.Remedy, err)
			}
		}
		if r.logged(`msg=circuit`) != 1 || r.logged(`remedy="`+means) < 2 {
			t.Errorf("log:\n%s", r.log.String())
		}
		held, err := r.q.Hold(context.Background(), Filter{IDs: []string{first}}, "wait")
		if err != nil || len(held) != 1 {
			t.Fatal(held, err)
		}
		if d, err := r.q.Show(first); err != nil || d.Remedy != "" {
			t.Errorf("held: %q, %v", d.Remedy, err)
		}
		r.up.say(always(ok))
		r.q.Probe("nobody")
		r.q.Probe("a") // the credential was mended: what waits goes now, not when its turn comes
		r.pass(time.Second)
		if st := r.q.Snapshot().Upstreams[0]; st.Circuit != "Closed" {
			t.Errorf("after a probe by hand: %+v", st)
		}
		r.q.Probe("a")
		r.pass(time.Hour)
		if st := r.q.Snapshot().Upstreams[0]; st.Remedy != "" || st.LastError != "" {
			t.Errorf("it works again: %+v", st)
		}
	})
}
