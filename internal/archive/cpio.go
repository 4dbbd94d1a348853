package archive

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// cpioHead is what the header of a file says, and where the next one begins.
type cpioHead struct {
	name string
	mode uint64
	data []byte
	next int
}

const (
	cpioEnd   = "TRAILER!!!"
	cpioName  = 4096    // octets of a name that are looked at; longer ones are damage
	cpioDir   = 0o40000 // of the kinds in a mode
	cpioKinds = 0o170000
)

// readCpio visits the files of a cpio archive in all its forms: "070701" and
// "070702" (hexadecimal), "070707" (octal), and binary in both orders of octets.
// What follows the trailer is read as another one, as some unpackers do.
func readCpio(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	var odd Oddities
	for rest := data; ; {
		h, err := cpioHeader(rest)
		if err != nil {
			return odd, err
		}
		rest = rest[h.next:]
		if h.name == cpioEnd {
			if rest = bytes.TrimLeft(rest, "\x00"); len(rest) == 0 {
				return odd, nil
			}
			odd |= Trailing
			if _, err := cpioHeader(rest); err != nil {
				return odd, nil
			}
			continue
		}
		e := &Entry{Name: decodeName(h.name), Dir: h.mode&cpioKinds == cpioDir, Size: int64(len(h.data)), Data: h.data}
		if err := visit(e, &meter{r: bytes.NewReader(h.data), b: b}); err != nil {
			return odd, err
		}
	}
}

func cpioHeader(b []byte) (cpioHead, error) {
	switch {
	case len(b) < 26:
		return cpioHead{}, ErrDamaged
	case string(b[:6]) == "070701", string(b[:6]) == "070702":
		return cpioText(b, 16, 110, 4, [][2]int{{14, 8}, {94, 8}, {54, 8}})
	case string(b[:6]) == "070707":
		return cpioText(b, 8, 76, 1, [][2]int{{18, 6}, {59, 6}, {65, 11}})
	case string(b[:2]) == "\xc7\x71":
		return cpioBinary(b, binary.LittleEndian)
	case string(b[:2]) == "\x71\xc7":
		return cpioBinary(b, binary.BigEndian)
	}
	return cpioHead{}, ErrDamaged
}

// cpioText reads numbers that are written in digits: mode, length of the name,
// length of the data.
func cpioText(b []byte, base, size, align int, fields [][2]int) (cpioHead, error) {
	if len(b) < size {
		return cpioHead{}, ErrDamaged
	}
	var n [3]uint64
	for i, f := range fields {
		v, err := strconv.ParseUint(string(b[f[0]:f[0]+f[1]]), base, 63)
		if err != nil {
			return cpioHead{}, ErrDamaged
		}
		n[i] = v
	}
	return cpioFile(b, n[0], size, n[1], n[2], align)
}

func cpioBinary(b []byte, o binary.ByteOrder) (cpioHead, error) {
	size := uint64(o.Uint16(b[22:]))<<16 | uint64(o.Uint16(b[24:]))
	return cpioFile(b, uint64(o.Uint16(b[6:])), 26, uint64(o.Uint16(b[20:])), size, 2)
}

// cpioFile takes name and data, each filled up to a multiple of align.
func cpioFile(b []byte, mode uint64, at int, name, size uint64, align int) (cpioHead, error) {
	if name == 0 || name > cpioName || at+int(name) > len(b) {
		return cpioHead{}, ErrDamaged
	}
	h := cpioHead{name: string(bytes.TrimRight(b[at:at+int(name)], "\x00")), mode: mode}
	from := min(roundUp(at+int(name), align), len(b))
	if size > uint64(len(b)-from) {
		return cpioHead{}, ErrDamaged
	}
	h.data = b[from : from+int(size)]
	h.next = min(roundUp(from+int(size), align), len(b))
	return h, nil
}

func roundUp(n, align int) int { return (n + align - 1) / align * align }
