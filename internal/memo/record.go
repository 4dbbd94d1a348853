package memo

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	magic    = "MWMEMO01"
	keySize  = 32
	headSize = 48
	recSize  = 24
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errHead is the error of a file that does not begin as a table does.
var errHead = errors.New("memo: no table")

func newKey() (key [keySize]byte) {
	rand.Read(key[:]) // never fails
	return key
}

func appendHead(b []byte, key [keySize]byte) []byte {
	at := len(b)
	b = append(append(append(b, magic...), key[:]...), 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

func readHead(b []byte) (key [keySize]byte, err error) {
	if len(b) < headSize || string(b[:len(magic)]) != magic ||
		crc32.Checksum(b[:headSize-4], castagnoli) != binary.LittleEndian.Uint32(b[headSize-4:]) {
		return key, fmt.Errorf("%w: its first %d octets are no header", errHead, headSize)
	}
	return [keySize]byte(b[len(magic):]), nil
}

func appendRecord(b []byte, k Key, e Entry) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(k))
	for _, v := range [3]uint32{e.At, e.A, e.B} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// readRecord reads the record that b begins with; false for a damaged one.
func readRecord(b []byte) (k Key, e Entry, ok bool) {
	le := binary.LittleEndian
	if crc32.Checksum(b[:recSize-4], castagnoli) != le.Uint32(b[recSize-4:]) {
		return 0, e, false
	}
	return Key(le.Uint64(b)), Entry{le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[16:])}, true
}
