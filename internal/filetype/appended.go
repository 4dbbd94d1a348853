package filetype

import "bytes"

// SearchSize is how far from its beginning the programs that unpack rar, 7z and
// cabinets look for one behind other octets.
const SearchSize = 1 << 20

// zipTail is where the end record of a zip file lies: 22 octets, and a comment.
const zipTail = 1<<16 + 22

// ZipEntry is what every zip file with a file in it has somewhere.
const ZipEntry = "PK\x03\x04"

// searched are the archives that are found by their first octets, wherever they
// lie: as self-extracting programs have them.
var searched = []struct {
	bytes string
	kind  Type
}{{"Rar!\x1a\x07", RAR}, {"7z\xbc\xaf\x27\x1c", SevenZip}, {"MSCF\x00\x00\x00\x00", CAB}}

// Appended tells of an archive that lies behind other octets, and where it is to
// be read from: a zip file from the beginning of all, since it is found from its
// end. Unknown when there is none.
func Appended(data []byte) (kind Type, at int) {
	if bytes.Contains(data[max(0, len(data)-zipTail):], []byte("PK\x05\x06")) && bytes.Contains(data, []byte(ZipEntry)) {
		return Zip, 0
	}
	head := data[:min(len(data), SearchSize)]
	kind, at = Unknown, len(head)
	for _, s := range searched {
		if i := bytes.Index(head[:at], []byte(s.bytes)); i >= 0 {
			kind, at = s.kind, i
		}
	}
	return kind, at
}

// MayAppend reports that octets of a file, those from the place at on, could
// hold the beginning of an archive that Appended finds.
func MayAppend(octets []byte, at int64) bool {
	if bytes.Contains(octets, []byte(ZipEntry)) {
		return true
	}
	if at >= SearchSize {
		return false
	}
	for _, s := range searched {
		if bytes.Contains(octets, []byte(s.bytes)) {
			return true
		}
	}
	return false
}
