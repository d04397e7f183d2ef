//go:build bench

package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// profilesEnv is the folder for profiles, in the environment of a relay that is
// the test's own binary.
const profilesEnv = "PRINTER_RELAY_BENCH_PROFILES"

// relayProcess starts a relay: the binary that ships, or with -profiles the
// test's own, which writes profiles when it ends.
func relayProcess(t *testing.T, dir string, args ...string) *env.Process {
	if *profiles == "" {
		return env.Start(t, dir, *binary, args...)
	}
	abs, err := filepath.Abs(*profiles)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv(toolEnv, "relay")
	t.Setenv(profilesEnv, abs)
	defer os.Unsetenv(toolEnv) //nolint:errcheck // its name is well-formed
	return env.Start(t, dir, os.Args[0], args...)
}

// profiled runs f and writes what it took: CPU time by samples, and what it
// allocated from the start on.
func profiled(f func()) error {
	name := filepath.Join(os.Getenv(profilesEnv), "relay-"+strconv.Itoa(os.Getpid()))
	cpu, err := os.Create(name + "-cpu.pprof")
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	f()
	pprof.StopCPUProfile()
	allocs, err := os.Create(name + "-allocs.pprof")
	if err != nil {
		return err
	}
	runtime.GC() // so that the last allocations are in it
	err = errors.Join(pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close(), cpu.Close())
	fmt.Println("profiles in", name+"-*.pprof")
	return err
}
