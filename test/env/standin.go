package env

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// StandIn is the program that is built with StandInGo: it can be run, and says so.
const StandIn = "#!/bin/sh\necho a stand-in\n"

// StandInGo gives a folder, to be first in the PATH, whose go builds StandIn at once,
// whatever it is told to build, and is Go in all else.
func StandInGo(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	WriteFile(t, program, StandIn)
	compiler, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`#!/bin/sh
[ "$1" = build ] || exec '%s' "$@"
while [ "$1" != -o ]; do shift; done
cp '%s' "$2" && chmod 700 "$2"
`, compiler, program)
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o700); err != nil { //nolint:gosec // it has to be one
		t.Fatal(err)
	}
	return dir
}
