package smtpd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/simulate"
)

// seed is one session that the fuzzer begins with.
type seed struct {
	in, sizes []byte
	profile   byte
	hangUp    bool
}

// sessionSeeds are the dialogues of test/dialogs, as known devices and attackers
// hold them, whole at once and an octet at a time, and those of strangers.
func sessionSeeds(t testing.TB) []seed {
	t.Helper()
	out := strangers()
	for _, folder := range []string{"testdata", "copiers"} {
		files, err := filepath.Glob("../../test/dialogs/" + folder + "/*.txt")
		if err != nil || len(files) == 0 {
			t.Fatalf("no dialogues in %s: %v", folder, err)
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
			if in := clientSide(d); len(in) > 0 && len(in) < 64<<10 {
				p := profileOf(d)
				out = append(out, seed{in, nil, p, false}, seed{in, []byte{0}, p, true})
			}
		}
	}
	return out
}

// strangers are sessions in which somebody sends what no rule allows, beside what one
// does.
func strangers() (out []seed) {
	const ours, end = "RCPT TO:<it@corp.example>\r\n", "DATA\r\nFrom: mfp@copier.example\r\n\r\nx\r\n.\r\n"
	for _, s := range []string{
		"MAIL FROM:<mfp@elsewhere.example>\r\n" + ours + end,
		"MAIL FROM:<mfp@copier.example>\r\nRCPT TO:<x@elsewhere.example>\r\n" + end,
		"MAIL FROM:<mfp@copier.example>\r\n" + ours + "RCPT TO:<x@elsewhere.example>\r\n" + end,
		"MAIL FROM:<mfp@copier.example>\r\n" + ours + "RCPT TO:<a@corp.example>\r\nRCPT TO:<b@corp.example>\r\nRCPT TO:<c@corp.example>\r\n" + end,
	} {
		for p := range byte(sessionProfiles) {
			out = append(out, seed{[]byte("EHLO m\r\n" + s + "QUIT\r\n"), nil, p, false})
		}
	}
	return out
}

// clientSide is what the client of a dialogue sends, up to its handshake.
func clientSide(d *simulate.Dialogue) []byte {
	var out []byte
	fill := strings.NewReplacer(
		"${from}", "mfp@copier.example", "${to}", "it@corp.example", "${user}", "mfp1", "${password}", "correct horse",
		"${plain}", "AG1mcDEAY29ycmVjdCBob3JzZQ==", "${base64 user}", "bWZwMQ==", "${base64 password}", "Y29ycmVjdCBob3JzZQ==", "${scan}", "JVBERi0xLjQK",
	)
	for _, s := range d.Steps {
		switch s.Kind {
		case simulate.Handshake:
			return out
		case simulate.Send, simulate.SendSlow:
			out = append(out, fill.Replace(s.Text)+"\r\n"...)
		case simulate.SendRaw:
			out = append(out, fill.Replace(s.Text)...)
		}
	}
	return out
}

// profileOf is the profile that comes nearest to the listener of a dialogue.
func profileOf(d *simulate.Dialogue) byte {
	says := strings.Join(slices.Concat(d.Header["listener"], d.Header["relay"]), "\n")
	has := func(s string, n byte) byte {
		if strings.Contains(says, s) {
			return n
		}
		return 0
	}
	p := has("lineEndings: Reject", 1) + has("lineEndings: BareLF", 2) + has("commandSyntax: Lenient", 3)
	return p + has("mode: Optional", 6) + has("mode: Required", 12)
}
