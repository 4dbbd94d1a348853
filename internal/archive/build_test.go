package archive

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// rar5 is an archive of one stored file (technote "RAR 5.0 archive format").
// flags are those of the file's encryption: 0 for none.
func rar5(name string, content []byte, extra int) []byte {
	out := []byte("Rar!\x1a\x07\x01\x00")
	out = append(out, rarBlock([]byte{1, 0, 0})...) // main header: type, flags, archive flags
	head := []byte{2}                               // file header
	flags := uint64(2)                              // with data
	var area []byte
	if extra > 0 {
		flags |= 1
		area = append(vint(uint64(extra)), 1)              // record of encryption
		area = append(area, make([]byte, extra-1)...)      // version, flags, salts
		area[len(area)-extra+2+1] = 15                     // rounds, as a power of two
		head = append(head, vint(flags)...)                //
		head = append(head, vint(uint64(len(area)))...)    //
		head = append(head, vint(uint64(len(content)))...) // packed size
	} else {
		head = append(head, vint(flags)...)
		head = append(head, vint(uint64(len(content)))...)
	}
	head = append(head, vint(4)...)                    // file flags: with a checksum
	head = append(head, vint(uint64(len(content)))...) // size
	head = append(head, vint(0)...)                    // attributes
	head = binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE(content))
	head = append(head, vint(0)...) // stored
	head = append(head, vint(0)...) // Windows
	head = append(head, vint(uint64(len(name)))...)
	head = append(head, name...)
	head = append(head, area...)
	out = append(out, rarBlock(head)...)
	out = append(out, content...)
	return append(out, rarBlock([]byte{5, 0, 0})...)
}

func rarBlock(head []byte) []byte {
	sized := append(vint(uint64(len(head))), head...)
	return append(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(sized)), sized...)
}

func vint(v uint64) []byte { return binary.AppendUvarint(nil, v) }

// tnef is a winmail.dat with one attachment ([MS-OXTNEF]).
func tnef(name string, content []byte) []byte {
	var b bytes.Buffer
	b.WriteString("\x78\x9f\x3e\x22\x01\x00")
	attribute := func(id uint32, data []byte) {
		b.WriteByte(2)
		_ = binary.Write(&b, binary.LittleEndian, id)
		_ = binary.Write(&b, binary.LittleEndian, uint32(len(data)))
		b.Write(data)
		sum := uint16(0)
		for _, c := range data {
			sum += uint16(c)
		}
		_ = binary.Write(&b, binary.LittleEndian, sum)
	}
	attribute(tnefRender, make([]byte, 14))
	attribute(tnefTitle, append([]byte("short.dat"), 0))
	attribute(tnefData, content)
	var props bytes.Buffer
	_ = binary.Write(&props, binary.LittleEndian, []uint32{1, 0x37070000 | 0x1e, 1, uint32(len(name) + 1)})
	props.WriteString(name)
	props.Write(make([]byte, 1+(4-(len(name)+1)%4)%4))
	attribute(tnefProperties, props.Bytes())
	return b.Bytes()
}
