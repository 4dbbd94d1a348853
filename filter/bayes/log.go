package bayes

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The log of lessons, all numbers little-endian: a header of 32 octets,
//
//	 0  8  "MWLEARN4"
//	 8  8  key of the features, random
//	16  8  id of this file, random: another one after every compaction
//	24  4  0
//	28  4  CRC-32C of octets 0 to 27
//
// and records, the latest of a digest being in force:
//
//	0  4  n, length of the body
//	4  4  CRC-32C of the body
//	8  n  body:
//	      0   1  1 spam, 2 ham, 3 forgotten
//	      1   1  s, entries of the sketch: 0 or 16
//	      2   2  c, features that all views see
//	      4   4  day, since 1970
//	      8   8  digest of the message
//	     16   4  m, features of the frame
//	     20   4  t, features of the text
//	     24  4s  sketch
//	      .. 4f  features: the c, the m, the t, then those of the source
//
// A record that is torn at the end was never acknowledged and is cut off. One
// before the length that the model tells of is damage.
const (
	logMagic   = "MWLEARN4"
	logHead    = 32
	recordHead = 8
	bodyHead   = 24
	maxBody    = bodyHead + 4*sketchSize + 4*maxFeatures

	recordSpam   = 1
	recordHam    = 2
	recordForget = 3
)

func logHeader(key, id uint64) []byte {
	b := make([]byte, logHead)
	copy(b, logMagic)
	binary.LittleEndian.PutUint64(b[8:], key)
	binary.LittleEndian.PutUint64(b[16:], id)
	binary.LittleEndian.PutUint32(b[28:], crc32.Checksum(b[:28], castagnoli))
	return b
}

func readLogHeader(b []byte) (key, id uint64, err error) {
	le := binary.LittleEndian
	if len(b) >= logHead && string(b[:7]) == logMagic[:7] && b[7] < logMagic[7] {
		return 0, 0, ErrOldVersion
	}
	if len(b) < logHead || string(b[:8]) != logMagic || crc32.Checksum(b[:28], castagnoli) != le.Uint32(b[28:]) {
		return 0, 0, fmt.Errorf("%w: its first %d octets are no header", ErrDamaged, logHead)
	}
	return le.Uint64(b[8:]), le.Uint64(b[16:]), nil
}

// appendRecord appends a lesson, or the forgetting of one.
func appendRecord(b []byte, l *lesson, forget bool) []byte {
	le := binary.LittleEndian
	at := len(b)
	b = append(b, make([]byte, recordHead+bodyHead)...)
	body := b[at+recordHead:]
	body[0] = byte(recordHam - class(l.spam))
	le.PutUint32(body[4:], l.day)
	le.PutUint64(body[8:], l.digest)
	switch {
	case forget:
		body[0] = recordForget
	default:
		le.PutUint16(body[2:], uint16(l.shared))
		le.PutUint32(body[16:], uint32(l.own[viewFrame]))
		le.PutUint32(body[20:], uint32(l.own[viewText]))
		if l.sketched {
			body[1] = sketchSize
			b = appendSketch(b, &l.sketch)
		}
		for _, f := range l.all {
			b = le.AppendUint32(b, f)
		}
	}
	body = b[at+recordHead:]
	le.PutUint32(b[at:], uint32(len(body)))
	le.PutUint32(b[at+4:], crc32.Checksum(body, castagnoli))
	return b
}

// readRecord takes the record that b begins with. n is its length, 0 when
// there is none that is whole.
func readRecord(b []byte) (l *lesson, forget bool, n int) {
	le := binary.LittleEndian
	if len(b) < recordHead {
		return nil, false, 0
	}
	size := int(le.Uint32(b))
	if size < bodyHead || size > maxBody || size > len(b)-recordHead {
		return nil, false, 0
	}
	body := b[recordHead : recordHead+size]
	if crc32.Checksum(body, castagnoli) != le.Uint32(b[4:]) {
		return nil, false, 0
	}
	entries := int(body[1])
	if body[0] < recordSpam || body[0] > recordForget || entries != 0 && entries != sketchSize ||
		size < bodyHead+4*entries || (size-bodyHead)%4 != 0 {
		return nil, false, 0
	}
	l = &lesson{spam: body[0] == recordSpam, day: le.Uint32(body[4:]), digest: le.Uint64(body[8:])}
	rest := body[bodyHead:]
	if l.sketched = entries > 0; l.sketched {
		l.sketch = readSketch(rest)
		rest = rest[4*sketchSize:]
	}
	l.shared = int(le.Uint16(body[2:]))
	l.all = make([]uint32, len(rest)/4)
	frame, text := int(le.Uint32(body[16:])), int(le.Uint32(body[20:]))
	source := len(l.all) - l.shared - frame - text
	if source < 0 {
		return nil, false, 0
	}
	l.own = [views]int{viewFrame: frame, viewText: text, viewSource: source}
	for i := range l.all {
		l.all[i] = le.Uint32(rest[4*i:])
	}
	return l, body[0] == recordForget, recordHead + size
}
