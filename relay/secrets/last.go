package secrets

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// Last keeps, for one user of Secrets, the version of each that could be used
// last: it stays in use until the next one has been read whole. A Secret that is
// half written, by hand or by a tool that sets key after key, stops no mail; one
// that is gone was taken away, and is used no more. The zero value is ready.
type Last struct {
	Upstream string       // for the log
	Log      *slog.Logger // nil: none

	mu   sync.Mutex
	good map[string]map[string][]byte
	said map[string]string // why the one before is used
}

// Use calls use with the Secret name as it is now, and, where use finds that it is
// not whole, with the version that was good last. use keeps what it reads only if
// it returns nil.
func (l *Last) Use(src Source, name string, use func(Source) error) error {
	data, err := src.Get(name)
	if errors.Is(err, ErrNotFound) {
		l.keep(name, nil, nil)
		return err
	}
	if err == nil {
		if err = use(Map{name: data}); err == nil {
			l.keep(name, data, nil)
			return nil
		}
	}
	l.mu.Lock()
	before := l.good[name]
	l.mu.Unlock()
	if before == nil || use(Map{name: before}) != nil {
		return err
	}
	l.keep(name, before, err)
	return nil
}

// APIKey gives a key of the Secret name that is sent in a field of a request's
// header: visible ASCII only, since a blank or a line end there is a mistake of who
// pasted it, or would be another field.
func (l *Last) APIKey(src Source, name, key string) (value string, err error) {
	err = l.Use(src, name, func(src Source) error {
		now, err := Key(src, name, key)
		if err != nil {
			return err
		}
		for i := range len(now) {
			if now[i] <= ' ' || now[i] > '~' {
				return fmt.Errorf("secret %q: %s holds a blank or a character that no key has: put the key alone there", name, key)
			}
		}
		value = now
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("no API key: %w", err)
	}
	return value, err
}

// keep remembers a version; nil: there is none any more. problem is why it is not
// the present one.
func (l *Last) keep(name string, data map[string][]byte, problem error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.good == nil {
		l.good, l.said = map[string]map[string][]byte{}, map[string]string{}
	}
	l.good[name] = data
	said := ""
	if problem != nil {
		said = problem.Error()
	}
	if l.said[name] != said && said != "" && l.Log != nil {
		l.Log.Warn("the credential before stays in use: the Secret is not whole", "upstream", l.Upstream, "secret", name, "cause", said)
	}
	l.said[name] = said
}
