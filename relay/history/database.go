package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/printerrelay/printer-relay/relay/spool"
)

// The database is one file: a bucket of messages by queue ID, one of refusals, and
// what is known of both. IDs sort by time, so the newest are at the end.
var (
	messagesBucket = []byte("messages")
	refusalsBucket = []byte("refusals")
	metaBucket     = []byte("meta")
	versionKey     = []byte("version")
	octetsKey      = []byte("octets") // of the entries: messages, refusals
)

const (
	fileName    = "history.db"
	asideName   = "history.db.damaged"
	version     = 1
	lockTime    = time.Second
	pruneAtOnce = 1000             // entries that one transaction deletes
	pruneEvery  = 10 * time.Minute // by age, where nothing is written
	overhead    = 48               // octets that an entry takes beside its own
	// refusalShare is the part of the size that refusals may take: who is refused all
	// day cannot push out what became of mail.
	refusalShare = 8
)

var (
	errDamaged = errors.New("the database is damaged")
	errNoRoom  = errors.New("the volume has no room to spare")
)

// database is an open file.
type database struct {
	bolt    *bolt.DB
	mu      sync.RWMutex // held for reading while it is used, for writing to close it
	closed  bool
	octets  atomic.Int64 // of the file
	kept    [2]int64     // octets of messages and refusals; of the writer
	pruneAt time.Time    // of the writer
}

// openDatabase opens the file in dir, or makes it.
func openDatabase(dir string, readOnly bool) (d *database, err error) {
	if !readOnly {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	err = guarded(func() error {
		if err := verify(filepath.Join(dir, fileName)); err != nil {
			return err
		}
		b, err := bolt.Open(filepath.Join(dir, fileName), 0o600, &bolt.Options{Timeout: lockTime, ReadOnly: readOnly, FreelistType: bolt.FreelistMapType})
		if err != nil {
			return err
		}
		b.AllocSize = 1 << 20
		d = &database{bolt: b}
		if readOnly {
			err = d.check()
		} else {
			err = d.prepare()
		}
		if err != nil {
			return errors.Join(err, b.Close())
		}
		return nil
	})
	switch {
	case err == nil:
		d.measure()
		return d, nil
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("another process has %s open: %w", filepath.Join(dir, fileName), err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch), isTruncated(err):
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil, err
}

// isTruncated tells of bbolt's error about a file that is too short, which has no name.
func isTruncated(err error) bool {
	var path *fs.PathError
	return !errors.Is(err, errDamaged) && !errors.As(err, &path) && !errors.Is(err, errNewer) && !errors.Is(err, berrors.ErrTimeout)
}

// guarded runs f, which looks at the file. What bbolt finds amiss in it is a panic, and
// so is a page that the disk does not give: it is mapped into memory. Neither may end
// the relay.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return f()
}

var errNewer = errors.New("a newer version of this program wrote the database: it is left as it is, and nothing is kept")

// check looks at the version.
func (d *database) check() error {
	return d.bolt.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil || tx.Bucket(messagesBucket) == nil || tx.Bucket(refusalsBucket) == nil {
			return fmt.Errorf("%w: it is not a history", errDamaged)
		}
		if v := meta.Get(versionKey); len(v) != 1 || v[0] != version {
			return errNewer
		}
		if o := meta.Get(octetsKey); len(o) == 16 {
			d.kept = [2]int64{int64(binary.BigEndian.Uint64(o)), int64(binary.BigEndian.Uint64(o[8:]))} //nolint:gosec // they were that
		}
		return nil
	})
}

// prepare makes a new file a history.
func (d *database) prepare() error {
	empty := false
	if err := d.bolt.View(func(tx *bolt.Tx) error {
		k, _ := tx.Cursor().First()
		empty = k == nil
		return nil
	}); err != nil {
		return err
	}
	if !empty {
		tx, err := d.bolt.Begin(true) // bbolt counts the free pages at the end of one
		if err == nil {
			err = tx.Rollback()
		}
		return errors.Join(err, d.check())
	}
	return d.bolt.Update(func(tx *bolt.Tx) error {
		for _, b := range [][]byte{messagesBucket, refusalsBucket, metaBucket} {
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put(versionKey, []byte{version})
	})
}

// close closes the file once whoever reads it is done.
func (d *database) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return guarded(d.bolt.Close)
}

// view runs f in a transaction that sees one state of all.
func (d *database) view(f func(tx *bolt.Tx) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return ErrOff
	}
	return guarded(func() error { return d.bolt.View(f) })
}

// entry reads one entry.
func (d *database) entry(bucket []byte, id string) (e *entry, err error) {
	err = d.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucket).Get([]byte(id))
		if v == nil {
			return ErrNotFound
		}
		var ok bool
		if e, ok = decode(v); !ok {
			return fmt.Errorf("%w: entry %q cannot be read", errDamaged, id)
		}
		return nil
	})
	return e, err
}

// commit writes entries, and deletes what set no longer wants. It is one transaction
// with one sync, or a few where much is deleted: what the last seconds brought is not
// worth more. Kills and power cuts leave the state of one of them.
func (d *database) commit(entries map[string]*entry, set *Settings, now time.Time) error {
	if len(entries) == 0 && now.Before(d.pruneAt) {
		return nil
	}
	defer d.measure()
	ids := slices.Sorted(maps.Keys(entries))
	write := func(tx *bolt.Tx, kept *[2]int64) error {
		var buf []byte // bbolt keeps what lies in it until the commit
		for _, id := range ids {
			begin := len(buf)
			buf = entries[id].appendTo(buf)
			if err := put(tx, kept, id, buf[begin:len(buf):len(buf)]); err != nil {
				return err
			}
		}
		return nil
	}
	d.bolt.MaxSize = int(max(set.Size, minSize))
	err := d.update(write)
	for range 3 { // the bound was reached: to delete takes room too, for a moment
		if !errors.Is(err, berrors.ErrMaxSizeReached) {
			break
		}
		d.bolt.MaxSize = 0
		if _, err = d.prune(set, now, true); err == nil {
			d.bolt.MaxSize = int(max(set.Size, minSize))
			err = d.update(write)
		}
	}
	for more := true; err == nil && more; {
		more, err = d.prune(set, now, false)
	}
	if err == nil {
		d.pruneAt = now.Add(pruneEvery)
	}
	return err
}

// update is a transaction that writes; kept counts when it is on disk.
func (d *database) update(f func(tx *bolt.Tx, kept *[2]int64) error) error {
	kept := d.kept
	err := guarded(func() error {
		return d.bolt.Update(func(tx *bolt.Tx) error {
			tx.Bucket(messagesBucket).FillPercent = 0.9 // they come in the order of their keys
			if err := f(tx, &kept); err != nil {
				return err
			}
			var o [16]byte
			binary.BigEndian.PutUint64(o[:], uint64(kept[0]))  //nolint:gosec // it is read the same way
			binary.BigEndian.PutUint64(o[8:], uint64(kept[1])) //nolint:gosec // the same
			return tx.Bucket(metaBucket).Put(octetsKey, o[:])
		})
	})
	if err == nil {
		d.kept = kept
	}
	return err
}

// bucketOf is where an entry lies, and its place in kept.
func bucketOf(id string) (bucket []byte, kind int) {
	if isRefusal(id) {
		return refusalsBucket, 1
	}
	return messagesBucket, 0
}

func put(tx *bolt.Tx, kept *[2]int64, id string, v []byte) error {
	name, kind := bucketOf(id)
	b, key := tx.Bucket(name), []byte(id)
	if old := b.Get(key); old != nil {
		kept[kind] -= int64(len(key) + len(old) + overhead)
	}
	kept[kind] += int64(len(key) + len(v) + overhead)
	return b.Put(key, v)
}

// prune deletes the oldest entries, a thousand at most: those beyond their time, and
// where they take more than their part of the size; hard: whatever they are. It tells
// whether there is more to delete.
func (d *database) prune(set *Settings, now time.Time, hard bool) (more bool, err error) {
	size := max(set.Size, minSize)
	oldest := spool.IDAt(now.Add(-set.Keep))
	var old [2][]string
	err = d.view(func(tx *bolt.Tx) error {
		stats := d.bolt.Stats()
		used := tx.Size() - int64(stats.FreePageN+stats.PendingPageN)*int64(d.bolt.Info().PageSize)
		kept := d.kept
		for kind, name := range [][]byte{refusalsBucket, messagesBucket} {
			kind = 1 - kind
			c := tx.Bucket(name).Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				over := kind == 1 && kept[1] > size/refusalShare*7/10 || used > size-size/8 && (kind == 0 || kept[0] == 0)
				if string(k) >= oldest && !over && !(hard && kind == 0) {
					break
				}
				if len(old[0])+len(old[1]) == pruneAtOnce {
					more = !hard
					return nil
				}
				n := int64(len(k) + len(v) + overhead)
				kept[kind] -= n
				used -= n
				old[kind] = append(old[kind], string(k))
			}
		}
		return nil
	})
	if err != nil || len(old[0])+len(old[1]) == 0 {
		return false, err
	}
	return more, d.remove(append(old[0], old[1]...))
}

// remove deletes entries.
func (d *database) remove(ids []string) error {
	return d.update(func(tx *bolt.Tx, kept *[2]int64) error {
		for _, id := range ids {
			name, kind := bucketOf(id)
			b, key := tx.Bucket(name), []byte(id)
			old := b.Get(key)
			if old == nil {
				continue
			}
			kept[kind] -= int64(len(key) + len(old) + overhead)
			if err := b.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *database) measure() {
	if info, err := os.Stat(d.bolt.Path()); err == nil {
		d.octets.Store(info.Size())
	}
}
