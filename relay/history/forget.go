package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/printerrelay/printer-relay/relay/atomicfile"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// ErrForgetsAll says that a Filter selects everything, or what a page means.
var ErrForgetsAll = errors.New("say what is to be forgotten: --sender, --recipient, --client, --text, --since or --until; keepSeconds: 0 erases all")

// Forget erases the entries of f for good, and gives how many: the file is written
// anew without them, since a database only marks what it deletes as free. It takes as
// much room again meanwhile.
func (s *Store) Forget(ctx context.Context, f Filter) (int, error) {
	if err := forgettable(f); err != nil {
		return 0, err
	}
	erased := make(chan int, 1) // who asks may be gone before it is done
	err := s.request(ctx, func() error {
		n, err := s.forget(ctx, f)
		erased <- n
		return err
	})
	select {
	case n := <-erased:
		return n, err
	default:
		return 0, err
	}
}

// forget is Forget, of Run. What it has erased when ctx ends is out of the file too.
func (s *Store) forget(ctx context.Context, f Filter) (int, error) {
	d := s.db.Load()
	if d == nil {
		return 0, s.off()
	}
	if len(s.pending.entries) > 0 {
		return 0, fmt.Errorf("what happened last cannot be written, and would come behind what is erased: %s: try again when it can", s.Problem())
	}
	n, err := d.forget(ctx, f)
	if n == 0 {
		return 0, err
	}
	clear(s.recent.same) // their entries may be gone
	s.db.Store(nil)
	next, rerr := d.rewrite(s.o.Dir)
	if next == nil {
		s.trouble(rerr)
	} else {
		s.db.Store(next)
	}
	return n, errors.Join(err, rerr)
}

func forgettable(f Filter) error {
	if f.Sender == "" && f.Recipient == "" && f.Client == "" && f.Text == "" && f.Since.IsZero() && f.Until.IsZero() {
		return ErrForgetsAll
	}
	return nil
}

// forget deletes the entries of f.
func (d *database) forget(ctx context.Context, f Filter) (n int, err error) {
	f.Limit, f.Cursor = maxPage, ""
	for {
		p, err := d.list(ctx, f)
		if err != nil {
			return n, err
		}
		ids := make([]string, len(p.Entries))
		for i := range p.Entries {
			ids[i] = p.Entries[i].ID
		}
		if err := d.remove(ids); err != nil {
			return n, err
		}
		n += len(ids)
		if p.Next == "" {
			return n, nil
		}
		f.Cursor = p.Next
		if err := ctx.Err(); err != nil {
			return n, err
		}
	}
}

// rewrite writes the file anew, without what was deleted, and opens it. Where that is
// not possible it opens the one that is there, and says so. It closes d.
func (d *database) rewrite(dir string) (*database, error) {
	err := atomicfile.Replace(filepath.Join(dir, fileName), func(name string) error {
		return errors.Join(guarded(func() error { return d.compact(name) }), d.close())
	})
	err = errors.Join(err, d.close()) // where it did not come to that
	if err != nil {
		err = fmt.Errorf("the entries are no longer found, but the file could not be written anew, so that their octets may still lie in it: %w", err)
	}
	next, oerr := openDatabase(dir, false)
	return next, errors.Join(err, oerr)
}

// compact writes what is in d to a database of its own, each step of which is synced.
func (d *database) compact(name string) error {
	to, err := bolt.Open(name, 0o600, &bolt.Options{Timeout: lockTime, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	return errors.Join(bolt.Compact(to, d.bolt, 1<<20), to.Close())
}

// Stored is the history of a relay that does not run.
type Stored struct {
	dir    string
	d      *database
	advise func(up string, o *upstream.Outcome) string
}

// OpenStored opens the history in dir, to be read alone or not; advise is that of
// Options.
func OpenStored(dir string, readOnly bool, advise func(up string, o *upstream.Outcome) string) (*Stored, error) {
	if _, err := os.Stat(filepath.Join(dir, fileName)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOff, err)
	}
	d, err := openDatabase(dir, readOnly)
	if err != nil {
		return nil, err
	}
	return &Stored{dir, d, advise}, nil
}

// Close lets the file go.
func (s *Stored) Close() error { return s.d.close() }

// List is that of Store.
func (s *Stored) List(ctx context.Context, f Filter) (Page, error) { return s.d.list(ctx, f) }

// Show is that of Store.
func (s *Stored) Show(_ context.Context, id string) (Detail, error) {
	return s.d.show(id, s.advise)
}

// Forget is that of Store.
func (s *Stored) Forget(ctx context.Context, f Filter) (int, error) {
	if err := forgettable(f); err != nil {
		return 0, err
	}
	n, err := s.d.forget(ctx, f)
	if n == 0 {
		return n, err
	}
	next, rerr := s.d.rewrite(s.dir)
	if next != nil {
		s.d = next
	}
	return n, errors.Join(err, rerr)
}
