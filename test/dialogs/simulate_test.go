package dialogs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/cli"
	"github.com/printerrelay/printer-relay/test/rig"
)

// office is a listener for old devices, as an administrator would set it up.
const office = `tls: {mode: StartTLS, profile: Legacy}
    authentication: {mode: Optional, plaintext: Allow, mechanisms: [Plain, Login, CRAMMD5], secretRef: {name: logins}}
    compatibility: {commandSyntax: Lenient}`

// An administrator plays a device's dialogue against a relay whose replies are
// not those of the file.
func TestSimulate(t *testing.T) {
	folder := t.TempDir()
	r := rig.Start(t, strings.NewReplacer("    tls: {mode: StartTLS}\n", "", "RELAY", "", "LISTENER", "    "+office, "RULE", "", "FOLDER", folder, "corp.example\"]", "branch.example\"]").Replace(manifests))
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	simulate := func(args ...string) (int, string) {
		var out, stderr bytes.Buffer
		code := cli.Main(append([]string{"simulate", "--server", fmt.Sprintf("127.0.0.1:%d", r.Port), "--timeout", rig.Wait.String()}, args...), &out, &stderr)
		return code, out.String() + stderr.String()
	}
	from, to := []string{"--from", "mfp@copier.example"}, []string{"--to", "scans@branch.example", "--user", "mfp1", "--password-file", password}
	arrived := 0
	for _, profile := range []string{"ricoh-mp-c307", "xerox-workcentre-7830", "brother-mfc-tls10", "ricoh-cram-md5", "kyocera-taskalfa", "fax-bare-lf", "slow-copier", "hp-starttls-always"} {
		code, out := simulate(append(append([]string{"--profile", profile}, from...), to...)...)
		if code != 0 || !strings.Contains(out, "the dialogue went as the device needs it") || strings.Contains(out, "correct horse") || strings.Contains(out, "Y29ycmVjdCBob3JzZQ") {
			t.Errorf("%s: exit status %d\n%s", profile, code, out)
		}
		arrived++
	}
	r.Eventually("the scans arrive", func() bool {
		files, err := filepath.Glob(folder + "/new/*")
		return err == nil && len(files) == arrived
	})
	code, out := simulate(append([]string{"--profile", "toner-alert", "--from", "md@branch.example"}, to...)...)
	if code != 1 || !strings.Contains(out, "any device: a message that is no scan: the server answered \"550 5.7.1 PR-031 Sender md@branch.example not allowed\"") || !strings.Contains(out, "docs/replies.md says what to do about PR-031") {
		t.Errorf("a sender that is not allowed: exit status %d\n%s", code, out)
	}
	if code, out := simulate("--list"); code != 0 || !strings.Contains(out, "ricoh-mp-c307 ") {
		t.Errorf("--list: %d\n%s", code, out)
	}
	for want, args := range map[string][]string{
		"give --user and --password-file": append([]string{"--profile", "ricoh-mp-c307", "--to", "a@b.example"}, from...),
		`no profile "ricoh": there are`:   append([]string{"--profile", "ricoh", "--to", "a@b.example"}, from...),
		`--to "": want an address`:        append([]string{"--profile", "fax-bare-lf"}, from...),
	} {
		if code, out := simulate(args...); code != 2 || !strings.Contains(out, want) {
			t.Errorf("%v: exit status %d\n%s", args, code, out)
		}
	}
}
