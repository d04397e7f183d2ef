// Package atomicfile replaces a file as a whole: who reads it finds what was there
// before or what is there now, also after a kill or a power cut at any moment.
//
// What is written in which order, and why:
//
//   - The content goes into another file of the same folder. Its name is always the
//     same, so what a crash left of it goes with the next write, and no two may write
//     one file at a time.
//   - That file is synced before it is renamed: a file system may keep the change of a
//     name and lose the data behind it, and the file would be empty after a power cut.
//   - It is renamed over the one before, which the system does as one step.
//   - The folder is synced: until then a power cut brings the one before back, and with
//     it what the new one was to leave out.
//
// What goes wrong before the rename changes nothing, and gives the room back.
//
// It imports the standard library only.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// mode is who may read what a relay keeps: its own user.
const mode fs.FileMode = 0o600

// Suffix is what the name of a file that is being written has behind that of the one
// which it will be.
const Suffix = ".new"

// Write replaces the file at path by one with this content, which only its owner may
// read, or makes it. It is on stable storage when Write returns nil. After an error the
// file is as it was, or, if it could not be told whether the rename is on stable
// storage, new.
func Write(path string, content []byte) error { return system.write(path, content) }

// Replace is Write for what another writes: write gets the name of a file that is not
// there, and makes it, whole and synced.
func Replace(path string, write func(name string) error) error { return system.replace(path, write) }

// disk are the steps whose order counts; tests watch them, and have them fail.
type disk struct {
	sync   func(*os.File) error
	rename func(from, to string) error
}

var system = disk{sync: (*os.File).Sync, rename: os.Rename}

func (d disk) write(path string, content []byte) error {
	return d.replace(path, func(name string) error {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode) //nolint:gosec // beside a file of the relay's own
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		if err == nil {
			err = d.sync(f)
		}
		return errors.Join(err, f.Close())
	})
}

func (d disk) replace(path string, write func(name string) error) error {
	name := path + Suffix
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := write(name)
	if err == nil {
		err = d.rename(name, path)
	}
	if err != nil {
		os.Remove(name) //nolint:errcheck // it may not be there; else the next write removes it
		return err
	}
	if err := d.syncFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%s is new, but may be what it was before after a power cut: %w", path, err)
	}
	return nil
}

func (d disk) syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.sync(f)
}
