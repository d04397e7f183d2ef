package release

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// What breaks manifests of a release is found, and passes only where a commit
// says so.
func TestAPICompat(t *testing.T) {
	program := filepath.Join(t.TempDir(), "printer-relay")
	command(t, nil, "make", "-s", "build", "BIN="+program)
	const kind = "config/crd/bases/printerrelay.dev_printerrelays.yaml"
	for name, tt := range map[string]struct {
		file, old, new string
		reason         string // of a commit; none: it is not committed
		says           string
		fails          bool
	}{
		"nothing":                 {says: "is valid, and keeps its fields"},
		"a value is gone":         {kind, "                - Refuse\n", "", "", "printerrelays.yaml", true},
		"a length is less":        {kind, "maxLength: 253", "maxLength: 252", "", "printerrelays.yaml", true},
		"a length is more":        {kind, "maxLength: 253", "maxLength: 254", "", "is valid, and keeps its fields", false},
		"a field is called other": {kind, "expireAfterSeconds:", "expiryAfterSeconds:", "", "printerrelays.yaml", true},
		"it was said":             {kind, "maxLength: 253", "maxLength: 252", "names of 253 octets are gone: shorten them", "as was said: names of 253 octets", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "clone")
			env.MustRun(t, "", "git", "clone", "-q", env.Root(t), dir)
			in := func(name string, args ...string) (string, error) {
				ctx, cancel := context.WithTimeout(t.Context(), building)
				defer cancel()
				cmd := exec.CommandContext(ctx, name, args...)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			if tt.file != "" {
				path := filepath.Join(dir, tt.file)
				before := read(t, path)
				after := strings.ReplaceAll(before, tt.old, tt.new)
				if before == after {
					t.Fatalf("%s has no %q", tt.file, tt.old)
				}
				if err := os.WriteFile(path, []byte(after), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			base := "HEAD"
			if tt.reason != "" {
				base = "HEAD~1"
				if out, err := in("git", "-c", "user.name=A Test", "-c", "user.email=test@example.com", "commit", "-qam", "Change\n\nBreaks-API: "+tt.reason); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			out, err := in("hack/api-compat.sh", program, base)
			if (err != nil) != tt.fails || !strings.Contains(out, tt.says) {
				t.Errorf("%v, want a failure: %v, and %q\n%s", err, tt.fails, tt.says, out)
			}
		})
	}
}
