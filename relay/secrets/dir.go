package secrets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Dir is a Source of mounted Secrets: DIR/NAME/KEY. It reads anew at each Get,
// so that a rotated Secret is seen, and gives all keys of one version of it.
type Dir string

const (
	maxValue = 1 << 20 // of one key, in octets: the API server allows 1 MiB for a whole Secret
	maxReads = 20      // of a Secret that changes while it is read
)

// errSwapped says that the folder that was being read is the kubelet's no more.
var errSwapped = errors.New("it changed while it was read")

// Get implements Source.
func (d Dir) Get(name string) (map[string][]byte, error) {
	if name == "" || strings.ContainsAny(name, "/\\") || name[0] == '.' {
		return nil, fmt.Errorf("secret %q: %w", name, ErrNotFound)
	}
	mount := filepath.Join(string(d), name)
	var out map[string][]byte
	err := errSwapped
	for n := 0; n < maxReads && errors.Is(err, errSwapped); n++ {
		out, err = version(mount)
	}
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	return out, nil
}

// version reads one version of a mounted Secret. The keys in the folder lead
// through a link, ..data, to a folder that the kubelet fills first, then swaps the
// link to, and then removes the one before: to read key by key through the link
// could give the user name of one version and the password of another. So the link
// is read once, and all keys in the folder that it names. If the link still names
// it when it is listed, the list is whole, since nothing is removed before.
func version(mount string) (map[string][]byte, error) {
	link := filepath.Join(mount, "..data")
	target, err := os.Readlink(link)
	if err != nil { // a plain folder, made by a person
		return keys(mount, nil)
	}
	folder := target
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(mount, folder)
	}
	return keys(folder, func() bool {
		now, err := os.Readlink(link)
		return err == nil && now == target
	})
}

// keys reads the files of a folder. current tells whether it is the newest version;
// nil: there are none.
func keys(dir string, current func() bool) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if current != nil && !current() {
		return nil, errSwapped
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, ErrNotFound // an optional mount of a missing Secret is an empty folder
	}
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(entries))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") { // the kubelet's own
			continue
		}
		p := filepath.Join(dir, e.Name())
		info, err := os.Stat(p)
		if err == nil && (!info.Mode().IsRegular() || info.Size() > maxValue) {
			continue
		}
		if err == nil {
			out[e.Name()], err = os.ReadFile(p)
		}
		switch {
		case err == nil:
		case current != nil && errors.Is(err, fs.ErrNotExist):
			return nil, errSwapped
		case errors.Is(err, fs.ErrNotExist):
			delete(out, e.Name()) // a link to nowhere
		default:
			return nil, fmt.Errorf("key %q: %w", e.Name(), err)
		}
	}
	return out, nil
}
