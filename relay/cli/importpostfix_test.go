package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImportPostfix(t *testing.T) {
	dir := folder(t, "main.cf", "compatibility_level = 3.6\nmyhostname = a.example\nmynetworks = 10.20.0.0/16\nrelayhost = [b.example]\nheader_checks = regexp:/x\n")
	out := filepath.Join(t.TempDir(), "relay.yaml")
	r := command(t, "import", "postfix", dir, "-o", out, "-n", "printers")
	if r.code != 0 || r.out != "" || !strings.Contains(r.stderr, "header_checks = regexp:/x") || !strings.Contains(r.stderr, "-> ") {
		t.Errorf("%+v", r)
	}
	if v := command(t, "validate", "-q", "-f", filepath.Dir(out)); v.code != 0 {
		t.Errorf("validate: %+v", v)
	}
	if r := command(t, "explain", "-f", filepath.Dir(out), "--client", "10.20.1.1", "--from", "x@a.example", "--to", "y@c.example"); !strings.Contains(r.out, "accepted, goes to upstream b-example") {
		t.Errorf("explain: %+v", r)
	}
	if r := command(t, "import", "postfix", dir, "--report", "json"); r.code != 0 || !strings.Contains(r.out, "kind: PrinterRelay") || !strings.Contains(r.stderr, `"level": "weaker"`) {
		t.Errorf("%+v", r)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte("compatibility_level = 3.6\nmyhostname = a.example\nmynetworks = 0.0.0.0/0\nrelayhost = [b.example]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "import", "postfix", dir); r.code != 1 || strings.Contains(r.out, "action: Allow") || !strings.Contains(r.stderr, "relays for everybody") {
		t.Errorf("an open relay: %+v", r)
	}
	if r := command(t, "import", "postfix", filepath.Join(dir, "nosuch")); r.code != 1 || !strings.Contains(r.stderr, "main.cf") {
		t.Errorf("no folder: %+v", r)
	}
}
