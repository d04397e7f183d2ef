//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// tutorial runs every command of the README's section, in order, in the shell that
// `make cluster-shell` opens; the samples name this site's server.
func (s *story) tutorial(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(s.Root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## In a cluster\n")
	section, _, ended := strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1)
	if !found || !ended || len(blocks) < 5 {
		t.Fatalf("the README has no tutorial: %d blocks", len(blocks))
	}
	script := "set -euxo pipefail\ncd '" + s.site(t) + "'\n"
	for _, b := range blocks {
		for line := range strings.Lines(b[1]) {
			if command, ok := strings.CutSuffix(strings.TrimSpace(line), "# refused"); ok {
				line = "if out=$(" + command + "); then exit 1; fi; grep -F '550 5.7.1' <<<\"$out\"\n"
			}
			script += line
		}
	}
	t.Log(s.Run(t, "", s.Script, "shell", "-c", script))
	s.address = s.Field(t, namespace, "printerrelay/"+relay, "{.status.addresses[0].value}") + ":25"
	if got := s.server.Mail(t); len(got) < 1 {
		t.Error("nothing has arrived")
	}
}

// site is a copy of what the tutorial uses, with the samples edited as a person
// would.
func (s *story) site(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"charts", "config"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(s.Root, name))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(s.Root, "README.md"), filepath.Join(dir, "README.md")); err != nil {
		t.Fatal(err)
	}
	edits := map[string]string{
		"host: smtp.example.com": "host: " + postfixIP,
		"port: 587":              "port: " + strconv.Itoa(s.server.Port),
		"tls: {mode: StartTLS}":  "tls: {mode: StartTLS, serverName: smtp.example.com, caSecretRef: {name: smarthost-ca}}",
		"  password: change-me":  "  password: first-password",
		"messagesPerMinute: 30":  "messagesPerMinute: 60000",
	}
	for name, wanted := range map[string][]string{
		"mailupstream.yaml": {"host: smtp.example.com", "port: 587", "tls: {mode: StartTLS}"},
		"secrets.yaml":      {"  password: change-me"},
		"senderpolicy.yaml": {"messagesPerMinute: 30"},
	} {
		file := filepath.Join(dir, "config/samples/cluster", name)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, old := range wanted {
			if !strings.Contains(text, old) {
				t.Fatalf("%s: %q is not there to be edited", name, old)
			}
			text = strings.ReplaceAll(text, old, edits[old])
		}
		if name == "secrets.yaml" {
			text += "---\napiVersion: v1\nkind: Secret\nmetadata: {name: smarthost-ca}\nstringData:\n  ca.crt: |\n    " + strings.ReplaceAll(strings.TrimSpace(s.server.CA.PEM), "\n", "\n    ") + "\n"
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
