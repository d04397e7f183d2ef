package apiserver

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// TestKilled: a test binary that is killed leaves no API server and no etcd.
func TestKilled(t *testing.T) {
	bin := Start(t).Bin
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	cmd := exec.CommandContext(Context(t), self)
	cmd.Env = append(os.Environ(), holdVariable+"="+bin+":"+filepath.Join(env.Root(t), "config/crd/bases"), "TMPDIR="+tmp)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatalf("it said %q, %v; %v", line, err, cmd.Wait())
	}
	children := childrenOf(t, cmd.Process.Pid)
	if len(children) != 2 {
		t.Fatalf("children %v, want etcd and kube-apiserver", children)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() //nolint:errcheck // it was killed
	env.Eventually(t, "etcd and kube-apiserver are gone", func() string { return fmt.Sprint(children) }, func() bool {
		return !slices.ContainsFunc(children, func(pid int) bool { state, _ := process(pid); return state != "" && state != "Z" })
	})
}

// childrenOf gives the processes whose parent is pid.
func childrenOf(t *testing.T, pid int) (out []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			if _, parent := process(n); parent == pid {
				out = append(out, n)
			}
		}
	}
	return out
}

// process gives the state of a process (R, S, Z for one that nobody waited for
// yet) and its parent; an empty state if there is none.
func process(pid int) (state string, parent int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	text := string(b)
	if _, err := fmt.Sscan(text[strings.LastIndexByte(text, ')')+1:], &state, &parent); err != nil {
		return "", 0
	}
	return state, parent
}
