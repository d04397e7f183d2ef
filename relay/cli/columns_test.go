package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/controllers/kubectl"
	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/trial"
)

// Colours stand round what they are of, and move no column; elsewhere than on a terminal
// there is none.
func TestColumnsInColour(t *testing.T) {
	c := newColumns("ID", "STATUS", "REASON")
	c.add("1", "failed", "no such user")
	c.paint(1, kubectl.Bad)
	c.add("22", "pending", "")
	c.paint(1, kubectl.Plain)
	c.add("3", "held", "x")
	c.paint(1, kubectl.Note)
	const plain = "ID  STATUS   REASON\n1   failed   no such user\n22  pending  \n3   held     x\n"
	var b bytes.Buffer
	if err := c.write(&b); err != nil || b.String() != plain {
		t.Errorf("in a file: %v\n%q", err, &b)
	}
	b.Reset()
	want := strings.NewReplacer("failed", "\x1b[31mfailed\x1b[0m", "held", "\x1b[33mheld\x1b[0m").Replace(plain)
	if err := c.writeIn(&b, true); err != nil || b.String() != want {
		t.Errorf("on a terminal: %v\n%q, want\n%q", err, &b, want)
	}
}

// What failed is seen as such in each list.
func TestColoursOfLists(t *testing.T) {
	for s, want := range map[queue.State]kubectl.Colour{queue.Pending: kubectl.Plain, queue.Deferred: kubectl.Note, queue.Held: kubectl.Note, queue.Failed: kubectl.Bad} {
		if stateColours[s] != want {
			t.Errorf("%s: %v", s, stateColours[s])
		}
	}
	for _, s := range history.States {
		if _, ok := entryColours[s]; !ok && s != history.Waiting && s != history.Removed {
			t.Errorf("%s has no colour", s)
		}
	}
	for want, c := range map[kubectl.Colour]inventory.Copier{
		kubectl.Plain: {TLS: inventory.TLS{Version: "1.2"}}, kubectl.Note: {TLS: inventory.TLS{Version: "1.0"}}, kubectl.Bad: {TLS: inventory.TLS{Failed: "no cipher"}},
	} {
		if got := tlsColour(&c); got != want {
			t.Errorf("%+v: %v, want %v", c.TLS, got, want)
		}
	}
	for want, s := range map[string]trial.Step{
		"\x1b[32mok\x1b[0m": {OK: true}, "\x1b[33mwaits\x1b[0m": {Wait: true}, "\x1b[31mFAILED\x1b[0m": {},
	} {
		var on, off strings.Builder
		s.Name, s.Text, s.Remedy = "upstream", "550 no", "ask"
		writeStep(&on, &s, true)
		writeStep(&off, &s, false)
		var plain strings.Builder
		s.WriteText(&plain)
		if !strings.HasPrefix(on.String(), want) || off.String() != plain.String() {
			t.Errorf("%q, %q", &on, &off)
		}
	}
}

// A name that a device made long does not push the reason off the screen, but of what is wide.
func TestLongNames(t *testing.T) {
	all := []inventory.Copier{{Device: "10.1.1.1", Names: []string{strings.Repeat("W", 128)}}}
	for wide, want := range map[bool]string{false: strings.Repeat("W", 39) + "…  ", true: strings.Repeat("W", 128)} {
		var b bytes.Buffer
		if err := printCopiers(&b, all, wide, false, time.Now()); err != nil || !strings.Contains(b.String(), want) || !wide && strings.Contains(b.String(), want[:39]+"W") {
			t.Errorf("wide %t: %v\n%s", wide, err, &b)
		}
	}
}

// No sender was named where a login was refused.
func TestSenderOfARefusedLogin(t *testing.T) {
	for step, want := range map[string]string{"AUTH": "-", "MAIL": "<>"} {
		if got := senderOf(&history.Entry{Kind: history.Refusal, Step: step}); got != want {
			t.Errorf("%s: %q", step, got)
		}
	}
}
