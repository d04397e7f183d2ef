package delivery

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/dkim"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// A device gives a provider no orders: not by which stream, not to whom, not that
// the message is dropped. What the upstream itself says there is put on top, and
// the signature below it holds.
func TestDevicesGiveNoOrders(t *testing.T) {
	const orders = "x-pm-message-stream: broadcasts\r\nX-PM-Tag: a\r\nX-Pm-Metadata-a: b\r\n c\r\nX-Mailgun-Drop-Message: yes\r\n" +
		"X-SMTPAPI: {\"to\":\r\n [\"victim@corp.example\"]}\r\nX-SMTPAPI : {}\r\n"
	const kept = "X-PM: mine\r\nX-Mailgunner: mine\r\nX-SMTPAPI-Not: mine\r\n"
	r := newRig(t)
	data := map[string][]byte{dkim.Ed25519Key: keyPEM(t, dkim.Ed25519Key)}
	r.hasKeys(data)
	f := r.signs("out", "copier.test", "Never")
	u := r.upstreams["out"].plan
	u.Reserved = []string{"X-PM-", "X-Mailgun-", "X-SMTPAPI"}
	u.Header = []plan.HeaderField{{Name: "X-PM-Message-Stream", Value: "scans"}}
	bare := r.has("bare", nil)
	r.upstreams["bare"].plan.Reserved = u.Reserved
	m := r.stored("A", orders+kept+head, body)
	for _, up := range []string{"out", "bare"} {
		r.attempt(up, m)
	}
	got, plain := f.all()[0].data, bare.all()[0].data
	if plain != kept+head+body || bare.all()[0].Size != int64(len(plain)) {
		t.Errorf("what leaves is\n%s", plain)
	}
	if !strings.HasPrefix(got, "X-PM-Message-Stream: scans\r\nDKIM-Signature: ") || !strings.HasSuffix(got, kept+head+body) {
		t.Errorf("what leaves is\n%s", got)
	}
	if s := signatures(t, data, got); len(s) != 1 || s[0] != "copier.test" {
		t.Errorf("signatures %q", s)
	}
	if low := strings.ToLower(got); strings.Contains(low, "broadcasts") || strings.Contains(low, "victim") || strings.Contains(low, "drop-message") {
		t.Errorf("an order is left in\n%s", got)
	}
}
