//go:build linux

package disk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/printerrelay/printer-relay/test/env"
)

// volume is a file system of its own, in a file.
type volume struct {
	t          *testing.T
	image, dir string
}

// makers of file systems, with the size that each needs.
var makers = map[string]struct {
	size int64
	make []string
}{
	"ext4": {256 << 20, []string{"mkfs.ext4", "-q", "-F"}},
	"xfs":  {320 << 20, []string{"mkfs.xfs", "-q"}},
}

func newVolume(t *testing.T, kind string) *volume {
	t.Helper()
	v := &volume{t: t, image: filepath.Join(t.TempDir(), "image"), dir: filepath.Join(t.TempDir(), "volume")}
	f, err := os.Create(v.image)
	if err == nil {
		err = errors.Join(f.Truncate(makers[kind].size), f.Close(), os.Mkdir(v.dir, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	mkfs := makers[kind].make
	env.MustRun(t, "", mkfs[0], append(mkfs[1:], v.image)...)
	v.mount()
	t.Cleanup(func() {
		unix.Unmount(v.dir, unix.MNT_DETACH) //nolint:errcheck // it may not be mounted; the namespace ends with the test
	})
	return v
}

func (v *volume) mount() {
	v.t.Helper()
	env.MustRun(v.t, "", "mount", "-o", "loop", v.image, v.dir)
}

// cut is what a power cut does: nothing that is not on the disk gets there any
// more. log: what is in the journal's buffer gets there first.
func (v *volume) cut(log bool) {
	v.t.Helper()
	command := "shutdown"
	if log {
		command = "shutdown -f"
	}
	env.MustRun(v.t, "", "xfs_io", "-x", "-c", command, v.dir)
}

// restore brings the volume back as after the power came back. Nobody may have
// it open.
func (v *volume) restore() {
	v.t.Helper()
	deadline := time.Now().Add(env.Wait)
	for err := unix.Unmount(v.dir, 0); err != nil; err = unix.Unmount(v.dir, 0) {
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			v.t.Fatalf("umount: %v", err)
		}
		time.Sleep(5 * time.Millisecond) // the kernel closes the files of a killed process behind its end
	}
	v.mount()
}

// What this cut loses is what was not synced, and nothing else: files as well as
// names.
func TestACutLosesWhatWasNotSynced(t *testing.T) {
	program(t)
	for kind := range makers {
		t.Run(kind, func(t *testing.T) {
			v := newVolume(t, kind)
			for _, tc := range []struct {
				name             string
				syncFile, syncTo bool
				left             bool
			}{
				{"nothing synced", false, false, false},
				{"the folder alone", false, true, false},
				{"the file alone, before its name", true, false, false},
				{"both", true, true, true},
			} {
				was, is := filepath.Join(v.dir, "was"), filepath.Join(v.dir, "is")
				f, err := os.Create(was)
				if err != nil {
					t.Fatal(err)
				}
				_, err = f.WriteString("scan")
				if tc.syncFile {
					err = errors.Join(err, f.Sync())
				}
				if err = errors.Join(err, f.Close(), os.Rename(was, is)); err != nil {
					t.Fatal(err)
				}
				if tc.syncTo {
					d, err := os.Open(v.dir)
					if err == nil {
						err = errors.Join(d.Sync(), d.Close())
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				v.cut(false)
				v.restore()
				b, err := os.ReadFile(is)
				if left := err == nil && string(b) == "scan"; left != tc.left {
					t.Errorf("%s: left is %v, want %v (%q, %v)", tc.name, left, tc.left, b, err)
				}
				os.Remove(was) //nolint:errcheck // one of the two is there
				os.Remove(is)  //nolint:errcheck // one of the two is there
			}
		})
	}
}
