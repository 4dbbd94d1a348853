package archive

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"
)

// readGzip visits the one file of a gzip stream (RFC 1952). Members that follow
// belong to it, as all unpackers read them.
func readGzip(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	src := bytes.NewReader(data)
	z, err := gzip.NewReader(src)
	if err != nil {
		return 0, damaged(err)
	}
	e := &Entry{Name: decodeName(z.Name), Size: -1}
	tail := &trailing{r: z}
	err = visit(e, &meter{r: tail, b: b, packed: int64(len(data))})
	return tail.odd, err
}

// trailing ends a gzip stream at what follows it and is none: unpackers warn,
// and take what they have.
type trailing struct {
	r   io.Reader
	n   int64
	odd Oddities
}

func (t *trailing) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.n += int64(n)
	if errors.Is(err, gzip.ErrHeader) && t.n > 0 {
		t.odd |= Trailing
		err = io.EOF
	}
	return n, err
}

func readBzip2(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	r := bzip2.NewReader(bytes.NewReader(data))
	return 0, visit(&Entry{Size: -1}, &meter{r: r, b: b, packed: int64(len(data)), slow: true})
}

func readXZ(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	r := newXZ(data, b.limits.Dictionary)
	return 0, visit(&Entry{Size: -1}, &meter{r: r, b: b, packed: int64(len(data)), slow: true})
}

// readZstd: the library bounds its own memory by the dictionary's limit.
func readZstd(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	r, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(b.limits.Dictionary)))
	if err != nil {
		return 0, damaged(err)
	}
	defer r.Close()
	return 0, visit(&Entry{Size: -1}, &meter{r: zstdErrors{r}, b: b, packed: int64(len(data))})
}

// zstdErrors names the limit that the library enforces.
type zstdErrors struct{ r io.Reader }

func (z zstdErrors) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = &LimitError{"dictionary"}
	}
	return n, err
}

// readLZ4: frames one after the other, the oldest form included. A frame's blocks
// are of 4 MiB at most, and nothing is kept but two of them.
func readLZ4(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	r := lz4.NewReader(bytes.NewReader(data))
	if err := r.Apply(lz4.ConcurrencyOption(1)); err != nil {
		return 0, damaged(err)
	}
	return 0, visit(&Entry{Size: -1}, &meter{r: r, b: b, packed: int64(len(data))})
}

// readLZMA visits the file of a .lzma:
//
//	| properties 1 | dictionary 4 | unpacked size 8, or all ones | data |
func readLZMA(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	if len(data) < lzma.HeaderLen {
		return 0, ErrDamaged
	}
	r, err := newLZMA(data[:lzma.HeaderLen], data[lzma.HeaderLen:], b.limits.Dictionary)
	if err != nil {
		return 0, err
	}
	return 0, visit(&Entry{Size: -1}, &meter{r: r, b: b, packed: int64(len(data)), slow: true})
}

// newLZMA reads data by a header of its own. The library keeps a dictionary as
// large as the header says.
func newLZMA(header, data []byte, dictionary int64) (io.Reader, error) {
	if int64(binary.LittleEndian.Uint32(header[1:])) > dictionary {
		return nil, &LimitError{"dictionary"}
	}
	r, err := lzma.ReaderConfig{DictCap: int(dictionary)}.NewReader(io.MultiReader(bytes.NewReader(header), bytes.NewReader(data)))
	if err != nil {
		return nil, damaged(err)
	}
	return r, nil
}
