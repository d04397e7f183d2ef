//go:build linux

package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/printerrelay/printer-relay/test/bench"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/ledger"
)

// queued is more than the connections: some are open, and some wait.
const queued = 3 * connections

// faulty is a relay with mail in its queue, and mail under way, and its disk.
func faulty(t *testing.T, state string) *experiment {
	t.Helper()
	bin := program(t)
	x := &experiment{t: t, upstream: ledger.StartUpstream(t), copiers: &ledger.Copiers{}}
	x.Relay = &ledger.Relay{
		T: t, Bin: bin, Dir: t.TempDir(), State: state, Name: "bench",
		Manifests: func(port int) string { return bench.Manifests(port, x.upstream.Port, connections, delivery) },
	}
	x.Start()
	x.upstream.Hold()
	for range queued {
		x.sends("250")
	}
	return x
}

// sends has a copier send a scan until it is answered so.
func (x *experiment) sends(want string) {
	x.t.Helper()
	last := ""
	env.Eventually(x.t, "a copier is answered "+want, func() string { return "last: " + last + "\n" + x.Process.Tail(2000) }, func() bool {
		answer, err := x.copiers.One(x.Address())
		last = fmt.Sprint(answer, err)
		return err == nil && strings.HasPrefix(answer, want)
	})
}

// refuses checks that a scan is refused for this reason, that readiness says why,
// and that deliveries go on.
func (x *experiment) refuses(reply, why string) {
	x.t.Helper()
	x.sends(reply)
	before := len(x.copiers.Acknowledged())
	for range 5 {
		if answer, err := x.copiers.One(x.Address()); err != nil || !strings.HasPrefix(answer, reply) {
			x.t.Errorf("a copier is answered %q (%v), want %s", answer, err, reply)
		}
	}
	if status, body := x.Get("/readyz"); status != 503 || !strings.Contains(body, why) {
		x.t.Errorf("/readyz: %d %s, want 503 and %q", status, body, why)
	}
	if n := x.upstream.Count(); n > 0 {
		x.t.Errorf("%d scans have arrived already", n)
	}
	x.upstream.Release()
	env.Eventually(x.t, "all that is queued is delivered", func() string { return x.Process.Tail(2000) }, func() bool { return x.upstream.Count() == before })
	if status, _ := x.Get("/healthz"); status != 200 || !x.Process.Running() {
		x.t.Errorf("it is not alive: /healthz %d", status)
	}
}

// recovers checks that mail is taken again by the same process.
func (x *experiment) recovers() {
	x.t.Helper()
	x.sends("250")
	env.Eventually(x.t, "it is ready", func() string { _, b := x.Get("/readyz"); return b }, func() bool { s, _ := x.Get("/readyz"); return s == 200 })
	if !x.Process.Running() {
		x.t.Errorf("it did not live through that:\n%s", x.Process.Tail(2000))
	}
	x.Drain()
}

// accounts checks that nothing was lost, and how many came twice.
func (x *experiment) accounts(twice int) {
	x.t.Helper()
	x.Kill()
	x.upstream.On()
	a := x.settle()
	if len(a.Lost) > 0 || len(a.Broken) > 0 || ledger.Sum(a.Again) > twice {
		x.t.Errorf("%d lost, %d broken, %d twice of %d", len(a.Lost), len(a.Broken), ledger.Sum(a.Again), a.Acknowledged)
	}
}

// fill leaves nothing of a volume.
func fill(t *testing.T, dir string) (release func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size >= 1<<10; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDisk(t *testing.T) {
	program(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=100m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) }) //nolint:errcheck // the namespace ends with the test
	x := faulty(t, filepath.Join(dir, "state"))

	begun, err := ledger.Dial(x.Address()) // fills while its scan is on the way
	if err != nil {
		t.Fatal(err)
	}
	defer begun.Close()
	for _, line := range []string{"MAIL FROM:<mfp@copier.test>", "RCPT TO:<now-begun@example.test>", "DATA"} {
		if answer, err := begun.Ask(line); err != nil || answer[0] > '3' {
			t.Fatalf("%s: %s %v", line, answer, err)
		}
	}
	release := fill(t, dir)
	if err := begun.Data("Subject: scan\r\n\r\n" + strings.Repeat("page after page\r\n", 100_000)); err != nil {
		t.Fatal(err)
	}
	if answer, err := begun.Ask("."); err != nil || !strings.HasPrefix(answer, "452 4.3.1") {
		t.Errorf("a scan that the disk has no room for: %q, %v", answer, err)
	}
	x.refuses("452 4.3.1", "the spool is full")
	release()
	x.recovers()
	x.accounts(0)
}

// inject has system calls of a process that runs fail, until the function it
// gives is called.
func inject(t *testing.T, pid int, calls, as string) (mend func()) {
	t.Helper()
	p := env.Start(t, t.TempDir(), "strace", "--follow-forks", "--seccomp-bpf", "--output=/dev/null", "--trace="+calls, "--inject="+calls+":error="+as, "--attach="+fmt.Sprint(pid))
	env.Eventually(t, "strace has attached", p.Output, func() bool { return strings.Contains(p.Output(), "attached") || !p.Running() })
	return func() {
		if err := p.Signal(syscall.SIGINT); err != nil {
			t.Fatalf("strace: %v\n%s", err, p.Output())
		}
		p.Wait() //nolint:errcheck // it ended by the signal
	}
}

func TestADiskThatFails(t *testing.T) {
	for _, tc := range []struct{ name, calls, as, why string }{
		{"EIO on write", "pwrite64", "EIO", "input/output error"},
		{"EIO on fsync", "fsync,fdatasync,syncfs", "EIO", "input/output error"},
		{"read-only for a time", "pwrite64,ftruncate,unlinkat,fsync,fdatasync,syncfs", "EROFS", "read-only file system"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := faulty(t, t.TempDir())
			mend := inject(t, x.Process.Pid(), tc.calls, tc.as)
			x.refuses("452 4.3.0 PR-064", tc.why)
			mend()
			x.recovers()
			x.accounts(0)
		})
	}
}

// The file system finds a fault of its own and becomes read-only, as ext4 does.
// It stays so until it is mounted anew.
func TestAFileSystemThatBecomesReadOnly(t *testing.T) {
	program(t)
	v := newVolume(t, "ext4")
	env.MustRun(t, "", "mount", "-o", "remount,errors=remount-ro", v.dir)
	x := faulty(t, filepath.Join(v.dir, "state"))
	x.volume = v
	env.WriteFile(t, filepath.Join("/sys/fs/ext4", device(t, v.dir), "trigger_fs_error"), "a test")
	x.refuses("452 4.3.0 PR-064", "read-only file system")
	x.Kill()
	v.restore()
	x.upstream.On()
	x.Start()
	x.recovers()
	x.accounts(queued) // nothing could be written down of what was delivered meanwhile
}

func TestAStartOnAReadOnlyVolumeSaysSo(t *testing.T) {
	bin := program(t)
	v := newVolume(t, "ext4")
	env.MustRun(t, "", "mount", "-o", "remount,ro", v.dir)
	manifests := t.TempDir()
	env.WriteFile(t, filepath.Join(manifests, "relay.yaml"), bench.Manifests(env.FreePort(t), env.FreePort(t), 1, ""))
	out, err := env.Run(t, "", bin, "relay", "--manifests", manifests, "--state", filepath.Join(v.dir, "state"), "--bind", "127.0.0.1", "--admin", "")
	if err == nil || !strings.Contains(out, "read-only file system") || strings.Contains(out, "panic") {
		t.Errorf("%v: %s", err, out)
	}
}

// device gives the name of the device that is mounted at dir.
func device(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == dir {
			return filepath.Base(f[0])
		}
	}
	t.Fatalf("nothing is mounted at %s", dir)
	return ""
}
