package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"sync"
)

// bufferSize holds a small message whole, so that it is written at once.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, bufferSize); return &b }}

// Writer takes one message. It is not safe for concurrent use.
type Writer struct {
	s     *Spool
	id    string
	f     *os.File // nil until the buffer was full once: a small entry may do without
	buf   *[]byte  // what is not written yet; while f is nil, behind room for a slot's head and the preamble
	size  int64    // octets of the body
	crc   uint32
	done  bool
	wrote int64 // octets in the file
	mark  uint64
	err   error
}

// Create begins the entry id; Commit or Abort must follow.
func (s *Spool) Create(id string) (*Writer, error) {
	if !validID(id) {
		return nil, fmt.Errorf("spool: %q is not an entry ID", id)
	}
	if err := s.Full(0); err != nil {
		return nil, err
	}
	if err := s.claim(id); err != nil {
		return nil, err
	}
	buf := buffers.Get().(*[]byte)
	*buf = append((*buf)[:0], make([]byte, slotHead+preambleSize)...)
	return &Writer{s: s, id: id, buf: buf}, nil
}

// claim makes id a Writer's alone, until disclaim.
func (s *Spool) claim(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing[id] || s.slots.has(id) {
		return ErrExists
	}
	if _, err := os.Lstat(s.path(id)); err == nil {
		return ErrExists
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	s.writing[id] = true
	return nil
}

func (s *Spool) disclaim(id string) {
	s.mu.Lock()
	delete(s.writing, id)
	s.mu.Unlock()
}

// ID is the entry's.
func (w *Writer) ID() string { return w.id }

// Size is the octets of the body so far.
func (w *Writer) Size() int64 { return w.size }

// Write adds to the body. After an error the entry can only be aborted.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil || w.done {
		return 0, errors.Join(w.err, errDone(w.done))
	}
	w.crc = crc32.Update(w.crc, castagnoli, p)
	w.size += int64(len(p))
	for rest := p; len(rest) > 0; {
		n := min(len(rest), bufferSize-len(*w.buf))
		*w.buf = append(*w.buf, rest[:n]...)
		rest = rest[n:]
		if len(*w.buf) == bufferSize {
			if w.err = w.flush(); w.err != nil {
				return len(p) - len(rest), w.err
			}
		}
	}
	return len(p), nil
}

func errDone(done bool) error {
	if done {
		return fs.ErrClosed
	}
	return nil
}

// flush writes the buffer to the entry's file, which the first call creates
// under its final name.
func (w *Writer) flush() error {
	b := *w.buf
	if w.f == nil {
		w.mark = w.s.sync.mark()
		f, err := openFile(w.s.path(w.id), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return w.s.disk(err)
		}
		w.f, b = f, b[slotHead:]
	}
	n, err := w.f.Write(b)
	w.wrote += int64(n)
	*w.buf = (*w.buf)[:0]
	if err != nil {
		return w.s.disk(err)
	}
	return nil
}

// Commit makes the entry durable with meta as its first record. When it
// returns nil the message may be acknowledged; otherwise the entry is gone.
//
// The order for a small entry, and why a crash between any two steps is harmless:
//  1. Head and image are written into a free slot, at once. Without a sync the
//     disk may hold any part of them; their checksums tell, and nobody was told
//     250.
//  2. One fdatasync makes them durable, with what else is waiting.
//  3. Commit returns, and the caller says 250.
//
// And for one with a file of its own:
//  1. The file was created under its final name. Its preamble is zero, so a
//     start after a crash deletes it; nobody was told 250.
//  2. Body and Meta are written, and then the preamble: a kill between or during
//     these writes leaves none. Without a sync the disk may hold any
//     part of them; the checksums tell, and nobody was told 250.
//  3. One sync makes the file's data, its size and its name durable: either
//     fdatasync of the file and fsync of the folder, or syncfs of the volume for
//     many entries at once.
//  4. Commit returns, and the caller says 250.
//
// An error fails every entry of the batch: after a failed fsync the pages count
// as clean and a second one would lie.
func (w *Writer) Commit(meta []byte) error {
	if w.err == nil && w.done {
		return fs.ErrClosed
	}
	err := w.err
	if err == nil {
		err = w.store(meta)
	}
	if err != nil {
		w.Abort()
		return err
	}
	w.release()
	return nil
}

func (w *Writer) store(meta []byte) error {
	if len(meta) > maxRecord {
		return fmt.Errorf("spool: the meta record has %d octets, more than %d", len(meta), maxRecord)
	}
	head := preamble{size: w.size, crc: w.crc}.encode()
	*w.buf = appendRecord(*w.buf, meta)
	if w.f == nil {
		copy((*w.buf)[slotHead:], head[:])
		size := int64(len(*w.buf) - slotHead)
		mark := w.s.sync.mark()
		inSlot, err := w.s.slots.put(w.id, *w.buf)
		if err != nil {
			return w.s.disk(err)
		}
		if inSlot {
			return w.counted(size, func() error { return w.s.syncSlots(mark) })
		}
		clear((*w.buf)[slotHead:][:preambleSize]) // it comes last: a kill may cut the write
	}
	if err := w.flush(); err != nil {
		return err
	}
	if _, err := w.f.WriteAt(head[:], 0); err != nil {
		return w.s.disk(err)
	}
	return w.counted(w.wrote, func() error { return w.s.sync.wait(w.f, w.mark) })
}

// counted runs sync with the entry's octets counted: what looks at the spool
// meanwhile sees an entry that is whole.
func (w *Writer) counted(size int64, sync func() error) error {
	w.s.entries.Add(1)
	w.s.bytes.Add(size)
	err := sync()
	if err != nil {
		w.s.entries.Add(-1)
		w.s.bytes.Add(-size)
		return w.s.disk(err)
	}
	return nil
}

// Abort drops the entry. After Commit it does nothing.
func (w *Writer) Abort() {
	if w.done {
		return
	}
	if w.f != nil {
		os.Remove(w.s.path(w.id)) //nolint:errcheck // it is not committed: the next start deletes what stays
	} else if x, err := w.s.slots.clear(w.id); err == nil {
		w.s.slots.freed(x)
	}
	w.release()
}

func (w *Writer) release() {
	w.done = true
	w.s.disclaim(w.id)
	if w.f != nil {
		w.f.Close()
	}
	if cap(*w.buf) <= 2*bufferSize {
		buffers.Put(w.buf)
	}
	w.buf = nil
}
