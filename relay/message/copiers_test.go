package message

import (
	"encoding/base64"
	"strconv"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/dialogs/copiers"
)

// undecidable are the devices whose scans are refused where a rule names types, since
// nobody can tell what is in them.
var undecidable = map[string]string{
	"xerox-fuji-partial":       "message/partial",
	"canon-ir-partial-refused": "message/partial",
	"several-no-encoding":      "PR-054", // by its octets it is no PDF
	"several-wrong-encoding":   "PR-055",
}

// A rule that names what scanners make takes the messages of all devices whose
// dialogues are known, but for those that cannot be told.
func TestCopiersPassWhereTypesAreNamed(t *testing.T) {
	files, err := copiers.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	messages := 0
	for _, f := range files {
		text, err := copiers.Files.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(f.Name(), ".txt")
		for _, m := range sent(t, string(text)) {
			messages++
			err := scans(t, m)
			if why := undecidable[name]; why == "" && err != nil || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
				t.Errorf("%s: %v, want %q\n%s", name, err, why, m)
			}
		}
	}
	if messages < 25 {
		t.Errorf("%d messages in %d dialogues", messages, len(files))
	}
}

// sent are the messages of a dialogue, from the reply 354 to the dot.
func sent(t *testing.T, dialogue string) (messages []string) {
	t.Helper()
	values := strings.NewReplacer("${from}", "mfp@copier.example", "${to}", "it@corp.example", "${scan}", base64.StdEncoding.EncodeToString([]byte("%PDF-1.1\n")))
	var b strings.Builder
	open := false
	for line := range strings.Lines(dialogue) {
		key, said, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case key == "S" && strings.HasPrefix(said, "354"):
			open = true
			continue
		case !open || key != "C" && key != "C1" && key != "C+":
			continue
		case key == "C+":
			raw, err := strconv.Unquote(said)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString(raw)
		default:
			b.WriteString(said + "\r\n")
		}
		m := strings.ReplaceAll(strings.ReplaceAll(b.String(), "\r\n", "\n"), "\n", "\r\n")
		if body, ok := strings.CutSuffix(m, "\r\n.\r\n"); ok {
			messages = append(messages, values.Replace(body+"\r\n"))
			b.Reset()
			open = false
		}
	}
	return messages
}
