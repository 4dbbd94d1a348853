package archive

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf16"
)

// An image of a disk after ISO 9660 (ECMA-119) is its volume descriptors, from
// sector 16 on, and what they point to:
//
//	descriptor, 2048 octets:  type, "CD001", version, ..., block size at 128, record of the root at 156
//	record of a directory:    its length, extended attributes, extent (8), octets (8), date (7), flags,
//	                          unit and gap, volume (4), length of the name, name
//
// Numbers stand there twice, little endian first. A supplementary descriptor (type
// 2) has another tree for the same files, by Joliet with names in UTF-16. Each
// tree is visited: a program may show either.
const (
	isoSector    = 2048
	isoFirst     = 16
	isoMaxTrees  = 8
	isoMaxDepth  = 32
	isoMaxListed = 16 << 20 // octets of all directories
	isoRecord    = 33       // octets before the name
	isoDirectory = 2        // flags
)

// readISO visits the files of all trees.
func readISO(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	trees := 0
	for at := isoFirst * isoSector; at+isoSector <= len(data) && trees < isoMaxTrees; at += isoSector {
		d := data[at : at+isoSector]
		if string(d[1:6]) != "CD001" || d[0] == 255 {
			break
		}
		if d[0] != 1 && d[0] != 2 {
			continue
		}
		trees++
		block := int64(binary.LittleEndian.Uint16(d[128:]))
		if block == 0 {
			block = isoSector
		}
		t := &isoTree{data: data, b: b, visit: visit, block: block, seen: map[int64]bool{}, wide: d[0] == 2, left: isoMaxListed}
		if err := t.directory(d[156:190], "", 0); err != nil {
			return 0, err
		}
	}
	if trees == 0 {
		return 0, ErrDamaged
	}
	return 0, nil
}

// isoTree is one tree of directories.
type isoTree struct {
	data  []byte
	b     *Budget
	visit Visitor
	block int64
	wide  bool
	seen  map[int64]bool // directories by their place: no loops
	left  int            // of isoMaxListed
}

// extent is what a record points to; less where the image ends before it.
func (t *isoTree) extent(r []byte) (start int64, content []byte, whole bool) {
	le := binary.LittleEndian
	start = (int64(le.Uint32(r[2:])) + int64(r[1])) * t.block
	end := start + int64(le.Uint32(r[10:]))
	n := int64(len(t.data))
	return start, t.data[min(start, n):min(end, n)], end <= n
}

// directory visits what a directory lists.
func (t *isoTree) directory(r []byte, path string, depth int) error {
	start, list, whole := t.extent(r)
	if t.seen[start] {
		return nil
	}
	t.seen[start] = true
	if t.left -= len(list); t.left < 0 {
		return &LimitError{"entries"}
	}
	for at := 0; at < len(list); {
		n := int(list[at])
		if n == 0 { // records do not cross sectors
			at = (at/isoSector + 1) * isoSector
			continue
		}
		if n <= isoRecord || at+n > len(list) || isoRecord+int(list[at+isoRecord-1]) > n {
			return ErrDamaged
		}
		if err := t.entry(list[at:at+n], path, depth); err != nil {
			return err
		}
		at += n
	}
	if !whole {
		return ErrDamaged
	}
	return nil
}

// entry visits a file, or goes into a directory.
func (t *isoTree) entry(r []byte, path string, depth int) error {
	raw := r[isoRecord : isoRecord+int(r[isoRecord-1])]
	if len(raw) == 1 && raw[0] <= 1 {
		return nil // the directory itself, and the one above
	}
	name := path + t.name(raw)
	_, content, whole := t.extent(r)
	e := &Entry{Name: name, Dir: r[25]&isoDirectory != 0, Size: int64(binary.LittleEndian.Uint32(r[10:]))}
	switch {
	case e.Dir && depth == isoMaxDepth:
		return ErrDamaged // ECMA-119 has eight levels
	case e.Dir:
		if err := t.visit(e, bytes.NewReader(nil)); err != nil {
			return err
		}
		return t.directory(r, name+"/", depth+1)
	case r[26] != 0:
		e.Err = ErrUnsupported // interleaved
		return t.visit(e, nil)
	}
	var src io.Reader = bytes.NewReader(content)
	if !whole {
		src = io.MultiReader(src, failing{ErrDamaged})
	}
	return t.visit(e, &meter{r: src, b: t.b, packed: int64(len(content))})
}

// failing is the end of what is cut short.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// name is a file's without its version.
func (t *isoTree) name(raw []byte) string {
	name := decodeName(string(raw))
	if t.wide {
		units := make([]uint16, len(raw)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(raw[2*i:])
		}
		name = string(utf16.Decode(units))
	}
	if i := strings.LastIndexByte(name, ';'); i > 0 {
		name = name[:i]
	}
	return strings.TrimSuffix(name, ".")
}
