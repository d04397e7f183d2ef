package dsn_test

import (
	"bytes"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/dsn"
)

// What a device calls itself, and whom it sends as, stands in the text on its line and
// nowhere else.
func TestHeld(t *testing.T) {
	at := time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		held    dsn.Held
		subject string
		lines   []string
	}{
		"a hold": {
			dsn.Held{Hold: "stolen", Reason: "ticket 4711", Count: 3, Device: "MFP3\r\nBcc: evil@evil.example\r\n\r\n\x1b[31m", Sender: "a\r\nb@copier.example", QueueID: "8DtmDtuJWXKRuj"},
			"Mail is held in default/office: hold stolen",
			[]string{"Reason:    ticket 4711", "Kept so far:  3, the first of them:", "    Device:    MFP3  Bcc: evil@evil.example     [31m", "    From:      <a  b@copier.example>", "What is held:  printer-relay queue list --held-by stolen"},
		},
		"an upstream": {
			dsn.Held{Upstream: "ses", Device: "MFP3 [10.20.9.66]", QueueID: "8DtmDtuJWXKRuj"},
			"Mail is held in default/office: upstream ses is suspended",
			[]string{
				"What is held:  printer-relay queue list --upstream ses", "Let it go:     set suspend: false of the MailUpstream, and it goes by itself",
				"By another:    printer-relay queue reroute --upstream ses --to UPSTREAM", "Give it up:    printer-relay queue bounce --upstream ses --reason WHY",
			},
		},
		"intake": {
			dsn.Held{Device: "MFP3 [10.20.9.66]", QueueID: "8DtmDtuJWXKRuj"},
			"Mail is held in default/office: intake is Hold",
			[]string{"Kept so far:  1, the first of them:", "    From:      <>", "What is held:  printer-relay queue list --held-by intake:Hold"},
		},
	} {
		h := tc.held
		h.ID, h.At, h.Arrived, h.Relay, h.Hostname, h.From, h.To = "id", at, at, "default/office", "relay.example", "relay@relay.example", "it@corp.example"
		var b bytes.Buffer
		size, err := dsn.WriteHeld(&b, h)
		if err != nil {
			t.Fatal(err)
		}
		if head := b.String()[:size]; !strings.HasSuffix(head, "\r\n\r\n") || strings.Count(head, "\r\n\r\n") != 1 {
			t.Errorf("%s: header of %d octets:\n%s", name, size, head)
		}
		m, err := mail.ReadMessage(&b)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Header.Get("Subject"); got != tc.subject || m.Header.Get("Bcc") != "" || m.Header.Get("Auto-Submitted") != "auto-generated" {
			t.Errorf("%s: %v", name, m.Header)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range tc.lines {
			if !strings.Contains(string(text), want+"\r\n") {
				t.Errorf("%s lacks the line %q:\n%s", name, want, text)
			}
		}
	}
}
