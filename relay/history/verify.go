package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
)

// bbolt follows the pages of a file wherever they lead. What it finds amiss is a panic,
// which can be caught; but pages that lead in a circle fill the stack, and that ends
// the process. So the tree is looked through before bbolt sees the file: each page is
// reached once, and is one that can be there.

// The format of bbolt's files, version 2, as far as it takes: octets in the machine's order.
const (
	pageHeader  = 16 // id 8, flags 2, count 2, overflow 4
	elementSize = 16
	branchFlag  = 1
	leafFlag    = 2
	bucketFlag  = 1
	metaMagic   = 0xED0CDAED
	metaSize    = 64 // of it, with the checksum
	maxPageSize = 64 << 10
)

// verify looks through the file at path. One that is not there, or is empty, is good.
func verify(path string) error {
	f, err := os.Open(path) //nolint:gosec // it is ours
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was read
	// bbolt's own lock: while another process writes, what is read may be neither its
	// state before nor the one behind.
	if err := lockToRead(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	t := &tree{f: f}
	root, err := t.meta(info.Size())
	if err != nil {
		return err
	}
	return t.walk(root)
}

// tree is a file that is looked through.
type tree struct {
	f     *os.File
	page  int64 // octets of one
	pages uint64
	seen  []bool
}

func damaged(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errDamaged}, a...)...)
}

// meta gives the page where the newest state begins, as bbolt chooses it.
func (t *tree) meta(size int64) (root uint64, err error) {
	var first [pageHeader + metaSize]byte
	if _, err := t.f.ReadAt(first[:], 0); err != nil {
		return 0, damaged("its first page cannot be read: %v", err)
	}
	order := binary.NativeEndian
	sizes := []int64{int64(order.Uint32(first[pageHeader+8:])), int64(os.Getpagesize()), 4096}
	found := false
	var newest uint64
	for _, page := range sizes {
		if page < 1024 || page > maxPageSize || page&(page-1) != 0 || found {
			continue
		}
		for i := range int64(2) {
			var b [pageHeader + metaSize]byte
			if _, err := t.f.ReadAt(b[:], i*page); err != nil {
				continue
			}
			m := b[pageHeader:]
			h := fnv.New64a()
			h.Write(m[:metaSize-8]) //nolint:errcheck // it never fails
			if order.Uint32(m) != metaMagic || order.Uint64(m[metaSize-8:]) != h.Sum64() {
				continue
			}
			if txid := order.Uint64(m[48:]); !found || txid > newest {
				found, newest, root = true, txid, order.Uint64(m[16:])
				t.page, t.pages = int64(order.Uint32(m[8:])), order.Uint64(m[40:])
			}
		}
	}
	if !found || t.page < 1024 || t.page > maxPageSize {
		return 0, damaged("neither of its first pages is whole")
	}
	if most := uint64(size / t.page); t.pages > most { //nolint:gosec // neither is negative
		return 0, damaged("it has %d pages, and should have %d", most, t.pages)
	}
	t.seen = make([]bool, t.pages)
	return root, nil
}

// walk goes through all pages below those that lie on the stack.
func (t *tree) walk(root uint64) error {
	todo := []uint64{root}
	top := map[uint64]bool{root: true} // pages of the tree that holds the buckets
	for len(todo) > 0 {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if id < 2 || id >= t.pages || t.seen[id] {
			return damaged("page %d is not where it should be", id)
		}
		t.seen[id] = true
		var h [pageHeader]byte
		if _, err := t.f.ReadAt(h[:], int64(id)*t.page); err != nil { //nolint:gosec // it is below pages
			return damaged("page %d: %v", id, err)
		}
		order := binary.NativeEndian
		flags, count, overflow := order.Uint16(h[8:]), int64(order.Uint16(h[10:])), uint64(order.Uint32(h[12:]))
		if order.Uint64(h[:]) != id || flags != branchFlag && flags != leafFlag || overflow >= t.pages-id {
			return damaged("page %d is not what it should be", id)
		}
		if flags == leafFlag && !top[id] {
			continue
		}
		octets := t.page * int64(overflow+1) //nolint:gosec // it is below pages
		if pageHeader+count*elementSize > octets {
			return damaged("page %d has no room for %d elements", id, count)
		}
		b := make([]byte, octets)
		if _, err := t.f.ReadAt(b, int64(id)*t.page); err != nil { //nolint:gosec // the same
			return damaged("page %d: %v", id, err)
		}
		below, err := children(b, flags, count)
		if err != nil {
			return damaged("page %d: %v", id, err)
		}
		for _, child := range below {
			if flags == branchFlag && top[id] {
				top[child] = true
			}
		}
		todo = append(todo, below...)
	}
	return nil
}

// children are the pages that a page names: those below a branch, the buckets of a leaf.
func children(b []byte, flags uint16, count int64) (out []uint64, err error) {
	order := binary.NativeEndian
	for i := range count {
		at := pageHeader + i*elementSize
		e := b[at : at+elementSize]
		if flags == branchFlag {
			out = append(out, order.Uint64(e[8:]))
			continue
		}
		if order.Uint32(e)&bucketFlag == 0 {
			continue
		}
		value := at + int64(order.Uint32(e[4:])) + int64(order.Uint32(e[8:]))
		if value+8 > int64(len(b)) {
			return nil, errors.New("a bucket lies outside")
		}
		if root := order.Uint64(b[value:]); root != 0 { // 0: it lies in this page
			out = append(out, root)
		}
	}
	return out, nil
}
