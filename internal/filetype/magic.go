package filetype

import (
	"bytes"
	"encoding/binary"
)

// HeadSize is how many octets Detect needs to know all types but disk images:
// those are told from the first ImageHead.
const (
	HeadSize  = 1024
	ImageHead = 0x8006
)

// Enough reports that a head has all the octets that Detect could use: what
// begins with zeros may be a disk image.
func Enough(head []byte) bool {
	return len(head) >= ImageHead || len(head) >= HeadSize && len(bytes.Trim(head[:HeadSize], "\x00")) > 0
}

// signature is octets at a place.
type signature struct {
	at    int
	bytes string
	kind  Type
}

// signatures in the order of their weight: what names many octets first.
var signatures = []signature{
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLE},
	{0, "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", OneNote},
	{0, "L\x00\x00\x00\x01\x14\x02\x00", Lnk},
	{0, "\x7fELF", ELF},
	{0, "\xcf\xfa\xed\xfe", MachO},
	{0, "\xce\xfa\xed\xfe", MachO},
	{0, "\xfe\xed\xfa\xce", MachO},
	{0, "\xfe\xed\xfa\xcf", MachO},
	{0, "dex\n", DEX},
	{0, "\x00asm", Wasm},
	{0, "ITSF", CHM},
	{0, "!<arch>\ndebian", Deb},
	{0, "!<arch>\n", Ar},
	{0, "\x00\x05\x16\x00", Apple},
	{0, "070701", Cpio},
	{0, "070702", Cpio},
	{0, "070707", Cpio},
	{0, "\xc7\x71", Cpio},
	{0, "\x71\xc7", Cpio},
	{0, "\xed\xab\xee\xdb", RPM},
	{0, "xar!", XAR},
	{0, "#@~^", Encoded},

	{0, "PK\x03\x04", Zip},
	{0, "PK\x05\x06", Zip},
	{0, "PK\x07\x08PK\x03\x04", Zip},
	{0, "PK00PK\x03\x04", Zip},
	{0, "Rar!\x1a\x07", RAR},
	{0, "RE~^", RAR},
	{0, "7z\xbc\xaf\x27\x1c", SevenZip},
	{0, "\x1f\x8b", Gzip},
	{0, "BZh", Bzip2},
	{0, "\xfd7zXZ\x00", XZ},
	{0, "\x28\xb5\x2f\xfd", Zstd},
	{0, "\x04\x22\x4d\x18", LZ4},
	{0, "\x02\x21\x4c\x18", LZ4},
	{0, "\x1f\x9d", Compress},
	{0, "\x1f\xa0", Compress},
	{0, "MSCF", CAB},
	{0, "\x60\xea", ARJ},
	{2, "-lh", LZH},
	{2, "-lz", LZH},
	{7, "**ACE**", ACE},
	{0, "\x78\x9f\x3e\x22", TNEF},
	{257, "ustar", Tar},

	{0x8001, "CD001", ISO},
	{0x8001, "BEA01", UDF},
	{0x8001, "NSR0", UDF},
	{0, "conectix", VHD},
	{0, "vhdxfile", VHDX},
	{0, "KDMV", VMDK},
	{0, "# Disk DescriptorFile", VMDK},
	{0, "koly", DMG},

	{0, "{\\rt", RTF},
	{0, "ID;P", SYLK},
	{0, "%!PS-Adobe", EPS},
	{0, "\xc5\xd0\xd3\xc6", EPS},

	{0, "\x89PNG\r\n", PNG},
	{0, "\xff\xd8\xff", JPEG},
	{0, "GIF8", GIF},
	{0, "II*\x00", TIFF},
	{0, "MM\x00*", TIFF},
	{0, "\x00\x00\x01\x00", Icon},
	{0, "ID3", MP3},
	{0, "OggS", Ogg},
	{8, "WEBP", WebP},
	{8, "WAVE", WAV},
	{4, "ftyp", MP4},

	{0, "#!", Script},
}

// Detect names what the first octets of a file say that it is.
func Detect(head []byte) Type {
	switch {
	case len(head) < 2:
		return Unknown
	case head[0] == 'M' && head[1] == 'Z', head[0] == 'Z' && head[1] == 'M':
		return dos(head)
	case bytes.HasPrefix(head, []byte("\xca\xfe\xba\xbe")):
		return javaOrFat(head)
	}
	for i := range signatures {
		s := &signatures[i]
		if len(head) >= s.at+len(s.bytes) && string(head[s.at:s.at+len(s.bytes)]) == s.bytes {
			return s.kind
		}
	}
	head = head[:min(len(head), HeadSize)]
	if t := weak(head); t != Unknown {
		return t
	}
	return detectText(head)
}

// dos tells a program from a text that begins with MZ: all of a text's octets
// are printable, and no header of a program is.
func dos(head []byte) Type {
	if len(head) >= 28 && isText(head) {
		return Unknown
	}
	return PE
}

// javaOrFat: a Java class has its version in octets 6 and 7, at least 45; a fat
// Mach-O has the number of its architectures there.
func javaOrFat(head []byte) Type {
	if len(head) >= 8 && binary.BigEndian.Uint32(head[4:]) < 45 {
		return MachO
	}
	return Class
}

// weak are the types whose first octets alone say little.
func weak(head []byte) Type {
	switch {
	case len(head) >= 8 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18": // a frame to skip
		return Zstd
	case len(head) >= 13 && head[0] == 0x5d && head[1] == 0 && head[2] == 0 && (head[12] == 0 || head[12] == 0xff):
		return LZMA
	case len(head) >= 512 && head[510] == 0x55 && head[511] == 0xaa && (head[0] == 0xeb || head[0] == 0xe9 || head[0] == 0x33 || head[0] == 0xfa):
		return Disk
	case head[0] == 'B' && head[1] == 'M' && len(head) >= 14 && binary.LittleEndian.Uint32(head[6:]) == 0:
		return BMP
	case tarHeader(head):
		return Tar
	case macBinary(head):
		return MacBin
	case pdf(head):
		return PDF
	}
	return Unknown
}

// pdf is looked for in the first 1024 octets: that is what readers do, against
// ISO 32000-1 section 7.5.2.
func pdf(head []byte) bool {
	return bytes.Contains(head[:min(len(head), 1024)], []byte("%PDF-"))
}

// tarHeader knows archives older than "ustar" by their checksum.
func tarHeader(head []byte) bool {
	if len(head) < 512 || head[0] == 0 {
		return false
	}
	sum, want := 0, 0
	for i, c := range head[:512] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int(c)
	}
	digits := 0
	for _, c := range head[148:156] {
		if c >= '0' && c <= '7' {
			want, digits = want*8+int(c-'0'), digits+1
		} else if digits > 0 {
			break
		}
	}
	return digits >= 3 && sum == want
}

// macBinary knows the form by what has to be zero, a name, lengths that are not,
// and its checksum or, where it is older than that, by more zeros.
func macBinary(head []byte) bool {
	if len(head) < 128 || head[0] != 0 || head[1] == 0 || head[1] > 63 || head[74] != 0 || head[82] != 0 ||
		bytes.IndexByte(head[2:2+head[1]], 0) >= 0 {
		return false
	}
	if binary.BigEndian.Uint32(head[83:])|binary.BigEndian.Uint32(head[87:]) == 0 {
		return false
	}
	return string(head[102:106]) == "mBIN" || binary.BigEndian.Uint16(head[124:]) == crcXModem(head[:124]) ||
		len(bytes.Trim(head[99:128], "\x00")) == 0
}

// crcXModem is the checksum of MacBinary II.
func crcXModem(b []byte) (crc uint16) {
	for _, c := range b {
		crc ^= uint16(c) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

// isText tells octets that a person could have typed.
func isText(head []byte) bool {
	for _, c := range head {
		if c < ' ' && c != '\t' && c != '\r' && c != '\n' && c != '\f' || c == 0x7f {
			return false
		}
	}
	return true
}
