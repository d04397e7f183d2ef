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
	"log/slog"
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
