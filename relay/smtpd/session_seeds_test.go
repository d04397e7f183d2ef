package smtpd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/simulate"
)

type (
	upstreamKind = v1alpha1.MailUpstream
	policyKind   = v1alpha1.SenderPolicy
)

// seed is one session that the fuzzer begins with.
type seed struct {
	in, sizes []byte
	profile   byte
	hangUp    bool
}

// sessionSeeds are the dialogues of test/dialogs, as known devices and attackers
// hold them: whole at once, and an octet at a time.
func sessionSeeds(t testing.TB) []seed {
	t.Helper()
	var out []seed
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
