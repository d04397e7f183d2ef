package smtpd

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/printerrelay/printer-relay/relay/atomicfile"
)

// saveEvery is how often it is written down who logged in, at most; a crash loses
// what came since.
const saveEvery = time.Minute

// trustedFile keeps over a restart from where somebody logged in: else one copier
// with an old password could have the others behind its address turned away, as
// long as none of them has sent anything since.
func trustedFile(state string) string { return filepath.Join(state, "logged-in.json") }

// save writes down who did well within a day, if it is time to or now is the last
// chance.
func (r *recent) save(now time.Time, file string, last bool) error {
	r.mu.Lock()
	due := r.dirty && (last || now.Sub(r.saved) >= saveEvery)
	good := map[netip.Prefix]time.Time{}
	if due {
		for client, at := range r.seen {
			if now.Sub(at) <= recentTime {
				good[client] = at
			}
		}
		r.dirty, r.saved = false, now
	}
	r.mu.Unlock()
	if !due {
		return nil
	}
	b, err := json.Marshal(good)
	if err != nil {
		return err
	}
	return atomicfile.Write(file, b)
}

// restore reads what save has written.
func (r *recent) restore(now time.Time, file string) error {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	good := map[netip.Prefix]time.Time{}
	if err := json.Unmarshal(b, &good); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for client, at := range good {
		if age := now.Sub(at); age >= 0 && age <= recentTime && client.IsValid() && len(r.seen) < maxRecent {
			r.note(client, at)
		}
	}
	return nil
}
