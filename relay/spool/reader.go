package spool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
)

// Entry is one message of the spool without its body.
type Entry struct {
	ID      string
	Meta    []byte
	Records [][]byte // state records, oldest first
	Size    int64    // octets of the body
}

// Read gives the entry id.
func (s *Spool) Read(id string) (Entry, error) {
	f, size, err := s.open(id)
	if err != nil {
		return Entry{}, err
	}
	defer f.Close()
	e, _, err := readEntry(f, size, make([]byte, scanBuffer))
	e.ID = id
	return e, err
}

// image is what an entry consists of, wherever it lies.
type image interface {
	io.ReaderAt
	io.Closer
}

// open gives the image of the entry id and its octets.
func (s *Spool) open(id string) (image, int64, error) {
	if !validID(id) {
		return nil, 0, ErrNotFound
	}
	if i, ok := s.slots.open(id); ok {
		return i, i.Size(), nil
	}
	f, err := openFile(s.path(id), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, ErrNotFound
	}
	if err != nil {
		return nil, 0, fmt.Errorf("spool: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("spool: %w", err)
	}
	return f, info.Size(), nil
}

// scanBuffer holds the whole file of a small message.
const scanBuffer = 8 << 10

// readEntry reads all but the body. end is where the last whole record ends;
// the results do not refer to buf. A torn last record is no error.
func readEntry(f io.ReaderAt, size int64, buf []byte) (e Entry, end int64, err error) {
	n, err := f.ReadAt(buf[:min(int64(len(buf)), size)], 0) // no more: to find the end is another read
	if err != nil && !errors.Is(err, io.EOF) {
		return e, 0, fmt.Errorf("spool: %w", err)
	}
	buf = buf[:n]
	p, err := decodePreamble(buf)
	if err != nil {
		return e, 0, corrupt(err)
	}
	start := preambleSize + p.size
	if start < 0 || start > size {
		return e, 0, corrupt(fmt.Errorf("its body is cut: %d octets of %d", max(size-preambleSize, 0), p.size))
	}
	if size-start > 4*maxRecord {
		return e, 0, corrupt(fmt.Errorf("it has %d octets behind its body", size-start))
	}
	var tail io.Reader = bytes.NewReader(buf[min(start, int64(n)):])
	if size > int64(n) { // a record at a time: what lies behind the body may be anything
		tail = bufio.NewReader(io.NewSectionReader(f, start, size-start))
	}
	records, good, err := readRecords(tail, size-start)
	switch {
	case errors.As(err, new(*fs.PathError)):
		return e, 0, err
	case err != nil && !errors.Is(err, errTorn):
		return e, 0, corrupt(err)
	}
	if len(records) == 0 {
		return e, 0, corrupt(errors.New("its meta record is missing or spoilt"))
	}
	return Entry{Meta: records[0], Records: records[1:], Size: p.size}, start + good, nil
}

func corrupt(why error) error { return fmt.Errorf("%w: %w", ErrCorrupt, why) }

// spoilt is corrupt for an entry that stays where it is: Scan took it for whole,
// since it does not read bodies. It is counted once.
func (s *Spool) spoilt(id string, why error) error {
	s.mu.Lock()
	known := s.known[id]
	s.known[id] = true
	s.mu.Unlock()
	if !known && s.o.Corrupt != nil {
		s.o.Corrupt()
	}
	return corrupt(why)
}

// Reader gives the body of an entry. It answers io.EOF only when every octet
// was what Commit stored; otherwise ErrCorrupt, behind octets that may be wrong:
// a transport must not complete the message before it saw io.EOF.
type Reader struct {
	s    *Spool
	id   string
	f    image
	at   int64
	size int64
	left int64
	want uint32
	crc  uint32
}

// Body opens the body of the entry id. The caller closes it.
func (s *Spool) Body(id string) (*Reader, error) {
	f, _, err := s.open(id)
	if err != nil {
		return nil, err
	}
	var head [preambleSize]byte
	n, err := f.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, fmt.Errorf("spool: %w", err)
	}
	p, err := decodePreamble(head[:n])
	if err != nil {
		f.Close()
		return nil, s.spoilt(id, err)
	}
	return &Reader{s: s, id: id, f: f, at: preambleSize, size: p.size, left: p.size, want: p.crc}, nil
}

// Size is the octets of the whole body.
func (r *Reader) Size() int64 { return r.size }

// Read implements io.Reader.
func (r *Reader) Read(b []byte) (int, error) {
	if r.left == 0 {
		if r.crc != r.want {
			return 0, r.s.spoilt(r.id, errors.New("the checksum of its body is wrong"))
		}
		return 0, io.EOF
	}
	n, err := r.f.ReadAt(b[:min(int64(len(b)), r.left)], r.at)
	r.at += int64(n)
	r.crc = crc32.Update(r.crc, castagnoli, b[:n])
	r.left -= int64(n)
	if errors.Is(err, io.EOF) && r.left > 0 {
		return n, r.s.spoilt(r.id, errors.New("its body is cut"))
	}
	if errors.Is(err, io.EOF) {
		err = nil // the next Read says whether all was right
	}
	return n, err
}

// Close releases the file.
func (r *Reader) Close() error { return r.f.Close() }

// Append adds a state record to the entry id. When it returns nil the record
// is durable. After an error the next Append takes its place: what a failed sync
// left behind may look whole and not be on the disk.
func (s *Spool) Append(id string, record []byte) error {
	if len(record) > maxRecord {
		return fmt.Errorf("spool: a record has %d octets, more than %d", len(record), maxRecord)
	}
	if !validID(id) {
		return ErrNotFound
	}
	if s.slots.has(id) {
		if err := s.moveOut(id); err != nil {
			return err
		}
	}
	mark := s.sync.mark()
	f, err := openFile(s.path(id), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return s.disk(err)
	}
	defer f.Close()
	end, err := s.appendAt(id, f)
	if err != nil {
		return s.disk(err)
	}
	b := appendRecord(make([]byte, 0, recordHead+len(record)), record)
	if _, err = f.WriteAt(b, end); err == nil {
		err = s.sync.data(f, mark)
	}
	if err != nil {
		s.mu.Lock()
		s.broken[id] = end
		s.mu.Unlock()
		if info, err := f.Stat(); err == nil {
			s.bytes.Add(info.Size() - end)
		}
		return s.disk(err)
	}
	s.bytes.Add(int64(len(b)))
	return nil
}

// appendAt gives the offset for the next record: the end of the file, which is
// cut back where a record before it failed or was cut off by a crash.
func (s *Spool) appendAt(id string, f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	end, broken := s.broken[id]
	s.mu.Unlock()
	if !broken {
		return info.Size(), nil
	}
	if err := f.Truncate(end); err != nil {
		return 0, err
	}
	s.bytes.Add(end - info.Size())
	s.mu.Lock()
	delete(s.broken, id)
	s.mu.Unlock()
	return end, nil
}

// moveOut gives an entry that lies in a slot a file of its own, under the same
// ID. A crash leaves the one, the other or both; Scan takes the file if it is
// whole. The slot is cleared for certain before this returns: the file may be
// removed next, and the slot must not bring the entry back.
func (s *Spool) moveOut(id string) error {
	in, ok := s.slots.open(id)
	if !ok {
		return ErrNotFound
	}
	defer in.Close() //nolint:errcheck // it only reads
	b := make([]byte, in.Size())
	if _, err := in.ReadAt(b, 0); err != nil {
		return s.disk(err)
	}
	mark := s.sync.mark()
	f, err := openFile(s.path(id), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return s.disk(err)
	}
	defer f.Close()
	if _, err = f.Write(b); err == nil {
		err = s.sync.wait(f, mark)
	}
	if err != nil {
		os.Remove(s.path(id)) //nolint:errcheck // the slot still holds the entry
		return s.disk(err)
	}
	return s.clearSlot(id, false)
}
