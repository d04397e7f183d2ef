package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
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
	if len(b) < preambleSize {
		return preamble{}, errUncommitted // written in one piece or not at all
	}
	b = b[:preambleSize]
	if [preambleSize]byte(b) == [preambleSize]byte{} {
		return preamble{}, errUncommitted
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

// decodeRecords splits b into records. good is the octets of whole records;
// the error is errTorn when only the last record is cut or spoilt, which a
// crash in Append leaves behind.
func decodeRecords(b []byte) (records [][]byte, good int, err error) {
	for good < len(b) {
		rest := b[good:]
		if len(rest) < recordHead {
			return records, good, errTorn
		}
		n := int64(binary.BigEndian.Uint32(rest))
		if n > maxRecord || int64(len(rest)) < recordHead+n {
			return records, good, errTorn // cut, or a length that cannot be followed: nothing behind it can be read
		}
		payload := rest[recordHead : recordHead+n]
		if binary.BigEndian.Uint32(rest[4:]) != recordSum(rest[:4], payload) {
			if int64(len(rest)) == recordHead+n {
				return records, good, errTorn
			}
			return records, good, fmt.Errorf("the checksum of record %d is wrong", len(records))
		}
		records = append(records, payload)
		good += recordHead + int(n)
	}
	return records, good, nil
}
