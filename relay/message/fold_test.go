package message

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

func TestFold(t *testing.T) {
	var spaced, tight []string
	for i := range 100 {
		spaced = append(spaced, fmt.Sprintf(`"Floor %d, room \"%d\"" <user%d@corp.example>`, i, i, i))
		tight = append(tight, fmt.Sprintf("user%d@department.corp.example", i))
	}
	words := strings.Repeat("word and  another\t", 200)
	for name, tc := range map[string]struct {
		field string
		lines int  // at least; 1: it stays as it is
		ours  bool // white space was added
	}{
		"names and spaces":     {"To: " + strings.Join(spaced, ", "), 50, false},
		"no spaces":            {"Cc: " + strings.Join(tight, ","), 40, true},
		"no space at all":      {"To:" + strings.Join(tight, ","), 40, true},
		"text":                 {"Subject: " + words, 40, false},
		"text, folded once":    {"Subject: short\r\n " + words, 40, false},
		"one word":             {"Subject: " + strings.Repeat("x", 3000), 1, false},
		"a word between":       {"Subject: a " + strings.Repeat("x", 3000) + " b", 3, false},
		"commas in no list":    {"Subject: " + strings.Join(tight, ","), 1, false},
		"commas in quotes":     {`To: "` + strings.Repeat("x,y", 500) + `" <a@corp.example>`, 2, false},
		"as long as may be":    {"Subject: " + strings.Repeat("x ", 494) + "x", 1, false},
		"white space at ends":  {"Subject:    " + strings.Repeat("x ", 600) + "   ", 10, false},
		"white space and that": {"Subject: " + strings.Repeat(" ", 2000) + "x" + strings.Repeat(" ", 2000), 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			was, _, _ := strings.Cut(tc.field, ":")
			f := Field{Name: was, Raw: []byte(tc.field + "\r\n")}
			got, changed := fold(f)
			if changed != (tc.lines > 1) {
				t.Errorf("changed: %v", changed)
			}
			lines := strings.SplitAfter(strings.TrimSuffix(string(got.Raw), "\r\n"), "\r\n")
			if len(lines) < tc.lines {
				t.Errorf("%d lines, want %d", len(lines), tc.lines)
			}
			for i, l := range lines {
				if i > 0 && l[0] != ' ' && l[0] != '\t' || strings.TrimSpace(l) == "" {
					t.Errorf("line %d is no continuation: %q", i, l)
				}
				if len(l) > longestLine && len(strings.Fields(l)) > 2 {
					t.Errorf("line %d has %d octets", i, len(l))
				}
			}
			unfolded := func(f Field) string {
				v := f.Value()
				if tc.ours {
					v = strings.ReplaceAll(v, " ", "")
				}
				return v
			}
			if unfolded(got) != unfolded(f) {
				t.Errorf("the value is another: %q", got.Value())
			}
			if again, changed := fold(got); changed && !strings.Contains(name, "one word") {
				t.Errorf("folded twice: %q", again.Raw)
			}
		})
	}
}

// A hundred recipients in one To: pass an upstream that takes lines of 998 octets;
// what the rules look at, and the body, stay as they are.
func TestIntakeFoldsLongHeaders(t *testing.T) {
	var to []string
	for i := range 100 {
		to = append(to, fmt.Sprintf("user%d@department.corp.example", i))
	}
	in := "From: mfp@copier.example\r\nTo: " + strings.Join(to, ",") + "\r\nSubject: s\r\n\r\n" + strings.Repeat("y", 500) + "\r\n"
	var out bytes.Buffer
	facts, err := Intake(&out, strings.NewReader(in), IntakeOptions{Hostname: "relay.test", ID: "1", Sender: envelope.Address{Local: "mfp", Domain: "copier.example"}, Now: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if facts.MaxLine != 500 {
		t.Errorf("the longest line has %d octets by the facts, want the body's 500", facts.MaxLine)
	}
	head, body, _ := strings.Cut(out.String(), "\r\n\r\n")
	boxes, err := Mailboxes(ParseHeader([]byte(head + "\r\n")).Get("To"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range boxes {
		got = append(got, b.Address.String())
	}
	if !slices.Equal(got, to) {
		t.Errorf("To: has %v", got)
	}
	if body != strings.Repeat("y", 500)+"\r\n" {
		t.Errorf("body %q", body)
	}
}

// FuzzFold: a field's value is what it was, but for white space behind commas; no
// piece is empty; and no line is long that could be shorter.
func FuzzFold(f *testing.F) {
	f.Add("To", strings.Repeat("a@b.example,", 200))
	f.Add("Subject", strings.Repeat("x \t", 500))
	f.Add("From", `"`+strings.Repeat(`a\",b `, 300)+`" <a@b>`)
	f.Fuzz(func(t *testing.T, name, value string) {
		head := ParseHeader([]byte(name + ":" + strings.NewReplacer("\r", " ", "\n", "\r\n ").Replace(value) + "\r\n"))
		if len(head.Fields) != 1 {
			return
		}
		was := head.Fields[0]
		got, changed := fold(was)
		if !changed {
			if !bytes.Equal(got.Raw, was.Raw) {
				t.Fatal("changed unseen")
			}
			return
		}
		strip := func(f Field) string { return strings.NewReplacer(", ", ",").Replace(f.Value()) }
		if strip(got) != strip(was) {
			t.Fatalf("%q became %q", was.Value(), got.Value())
		}
		for i, l := range bytes.SplitAfter(bytes.TrimSuffix(got.Raw, crlf), crlf) {
			if len(bytes.TrimSpace(l)) == 0 && !bytes.Contains(was.Raw, append([]byte("\r\n"), l...)) {
				t.Fatalf("line %d is empty: %q", i, got.Raw)
			}
		}
		if again := ParseHeader(got.Raw); len(again.Fields) != 1 {
			t.Fatalf("%d fields out of one: %q", len(again.Fields), got.Raw)
		}
	})
}
