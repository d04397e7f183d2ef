package apiserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
)

// Kill ends programs of the server as a power cut would, "kube-apiserver" and
// "etcd", and gives what starts them again as they were: with the same data, keys
// and addresses. It returns when the server is ready. The test has to be alone: no
// other has a server meanwhile. Linux only.
func (s *Server) Kill(t testing.TB, names ...string) (restart func()) {
	t.Helper()
	args := map[string][]string{}
	for _, name := range names {
		pid, line, err := s.program(name)
		if err != nil {
			t.Fatal(err)
		}
		args[name] = line[1:]
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if old := s.again[name]; old != nil {
			<-old.ended
			delete(s.again, name)
			continue
		}
		env.Eventually(t, name+" is gone", func() string { return fmt.Sprint(pid) }, func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
			return err != nil || syscall.Kill(pid, 0) != nil
		})
	}
	return func() {
		t.Helper()
		for _, name := range []string{"etcd", "kube-apiserver"} {
			if line, killed := args[name]; killed {
				if err := s.restart(name, line); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
		admin, said := Kubeconfig(t, s.Config), ""
		env.Eventually(t, "the API server is ready again", func() string { return said }, func() (ok bool) {
			// A client that knocks at a port where nobody listens may come to hold it itself.
			for _, name := range []string{"etcd", "kube-apiserver"} {
				if p := s.again[name]; p != nil && args[name] != nil && p.hasEnded() {
					if err := s.restart(name, args[name]); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
				}
			}
			_, said, ok = s.Kubectl(t, admin, "get", "--raw", "/readyz?verbose")
			return ok
		})
	}
}

// restarted is a program that Kill ended and started again.
type restarted struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func (p *restarted) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// program gives the process of a program and its command line.
func (s *Server) program(name string) (int, []string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, nil, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		exe, _ := os.Readlink(filepath.Join("/proc", e.Name(), "exe")) //nolint:errcheck // others' are none of ours
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil || filepath.Base(exe) != name {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		return pid, strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00"), err
	}
	return 0, nil, fmt.Errorf("this process has no child %s", name)
}

// restart starts a program by the thread whose end is the program's.
func (s *Server) restart(name string, args []string) error {
	cmd := exec.CommandContext(context.Background(), filepath.Join(s.dir, name), args...) //nolint:gosec // our own wrapper
	done := make(chan error)
	one.work <- func() { done <- cmd.Start() }
	if err := <-done; err != nil {
		return err
	}
	p := &restarted{cmd, make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() //nolint:errcheck // how it ends is nobody's business
	}()
	if s.again == nil {
		s.again = map[string]*restarted{}
	}
	s.again[name] = p
	return nil
}

// end stops a program that was started again.
func (s *Server) end(name string) error {
	p := s.again[name]
	if p == nil || p.hasEnded() {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(env.Wait):
		return errors.Join(fmt.Errorf("%s does not end", name), p.cmd.Process.Kill())
	}
}
