package reply

import "testing"

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"":                     "",
		"plain text":           "plain text",
		"Büro 3 – 東京":          "Büro 3 – 東京",
		"\x1b[2J":              "?[2J",
		"a\r\nb\tc\x7f":        "a??b?c?",
		"\u009b31m":            "?31m",
		"\u202eliam.moc":       "?liam.moc",
		"zero\u200bwidth":      "zero?width",
		"\xff broken \xe2\x82": "? broken ?",
	} {
		if got := Printable(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
