// Package compound reads compound files ([MS-CFB]): the small file system in
// which old Office documents, Outlook messages and Windows installers lie.
//
// It is made for files of strangers: it keeps to what is there, whatever the
// tables say, ends in linear time, and calls everything else damaged.
package compound

import (
	"encoding/binary"
	"errors"
	"unicode/utf16"
)

// The header, little endian:
//
//	| D0CF11E0A1B11AE1 | clsid 16 | minor 2 | major 2 | order 2 | sector shift 2 | mini shift 2 | 0 6 |
//	| directory sectors 4 | FAT sectors 4 | directory 4 | transaction 4 | mini cutoff 4 |
//	| mini FAT 4 | its sectors 4 | DIFAT 4 | its sectors 4 | 109 DIFAT entries of 4 |
const (
	headerSize = 512
	entrySize  = 128
	miniShift  = 6
	endOfChain = 0xfffffffe
	maxRegular = 0xfffffffa

	// MaxEntries bounds the directory.
	MaxEntries = 20000
)

// ErrDamaged is what is not a compound file, or one that tells lies.
var ErrDamaged = errors.New("compound: damaged")

// Kind is what a directory entry is.
type Kind uint8

// The kinds.
const (
	Storage Kind = 1
	Stream  Kind = 2
	Root    Kind = 5
)

// Entry is a storage (a folder) or a stream (a file).
type Entry struct {
	Name   string
	Kind   Kind
	CLSID  [16]byte
	Size   int64
	Parent int // in File.Entries; -1 for the root and for what the tree does not reach
	start  uint32
	left   uint32
	right  uint32
	child  uint32
}

// File is a compound file.
type File struct {
	Entries []Entry // Entries[0] is the root

	data   []byte
	shift  uint
	cutoff int64
	fat    []uint32
	mini   []uint32
	inner  []byte // the stream that small streams lie in
	left   int64  // octets that may still be read
}

// Open reads the tables. Entries that the tree of the directory does not reach
// are kept: some readers find them.
func Open(data []byte) (*File, error) {
	if len(data) < headerSize || string(data[:8]) != "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" {
		return nil, ErrDamaged
	}
	f := &File{
		left: 2*int64(len(data)) + 1<<20, data: data, shift: uint(binary.LittleEndian.Uint16(data[30:])),
		cutoff: int64(binary.LittleEndian.Uint32(data[56:])),
	}
	if f.shift != 9 && f.shift != 12 {
		return nil, ErrDamaged
	}
	f.readFAT()
	dir := f.chain(binary.LittleEndian.Uint32(data[48:]), int64(MaxEntries)*entrySize)
	for len(dir) >= entrySize && len(f.Entries) < MaxEntries {
		f.Entries = append(f.Entries, entry(dir))
		dir = dir[entrySize:]
	}
	if len(f.Entries) == 0 || f.Entries[0].Kind != Root {
		return nil, ErrDamaged
	}
	for b := f.chain(binary.LittleEndian.Uint32(data[60:]), int64(len(data))); len(b) >= 4; b = b[4:] {
		f.mini = append(f.mini, binary.LittleEndian.Uint32(b))
	}
	f.inner = f.chain(f.Entries[0].start, f.Entries[0].Size)
	f.tree()
	return f, nil
}

func entry(b []byte) Entry {
	e := Entry{
		Kind: Kind(b[66]), Parent: -1, left: binary.LittleEndian.Uint32(b[68:]), right: binary.LittleEndian.Uint32(b[72:]),
		child: binary.LittleEndian.Uint32(b[76:]), start: binary.LittleEndian.Uint32(b[116:]),
		Size: int64(binary.LittleEndian.Uint64(b[120:]) & 0x7fffffff), // the upper half is noise in version 3
	}
	copy(e.CLSID[:], b[80:96])
	var units []uint16
	for i := 0; i < 64; i += 2 {
		u := binary.LittleEndian.Uint16(b[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	e.Name = string(utf16.Decode(units))
	return e
}

// sector gives the octets of one; fewer at the end of the file.
func (f *File) sector(n uint32) []byte {
	from := (int64(n) + 1) << f.shift
	if n > maxRegular || from >= int64(len(f.data)) {
		return nil
	}
	return f.data[from:min(from+1<<f.shift, int64(len(f.data)))]
}

// readFAT follows the list of the FAT's own sectors.
func (f *File) readFAT() {
	limit := len(f.data)>>f.shift + 1 // sectors that can be there
	var sectors []uint32
	for i := range 109 {
		sectors = append(sectors, binary.LittleEndian.Uint32(f.data[76+4*i:]))
	}
	next := binary.LittleEndian.Uint32(f.data[68:])
	for range limit {
		b := f.sector(next)
		if len(b) < 1<<f.shift {
			break
		}
		for ; len(b) > 4; b = b[4:] {
			sectors = append(sectors, binary.LittleEndian.Uint32(b))
		}
		next = binary.LittleEndian.Uint32(b)
	}
	for _, n := range sectors {
		b := f.sector(n)
		for ; len(b) >= 4 && len(f.fat) < limit; b = b[4:] {
			f.fat = append(f.fat, binary.LittleEndian.Uint32(b))
		}
	}
}

// chain joins the sectors of a chain, up to size octets. A chain that runs in a
// circle ends when all sectors were seen once.
func (f *File) chain(start uint32, size int64) []byte {
	size = min(size, int64(len(f.data)))
	var out []byte
	for n := start; int64(len(out)) < size; {
		b := f.sector(n)
		if len(b) == 0 {
			break
		}
		out = append(out, b...)
		if int64(n) >= int64(len(f.fat)) {
			break
		}
		n = f.fat[n]
	}
	return out[:min(int64(len(out)), size)]
}

// Read gives the octets of a stream, at most limit. It fails where they are not
// all there, and where streams share so many octets that reading them all would
// not end soon.
func (f *File) Read(e *Entry, limit int64) ([]byte, error) {
	size := min(e.Size, limit)
	if f.left -= size; f.left < 0 {
		return nil, ErrDamaged
	}
	var out []byte
	if e.Size >= f.cutoff {
		out = f.chain(e.start, size)
	} else {
		out = f.miniChain(e.start, size)
	}
	if int64(len(out)) < size {
		return out, ErrDamaged
	}
	return out, nil
}

// miniChain is chain for the small sectors.
func (f *File) miniChain(start uint32, size int64) []byte {
	size = min(size, int64(len(f.inner)))
	var out []byte
	for n := start; int64(len(out)) < size && n <= maxRegular; {
		from := int64(n) << miniShift
		if from >= int64(len(f.inner)) {
			break
		}
		out = append(out, f.inner[from:min(from+1<<miniShift, int64(len(f.inner)))]...)
		if int64(n) >= int64(len(f.mini)) {
			break
		}
		n = f.mini[n]
	}
	return out[:min(int64(len(out)), size)]
}

// tree gives each entry its storage. The entries of a storage are a binary tree
// below its child.
func (f *File) tree() {
	seen := make([]bool, len(f.Entries))
	type node struct {
		at     uint32
		parent int
	}
	todo := []node{{f.Entries[0].child, 0}}
	seen[0] = true
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if int64(n.at) >= int64(len(f.Entries)) || seen[n.at] {
			continue
		}
		seen[n.at] = true
		e := &f.Entries[n.at]
		e.Parent = n.parent
		todo = append(todo, node{e.left, n.parent}, node{e.right, n.parent})
		if e.Kind == Storage {
			todo = append(todo, node{e.child, int(n.at)})
		}
	}
}

// Children are the entries of the storage at index i.
func (f *File) Children(i int) []*Entry {
	var out []*Entry
	for k := range f.Entries {
		if f.Entries[k].Parent == i {
			out = append(out, &f.Entries[k])
		}
	}
	return out
}
