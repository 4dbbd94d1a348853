package queue

import (
	"encoding/binary"
	"hash/crc32"
)

// The sizes of the format; doc.go draws it.
const (
	// The whole of FORMAT. A spool with sealed or compressed messages says 2:
	// a version that knows neither would take their files for orphans.
	formatText  = "mailweir queue 1\n"
	formatText2 = "mailweir queue 2\n"

	blockSize         = 4096 // frames start at multiples of it
	segmentHeaderSize = 64   // of the first block
	frameHeaderSize   = 80
	recordHeaderSize  = 32

	segmentMagic = 0x3147455351574d4d // "MMWQSEG1"
	frameMagic   = 0x4651574d         // "MWQF"
	recordMagic  = 0x5251             // "QR"
	version      = 1

	// maxRecord bounds what a length field may ask for, before anything is
	// allocated.
	maxRecord = 1 << 30
)

var le = binary.LittleEndian

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seed starts a checksum with where the bytes belong, so that the same bytes
// at another place, or left over from an earlier life of the file, never match.
//
// It is CRC32C of the two, octet by octet: package crc32 would have the 16 octets
// on the heap, twice for every batch and once for every record.
func seed(epoch uint64, offset int64) uint32 {
	sum := ^uint32(0)
	for _, v := range [2]uint64{epoch, uint64(offset)} {
		for range 8 {
			sum = castagnoli[byte(sum)^byte(v)] ^ sum>>8
			v >>= 8
		}
	}
	return ^sum
}

func roundUp(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }

// segmentHeader is the first block of a segment file.
type segmentHeader struct {
	epoch   uint64 // random, new in each life of the file
	number  uint64 // as in its name
	size    uint64 // bytes written ahead
	created int64  // Unix milliseconds
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, blockSize)
	le.PutUint64(b[0:], segmentMagic)
	le.PutUint32(b[8:], version)
	le.PutUint64(b[16:], h.epoch)
	le.PutUint64(b[24:], h.number)
	le.PutUint64(b[32:], h.size)
	le.PutUint64(b[40:], uint64(h.created))
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

func decodeSegmentHeader(b []byte) (segmentHeader, bool) {
	if len(b) < segmentHeaderSize || le.Uint64(b) != segmentMagic || le.Uint32(b[8:]) != version ||
		le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) {
		return segmentHeader{}, false
	}
	return segmentHeader{le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:]), int64(le.Uint64(b[40:]))}, true
}

// frame is the header of one batch.
type frame struct {
	epoch   uint64
	segment uint64
	seq     uint64 // of all batches of the spool
	// Everything before offset durableOff of segment durableSeg was synced
	// before this frame was written. It tells rot from a torn tail.
	durableSeg uint64
	durableOff uint64
	time       int64  // Unix milliseconds
	records    uint32 // number of them
	length     uint32 // header and records, without the padding to a block
}

// seal writes the header of the frame in b, whose records are complete but for
// their checksums, as it will stand at offset. It fills those in too: the
// frame's own checksum covers its header and the headers of its records, which
// hold the checksums of the rest.
func (f frame) seal(b []byte, offset int64) {
	le.PutUint32(b[0:], frameMagic)
	b[4], b[5] = version, 0
	le.PutUint16(b[6:], frameHeaderSize)
	le.PutUint64(b[8:], f.epoch)
	le.PutUint64(b[16:], f.segment)
	le.PutUint64(b[24:], f.seq)
	le.PutUint64(b[32:], f.durableSeg)
	le.PutUint64(b[40:], f.durableOff)
	le.PutUint64(b[48:], uint64(f.time))
	le.PutUint32(b[56:], f.records)
	le.PutUint32(b[60:], f.length)
	le.PutUint64(b[64:], 0)
	le.PutUint32(b[76:], crc32.Update(seed(f.epoch, offset), castagnoli, b[:72]))
	sum := crc32.Update(seed(f.epoch, offset), castagnoli, b[:72])
	for pos := frameHeaderSize; pos < int(f.length); {
		n := recordHeaderSize + int(le.Uint32(b[pos+4:]))
		sealRecord(b[pos:pos+n], f.epoch, offset+int64(pos))
		sum = crc32.Update(sum, castagnoli, b[pos:pos+recordHeaderSize])
		pos += n
	}
	le.PutUint32(b[72:], sum)
}

// decodeFrame reads a frame header; b starts at offset of the segment. epoch 0
// takes the one in the header: for a segment whose own header is damaged.
func decodeFrame(b []byte, epoch, segment uint64, offset int64) (frame, bool) {
	if len(b) < frameHeaderSize || le.Uint32(b) != frameMagic || b[4] != version || le.Uint16(b[6:]) != frameHeaderSize {
		return frame{}, false
	}
	f := frame{
		epoch: le.Uint64(b[8:]), segment: le.Uint64(b[16:]), seq: le.Uint64(b[24:]),
		durableSeg: le.Uint64(b[32:]), durableOff: le.Uint64(b[40:]), time: int64(le.Uint64(b[48:])),
		records: le.Uint32(b[56:]), length: le.Uint32(b[60:]),
	}
	if epoch != 0 && f.epoch != epoch || f.segment != segment || f.length < frameHeaderSize ||
		int64(f.length) > int64(len(b)) ||
		le.Uint32(b[76:]) != crc32.Update(seed(f.epoch, offset), castagnoli, b[:72]) {
		return frame{}, false
	}
	return f, true
}

// intact verifies the whole frame: its checksum, and each record's.
func (f frame) intact(b []byte, offset int64) bool {
	sum := crc32.Update(seed(f.epoch, offset), castagnoli, b[:72])
	pos, n := int64(frameHeaderSize), uint32(0)
	for ; pos < int64(f.length); n++ {
		r, ok := decodeRecord(b[pos:f.length], f.epoch, offset+pos)
		if !ok {
			return false
		}
		sum = crc32.Update(sum, castagnoli, b[pos:pos+recordHeaderSize])
		pos += recordHeaderSize + int64(len(r.payload))
	}
	return pos == int64(f.length) && n == f.records && sum == le.Uint32(b[72:])
}
