package spool

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

// idAlphabet is in ASCII order, so that IDs sort by time.
const idAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// idMaker makes IDs: nine characters of microseconds, which never repeat or go
// back within a process, and five random ones that keep instances apart.
type idMaker struct {
	mu   sync.Mutex
	last uint64
}

// NewID makes an ID that sorts behind all that this process made before.
func (s *Spool) NewID() string { return s.ids.next(time.Now()) }

func (m *idMaker) next(now time.Time) string {
	t := uint64(now.UnixMicro())
	m.mu.Lock()
	t = max(t, m.last+1)
	m.last = t
	m.mu.Unlock()
	var r [8]byte
	rand.Read(r[:])
	var id [14]byte
	encode62(id[:9], t)
	encode62(id[9:], binary.BigEndian.Uint64(r[:]))
	return string(id[:])
}

// IDAt is what the IDs made at a time begin with: those made before sort before it,
// those made since behind it.
func IDAt(t time.Time) string {
	var id [9]byte
	encode62(id[:], uint64(max(t.UnixMicro(), 0)))
	return string(id[:])
}

// encode62 writes the low digits of v, the highest first.
func encode62(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = idAlphabet[v%62]
		v /= 62
	}
}
