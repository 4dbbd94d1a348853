package mailtest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os/exec"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// Packers make an archive of one file, by the words of package filetype; of zip
// also with rare methods, and with a file that the directory does not tell of. What
// nobody needs a packer of is stored.
var Packers = map[string]func(t testing.TB, name string, content []byte) []byte{
	"zip": packZip, "zip with zstd": packRareZip, "zip with a hidden file": packHiddenZip, "gzip": packGzip, "bzip2": packBzip2, "xz": packXZ, "zstd": packZstd, "tar": packTar,
	"7z":   func(_ testing.TB, name string, content []byte) []byte { return SevenZip(name, content) },
	"rar":  func(_ testing.TB, name string, content []byte) []byte { return RAR(name, content) },
	"tnef": func(_ testing.TB, name string, content []byte) []byte { return TNEF(name, content) },
	"cab":  func(_ testing.TB, name string, content []byte) []byte { return Cabinet(name, content) },
	"iso":  func(_ testing.TB, name string, content []byte) []byte { return ISO(name, content) },
	"cpio": packCpio, "ar": packAr, "lz4": packLZ4, "macbinary": packMacBinary,
}

func packCpio(_ testing.TB, name string, content []byte) []byte {
	var b bytes.Buffer
	for _, f := range []struct {
		name string
		data []byte
	}{{name, content}, {"TRAILER!!!", nil}} {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", 1, 0o100644, 0, 0, 1, 0, len(f.data), 0, 0, 0, 0, len(f.name)+1, 0, f.name)
		b.Write(make([]byte, -b.Len()&3))
		b.Write(f.data)
		b.Write(make([]byte, -b.Len()&3))
	}
	return b.Bytes()
}

func packAr(_ testing.TB, name string, content []byte) []byte {
	data := fmt.Appendf(nil, "!<arch>\n%-16s%-12d%-6d%-6d%-8o%-10d`\n", name+"/", 0, 0, 0, 0o644, len(content))
	data = append(data, content...)
	return append(data, "\n"[:len(content)&1]...)
}

func packLZ4(t testing.TB, _ string, content []byte) []byte {
	return pack(t, content, func(b io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(b), nil })
}

// packMacBinary is the second form, whose checksum is CRC-16/XMODEM.
func packMacBinary(_ testing.TB, name string, content []byte) []byte {
	head := make([]byte, 128, 128+len(content))
	head[1] = byte(copy(head[2:65], name))
	copy(head[65:], "TEXTttxt")
	binary.BigEndian.PutUint32(head[83:], uint32(len(content)))
	head[122], head[123] = 129, 129
	crc := uint16(0)
	for _, c := range head[:124] {
		crc ^= uint16(c) << 8
		for range 8 {
			crc = crc<<1 ^ crc>>15*0x1021
		}
	}
	binary.BigEndian.PutUint16(head[124:], crc)
	data := append(head, content...)
	return append(data, make([]byte, -len(data)&127)...)
}

func packZip(t testing.TB, name string, content []byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	must(t, err)
	_, err = w.Write(content)
	must(t, err)
	must(t, z.Close())
	return b.Bytes()
}

// packRareZip compresses by method 93 (APPNOTE.TXT 4.4.5).
func packRareZip(t testing.TB, name string, content []byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	z.RegisterCompressor(93, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: 93})
	must(t, err)
	_, err = w.Write(content)
	must(t, err)
	must(t, z.Close())
	return b.Bytes()
}

// packHiddenZip is a zip of a harmless file, before which lies the local entry of
// another one.
func packHiddenZip(t testing.TB, name string, content []byte) []byte {
	hidden := packZip(t, name, content)
	hidden = hidden[:bytes.LastIndex(hidden, []byte("PK\x01\x02"))]
	var b bytes.Buffer
	b.Write(hidden)
	z := zip.NewWriter(&b)
	z.SetOffset(int64(len(hidden)))
	w, err := z.Create("readme.txt")
	must(t, err)
	_, err = w.Write([]byte("hello"))
	must(t, err)
	must(t, z.Close())
	return b.Bytes()
}

func packGzip(t testing.TB, name string, content []byte) []byte {
	return pack(t, content, func(b io.Writer) (io.WriteCloser, error) {
		z := gzip.NewWriter(b)
		z.Name = name
		return z, nil
	})
}

func packXZ(t testing.TB, _ string, content []byte) []byte {
	return pack(t, content, func(b io.Writer) (io.WriteCloser, error) { return xz.NewWriter(b) })
}

func packZstd(t testing.TB, _ string, content []byte) []byte {
	return pack(t, content, func(b io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(b) })
}

func packTar(t testing.TB, name string, content []byte) []byte {
	return pack(t, content, func(b io.Writer) (io.WriteCloser, error) {
		z := tar.NewWriter(b)
		return z, z.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
	})
}

func pack(t testing.TB, content []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	var b bytes.Buffer
	w, err := open(&b)
	must(t, err)
	_, err = w.Write(content)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

// packBzip2 needs bzip2(1): nobody here writes that format.
func packBzip2(t testing.TB, _ string, content []byte) []byte {
	cmd := exec.Command("bzip2", "-c")
	cmd.Stdin = bytes.NewReader(content)
	out, err := cmd.Output()
	must(t, err)
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// RAR is a RAR 5.0 archive of one stored file (technote "RAR 5.0 archive
// format").
func RAR(name string, content []byte) []byte { return rar5(name, content, nil) }

// EncryptedRAR is one whose file has a record of encryption.
func EncryptedRAR(name string, content []byte) []byte {
	record := make([]byte, 2+1+1+16+16) // type 1, version, flags, rounds as a power of two, salts
	record[0], record[4] = 1, 15
	return rar5(name, content, append(binary.AppendUvarint(nil, uint64(len(record))), record...))
}

func rar5(name string, content, area []byte) []byte {
	out := []byte("Rar!\x1a\x07\x01\x00")
	out = append(out, rarBlock([]byte{1, 0, 0})...) // main header: type, flags, archive flags
	head := []byte{2}                               // file header
	flags := uint64(2)                              // with data
	if area != nil {
		flags |= 1
	}
	head = binary.AppendUvarint(head, flags)
	if area != nil {
		head = binary.AppendUvarint(head, uint64(len(area)))
	}
	head = binary.AppendUvarint(head, uint64(len(content))) // packed
	head = binary.AppendUvarint(head, 4)                    // file flags: with a checksum
	head = binary.AppendUvarint(head, uint64(len(content)))
	head = binary.AppendUvarint(head, 0) // attributes
	head = binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE(content))
	head = append(head, 0, 0) // stored, by Windows
	head = binary.AppendUvarint(head, uint64(len(name)))
	head = append(append(head, name...), area...)
	out = append(append(out, rarBlock(head)...), content...)
	return append(out, rarBlock([]byte{5, 0, 0})...)
}

func rarBlock(head []byte) []byte {
	sized := append(binary.AppendUvarint(nil, uint64(len(head))), head...)
	return append(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(sized)), sized...)
}

// TNEF is a winmail.dat with one attachment ([MS-OXTNEF]), whose long name
// stands in its properties.
func TNEF(name string, content []byte) []byte {
	var b bytes.Buffer
	b.WriteString("\x78\x9f\x3e\x22\x01\x00")
	attribute := func(id uint32, data []byte) {
		b.WriteByte(2)
		_ = binary.Write(&b, binary.LittleEndian, []uint32{id, uint32(len(data))})
		b.Write(data)
		sum := uint16(0)
		for _, c := range data {
			sum += uint16(c)
		}
		_ = binary.Write(&b, binary.LittleEndian, sum)
	}
	attribute(0x69002, make([]byte, 14)) // attAttachRenddata
	attribute(0x18010, append([]byte("short.dat"), 0))
	attribute(0x6800f, content)
	var props bytes.Buffer
	_ = binary.Write(&props, binary.LittleEndian, []uint32{1, 0x3707001e, 1, uint32(len(name) + 1)})
	props.WriteString(name)
	props.Write(make([]byte, 1+(4-(len(name)+1)%4)%4))
	attribute(0x69005, props.Bytes())
	return b.Bytes()
}

// SevenZip is a 7z archive of one stored file (7zFormat.txt of the LZMA SDK).
func SevenZip(name string, content []byte) []byte {
	number := func(b []byte, n int) []byte { return binary.LittleEndian.AppendUint64(append(b, 0xff), uint64(n)) }
	h := []byte{1, 4, 6, 0, 1, 9} // header, streams, packed: at 0, one, sizes
	h = append(number(h, len(content)), 0)
	h = append(h, 7, 0xb, 1, 0, 1, 1, 0, 0xc) // one folder of one coder, which copies; sizes
	h = append(number(h, len(content)), 0)
	h = append(h, 8, 0xa, 1) // checksums
	h = binary.LittleEndian.AppendUint32(h, crc32.ChecksumIEEE(content))
	h = append(h, 0, 0, 5, 1, 0x11) // one file; names
	units := utf16.Encode([]rune(name + "\x00"))
	h = append(number(h, 1+2*len(units)), 0)
	for _, u := range units {
		h = binary.LittleEndian.AppendUint16(h, u)
	}
	h = append(h, 0, 0)
	start := binary.LittleEndian.AppendUint64(nil, uint64(len(content)))
	start = binary.LittleEndian.AppendUint64(start, uint64(len(h)))
	start = binary.LittleEndian.AppendUint32(start, crc32.ChecksumIEEE(h))
	out := []byte("7z\xbc\xaf\x27\x1c\x00\x04")
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(start))
	return append(append(append(out, start...), content...), h...)
}

// Cabinet is a cabinet of one stored file ([MS-CAB]).
func Cabinet(name string, content []byte) []byte {
	const header, folder, file, block = 36, 8, 16, 32 << 10
	blocks := (len(content) + block - 1) / block
	files := header + folder
	data := files + file + len(name) + 1
	le := binary.LittleEndian
	out := le.AppendUint32([]byte("MSCF\x00\x00\x00\x00"), uint32(data+8*blocks+len(content)))
	out = le.AppendUint32(append(out, 0, 0, 0, 0), uint32(files))
	out = append(out, 0, 0, 0, 0, 3, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0) // version 1.3, one folder, one file
	out = le.AppendUint16(le.AppendUint32(out, uint32(data)), uint16(blocks))
	out = le.AppendUint32(append(out, 0, 0), uint32(len(content)))
	out = append(out, make([]byte, 10)...) // at the start of the first folder; date, time
	out = append(append(append(out, 0x20, 0), name...), 0)
	for len(content) > 0 {
		n := min(len(content), block)
		out = append(out, 0, 0, 0, 0) // no checksum
		out = le.AppendUint16(le.AppendUint16(out, uint16(n)), uint16(n))
		out, content = append(out, content[:n]...), content[n:]
	}
	return out
}

// ISO is an image of a disk with one file (ECMA-119).
func ISO(name string, content []byte) []byte {
	const sector, root, file = 2048, 20, 21
	both := func(n int) []byte {
		return binary.BigEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(n)), uint32(n))
	}
	record := func(at, size int, flags byte, id string) []byte {
		r := append(append([]byte{0, 0}, both(at)...), both(size)...)
		r = append(r, 126, 1, 1, 0, 0, 0, 0, flags, 0, 0, 1, 0, 0, 1, byte(len(id)))
		if r = append(r, id...); len(r)%2 == 1 {
			r = append(r, 0)
		}
		r[0] = byte(len(r))
		return r
	}
	out := make([]byte, (file+(len(content)+sector-1)/sector)*sector)
	put := func(n, at int, b []byte) { copy(out[n*sector+at:], b) }
	put(16, 0, []byte("\x01CD001\x01"))
	put(16, 40, []byte("DISK                            "))
	put(16, 80, both(len(out)/sector))
	put(16, 120, []byte{1, 0, 0, 1, 1, 0, 0, 1, 0, 8, 8, 0}) // one disk of one, blocks of 2048
	put(16, 132, both(10))
	put(16, 140, both(18)[:4])
	put(16, 148, both(19)[4:])
	put(16, 156, record(root, sector, 2, "\x00"))
	put(16, 881, []byte{1})
	put(17, 0, []byte("\xffCD001\x01"))
	put(18, 0, append(append([]byte{1, 0}, both(root)[:4]...), 1, 0, 0, 0))
	put(19, 0, append(append([]byte{1, 0}, both(root)[4:]...), 0, 1, 0, 0))
	put(root, 0, bytes.Join([][]byte{record(root, sector, 2, "\x00"), record(root, sector, 2, "\x01"), record(file, len(content), 0, name+";1")}, nil))
	put(file, 0, content)
	return out
}
