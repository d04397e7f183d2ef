package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
)

// binaries gives the folder that holds kube-apiserver, etcd and kubectl:
// KUBEBUILDER_ASSETS where that is set, or else what hack/cluster/build.sh built
// or builds now, which takes minutes the first time.
func binaries(t testing.TB) (string, error) {
	t.Helper()
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir, nil
	}
	ctx := t.Context()
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, ok := d.Deadline(); ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, end.Add(-late))
			defer cancel()
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(env.Root(t), "hack/cluster/build.sh"), "kube-apiserver", "etcd", "kubectl")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	cmd.Stderr = io.MultiWriter(&said, &reason{to: os.Stderr})
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("there was no time left to build kube-apiserver: run `make control-plane` once, or give go test a longer -timeout: %w\n%s", ctx.Err(), said.String())
	case err != nil:
		return "", fmt.Errorf("hack/cluster/build.sh: %w\n%s", err, said.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// reason passes on what the build says, and before it why there is a build.
type reason struct {
	to   io.Writer
	said bool
}

func (r *reason) Write(p []byte) (int, error) {
	if !r.said {
		r.said = true
		fmt.Fprintln(r.to, "tests run a real kube-apiserver and etcd; this machine has none of this version yet, so they are built from the Go module proxy, once: some minutes")
	}
	return r.to.Write(p)
}

// wrapper gives what starts program so that it ends with this process, even
// where that is killed. envtest has no such switch.
func wrapper(dir, program string) (string, error) {
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("%w: run `make control-plane`, or set KUBEBUILDER_ASSETS to a folder that holds it", err)
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		return program, nil //nolint:nilerr // only Linux has it
	}
	path := filepath.Join(dir, filepath.Base(program))
	text := fmt.Sprintf("#!/bin/sh\nexec '%s' --pdeathsig KILL -- '%s' \"$@\"\n", setpriv, program)
	return path, os.WriteFile(path, []byte(text), 0o700) //nolint:gosec // it is a program
}
