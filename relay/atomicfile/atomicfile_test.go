package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// watched is a disk that writes down its steps with what lies at path and beside it as
// each begins, and has the one of a number fail.
func watched(t *testing.T, path string, failing int) (disk, *[]string) {
	t.Helper()
	var steps []string
	step := func(what string, do func() error) error {
		steps = append(steps, fmt.Sprintf("%s; file %q, beside it %q", what, content(path), content(path+Suffix)))
		if len(steps) == failing {
			return syscall.EIO
		}
		return do()
	}
	return disk{
		sync: func(f *os.File) error {
			return step("sync "+filepath.Base(f.Name()), f.Sync)
		},
		rename: func(from, to string) error {
			return step("rename "+filepath.Base(from)+" "+filepath.Base(to), func() error { return os.Rename(from, to) })
		},
	}, &steps
}

func content(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "-"
	}
	return string(b)
}

func folder(t *testing.T) (path string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	path = filepath.Join(dir, "f")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(path, []byte("old"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOrder(t *testing.T) {
	path := folder(t)
	d, steps := watched(t, path, 0)
	if err := d.write(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`sync f.new; file "old", beside it "new"`,
		`rename f.new f; file "old", beside it "new"`,
		`sync state; file "new", beside it "-"`,
	}
	if !slices.Equal(*steps, want) {
		t.Errorf("got  %q\nwant %q", *steps, want)
	}
}

// The one before stays whole, and nothing is left to take room.
func TestAStepThatFails(t *testing.T) {
	for failing, want := range []string{1: "old", 2: "old", 3: "new"} {
		if failing == 0 {
			continue
		}
		path := folder(t)
		d, steps := watched(t, path, failing)
		if err := d.write(path, []byte("new")); !errors.Is(err, syscall.EIO) {
			t.Errorf("%q failed: %v, want EIO", (*steps)[failing-1], err)
		}
		if got := content(path); got != want {
			t.Errorf("%q failed: the file has %q, want %q", (*steps)[failing-1], got, want)
		}
		if _, err := os.Lstat(path + Suffix); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q failed: %s is there: %v", (*steps)[failing-1], path+Suffix, err)
		}
	}
}

// A folder that takes no new file leaves the one before, too.
func TestAWriterThatFails(t *testing.T) {
	path := folder(t)
	broken := errors.New("broken")
	err := Replace(path, func(name string) error {
		return errors.Join(os.WriteFile(name, []byte("half"), 0o600), broken)
	})
	if !errors.Is(err, broken) || content(path) != "old" || content(path+Suffix) != "-" {
		t.Errorf("%v, file %q, beside it %q", err, content(path), content(path+Suffix))
	}
}

// What a crash leaves before the rename is in nobody's way: neither its octets nor its
// mode come back, and a link that somebody put there is not followed.
func TestWhatACrashLeft(t *testing.T) {
	for name, leave := range map[string]func(left, other string) error{
		"half a file, open to all": func(left, _ string) error {
			return errors.Join(os.WriteFile(left, []byte("half of something longer"), 0o600), os.Chmod(left, 0o666))
		},
		"a link": func(left, other string) error { return os.Symlink(other, left) },
	} {
		t.Run(name, func(t *testing.T) {
			path := folder(t)
			other := filepath.Join(t.TempDir(), "other")
			if err := errors.Join(os.WriteFile(other, []byte("another's"), 0o600), leave(path+Suffix, other)); err != nil {
				t.Fatal(err)
			}
			if err := Write(path, []byte("new")); err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil || info.Mode() != mode || content(path) != "new" || content(other) != "another's" {
				t.Errorf("%v, mode %v, file %q, the other %q", err, info.Mode(), content(path), content(other))
			}
		})
	}
}

func TestTheFirstOfItsName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := Write(path, []byte("new")); err != nil || content(path) != "new" {
		t.Errorf("%v, file %q", err, content(path))
	}
	if err := Write(filepath.Join(path, "below a file"), nil); err == nil {
		t.Error("a folder that is none took a file")
	}
}
