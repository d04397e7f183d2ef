package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// An entry is one file:
//
//	preamble  32 octets: magic, body length, CRC-32C of the body, CRC-32C of the preamble
//	body      the message
//	records   each: length uint32, CRC-32C uint32 of length and payload, payload; the first is the Meta
//
// All integers are big-endian. The preamble is zero until Commit, so that a
// file that was never committed cannot be taken for one that was.
const (
	magic        = "PRSPOOL1"
	preambleSize = 32
	recordHead   = 8
	maxRecord    = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Reasons why a file is not an entry.
var (
	errUncommitted = errors.New("never committed")
	errTorn        = errors.New("torn record at the end")
)

type preamble struct {
	size int64  // octets of the body
	crc  uint32 // of the body
}

func (p preamble) encode() [preambleSize]byte {
	var b [preambleSize]byte
	copy(b[:], magic)
	binary.BigEndian.PutUint64(b[8:], uint64(p.size)) //nolint:gosec // no size is negative
	binary.BigEndian.PutUint32(b[16:], p.crc)
	binary.BigEndian.PutUint32(b[28:], crc32.Checksum(b[:28], castagnoli))
	return b
}

func decodePreamble(b []byte) (preamble, error) {
	b = b[:min(len(b), preambleSize)]
	if bytes.Equal(b, make([]byte, len(b))) {
		return preamble{}, errUncommitted
	}
	if len(b) < preambleSize {
		return preamble{}, errors.New("its preamble is cut") // it is written in one piece or not at all
	}
	if string(b[:8]) != magic {
		return preamble{}, errors.New("it does not begin as a spool entry does")
	}
	if binary.BigEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return preamble{}, errors.New("the checksum of its preamble is wrong")
	}
	p := preamble{size: int64(binary.BigEndian.Uint64(b[8:])), crc: binary.BigEndian.Uint32(b[16:])} //nolint:gosec // what is negative is refused below
	if p.size < 0 {
		return preamble{}, errors.New("its body length is negative")
	}
	return p, nil
}

// appendRecord adds one record to b.
func appendRecord(b, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload))) //nolint:gosec // a record is some kilobytes
	b = binary.BigEndian.AppendUint32(b, recordSum(b[len(b)-4:], payload))
	return append(b, payload...)
}

// recordSum covers the length, so that the zeros that a power cut leaves are
// no record without a payload.
func recordSum(length, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, payload)
}

// readRecords gives the records that r holds, whose octets are left. good is the
// octets of whole records. The error is errTorn where what follows them can be
// what a crash in Append left: a record that is cut, or any part of which was not
// written. Where a whole record follows a spoilt one it cannot.
func readRecords(r io.Reader, left int64) (records [][]byte, good int64, err error) {
	for left > good {
		payload, size, err := readRecord(r, left-good)
		if errors.Is(err, errSpoilt) {
			if _, _, err := readRecord(r, left-good-size); err == nil {
				return records, good, fmt.Errorf("the checksum of record %d is wrong", len(records))
			}
			return records, good, errTorn
		}
		if err != nil {
			return records, good, err
		}
		records = append(records, payload)
		good += size
	}
	return records, good, nil
}

var errSpoilt = errors.New("the checksum of a record is wrong")

// readRecord gives the next record and the octets that it takes: errTorn if it
// is not in left octets, errSpoilt if its checksum is wrong.
func readRecord(r io.Reader, left int64) (payload []byte, size int64, err error) {
	var head [recordHead]byte
	if left < recordHead {
		return nil, 0, errTorn
	}
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, 0, fmt.Errorf("spool: %w", err)
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n > maxRecord || left < recordHead+n {
		return nil, 0, errTorn // a length that cannot be followed: nothing behind it can be read
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, 0, fmt.Errorf("spool: %w", err)
	}
	if binary.BigEndian.Uint32(head[4:]) != recordSum(head[:4], payload) {
		return nil, recordHead + n, errSpoilt
	}
	return payload, recordHead + n, nil
}
