package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/printerrelay/printer-relay/relay/atomicfile"
	"github.com/printerrelay/printer-relay/relay/envelope"
)

// SaveEvery is how often the inventory is written down, at most: what a crash or a
// kill loses is what came since.
const SaveEvery = time.Minute

// FileName is that of the inventory in a relay's state folder.
const FileName = "copiers.json"

// The file is a line that says what follows, and the devices as a JSON array. It is
// replaced whole or not at all, so a kill spoils none; the checksum is for disks that
// spoil what they hold.
const (
	fileVersion = 1
	maxFile     = 64 << 20 // octets; what is written is far less
)

type fileHeader struct {
	Version int    `json:"version"`
	CRC32C  uint32 `json:"crc32c"` // of what follows
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errNewer says that a file is of a later version of the program.
var errNewer = errors.New("a newer version of the relay has written it")

// Load reads what Save wrote. A file that is damaged, or of a newer version, is put
// aside under another name, and the inventory begins anew: the log says so.
func (s *Store) Load(path string, now time.Time, log *slog.Logger) {
	devices, err := ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		aside := path + ".damaged"
		if errors.Is(err, errNewer) {
			aside = path + ".newer"
		}
		if moved := os.Rename(path, aside); moved != nil {
			err = errors.Join(err, moved)
		}
		log.Warn("the inventory of copiers begins anew: its file cannot be used, and is kept aside", "file", aside, "cause", err)
		return
	}
	s.Restore(devices, now)
}

// Restore takes devices as ReadFile gives them.
func (s *Store) Restore(devices []Copier, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range devices {
		s.restore(&devices[i], now)
	}
	s.dirty = false
}

// restore takes a device as it was. What is not as this package writes it is left out.
func (s *Store) restore(c *Copier, now time.Time) {
	a, err := netip.ParseAddr(c.Address)
	key := envelope.Device(a)
	if err != nil || show(key) != c.Device || s.devices[key] != nil || now.Sub(c.Last) > Remember {
		return
	}
	d := &device{Copier: c.bounded(), key: key, address: a.Unmap().WithZone("")}
	if d.Last.After(now) { // a clock was ahead: it would be the newest for ever
		d.Last = now
	}
	s.devices[key] = d
	s.settle(d)
}

// bounded is c within the bounds of this package: a file that a person edited has
// them too.
func (c *Copier) bounded() Copier {
	out := c.clone()
	out.Names = out.Names[:min(len(out.Names), maxNames)]
	for i := range out.Names {
		out.Names[i] = clean(out.Names[i], maxName)
	}
	out.Listeners = out.Listeners[:min(len(out.Listeners), maxListeners)]
	out.Senders, out.Recipients = out.Senders[:min(len(out.Senders), maxSenders)], out.Recipients[:min(len(out.Recipients), maxRecipients)]
	for _, l := range [...][]Counted{out.Senders, out.Recipients} {
		for i := range l {
			l[i].Value = clean(l[i].Value, maxSender)
		}
	}
	out.DryRun = out.DryRun[:min(len(out.DryRun), maxDryRun)]
	return out
}

// ReadFile gives the devices of a file that Save wrote. fs.ErrNotExist: there is none.
func ReadFile(path string) ([]Copier, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	return decode(b)
}

func decode(b []byte) ([]Copier, error) {
	body, err := whole(b)
	if err != nil {
		return nil, err
	}
	var devices []Copier
	if err := json.Unmarshal(body, &devices); err != nil {
		return nil, err
	}
	return devices, nil
}

// whole gives what follows the first line of a file, if that is what was written.
func whole(b []byte) ([]byte, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("it has more than %d octets", maxFile)
	}
	head, body, _ := bytes.Cut(b, []byte{'\n'})
	var h fileHeader
	if err := json.Unmarshal(head, &h); err != nil {
		return nil, fmt.Errorf("its first line: %w", err)
	}
	if h.Version > fileVersion {
		return nil, fmt.Errorf("version %d: %w", h.Version, errNewer)
	}
	if h.Version != fileVersion || crc32.Checksum(body, castagnoli) != h.CRC32C {
		return nil, errors.New("its checksum is not that of what it holds")
	}
	return body, nil
}

func encode(devices []Copier) ([]byte, error) {
	body, err := json.Marshal(devices)
	if err != nil {
		return nil, err
	}
	head, err := json.Marshal(fileHeader{fileVersion, crc32.Checksum(body, castagnoli)})
	if err != nil {
		return nil, err
	}
	return append(append(head, '\n'), body...), nil
}

// Save writes the inventory to a file, if it changed since the last time. It forgets
// who did not come for a long time.
func (s *Store) Save(path string, now time.Time) error {
	s.mu.Lock()
	s.expire(now)
	due := s.dirty
	s.dirty = false
	s.mu.Unlock()
	if !due {
		return nil
	}
	b, err := encode(s.chosen(Filter{}))
	if err == nil {
		err = atomicfile.Write(path, b)
	}
	if err != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
	}
	return err
}

// Run saves the inventory now and then until ctx ends, and once more then. A disk
// that takes nothing is said once, and tried again: mail does not wait for it.
func (s *Store) Run(ctx context.Context, path string, every time.Duration, log *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failing := false
	save := func() {
		err := s.Save(path, time.Now())
		switch {
		case err != nil && !failing:
			log.Warn("the inventory of copiers cannot be saved; it is tried again, and mail goes on", "cause", err)
		case err == nil && failing:
			log.Info("the inventory of copiers is saved again")
		}
		failing = err != nil
	}
	for {
		select {
		case <-ctx.Done():
			save()
			return
		case <-tick.C:
			save()
		}
	}
}
