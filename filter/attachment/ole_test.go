package attachment

import (
	"bytes"
	"encoding/binary"
)

// oleFile is a stream of a compound file that a test makes.
type oleFile struct{ name, content string }

// ole makes a compound file ([MS-CFB], version 3) with its streams below the
// root: header, FAT, directory, and each stream in sectors of its own.
func ole(files ...oleFile) string {
	const free, end, fatSector = 0xffffffff, 0xfffffffe, 0xfffffffd
	sectors := func(n int) int { return (n + 511) / 512 }
	dirSectors := sectors((len(files) + 1) * 128)
	fat := []uint32{fatSector}
	chain := func(n int) uint32 {
		if n == 0 {
			return end
		}
		start := uint32(len(fat))
		for i := range n {
			next := start + uint32(i) + 1
			if i == n-1 {
				next = end
			}
			fat = append(fat, next)
		}
		return start
	}
	dirStart := chain(dirSectors)
	var dir, data bytes.Buffer
	entry := func(name string, kind byte, right, child, start uint32, size int) {
		b := make([]byte, 128)
		copy(b, utf16LE(name))
		binary.LittleEndian.PutUint16(b[64:], uint16(2*len(name)+2))
		b[66], b[67] = kind, 1
		binary.LittleEndian.PutUint32(b[68:], free)
		binary.LittleEndian.PutUint32(b[72:], right)
		binary.LittleEndian.PutUint32(b[76:], child)
		binary.LittleEndian.PutUint32(b[116:], start)
		binary.LittleEndian.PutUint64(b[120:], uint64(size))
		dir.Write(b)
	}
	entry("Root Entry", 5, free, 1, end, 0)
	for i, f := range files {
		right := uint32(i + 2)
		if i == len(files)-1 {
			right = free
		}
		entry(f.name, 2, right, free, chain(sectors(len(f.content))), len(f.content))
		data.WriteString(f.content)
		data.Write(make([]byte, sectors(len(f.content))*512-len(f.content)))
	}
	dir.Write(make([]byte, dirSectors*512-dir.Len()))
	for len(fat) < 128 {
		fat = append(fat, free)
	}
	head := make([]byte, 512)
	copy(head, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	binary.LittleEndian.PutUint16(head[24:], 0x3e)
	binary.LittleEndian.PutUint16(head[26:], 3)
	binary.LittleEndian.PutUint16(head[28:], 0xfffe)
	binary.LittleEndian.PutUint16(head[30:], 9)
	binary.LittleEndian.PutUint16(head[32:], 6)
	binary.LittleEndian.PutUint32(head[44:], 1)
	binary.LittleEndian.PutUint32(head[48:], dirStart)
	binary.LittleEndian.PutUint32(head[56:], 0) // no stream is small
	binary.LittleEndian.PutUint32(head[60:], end)
	binary.LittleEndian.PutUint32(head[68:], end)
	for i := range 109 {
		binary.LittleEndian.PutUint32(head[76+4*i:], free)
	}
	binary.LittleEndian.PutUint32(head[76:], 0)
	var out bytes.Buffer
	out.Write(head)
	_ = binary.Write(&out, binary.LittleEndian, fat)
	out.Write(dir.Bytes())
	out.Write(data.Bytes())
	return out.String()
}
