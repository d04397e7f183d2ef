package env

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// StandIn is a program that can be run, and says what it is.
const StandIn = "#!/bin/sh\necho a stand-in\n"

// StandInGo gives a setting of PATH by which go, told to build whatever it be, makes at
// once a copy of a program, or StandIn, and is Go in all else: for tests of what is done
// with a program when it is built.
func StandInGo(t testing.TB, program string) string {
	t.Helper()
	dir := t.TempDir()
	if program == "" {
		program = filepath.Join(dir, "program")
		WriteFile(t, program, StandIn)
	}
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
	return "PATH=" + dir + ":" + os.Getenv("PATH")
}
