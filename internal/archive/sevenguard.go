package archive

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// The header of a 7z archive (7zFormat.txt of the LZMA SDK), which is at its
// end, and mostly packed itself:
//
//	| 7z BC AF 27 1C | version 2 | crc 4 | header's offset 8 | its size 8 | its crc 4 |
//	header:  01 | 04 streams | 05 files | 00        or 17 streams: of the packed header
//	streams: 06 pack info | 07 coders | 08 substreams | 00
//
// Numbers have one to nine octets. guardSevenZip follows it as the library
// does, and demands that every count is bounded: by our limit of entries, or by
// the octets that are left.
const (
	sevenStart = 32

	idEnd          = 0x00
	idHeader       = 0x01
	idStreams      = 0x04
	idFiles        = 0x05
	idPack         = 0x06
	idUnpack       = 0x07
	idSub          = 0x08
	idSize         = 0x09
	idCRC          = 0x0a
	idFolder       = 0x0b
	idUnpackSize   = 0x0c
	idCount        = 0x0d
	idName         = 0x11
	idPackedHeader = 0x17

	maxCoders     = 8
	maxSevenNames = 4 << 20 // octets of a header
)

// sevenGuard reads one header.
type sevenGuard struct {
	*bytes.Reader
	max        uint64 // entries, folders and streams
	dictionary int64
	dicts      int64
	folders    []sevenFolder
	packed     []uint64 // sizes
	position   uint64
	bad        error
}

// sevenFolder is one packed stream: how it is unpacked.
type sevenFolder struct {
	methods []string
	props   [][]byte
	outs    uint64
	size    uint64 // of the last output
	err     error  // why it is not unpacked
}

func guardSevenZip(data []byte, b *Budget) (folders []sevenFolder, err error) {
	if len(data) < sevenStart {
		return nil, ErrDamaged
	}
	offset, size := binary.LittleEndian.Uint64(data[12:]), binary.LittleEndian.Uint64(data[20:])
	rest := uint64(len(data) - sevenStart)
	if offset > rest || size > rest-offset || size == 0 {
		return nil, ErrDamaged
	}
	header := data[sevenStart+offset : sevenStart+offset+size]
	g := newSevenGuard(header, b)
	id := g.octet()
	if id == idPackedHeader {
		g.streams()
		if g.bad != nil {
			return nil, g.bad
		}
		unpacked, err := g.unpack(data[sevenStart:])
		if err != nil {
			return nil, err
		}
		g = newSevenGuard(unpacked, b)
		id = g.octet()
	}
	if id != idHeader {
		return nil, ErrDamaged
	}
	err = g.header()
	return g.folders, err
}

func newSevenGuard(header []byte, b *Budget) *sevenGuard {
	return &sevenGuard{Reader: bytes.NewReader(header), max: uint64(b.limits.Entries), dictionary: b.limits.Dictionary}
}

func (g *sevenGuard) fail(err error) {
	if g.bad == nil {
		g.bad = err
	}
}

func (g *sevenGuard) octet() byte {
	c, err := g.ReadByte()
	if err != nil {
		g.fail(ErrDamaged)
	}
	return c
}

// number is 7z's own: the leading ones of the first octet tell how many follow.
func (g *sevenGuard) number() uint64 {
	first := g.octet()
	var v uint64
	mask := byte(0x80)
	for i := range 8 {
		if first&mask == 0 {
			return v + uint64(first&(mask-1))<<(8*i)
		}
		v |= uint64(g.octet()) << (8 * i)
		mask >>= 1
	}
	return v
}

// count is a number of things that something is made for.
func (g *sevenGuard) count() uint64 {
	n := g.number()
	if n > g.max {
		g.fail(&LimitError{"entries"})
		return 0
	}
	return n
}

func (g *sevenGuard) skip(n uint64) {
	if n > uint64(g.Len()) {
		g.fail(ErrDamaged)
		return
	}
	_, _ = g.Seek(int64(n), io.SeekCurrent)
}

// digests skips the checksums of n things.
func (g *sevenGuard) digests(n uint64) {
	defined := n
	if g.octet() == 0 {
		defined = 0
		for i := uint64(0); i < n && g.bad == nil; i += 8 {
			c := g.octet()
			for bit := range min(8, n-i) {
				if c&(0x80>>bit) != 0 {
					defined++
				}
			}
		}
	}
	g.skip(4 * defined)
}

func (g *sevenGuard) header() error {
	id := g.octet()
	if id == idStreams {
		g.streams()
		id = g.octet()
	}
	if len(g.folders) == 0 || len(g.packed) == 0 {
		g.fail(ErrDamaged) // the library takes them for granted
	}
	if id == idFiles && g.bad == nil {
		g.files()
		id = g.octet()
	}
	if id != idEnd {
		g.fail(ErrDamaged)
	}
	return g.bad
}

func (g *sevenGuard) streams() {
	id := g.octet()
	if id == idPack {
		g.pack()
		id = g.octet()
	}
	if id == idUnpack && g.bad == nil {
		g.coders()
		id = g.octet()
	}
	if id == idSub && g.bad == nil {
		g.substreams()
		id = g.octet()
	}
	if id != idEnd {
		g.fail(ErrDamaged)
	}
}

func (g *sevenGuard) pack() {
	g.position = g.number()
	n := g.count()
	id := g.octet()
	if id == idSize {
		for range n {
			if g.bad != nil {
				return
			}
			g.packed = append(g.packed, g.number())
		}
		id = g.octet()
	}
	if id == idCRC {
		g.digests(n)
		id = g.octet()
	}
	if id != idEnd {
		g.fail(ErrDamaged)
	}
}

func (g *sevenGuard) coders() {
	if g.octet() != idFolder {
		g.fail(ErrDamaged)
	}
	n := g.count()
	if g.octet() != 0 {
		g.fail(ErrUnsupported) // kept elsewhere
	}
	for range n {
		if g.bad != nil {
			return
		}
		g.folder()
	}
	if g.octet() != idUnpackSize {
		g.fail(ErrDamaged)
	}
	for i := range g.folders {
		for range g.folders[i].outs {
			g.folders[i].size = g.number()
		}
	}
	id := g.octet()
	if id == idCRC {
		g.digests(n)
		id = g.octet()
	}
	if id != idEnd {
		g.fail(ErrDamaged)
	}
}

// folder reads the coders of one stream, and how they are tied together.
func (g *sevenGuard) folder() {
	coders := g.number()
	if coders == 0 || coders > maxCoders {
		g.fail(ErrUnsupported)
		return
	}
	var f sevenFolder
	ins := uint64(0)
	for range coders {
		flags := g.octet()
		id := make([]byte, flags&0x0f)
		if _, err := io.ReadFull(g, id); err != nil || flags&0xc0 != 0 {
			g.fail(ErrDamaged)
		}
		in, out := uint64(1), uint64(1)
		if flags&0x10 != 0 {
			in, out = g.number(), g.number()
		}
		var props []byte
		if flags&0x20 != 0 {
			n := g.number()
			if n > 64 {
				g.fail(ErrDamaged)
				return
			}
			props = make([]byte, n)
			_, _ = io.ReadFull(g, props)
		}
		if in == 0 || in > maxCoders || out != 1 || g.bad != nil {
			g.fail(ErrUnsupported)
			return
		}
		ins, f.outs = ins+in, f.outs+out
		f.methods, f.props = append(f.methods, string(id)), append(f.props, props)
		f.memory(g, string(id), props)
	}
	for range 2 * (f.outs - 1) { // pairs of an input and the output that feeds it
		if g.number() >= max(ins, f.outs) {
			g.fail(ErrDamaged)
		}
	}
	if packed := ins - (f.outs - 1); packed > 1 && ins >= f.outs {
		for range packed {
			if g.number() >= ins {
				g.fail(ErrDamaged)
			}
		}
	}
	g.folders = append(g.folders, f)
}

// The methods whose memory a header chooses, and the one that hides.
const (
	sevenLZMA  = "\x03\x01\x01"
	sevenLZMA2 = "\x21"
	sevenPPMd  = "\x03\x04\x01"
	sevenZstd  = "\x04\xf7\x11\x01"
	sevenAES   = "\x06\xf1\x07\x01"
)

// memory bounds what one coder will keep. Two methods are not unpacked: the
// window of Zstandard stands in its own stream, where the library does not
// bound it, and the library for PPMd breaks on damaged streams.
func (f *sevenFolder) memory(g *sevenGuard, method string, props []byte) {
	var n int64
	switch {
	case method == sevenLZMA && len(props) == 5:
		n = int64(binary.LittleEndian.Uint32(props[1:]))
	case method == sevenLZMA2 && len(props) == 1 && props[0] <= 40:
		n = int64(2|props[0]&1) << (props[0]/2 + 11)
	case method == sevenLZMA, method == sevenLZMA2:
		f.err = ErrDamaged
	case method == sevenZstd, method == sevenPPMd:
		f.err = ErrUnsupported
	case method == sevenAES:
		f.err = ErrEncrypted
	}
	if g.dicts += n; n > g.dictionary || g.dicts > maxDictionaries*g.dictionary {
		f.err = &LimitError{"dictionary"}
	}
}

func (g *sevenGuard) substreams() {
	id := g.octet()
	total := uint64(len(g.folders))
	var counts []uint64
	if id == idCount {
		total = 0
		for range g.folders {
			n := g.count()
			counts = append(counts, n)
			total += n
		}
		id = g.octet()
	}
	if total > g.max {
		g.fail(&LimitError{"entries"})
		return
	}
	if id == idSize {
		for _, n := range counts {
			for i := uint64(1); i < n && g.bad == nil; i++ {
				g.number()
			}
		}
		id = g.octet()
	}
	if id == idCRC {
		g.digests(total)
		id = g.octet()
	}
	if id != idEnd {
		g.fail(ErrDamaged)
	}
}

// files reads the list of names and times. The library makes nothing for a
// property but what the number of files allows.
func (g *sevenGuard) files() {
	g.count()
	for g.bad == nil {
		property := g.octet()
		if property == idEnd {
			return
		}
		n := g.number()
		if n == 0 && property == idName {
			g.fail(ErrDamaged) // the library takes one off
		}
		g.skip(n)
	}
}

// unpack gives the header that is packed: one stream, one method.
func (g *sevenGuard) unpack(data []byte) ([]byte, error) {
	if len(g.folders) != 1 || len(g.packed) == 0 {
		return nil, ErrDamaged
	}
	f := &g.folders[0]
	if f.err != nil {
		return nil, f.err
	}
	size := g.packed[0]
	if g.position > uint64(len(data)) || size > uint64(len(data))-g.position {
		return nil, ErrDamaged
	}
	if f.size > maxSevenNames || len(f.methods) != 1 {
		return nil, &LimitError{"entries"}
	}
	in := data[g.position : g.position+size]
	var r io.Reader
	var err error
	switch f.methods[0] {
	case sevenLZMA:
		header := make([]byte, 13)
		copy(header, f.props[0])
		binary.LittleEndian.PutUint64(header[5:], f.size)
		r, err = newLZMA(header, in, g.dictionary)
	case sevenLZMA2:
		dict := int64(2|f.props[0][0]&1) << (f.props[0][0]/2 + 11)
		r, err = lzma.Reader2Config{DictCap: int(dict)}.NewReader2(bytes.NewReader(in))
	case "\x00":
		r = bytes.NewReader(in)
	default:
		return nil, ErrUnsupported
	}
	if err != nil {
		return nil, damaged(err)
	}
	out := make([]byte, f.size)
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, damaged(err)
	}
	return out, nil
}
