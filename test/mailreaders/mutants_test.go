package mailreaders

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/message/disguise"
)

// mutants is how many messages are made of those that are known;
// MAILREADERS_MUTANTS says otherwise.
const mutants = 6000

// pieces are what the syntax of MIME turns on, and what its parsers trip over.
var pieces = []string{
	`"`, `'`, ";", "=", ":", "/", "\\", "(", ")", "<", ">", "*", "%", ",", ".", "-", "--", "?=", "=?utf-8?q?", "=?utf-8?b?", " ", "\t", "\n", "\n\n", "\n ", "\n\t",
	"\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\xc2\xa0", "\xe2\x80\xa8", "b", "--b", "--b--", "\n--b\n", "\n--b--\n", "0", "*0", "*0*", "*1", "=0A", "=3D", "=\n", "%2E", "%00", "''",
	"boundary=", "; boundary=b", "; boundary=c", "; name=evil.hta", "; filename=evil.hta", "; filename*=utf-8''evil.hta", "; charset=utf-8", ".hta", ".pdf",
	"\nContent-Type: ", "\nContent-Type: text/plain", "\nContent-Type: text/html; name=evil.hta", "\nContent-Type: message/rfc822", "\nContent-Type: multipart/mixed; boundary=c",
	"\nContent-Transfer-Encoding: base64", "\nContent-Transfer-Encoding: quoted-printable", "\nContent-Transfer-Encoding: 7bit",
	"\nContent-Disposition: attachment", "\nContent-Disposition: attachment; filename=evil.hta", "\nContent-Disposition: inline", "\nMIME-Version: 1.0", "\nX: y",
	"begin 644 evil.exe\n#35H`\n`\nend\n", "=ybegin line=128 size=2 name=evil.exe\n", "%PDF-1.4\n", disguise.Exe, "\n--b\n" + disguise.Exe,
}

// mutate changes a message a few times: it puts pieces in, takes lines or
// characters out, repeats and swaps lines, and goes on as another message does.
func mutate(r *rand.Rand, m, other string) string {
	for range 1 + r.IntN(3) {
		lines := strings.SplitAfter(m, "\n")
		i := r.IntN(len(lines))
		at := r.IntN(len(m) + 1)
		switch r.IntN(8) {
		case 0, 1: // the header is where most is decided
			at = min(at, r.IntN(400))
			m = m[:at] + pieces[r.IntN(len(pieces))] + m[at:]
		case 2:
			m = m[:at] + pieces[r.IntN(len(pieces))] + m[at:]
		case 3:
			end := min(at+1+r.IntN(8), len(m))
			m = m[:at] + m[end:]
		case 4:
			m = strings.Join(slices.Delete(slices.Clone(lines), i, i+1), "")
		case 5:
			m = strings.Join(slices.Insert(slices.Clone(lines), r.IntN(len(lines)+1), lines[i]), "")
		case 6:
			j := r.IntN(len(lines))
			lines[i], lines[j] = lines[j], lines[i]
			m = strings.Join(lines, "")
		case 7:
			theirs := strings.SplitAfter(other, "\n")
			m = strings.Join(lines[:i], "") + strings.Join(theirs[r.IntN(len(theirs)):], "")
		}
	}
	return m
}

// What the rule lets pass of messages that nobody wrote does nobody harm either.
// The same are made each time.
func TestReadersFindNothingInMutants(t *testing.T) {
	all := disguise.Disguised()
	maps.Copy(all, disguise.Ordinary())
	var seeds []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if m := strings.ReplaceAll(all[name], "\r\n", "\n"); len(m) < 4000 {
			seeds = append(seeds, m)
		}
	}
	n := mutants
	if s := os.Getenv("MAILREADERS_MUTANTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("MAILREADERS_MUTANTS: %v", err)
		}
	}
	r := rand.New(rand.NewPCG(2045, uint64(n))) //nolint:gosec // the same each time
	known := map[string]bool{}
	var ins, passed []string
	for range n {
		in := mutate(r, seeds[r.IntN(len(seeds))], seeds[r.IntN(len(seeds))])
		if out, err := taken(in); err == nil && !known[out] {
			known[out] = true
			ins, passed = append(ins, in), append(passed, out)
		}
	}
	t.Logf("%d of %d messages pass", len(passed), n)
	if len(passed) < n/50 {
		t.Errorf("%d of %d messages pass: that proves little", len(passed), n)
	}
	findings(t, passed, func(i int, reader string, s seen, why string) {
		t.Errorf("%s shows %q (%s): %s\n%q\npassed as\n%s", reader, s.Name, s.Type, why, ins[i], passed[i])
	})
}
