package reply

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// panel is what the display of a small copier shows; a whole reply is shorter.
const panel = 80

// TestCatalogueAndDocumentAgree reads the calls of refuse in catalogue.go and
// the table of docs/replies.md.
func TestCatalogueAndDocumentAgree(t *testing.T) {
	b, err := os.ReadFile("../../docs/replies.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (PR-\d{3}) \| (.*?) \| (.*?) \| (.+?) \| (.+?) \|$`).FindAllStringSubmatch(string(b), -1) {
		if _, twice := documented[row[1]]; twice {
			t.Errorf("docs/replies.md has %s twice", row[1])
		}
		documented[row[1]] = row[2] + " " + row[3]
	}
	seen := map[string]bool{}
	for pr, reply := range catalogue(t) {
		seen[pr] = true
		if got := documented[pr]; got != reply {
			t.Errorf("docs/replies.md says of %s %q, the catalogue %q", pr, got, reply)
		}
	}
	for pr := range documented {
		if !seen[pr] {
			t.Errorf("docs/replies.md has %s, the catalogue has not", pr)
		}
	}
}

// catalogue gives "code status text" by PR code.
func catalogue(t *testing.T) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "catalogue.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if name, ok := call.Fun.(*ast.Ident); !ok || name.Name != "refuse" {
			return true
		}
		var v [6]string
		for i := range v {
			lit, ok := call.Args[i].(*ast.BasicLit)
			if !ok {
				t.Fatalf("argument %d of a call of refuse is no literal", i)
			}
			v[i] = lit.Value
		}
		text, err := strconv.Unquote(v[5])
		if err != nil {
			t.Fatal(err)
		}
		n4, _ := strconv.Atoi(v[4]) // a literal
		pr := fmt.Sprintf("PR-%03d", n4)
		if out[pr] != "" {
			t.Errorf("%s is given to two replies", pr)
		}
		if v[0][0] != v[1][0] {
			t.Errorf("%s: reply %s has status %s.%s.%s (RFC 3463 2)", pr, v[0], v[1], v[2], v[3])
		}
		out[pr] = fmt.Sprintf("%s %s.%s.%s %s", v[0], v[1], v[2], v[3], text)
		return true
	})
	if len(out) < 40 {
		t.Fatalf("found %d replies only", len(out))
	}
	return out
}

// Whatever a client sends that a reply repeats: the whole reply stays one line that a
// panel can show (wire turns what is not ASCII into question marks), and it is the
// value that is cut, not what to do about it.
func TestRepliesStayOneShortLine(t *testing.T) {
	hostile := "a\r\n250 OK\x00\x1b[31m\u202e" + strings.Repeat("ü", 300)
	long := strings.Repeat("a-long-department-name.", 10) + "example"
	for _, value := range []string{hostile, long} {
		for r, ends := range map[*Reply]string{
			BadSequence(value): "", Syntax(value): "", TLSTooOld(value): " or newer is required", NoRule(value): " may not send here", SenderRefused(value): " not allowed",
			RecipientRefused(value): " not allowed", RuleRejects(value): "", HeaderSender(value): " not allowed", SenderDomain(value): "", SenderNoDomain(value): " needs a domain",
			RecipientNoDomain(value): " needs a domain", AttachmentRefused(value): "", ContentUnclear(value): "", TooLarge(1<<62, 1<<62): "", TooManyRecipients(1 << 30): " recipients",
			Remote(550, [3]int{5, 7, 708}, value): "",
		} {
			line := r.String()
			if len(line) >= panel || strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c == 0x7f }) {
				t.Errorf("%q (%d octets)", line, len(line))
			}
			if !strings.HasSuffix(line, ends) || strings.Count(line, "a-long-department") > 0 && !strings.Contains(line, "...") {
				t.Errorf("%q says no longer %q", line, ends)
			}
		}
	}
	if got, want := SenderRefused("mfp@copier.example").String(), "550 5.7.1 PR-031 Sender mfp@copier.example not allowed"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Every text of the catalogue fits whole, and leaves room for enough of a value.
func TestTextsFit(t *testing.T) {
	for pr, text := range catalogue(t) {
		n := len(pr) + 1 + len(strings.ReplaceAll(text, "%s", ""))
		if strings.Contains(text, "%s") {
			n += 30
		}
		if n >= panel {
			t.Errorf("%s: %q leaves no room for what it repeats", pr, text)
		}
	}
}

func TestOctets(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 9999: "9999 B", 10_000: "10 kB", 9_999_999: "9999 kB", 41_943_040: "41.9 MB", 2_500_000_000: "2500.0 MB"} {
		if got := octets(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
