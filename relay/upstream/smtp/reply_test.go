package smtp

import (
	"bufio"
	"fmt"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestReadReply(t *testing.T) {
	for in, want := range map[string]string{
		"250 ok\r\n":                         "250  ok",
		"250\r\n":                            "250  ",
		"250 ok\n":                           "250  ok",
		"250 2.1.0 ok\r\n":                   "250 2.1.0 ok",
		"250 5.1.0 ok\r\n":                   "250  5.1.0 ok", // of another class: part of the text
		"250 2.1 ok\r\n":                     "250  2.1 ok",
		"250 2.1.0000 ok\r\n":                "250  2.1.0000 ok",
		"550-5.1.1 no\r\n550 5.1.1 user\r\n": "550 5.1.1 no user",
		"550 5.1.1\r\n":                      "550 5.1.1 ",
		"550 a\x1b[2Jb\x00\xff\r\n":          "550  a [2Jb ?",
		"354 go":                             "error: EOF",
		"250-a\r\n251 b\r\n":                 "error: the server's reply is no SMTP reply",
		"250+ok\r\n":                         "error: the server's reply is no SMTP reply",
		"25 ok\r\n":                          "error: the server's reply is no SMTP reply",
		"150 ok\r\n":                         "error: the server's reply is no SMTP reply",
		"650 ok\r\n":                         "error: the server's reply is no SMTP reply",
		"\r\n":                               "error: the server's reply is no SMTP reply",
	} {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(in), maxReplyLine))
		got := fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 no\r\n", "250", "\n\n", "250-\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(string(in)), maxReplyLine))
		if err != nil {
			return
		}
		if r.Code < 200 || r.Code > 599 || len(r.Text) > maxReplyText || len(r.Lines) == 0 || len(r.Lines) > maxReplyLines {
			t.Errorf("%q: %+v", in, r)
		}
		if strings.ContainsFunc(r.Text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			t.Errorf("%q: a control character in %q", in, r.Text)
		}
		for s := stepMail; s <= stepEnd; s++ {
			o := classify(s, r)
			if o.Kind != upstream.Deferred && o.Kind != upstream.Failed || o.Scope < upstream.ScopeRecipient || o.Scope > upstream.ScopeUpstream {
				t.Errorf("%q at %s: %+v", in, s, o)
			}
			if o.Kind == upstream.Failed && r.Code/100 != 5 {
				t.Errorf("%q at %s: failed for ever by %d", in, s, r.Code)
			}
		}
	})
}

func TestClassify(t *testing.T) {
	const (
		recipient = upstream.ScopeRecipient
		mail      = upstream.ScopeMessage
		system    = upstream.ScopeUpstream
		deferred  = upstream.Deferred
		failed    = upstream.Failed
	)
	for _, c := range []struct {
		at    step
		reply string
		kind  upstream.Kind
		scope upstream.Scope
	}{
		// The server's own trouble, whatever it was asked.
		{stepMail, "421 4.3.2 busy", deferred, system},
		{stepRcpt, "421 4.7.0 too many", deferred, system},
		{stepEnd, "421 4.3.0 going down", deferred, system},
		{stepMail, "451 4.3.0 disk", deferred, system},
		{stepMail, "452 4.3.1 no space", deferred, system},
		{stepRcpt, "451 4.3.5 misconfigured", deferred, system},
		{stepEnd, "452 4.3.1 no space", deferred, system},
		{stepEnd, "554 5.3.5 misconfigured", failed, system},
		{stepEnd, "451 4.4.1 no way on", deferred, system},
		{stepEnd, "554 5.4.6 mail loop", failed, mail}, // of this message: no reason to stop the others
		{stepData, "451 try later", deferred, system},
		{stepData, "554 5.5.1 no", failed, system},
		{stepMail, "503 5.5.1 out of step", failed, system},
		{stepMail, "555 5.5.4 no such parameter", failed, system},
		{stepRcpt, "500 what", failed, system},
		{stepMail, "250 fine", deferred, system}, // no refusal: it does not follow the protocol
		{stepData, "250 fine", deferred, system},
		// Credentials, permission and quota.
		{stepMail, "530 5.7.0 STARTTLS first", failed, system},
		{stepMail, "530 5.7.57 not authenticated", failed, system},
		{stepMail, "550 5.7.0 log in", failed, system},
		{stepRcpt, "530 5.7.0 AUTH first", failed, system},
		{stepRcpt, "535 5.7.139 disabled by policy", failed, system},
		{stepMail, "550 5.7.30 Basic authentication is gone", failed, system},
		{stepEnd, "550 5.7.64 no connector", failed, system},
		{stepRcpt, "550 5.7.68 no direct send", failed, system},
		{stepRcpt, "550 5.7.708 traffic not accepted from this IP", failed, system},
		{stepRcpt, "550 5.7.606 banned sending IP", failed, system},
		{stepRcpt, "550 5.7.649 banned sending IP", failed, system},
		{stepRcpt, "550 5.7.605 another", failed, recipient},
		{stepRcpt, "550 5.7.650 another", failed, recipient},
		{stepEnd, "550 5.7.705 tenant has exceeded threshold", failed, system},
		{stepEnd, "550 5.7.750 unregistered domains", failed, system},
		{stepEnd, "550 5.1.90 you've reached your daily limit for message recipients", failed, system},
		{stepEnd, "550 5.7.233 tenant has exceeded its daily limit for external recipients", failed, system},
		{stepEnd, "550 5.1.8 Access denied, bad outbound sender AS(42004)", failed, system},
		{stepRcpt, "550 5.1.8 sender's domain does not exist", failed, recipient},
		{stepEnd, "432 4.3.2 too many connections", deferred, system},
		{stepEnd, "454 sending rate exceeded", deferred, system},
		{stepMail, "450 4.7.1 slow down", deferred, system},
		// The sender is the message's own.
		{stepMail, "550 5.1.8 unknown domain", failed, mail},
		{stepMail, "553 5.1.7 syntax", failed, mail},
		{stepMail, "553 5.7.1 not your address", failed, mail},
		{stepMail, "550 not you", failed, mail},
		{stepMail, "450 4.1.8 domain does not resolve now", deferred, recipient},
		{stepMail, "550 5.7.60 may not send as", failed, mail},
		// Its size.
		{stepMail, "552 5.3.4 too big", failed, mail},
		{stepMail, "552 too big", failed, mail},
		{stepRcpt, "552 5.3.4 too big", failed, mail},
		{stepData, "552 5.3.4 too big", failed, mail},
		{stepEnd, "552 too big", failed, mail},
		// One mailbox.
		{stepRcpt, "550 5.1.1 no such user", failed, recipient},
		{stepRcpt, "550 no such user", failed, recipient},
		{stepRcpt, "552 5.2.2 full", failed, recipient},
		{stepRcpt, "452 4.2.2 full", deferred, recipient},
		{stepRcpt, "450 4.7.1 greylisted", deferred, recipient},
		{stepRcpt, "554 5.7.1 relay access denied", failed, recipient},
		{stepRcpt, "450 4.4.1 host is down", deferred, recipient},
		{stepRcpt, "553 5.6.7 needs SMTPUTF8", failed, recipient},
		// The content.
		{stepEnd, "554 5.7.1 spam", failed, mail},
		{stepEnd, "552 5.7.0 blocked attachment", failed, mail},
		{stepEnd, "554 5.6.0 malformed", failed, mail},
		{stepEnd, "550 no", failed, mail},
		{stepEnd, "554 Message rejected: Email address is not verified", deferred, mail},
		{stepEnd, "550 The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.", deferred, mail},
		{stepMail, "550 5.7.1 The 'From' address you supplied is not a Sender Signature on your account", deferred, mail},
		{stepMail, "553 5.6.7 needs SMTPUTF8", failed, mail},
		{stepEnd, "451 4.7.1 greylisted", deferred, recipient},
		{stepEnd, "450 later", deferred, recipient},
	} {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(c.reply+"\r\n"), maxReplyLine))
		if err != nil {
			t.Fatal(err)
		}
		if o := classify(c.at, r); o.Kind != c.kind || o.Scope != c.scope || o.Code != r.Code || o.Enhanced != r.Enhanced || o.Text != r.Text {
			t.Errorf("%s at %s: %s/%s, want %s/%s", c.reply, c.at, o.Kind, o.Scope, c.kind, c.scope)
		}
	}
}
