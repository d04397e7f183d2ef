// Package mailreaders asks programs that read mail, and that nobody of this
// project wrote, what they see in the messages that a rule for PDF, TIFF and JPEG
// lets pass. No two of them agree on what a message holds: the rule has to refuse
// what any of them could give a person.
//
// It may import relay/message and its disguises.
package mailreaders

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/message"
	"github.com/printerrelay/printer-relay/relay/message/disguise"
)

// taken gives a message as the relay hands it on under the rule.
func taken(in string) (string, error) {
	var out bytes.Buffer
	_, err := message.Intake(&out, strings.NewReader(in), message.IntakeOptions{
		Hostname: "relay.example", ID: "ID1", Sender: envelope.Address{Local: "mfp", Domain: "copier.example"}, Attachments: disguise.Types,
	})
	return out.String(), err
}

// findings tells what readers would give a person of messages that passed.
func findings(t *testing.T, messages []string, report func(i int, reader string, s seen, why string)) {
	t.Helper()
	if len(messages) == 0 {
		return
	}
	dir := write(t, messages)
	for _, r := range readers {
		for _, s := range r.see(t, dir) {
			if why := harmful(s); why != "" {
				report(s.index(t), r.name, s, why)
			}
		}
	}
}

// Every reader finds a program that nobody hid, else the tests below prove nothing.
func TestReadersSee(t *testing.T) {
	dir := write(t, []string{strings.ReplaceAll(disguise.Mixed(disguise.Exe), "\n", "\r\n")})
	for _, r := range readers {
		parts := r.see(t, dir)
		if !slices.ContainsFunc(parts, func(s seen) bool {
			return s.Name == "evil.exe" && bytes.HasPrefix(s.Content, []byte("MZ")) && harmful(s) != ""
		}) {
			t.Errorf("%s sees %+v", r.name, parts)
		}
	}
}

// What is said to be in disguise does not reach a reader, and what is ordinary
// mail does nobody harm.
func TestReadersFindNothing(t *testing.T) {
	all := disguise.Disguised()
	maps.Copy(all, disguise.Ordinary())
	var names, passed []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if out, err := taken(all[name]); err == nil {
			names, passed = append(names, name), append(passed, out)
		}
	}
	if len(passed) < len(disguise.Ordinary()) {
		t.Errorf("%d messages pass, and %d are ordinary", len(passed), len(disguise.Ordinary()))
	}
	findings(t, passed, func(i int, reader string, s seen, why string) {
		t.Errorf("%s: %s shows %q (%s): %s\n%s", names[i], reader, s.Name, s.Type, why, passed[i])
	})
}
