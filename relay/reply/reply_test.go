package reply

import "testing"

// What others say goes to logs and terminals: nothing in it moves a cursor, ends a line
// or turns one around (CWE-117, CWE-150).
func TestLineSteersNothing(t *testing.T) {
	for in, want := range map[string]string{
		"a\x1b[2Jb":                    "a [2Jb",
		"a\u009b2Jb":                   "a 2Jb",
		"a\u0085b\u2028c\u2029d":       "a b c d",
		"txt\u202efdp.exe\u2066x":      "txt fdp.exe x",
		"Büro, 3. Stock, копир \u7a7a": "Büro, 3. Stock, копир \u7a7a",
		"a\x7fb\xffc":                  "a b?c",
	} {
		if got := Line(in, 100); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
