package smtpd

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// saveEvery is how often it is written down who logged in, at most; a crash loses
// what came since.
const saveEvery = time.Minute

// trustedFile keeps over a restart from where somebody logged in: else one copier
// with an old password could have the others behind its address turned away, as
// long as none of them has sent anything since.
func trustedFile(state string) string { return filepath.Join(state, "logged-in.json") }

// save writes down who logged in within a day, if it is time to or now is the last
// chance.
func (g *guard) save(now time.Time, state string, last bool) error {
	g.mu.Lock()
	due := g.dirty && (last || now.Sub(g.saved) >= saveEvery)
	good := map[netip.Prefix]time.Time{}
	if due {
		for client, c := range g.clients {
			if now.Sub(c.good) <= trustMemory {
				good[client] = c.good
			}
		}
		g.dirty, g.saved = false, now
	}
	g.mu.Unlock()
	if !due {
		return nil
	}
	b, err := json.Marshal(good)
	if err != nil {
		return err
	}
	tmp := trustedFile(state) + ".new" // whole or not at all
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, trustedFile(state))
}

// restore reads what save has written.
func (g *guard) restore(now time.Time, state string) error {
	b, err := os.ReadFile(trustedFile(state))
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
	g.mu.Lock()
	defer g.mu.Unlock()
	for client, at := range good {
		if age := now.Sub(at); age >= 0 && age <= trustMemory && client.IsValid() && len(g.clients) < maxGuarded {
			entry(&g.clients, client, now).good = at
		}
	}
	return nil
}
