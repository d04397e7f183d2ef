// Package secrets reads the Secrets that a plan names: standalone from the
// manifests (kind: Secret), in a Pod from the folders that the operator
// mounts. The plan carries names only; values live here and where they are
// used, and are never logged or written.
//
// It imports the standard library only.
package secrets

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// ErrNotFound says that a Secret or one of its keys is missing.
var ErrNotFound = errors.New("not found")

// Source gives the data of a Secret by name. The map is the caller's to read,
// not to change. A missing Secret is ErrNotFound.
type Source interface {
	Get(name string) (map[string][]byte, error)
}

// Map is a Source held in memory: Secret name -> key -> value.
type Map map[string]map[string][]byte

// Get implements Source.
func (m Map) Get(name string) (map[string][]byte, error) {
	if d, ok := m[name]; ok {
		return d, nil
	}
	return nil, fmt.Errorf("secret %q: %w", name, ErrNotFound)
}

// Dir is a Source of mounted Secrets: DIR/NAME/KEY. It reads anew at each Get,
// so that a rotated Secret is seen.
type Dir string

// maxValue bounds one key: the API server allows 1 MiB for a whole Secret.
const maxValue = 1 << 20

// Get implements Source.
func (d Dir) Get(name string) (map[string][]byte, error) {
	if name == "" || strings.ContainsAny(name, "/\\") || name[0] == '.' {
		return nil, fmt.Errorf("secret %q: %w", name, ErrNotFound)
	}
	dir := filepath.Join(string(d), name)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, fmt.Errorf("secret %q: %w", name, ErrNotFound) // an optional mount of a missing Secret is an empty folder
	}
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	out := make(map[string][]byte, len(entries))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") { // kubelet's own links: ..data and its target
			continue
		}
		p := filepath.Join(dir, e.Name())
		info, err := os.Stat(p)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxValue {
			continue
		}
		if out[e.Name()], err = os.ReadFile(p); err != nil {
			return nil, fmt.Errorf("secret %q key %q: %w", name, e.Name(), err)
		}
	}
	return out, nil
}

// Key gives one key of a Secret as text with a trailing newline cut, which
// editors and `kubectl create secret --from-file` leave there.
func Key(s Source, name, key string) (string, error) {
	d, err := s.Get(name)
	if err != nil {
		return "", err
	}
	v, ok := d[key]
	if !ok || len(v) == 0 {
		return "", fmt.Errorf("secret %q has no key %q: %w", name, key, ErrNotFound)
	}
	return strings.TrimRight(string(v), "\r\n"), nil
}

// String, GoString and LogValue keep what a Map holds out of logs and errors
// that somebody formats it into by mistake.
func (m Map) String() string { return fmt.Sprintf("%d secrets", len(m)) }

// GoString implements fmt.GoStringer.
func (m Map) GoString() string { return m.String() }

// LogValue implements slog.LogValuer.
func (m Map) LogValue() slog.Value { return slog.StringValue(m.String()) }
