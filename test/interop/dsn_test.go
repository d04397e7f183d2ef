package interop

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// readReport prints what Python's email package reads in notifications.
const readReport = `
import email, email.policy, sys
for path in sys.argv[1:]:
    m = email.message_from_binary_file(open(path, 'rb'), policy=email.policy.default)
    text, status, header = m.iter_parts()
    recipients = [p for p in status.get_payload() if p['Final-Recipient']]
    defects = [d for p in m.walk() for d in p.defects]
    print(m.get_content_type(), m.get_param('report-type'), m['Auto-Submitted'], len(recipients),
          all(p['Action'] in ('failed', 'delayed') and p['Status'][0] in '45' for p in recipients),
          header.get_content_type(), 'scan' in text.get_content(), defects, sep='|')
`

// TestPythonReadsNotifications: the golden files of package dsn are what other
// people's software reads as RFC 3464.
func TestPythonReadsNotifications(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(env.Root(t), "relay/dsn/testdata/*.eml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no notifications: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(env.MustRun(t, "", "python3", append([]string{"-c", readReport}, files...)...)), "\n")
	for i, file := range files {
		recipients := "1"
		switch filepath.Base(file) {
		case "two-recipients.eml":
			recipients = "2"
		case "more-recipients-than-it-names.eml":
			recipients = "100"
		}
		if want := "multipart/report|delivery-status|auto-replied|" + recipients + "|True|text/rfc822-headers|True|[]"; lines[i] != want {
			t.Errorf("%s: Python reads %s, want %s", filepath.Base(file), lines[i], want)
		}
	}
}

// readDigest prints what it reads in digests.
const readDigest = `
import email, email.policy, sys
for path in sys.argv[1:]:
    m = email.message_from_binary_file(open(path, 'rb'), policy=email.policy.default)
    print(m.get_content_type(), m['Auto-Submitted'], m.is_multipart(), m['Bcc'], 'scan' in m['Subject'], 'For the administrator' in m.get_content(), m.defects, sep='|')
`

// TestPythonReadsDigests: so are those of digests, as plain text.
func TestPythonReadsDigests(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(env.Root(t), "relay/dsn/testdata/digests/*.eml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no digests: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(env.MustRun(t, "", "python3", append([]string{"-c", readDigest}, files...)...)), "\n")
	for i, file := range files {
		if want := "text/plain|auto-generated|False|None|True|True|[]"; lines[i] != want {
			t.Errorf("%s: Python reads %s, want %s", filepath.Base(file), lines[i], want)
		}
	}
}
