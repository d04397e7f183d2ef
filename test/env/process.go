package env

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Run runs a program to its end, at most Wait long, and returns all that it
// printed.
func Run(t testing.TB, stdin string, name string, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Wait)
	defer cancel()
	c := exec.CommandContext(ctx, FindOrFail(t, name), args...)
	c.Stdin = bytes.NewReader([]byte(stdin))
	c.WaitDelay = time.Second
	b, err := c.CombinedOutput()
	return string(b), err
}

// MustRun is Run for programs that must succeed.
func MustRun(t testing.TB, stdin string, name string, args ...string) string {
	t.Helper()
	out, err := Run(t, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// Process is a program in the background, leader of a process group of its own.
type Process struct {
	cmd  *exec.Cmd
	out  buffer
	done chan struct{}
	err  error // of Wait, once done is closed
	kill sync.Once
}

// Start runs a program in the background until Stop or the end of the test.
func Start(t testing.TB, dir string, name string, args ...string) *Process {
	t.Helper()
	p := &Process{done: make(chan struct{})}
	p.cmd = exec.Command(FindOrFail(t, name), args...)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = time.Second // children may hold the pipe
	p.cmd.SysProcAttr = ownGroup()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.Stop)
	return p
}

// Stop asks the program to end, kills what is left of its group after 20
// seconds, and waits for it. It may be called again.
func (p *Process) Stop() {
	if p.Running() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	}
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
	}
	p.Kill()
}

// Kill ends the program and its group at once (SIGKILL), and waits for it.
func (p *Process) Kill() {
	p.kill.Do(func() { // once: later the number may be another's
		if err := syscall.Kill(-p.Pid(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			_ = p.cmd.Process.Kill()
		}
	})
	<-p.done
}

// Running says whether the program has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait waits for the program's end and returns its exit error.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Signal sends a signal to the program alone.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Pid is the program's process ID, and its group's.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Output is all that the program printed until now.
func (p *Process) Output() string { return p.out.String() }

// Tail is the end of what the program printed until now, at most n octets.
func (p *Process) Tail(n int) string { return p.out.tail(n) }

// buffer collects output; it is safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) tail(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.b.Bytes()
	return string(all[max(0, len(all)-n):])
}
