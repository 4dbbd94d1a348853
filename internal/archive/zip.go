package archive

import (
	"bytes"
	"hash/crc32"
	"io"
	"strings"
)

// The records of a zip file (APPNOTE.TXT 6.3.10), little endian:
//
//	local    PK 03 04 | version 2 | flags 2 | method 2 | time 4 | crc 4 | packed 4 | size 4 | name 2 | extra 2 | ...
//	central  PK 01 02 | made by 2 | version 2 | flags 2 | method 2 | time 4 | crc 4 | packed 4 | size 4 |
//	         name 2 | extra 2 | comment 2 | disk 2 | attributes 2+4 | local offset 4 | ...
//	end      PK 05 06 | disk 2 | disk 2 | entries 2 | entries 2 | directory size 4 | directory offset 4 | comment 2 | ...
//
// Some unpackers go by the directory at the end, some by the local headers from
// the front on. Both readings are visited: every entry of every directory, by
// its local header too where that tells of another file, and every local header
// that no directory tells of.
const (
	localSize   = 30
	centralSize = 46
	endSize     = 22
	sigLocal    = "PK\x03\x04"
	sigCentral  = "PK\x01\x02"
	sigEnd      = "PK\x05\x06"

	flagEncrypted = 1 << 0
	flagSizesLate = 1 << 3 // sizes follow the data
	flagStrong    = 1 << 6
	flagUTF8      = 1 << 11
	flagMasked    = 1 << 13

	maxDirectories = 4 // that are read
	maxTail        = 1<<16 + endSize
)

// zipFile is one entry by one of its headers.
type zipFile struct {
	name   string
	flags  uint16
	method uint16
	crc    uint32
	packed int64 // -1 where it is not known
	size   int64 // -1 where it is not known
	offset int64 // of the local header
	data   int64 // of the content
}

type zipReader struct {
	data  []byte
	b     *Budget
	visit Visitor
	odd   Oddities
	first error // the first damage, reported at the end

	visited  bool
	inflater io.Reader

	files  []zipFile
	seen   map[int64]int // local offset -> index in files
	ranges []zipRange    // what directories and their entries cover
}

// zipRange is octets that are told of.
type zipRange struct{ from, to int64 }

func readZip(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	z := &zipReader{data: data, b: b, visit: visit, seen: map[int64]int{}}
	if err := z.directories(); err != nil {
		return z.odd, err
	}
	for i := range z.files {
		if err := z.central(&z.files[i]); err != nil {
			return z.odd, err
		}
	}
	z.overlap()
	if err := z.hidden(); err != nil {
		return z.odd, err
	}
	if !z.visited && !bytes.HasPrefix(data, []byte(sigEnd)) {
		z.note(ErrDamaged)
	}
	return z.odd, z.first
}

func (z *zipReader) note(err error) {
	if z.first == nil {
		z.first = err
	}
}

// one visits a file by one reading.
func (z *zipReader) one(f *zipFile, e *Entry) error {
	e.Name, e.Size, e.Rare = f.name, f.size, f.method != 0 && f.method != 8
	e.Dir = strings.HasSuffix(f.name, "/") && f.size <= 0
	var r io.Reader
	if e.Err == nil {
		r, e.Err = z.open(f, e)
	}
	e.Encrypted = encrypted(e.Err)
	z.visited = true
	return z.visit(e, r)
}

// open gives the content of a file.
func (z *zipReader) open(f *zipFile, e *Entry) (io.Reader, error) {
	if f.flags&(flagEncrypted|flagStrong|flagMasked) != 0 || f.method == 99 {
		return nil, ErrEncrypted
	}
	to := int64(len(z.data))
	if f.packed >= 0 {
		to = min(to, f.data+f.packed)
	}
	if f.data > to {
		return nil, ErrDamaged
	}
	packed := z.data[f.data:to]
	r, slow, err := z.unpacker(f, packed)
	if err != nil {
		return nil, err
	}
	if f.method == 0 {
		e.Data = packed
	}
	m := &meter{r: r, b: z.b, packed: int64(len(packed)), slow: slow}
	if f.size < 0 {
		return m, nil // nothing to compare it with
	}
	return &checked{r: m, crc: f.crc, size: f.size}, nil
}

// checked compares what was unpacked with what the header promised.
type checked struct {
	r    io.Reader
	sum  uint32
	n    int64
	crc  uint32
	size int64
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum = crc32.Update(c.sum, crc32.IEEETable, p[:n])
	c.n += int64(n)
	if err == io.EOF && (c.n != c.size || c.sum != c.crc) {
		err = ErrDamaged
	}
	return n, err
}
