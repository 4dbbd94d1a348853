package archive

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"
)

// readCabinet visits the files of a cabinet ([MS-CAB]), little endian:
//
//	| MSCF | 0 4 | size 4 | 0 4 | files' offset 4 | 0 4 | version 2 | folders 2 | files 2 | flags 2 | set 4 | ...
//	folder: | blocks' offset 4 | blocks 2 | method 2 | reserved |
//	file:   | size 4 | offset in folder 4 | folder 2 | date 2 | time 2 | attributes 2 | name | 00 |
//	block:  | checksum 4 | packed 2 | unpacked 2 | reserved | data |
//
// Blocks are stored or deflated; of those in Quantum and LZX only the names are
// seen. Files are visited in the order in which they lie in their folder.
type cabinet struct {
	data     []byte
	b        *Budget
	folders  []cabFolder
	reserved int // octets in each block

	// The folder that is being unpacked, and how far.
	open int
	in   *meter
}

type cabFolder struct {
	at     int
	blocks int
	method uint16
}

func readCabinet(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	c := &cabinet{data: data, b: b, open: -1}
	files, count, err := c.header()
	if err != nil {
		return 0, err
	}
	var first error
	for range count {
		if files+17 > len(data) {
			return 0, ErrDamaged
		}
		h := data[files:]
		name, _, ok := strings.Cut(string(h[16:min(len(h), 16+257)]), "\x00")
		if !ok {
			return 0, ErrDamaged
		}
		files += 16 + len(name) + 1
		e := &Entry{Name: decodeName(name), Size: int64(binary.LittleEndian.Uint32(h))}
		var r io.Reader
		r, e.Err = c.file(int(binary.LittleEndian.Uint16(h[8:])), int64(binary.LittleEndian.Uint32(h[4:])), e.Size)
		if first == nil {
			first = e.Err
		}
		if err := visit(e, r); err != nil {
			return 0, err
		}
	}
	return 0, first
}

// header reads the header and the folders; files is where the list of files is.
func (c *cabinet) header() (files, count int, err error) {
	if len(c.data) < 36 {
		return 0, 0, ErrDamaged
	}
	d := c.data
	files, count = int(binary.LittleEndian.Uint32(d[16:])), int(binary.LittleEndian.Uint16(d[28:]))
	folders, flags := int(binary.LittleEndian.Uint16(d[26:])), binary.LittleEndian.Uint16(d[30:])
	if flags&3 != 0 {
		return 0, 0, ErrUnsupported // goes on in another cabinet
	}
	at, inFolder := 36, 0
	if flags&4 != 0 {
		if len(d) < 40 {
			return 0, 0, ErrDamaged
		}
		inFolder, c.reserved = int(d[38]), int(d[39])
		at += 4 + int(binary.LittleEndian.Uint16(d[36:]))
	}
	for range folders {
		if at+8 > len(d) {
			return 0, 0, ErrDamaged
		}
		c.folders = append(c.folders, cabFolder{
			at: int(binary.LittleEndian.Uint32(d[at:])), blocks: int(binary.LittleEndian.Uint16(d[at+4:])),
			method: binary.LittleEndian.Uint16(d[at+6:]) & 15,
		})
		at += 8 + inFolder
	}
	return files, count, nil
}

// file gives size octets of a folder from offset on. A file that lies before
// what was unpacked already has its folder unpacked anew, on the budget.
func (c *cabinet) file(folder int, offset, size int64) (io.Reader, error) {
	if folder >= len(c.folders) {
		return nil, ErrUnsupported // in another cabinet, or nowhere
	}
	f := c.folders[folder]
	if f.method > 1 {
		return nil, ErrUnsupported
	}
	if c.open != folder || c.in.n > offset {
		c.open, c.in = folder, &meter{r: &cabBlocks{c: c, f: f, at: f.at}, b: c.b}
	}
	if _, err := io.CopyN(io.Discard, c.in, offset-c.in.n); err != nil {
		if err == io.EOF {
			err = ErrDamaged
		}
		return nil, err
	}
	return &exactly{r: c.in, left: size}, nil
}

// exactly reads a number of octets, and knows fewer as damage.
type exactly struct {
	r    io.Reader
	left int64
}

func (x *exactly) Read(p []byte) (int, error) {
	if x.left <= 0 {
		return 0, io.EOF
	}
	n, err := x.r.Read(p[:min(int64(len(p)), x.left)])
	x.left -= int64(n)
	if err == io.EOF && x.left > 0 {
		err = ErrDamaged
	}
	return n, err
}

// cabBlocks reads the blocks of a folder. A deflated block begins with "CK"
// and may refer to the 32 KiB before it.
type cabBlocks struct {
	c      *cabinet
	f      cabFolder
	at     int
	block  int
	out    []byte
	window []byte
}

func (r *cabBlocks) Read(p []byte) (int, error) {
	if len(r.out) == 0 {
		if r.block == r.f.blocks {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

func (r *cabBlocks) next() error {
	d := r.c.data
	if r.at < 0 || r.at+8 > len(d) {
		return ErrDamaged
	}
	packed, size := int(binary.LittleEndian.Uint16(d[r.at+4:])), int(binary.LittleEndian.Uint16(d[r.at+6:]))
	from := r.at + 8 + r.c.reserved
	if from+packed > len(d) || size > 32<<10 {
		return ErrDamaged
	}
	in := d[from : from+packed]
	r.at, r.block = from+packed, r.block+1
	if r.f.method == 0 {
		r.out = in
		return nil
	}
	if !bytes.HasPrefix(in, []byte("CK")) {
		return ErrDamaged
	}
	out := make([]byte, size)
	z := flate.NewReaderDict(bytes.NewReader(in[2:]), r.window)
	if _, err := io.ReadFull(z, out); err != nil {
		return damaged(err)
	}
	r.out = out
	r.window = out
	return nil
}
