package archive

import (
	"bytes"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"crypto/sha256"

	"github.com/ulikunitz/xz/lzma"
)

// xzReader reads .xz (the format's own specification, version 1.2.1):
//
//	| magic 6 | flags 2 | crc 4 | block ... | index | footer 12 |   (repeated, zeros between)
//	block: | size/4-1 | flags | filters ... | padding | crc 4 | LZMA2 data | padding to 4 | check |
//
// The library's reader of this format makes a dictionary as large as a block
// asks for, up to 4 GiB, whatever it is told; so the frame is read here, and
// only LZMA2 is the library's.
type xzReader struct {
	src        *bytes.Reader
	total      int64
	dictionary int64
	dicts      int64 // of the dictionaries of all blocks
	check      byte
	in         io.Reader // of the current block
	start      int64     // where its data begin
	sum        hash.Hash
	opened     bool // a stream's header has been read
}

// maxDictionaries bounds the dictionaries that are made one after another, in
// units of the largest: making one costs time, and a block can be empty.
const maxDictionaries = 16

const xzMagic = "\xfd7zXZ\x00"

func newXZ(data []byte, dictionary int64) *xzReader {
	return &xzReader{src: bytes.NewReader(data), total: int64(len(data)), dictionary: dictionary}
}

func (x *xzReader) Read(p []byte) (int, error) {
	if x.in == nil {
		if err := x.next(); err != nil {
			return 0, err
		}
	}
	n, err := x.in.Read(p)
	if x.sum != nil {
		x.sum.Write(p[:n])
	}
	if err == io.EOF {
		err = x.endBlock()
	}
	return n, err // nothing of an empty block: who reads looks at the clock
}

// next opens the next block, in this stream or the one after it.
func (x *xzReader) next() error {
	for {
		if !x.opened {
			if err := x.header(); err != nil {
				return err
			}
		}
		size, err := x.src.ReadByte()
		if err != nil {
			return ErrDamaged
		}
		if size != 0 {
			return x.block(int(size)*4 + 3)
		}
		if err := x.index(); err != nil {
			return err
		}
		x.opened = false
	}
}

// header reads a stream's; io.EOF where there is no other.
func (x *xzReader) header() error {
	for first := x.src.Len() == int(x.total); !first; {
		c, err := x.src.ReadByte()
		if err != nil {
			return io.EOF
		}
		if c != 0 {
			_ = x.src.UnreadByte()
			break
		}
	}
	var h [12]byte
	if _, err := io.ReadFull(x.src, h[:]); err != nil || string(h[:6]) != xzMagic || h[6] != 0 || h[7] > 15 ||
		crc32.ChecksumIEEE(h[6:8]) != binary.LittleEndian.Uint32(h[8:]) {
		return ErrDamaged
	}
	x.check, x.opened = h[7], true
	return nil
}

// block opens a block whose header has n more octets.
func (x *xzReader) block(n int) error {
	h := make([]byte, n)
	if _, err := io.ReadFull(x.src, h); err != nil {
		return ErrDamaged
	}
	r := bytes.NewReader(h[1 : n-4])
	for _, bit := range []byte{0x40, 0x80} { // sizes, which nothing here relies on
		if h[0]&bit != 0 {
			if _, err := binary.ReadUvarint(r); err != nil {
				return ErrDamaged
			}
		}
	}
	id, err1 := binary.ReadUvarint(r)
	length, err2 := binary.ReadUvarint(r)
	size, err3 := r.ReadByte()
	switch {
	case err1 != nil || err2 != nil || err3 != nil:
		return ErrDamaged
	case h[0]&3 != 0 || id != 0x21 || length != 1 || size > 40:
		return ErrUnsupported // filters for programs and samples
	}
	dict := int64(1)<<32 - 1
	if size < 40 {
		dict = int64(2|size&1) << (size/2 + 11)
	}
	if x.dicts += dict; dict > x.dictionary || x.dicts > maxDictionaries*x.dictionary {
		return &LimitError{"dictionary"}
	}
	x.start = x.total - int64(x.src.Len())
	x.sum = xzSum(x.check)
	in, err := lzma.Reader2Config{DictCap: int(max(dict, lzma.MinDictCap))}.NewReader2(x.src)
	if err != nil {
		return damaged(err)
	}
	x.in = in
	return nil
}

func xzSum(check byte) hash.Hash {
	switch check {
	case 1:
		return crc32.NewIEEE()
	case 4:
		return crc64.New(crc64.MakeTable(crc64.ECMA))
	case 10:
		return sha256.New()
	}
	return nil
}

// endBlock reads the padding and the check of a block.
func (x *xzReader) endBlock() error {
	x.in = nil
	pad := (4 - (x.total-int64(x.src.Len())-x.start)%4) % 4
	sizes := [16]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}
	rest := make([]byte, pad+sizes[x.check])
	if _, err := io.ReadFull(x.src, rest); err != nil {
		return ErrDamaged
	}
	if x.sum == nil {
		return nil
	}
	want, got := rest[pad:], x.sum.Sum(nil)
	if x.check != 10 { // the sums of 32 and 64 bits are little endian
		for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
			got[i], got[j] = got[j], got[i]
		}
	}
	if !bytes.Equal(want, got) {
		return ErrDamaged
	}
	return nil
}

// index skips the list of blocks, and the footer.
func (x *xzReader) index() error {
	start := x.total - int64(x.src.Len()) - 1
	n, err := binary.ReadUvarint(x.src)
	for i := uint64(0); i < 2*n && err == nil; i++ {
		_, err = binary.ReadUvarint(x.src)
	}
	if err != nil {
		return ErrDamaged
	}
	pad := (4 - (x.total-int64(x.src.Len())-start)%4) % 4
	var rest [3 + 4 + 12]byte
	if _, err := io.ReadFull(x.src, rest[:pad+16]); err != nil || string(rest[pad+14:pad+16]) != "YZ" {
		return ErrDamaged
	}
	return nil
}
