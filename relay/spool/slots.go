package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"sync"
)

// A slot is a part of the slot file; its head tells what it holds:
//
//	head   96 octets: magic, length of the image, CRC-32C of the image, ID, CRC-32C of the head
//	image  what a file of the entry would hold: preamble, body, Meta
//
// A head that begins with zeros says that the slot is free.
const (
	slotMagic = "PRSLOT1\x00"
	slotSize  = 16 << 10
	slotHead  = 96
	slotGrow  = 64 // slots by which the file grows at a time
	slotsMax  = 1024
)

// slots keeps small entries in one file, each in a slot that is overwritten in
// place. To commit or remove one takes one write and an fdatasync that it shares
// with all others; as a file of its own it takes four changes of the folder.
//
// Nothing that was committed is ever changed in place: an entry that gets a
// state record moves to a file of its own first (Spool.moveOut). So a write that
// a power cut tears spoils only an entry that nobody was told of.
type slots struct {
	f   *os.File
	max int

	mu      sync.Mutex
	n       int // slots that the file has
	free    []int
	byID    map[string]*slot
	damaged []int // taken, by what makes no sense or cannot be read; Scan deals with them
	failed  bool  // a sync failed: new entries get files of their own
}

// slot is one that is taken.
type slot struct {
	number int
	size   int64 // octets of the image
	pins   int   // readers
	gone   bool  // removed for certain: free once nobody reads
}

// openSlots opens the file that small entries share. What stands in its place, or
// cannot be read at all, moves to quarantine.
func (s *Spool) openSlots(path string) error {
	var err error
	if s.slots, err = openSlots(path, s.o.Slots); err == nil || !ofTheFile(err) {
		return err
	}
	to := s.asidePath("slots")
	if moved := os.Rename(path, to); moved != nil {
		return errors.Join(err, moved)
	}
	s.say("the spool's file of small entries moved to quarantine: the messages in it are not delivered", "slots", to, err)
	s.slots, err = openSlots(path, s.o.Slots)
	return err
}

func openSlots(path string, limit int) (*slots, error) {
	f, err := openFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	s := &slots{f: f, max: limit, byID: map[string]*slot{}}
	if err := s.load(); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// load finds which slots are taken.
func (s *slots) load() error {
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	s.n = int((info.Size() + slotSize - 1) / slotSize) // the last may be cut
	b := make([]byte, slotSize)
	for i := s.n - 1; i >= 0; i-- { // the lowest are used first
		if err := s.read(i, b); err != nil {
			s.damaged = append(s.damaged, i)
			continue
		}
		id, image, err := decodeSlot(b)
		switch {
		case errors.Is(err, errUncommitted):
			s.free = append(s.free, i)
		case err != nil || s.byID[id] != nil:
			s.damaged = append(s.damaged, i)
		default:
			s.byID[id] = &slot{number: i, size: int64(len(image))}
		}
	}
	return nil
}

func encodeSlotHead(b []byte, id string) {
	image := b[slotHead:]
	clear(b[:slotHead])
	copy(b, slotMagic)
	binary.BigEndian.PutUint32(b[8:], uint32(len(image))) //nolint:gosec // at most a slot
	binary.BigEndian.PutUint32(b[12:], crc32.Checksum(image, castagnoli))
	b[16] = byte(len(id)) //nolint:gosec // an ID is short
	copy(b[17:], id)
	binary.BigEndian.PutUint32(b[slotHead-4:], crc32.Checksum(b[:slotHead-4], castagnoli))
}

// decodeSlot gives what a whole slot holds: errUncommitted if it is free.
func decodeSlot(b []byte) (id string, image []byte, err error) {
	if [len(slotMagic)]byte(b) == [len(slotMagic)]byte{} {
		return "", nil, errUncommitted
	}
	if string(b[:len(slotMagic)]) != slotMagic || binary.BigEndian.Uint32(b[slotHead-4:]) != crc32.Checksum(b[:slotHead-4], castagnoli) {
		return "", nil, errors.New("the head of its slot is spoilt")
	}
	size, idLen := int(binary.BigEndian.Uint32(b[8:])), int(b[16])
	if size > len(b)-slotHead || idLen > maxID {
		return "", nil, errors.New("the head of its slot does not fit")
	}
	id = string(b[17 : 17+idLen])
	if !validID(id) {
		return "", nil, errors.New("its slot has no valid ID")
	}
	image = b[slotHead : slotHead+size]
	if binary.BigEndian.Uint32(b[12:]) != crc32.Checksum(image, castagnoli) {
		return id, image, errors.New("the checksum of its slot is wrong")
	}
	return id, image, nil
}

func (s *slots) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id] != nil
}

// put writes an entry into a free slot, not yet durably; b is slotHead octets
// of room and the image. false: there is no slot for it.
func (s *slots) put(id string, b []byte) (bool, error) {
	if len(b) > slotSize {
		return false, nil
	}
	n, ok := s.take()
	if !ok {
		return false, nil
	}
	encodeSlotHead(b, id)
	if _, err := s.f.WriteAt(b, int64(n)*slotSize); err != nil {
		s.release(n)
		return false, err
	}
	s.mu.Lock()
	s.byID[id] = &slot{number: n, size: int64(len(b) - slotHead)}
	s.mu.Unlock()
	return true, nil
}

// take gives a slot that nobody has; the file grows if there is none.
func (s *slots) take() (number int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed {
		return 0, false
	}
	if len(s.free) == 0 {
		grow := min(slotGrow, s.max-s.n)
		if grow <= 0 {
			return 0, false
		}
		if _, err := s.f.WriteAt(make([]byte, grow*slotSize), int64(s.n)*slotSize); err != nil {
			return 0, false // the entry's own file will say why
		}
		for i := s.n + grow - 1; i >= s.n; i-- {
			s.free = append(s.free, i)
		}
		s.n += grow
	}
	number = s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return number, true
}

func (s *slots) release(number int) {
	s.mu.Lock()
	s.free = append(s.free, number)
	s.mu.Unlock()
}

// clear marks the slot of an entry as free, not yet durably, and forgets the
// ID. The slot is used again only after freed.
func (s *slots) clear(id string) (*slot, error) {
	s.mu.Lock()
	x := s.byID[id]
	delete(s.byID, id)
	s.mu.Unlock()
	if x == nil {
		return nil, ErrNotFound
	}
	if err := s.zero(x.number); err != nil {
		s.mu.Lock()
		s.byID[id] = x
		s.mu.Unlock()
		return nil, err
	}
	return x, nil
}

func (s *slots) zero(number int) error {
	_, err := s.f.WriteAt(make([]byte, len(slotMagic)), int64(number)*slotSize)
	return err
}

// freed says that the clearing of x is durable.
func (s *slots) freed(x *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.gone = true
	if x.pins == 0 {
		s.free = append(s.free, x.number)
	}
}

// fail ends the use of slots for new entries: after a failed sync the file's
// pages count as clean, whatever the disk holds.
func (s *slots) fail() {
	s.mu.Lock()
	s.failed = true
	s.mu.Unlock()
}

// open gives the image of an entry; its slot stays until the image is closed.
func (s *slots) open(id string) (*slotImage, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byID[id]
	if x == nil {
		return nil, false
	}
	x.pins++
	return &slotImage{SectionReader: io.NewSectionReader(s.f, int64(x.number)*slotSize+slotHead, x.size), s: s, x: x}, true
}

// slotImage reads what a slot holds.
type slotImage struct {
	*io.SectionReader
	s *slots
	x *slot
}

// Close implements io.Closer; it may be called again.
func (i *slotImage) Close() error {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	if i.x == nil {
		return nil
	}
	i.x.pins--
	if i.x.gone && i.x.pins == 0 {
		i.s.free = append(i.s.free, i.x.number)
	}
	i.x = nil
	return nil
}

// ids of the entries that lie in slots.
func (s *slots) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]string, 0, len(s.byID))
	for id := range s.byID {
		out = append(out, id)
	}
	return out
}

// takeDamaged gives the slots that make no sense, once.
func (s *slots) takeDamaged() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers := s.damaged
	s.damaged = nil
	return numbers
}

// read reads a slot into b, with zeros for what the file lacks.
func (s *slots) read(number int, b []byte) error {
	n, err := s.f.ReadAt(b, int64(number)*slotSize)
	clear(b[n:])
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
