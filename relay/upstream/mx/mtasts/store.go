package mtasts

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/atomicfile"
)

// Bounds of what is kept. Where there is more, what would expire first goes.
const (
	maxEntries = 1024
	maxFile    = 64 << 10
)

// entry is a policy with what is known of it.
type entry struct {
	Domain  string    `json:"domain"`
	ID      string    `json:"id"`
	Policy  Policy    `json:"policy"`
	Fetched time.Time `json:"fetched"` // seen to be in force last
}

func (e *entry) expires() time.Time { return e.Fetched.Add(e.Policy.MaxAge) }

// store keeps entries in memory and in a folder, one file each.
type store struct {
	dir string

	mu      sync.Mutex
	entries map[string]*entry
}

// open reads what an earlier process left; what cannot be read is forgotten: it
// is fetched anew.
func open(dir string, now time.Time) (*store, error) {
	s := &store{dir: dir, entries: map[string]*entry{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		e := read(path)
		if e == nil || path != s.path(e.Domain) || now.After(e.expires()) || len(s.entries) >= maxEntries {
			os.Remove(path) //nolint:errcheck // it is read again at the next start
			continue
		}
		s.entries[e.Domain] = e
	}
	return s, nil
}

func read(path string) *entry {
	if st, err := os.Lstat(path); err != nil || !st.Mode().IsRegular() || st.Size() > maxFile {
		return nil
	}
	b, err := os.ReadFile(path) //nolint:gosec // below the relay's own state
	if err != nil {
		return nil
	}
	e := &entry{}
	if json.Unmarshal(b, e) != nil || e.Domain == "" {
		return nil
	}
	return e
}

// path is by hash: a domain can have more octets than a file's name may.
func (s *store) path(domain string) string {
	sum := sha256.Sum256([]byte(domain))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:16])+".json")
}

// get gives the entry of a domain that has not expired.
func (s *store) get(domain string, now time.Time) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[domain]
	if e == nil || now.After(e.expires()) {
		return nil
	}
	return e
}

// put keeps an entry. An error says that it will not outlive the process.
func (s *store) put(e *entry, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[e.Domain] == nil {
		s.makeRoom(now)
	}
	s.entries[e.Domain] = e
	return s.write(e)
}

func (s *store) makeRoom(now time.Time) {
	for len(s.entries) >= maxEntries {
		var first *entry
		for _, e := range s.entries {
			if first == nil || e.expires().Before(first.expires()) {
				first = e
			}
		}
		delete(s.entries, first.Domain)
		os.Remove(s.path(first.Domain)) //nolint:errcheck // it goes at the next start
		if !now.After(first.expires()) {
			break // one is enough
		}
	}
}

// write replaces the file of e at once: a crash leaves the old or the new one.
func (s *store) write(e *entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return atomicfile.Write(s.path(e.Domain), b)
}

// tooLong tells whether a domain is no name that DNS could have.
func tooLong(domain string) bool { return len(domain) > 253 || strings.ContainsAny(domain, "/\x00") }
