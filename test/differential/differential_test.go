// Package differential sends the same octets to the relay and to Debian's Postfix and
// compares what either takes: as many messages, with the same bodies. Where they
// differ docs/postfix-differences.md says so, with the reason, and a case here shows
// each of its rows.
package differential

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/simulate"
	"github.com/printerrelay/printer-relay/test/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	sessions = flag.Int("sessions", 300, "sessions from fixed seeds, and a third as many from the seed")
	seed     = flag.Uint64("seed", 0, "of the other sessions; 0: a random one")
)

// TestSameAsPostfix sends sessions whose messages hold everything that some server
// takes for the end of a message, or for a line end.
func TestSameAsPostfix(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	var cases [][]byte
	for n := range uint64(*sessions) {
		cases = append(cases, []byte(stream.New(n, fmt.Sprintf("case-%d", n), limit).Orderly()))
	}
	for n := range uint64(*sessions / 3) {
		cases = append(cases, []byte(stream.New(*seed+n, fmt.Sprintf("case-r%d", n), limit).Orderly()))
	}
	cases = append(cases, dialogues(t)...)
	ours, theirs := startRelay(t), startPostfix(t)
	a, saidA, _ := ours.run(t, cases)
	b, saidB, _ := theirs.run(t, cases)
	messages, exact := 0, 0
	for i := range cases {
		why := compare(cases[i], a[i], b[i])
		if why != "" {
			t.Errorf("%s\nsent:    %q\nrelay:   %q\nPostfix: %q", why, cases[i], saidA[i], saidB[i])
		}
		for n := range min(len(a[i]), len(b[i])) {
			messages++
			if a[i][n].body == b[i][n].body {
				exact++
			}
		}
	}
	t.Logf("%d sessions, %d messages, %d of them the same octet for octet", len(cases), messages, exact)
	if exact < messages/5 {
		t.Errorf("of %d messages only %d are the same without one of the documented differences", messages, exact)
	}
}

// dialogues are those of test/dialogs about smuggling.
func dialogues(t *testing.T) (out [][]byte) {
	t.Helper()
	files, err := filepath.Glob("../dialogs/testdata/smuggling-*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues about smuggling", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := simulate.Parse(file, string(b))
		if err != nil {
			t.Fatal(err)
		}
		in := ""
		for _, s := range d.Steps {
			switch s.Kind {
			case simulate.Send:
				in += s.Text + "\r\n"
			case simulate.SendRaw:
				in += s.Text
			}
		}
		if !strings.Contains(file, "declared") { // Postfix has no such thing as a declared session of bare LF
			out = append(out, []byte(in))
		}
	}
	return out
}

// lfDot is a dot behind a bare LF, or alone on a line that ends in one.
var lfDot = regexp.MustCompile(`(^|[^\r])\n\.|\n\.\n`)

// compare tells a difference that is not documented; empty: there is none.
func compare(in []byte, ours, theirs []taken) string {
	if len(ours) != len(theirs) {
		return fmt.Sprintf("the relay took %d messages, Postfix %d", len(ours), len(theirs))
	}
	for i := range ours {
		a, b := ours[i].body, repaired(theirs[i].body)
		if a != b && lfDot.Match(in) {
			a, b = dotless(a), dotless(b)
		}
		if a != b {
			return fmt.Sprintf("message %d:\nrelay:   %q\nPostfix: %q", i, a, b)
		}
	}
	return ""
}

// repaired is a body of Postfix's as the relay would have stored it.
func repaired(s string) string { return strings.ReplaceAll(s, "\x00", "") }

// dotless is a body without the dots that lines begin with, and without the lines that
// hold nothing else: there the two differ.
func dotless(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if line = strings.TrimLeft(line, "."); line != "\n" {
			b.WriteString(line)
		}
	}
	return b.String()
}

// excused are the documented differences of commands, by what one of the two says
// where they come to bear; and what the relay's policy, which Postfix does not have,
// refuses.
var excused = []*regexp.Regexp{
	regexp.MustCompile(`PR-008 Control characters|PR-04[01] |PR-03[0-9] |Say EHLO first`),
	regexp.MustCompile(`PR-006 Command not implemented\r\n$|PR-043 No valid recipients\r\n$`), // and it closes
	regexp.MustCompile(`Error: I can break rules`),
}

// TestAsManyAsPostfix sends sessions that are odd all over, and compares how many
// messages come of them.
func TestAsManyAsPostfix(t *testing.T) {
	var cases [][]byte
	for n := range uint64(2 * *sessions) {
		cases = append(cases, []byte(stream.New(n, fmt.Sprintf("case-%d", n), limit).Session()))
	}
	a, saidA, cutA := startRelay(t).run(t, cases)
	b, saidB, cutB := startPostfix(t).run(t, cases)
	compared := 0
	for i := range cases {
		if cutA[i] || cutB[i] || slices.ContainsFunc(excused, func(r *regexp.Regexp) bool { return r.MatchString(saidA[i]) || r.MatchString(saidB[i]) }) {
			continue
		}
		if compared++; len(a[i]) != len(b[i]) {
			t.Errorf("the relay took %d messages, Postfix %d\nsent:    %q\nrelay:   %q\nPostfix: %q", len(a[i]), len(b[i]), cases[i], saidA[i], saidB[i])
		}
	}
	t.Logf("%d sessions compared of %d", compared, len(cases))
	if compared < len(cases)/10 {
		t.Errorf("only %d sessions of %d could be compared", compared, len(cases))
	}
}

// message is an orderly session with one message.
func message(text string) string {
	return "EHLO mfp.copier.example\r\nMAIL FROM:<mfp@copier.example>\r\nRCPT TO:<it@corp.example>\r\nDATA\r\n" + text + "\r\n.\r\nQUIT\r\n"
}

const head = "From: <mfp@copier.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@mfp>\r\n"

// documented has a session for each row of docs/postfix-differences.md, by its first
// column, with how many messages the relay and Postfix take of it.
var documented = map[string]struct {
	in             string
	relay, postfix int
}{
	"NUL":                           {message(head + "\r\na\x00b"), 1, 1},
	"dot behind a bare LF":          {message(head + "\r\na\n.b"), 1, 1},
	"a dot alone behind a bare LF":  {message(head + "\r\na\n.\r\nb"), 1, 1},
	"a dot alone before a bare LF":  {message(head + "\r\na\r\n.\nb"), 1, 1},
	"empty lines before the header": {message("\r\n\r\n" + head + "\r\na"), 1, 1},
	"BDAT":                          {strings.Replace(message(""), "DATA\r\n\r\n.\r\n", fmt.Sprintf("BDAT %d LAST\r\n%s\r\na\r\n", len(head)+5, head), 1), 0, 1},
	"no greeting":                   {strings.Replace(message(head+"\r\na"), "EHLO mfp.copier.example\r\n", "", 1), 0, 1},
	"control characters in a command": {
		strings.Replace(message(head+"\r\na"), "EHLO mfp", "EHLO m\x00fp", 1), 0, 1,
	},
	"DATA too early":             {strings.Replace(message(head+"\r\na"), "MAIL", "DATA\r\nMAIL", 1), 0, 1},
	"a header line as a command": {"From: <mfp@copier.example>\r\n" + message(head+"\r\na"), 1, 0},
	"unknown parameters":         {strings.Replace(message(head+"\r\na"), "RCPT TO:<it@corp.example>", "RCPT TO:<it@corp.example> X-COLOR=1", 1), 1, 0},
}

// TestDocumentedDifferences: each row of the page is true, and has a case.
func TestDocumentedDifferences(t *testing.T) {
	page, err := os.ReadFile("../../docs/postfix-differences.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \| [^|]+ \| [^|]+ \| [^|]+ \|$`).FindAllStringSubmatch(string(page), -1) {
		rows[m[1]] = true
	}
	delete(rows, "what a client sends")
	var names []string
	var cases [][]byte
	for name, d := range documented {
		if !rows[name] {
			t.Errorf("%q is not in docs/postfix-differences.md", name)
		}
		delete(rows, name)
		names, cases = append(names, name), append(cases, []byte(d.in))
	}
	for name := range rows {
		t.Errorf("docs/postfix-differences.md has %q, which no case shows", name)
	}
	a, saidA, _ := startRelay(t).run(t, cases)
	b, saidB, _ := startPostfix(t).run(t, cases)
	for i, name := range names {
		d := documented[name]
		if len(a[i]) != d.relay || len(b[i]) != d.postfix {
			t.Errorf("%s: the relay took %d messages, want %d; Postfix %d, want %d\nrelay:   %q\nPostfix: %q", name, len(a[i]), d.relay, len(b[i]), d.postfix, saidA[i], saidB[i])
		} else if d.relay == d.postfix && a[i][0].body == b[i][0].body {
			t.Errorf("%s: there is no difference: both took %q", name, a[i][0].body)
		}
	}
}
