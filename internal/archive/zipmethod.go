package archive

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// unpacker undoes a method of APPNOTE.TXT 4.4.5.
func (z *zipReader) unpacker(f *zipFile, packed []byte) (r io.Reader, slow bool, err error) {
	src := bytes.NewReader(packed)
	dictionary := z.b.limits.Dictionary
	switch f.method {
	case 0:
		return src, false, nil
	case 8:
		return z.deflated(src), false, nil
	case 12:
		return bzip2.NewReader(src), true, nil
	case 14:
		r, err = zipLZMA(f, packed, dictionary)
		return r, true, err
	case 93:
		d, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(uint64(dictionary)))
		if err != nil {
			return nil, false, damaged(err)
		}
		return zstdErrors{d}, false, nil
	case 95:
		return newXZ(packed, dictionary), true, nil
	}
	return nil, false, ErrUnsupported
}

// deflated makes the one inflater that all files use, one after the other.
func (z *zipReader) deflated(src io.Reader) io.Reader {
	if z.inflater == nil {
		z.inflater = flate.NewReader(src)
	} else {
		_ = z.inflater.(flate.Resetter).Reset(src, nil) // it has no way to fail
	}
	return z.inflater
}

// zipLZMA: a version, the length of the properties, these, and the data
// (APPNOTE 5.8.8). The library wants the header of a .lzma.
func zipLZMA(f *zipFile, packed []byte, dictionary int64) (io.Reader, error) {
	if len(packed) < 9 || packed[2] != 5 {
		return nil, ErrDamaged
	}
	header := make([]byte, 13)
	copy(header, packed[4:9])
	size := ^uint64(0)
	if f.flags&2 == 0 && f.size >= 0 { // without a mark at its end
		size = uint64(f.size)
	}
	binary.LittleEndian.PutUint64(header[5:], size)
	return newLZMA(header, packed[9:], dictionary)
}
