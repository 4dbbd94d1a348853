package mime

import (
	"bytes"
	"strings"
)

// magics are the first octets of what attachments are made of.
var magics = []struct {
	at    int
	bytes string
	name  string
}{
	{0, "MZ", "exe"},
	{0, "\x7fELF", "elf"},
	{0, "\xca\xfe\xba\xbe", "class"}, // Java and fat Mach-O alike
	{0, "\xcf\xfa\xed\xfe", "macho"},
	{0, "\xce\xfa\xed\xfe", "macho"},
	{0, "PK\x03\x04", "zip"},
	{0, "PK\x05\x06", "zip"},
	{0, "Rar!\x1a\x07", "rar"},
	{0, "7z\xbc\xaf\x27\x1c", "7z"},
	{0, "\x1f\x8b", "gzip"},
	{0, "MSCF", "cab"},
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"},
	{0, "{\\rtf", "rtf"},
	{0, "%PDF-", "pdf"},
	{0, "L\x00\x00\x00\x01\x14\x02\x00", "lnk"},
	{0, "#!", "script"},
	{0, "\x89PNG\r\n", "png"},
	{0, "\xff\xd8\xff", "jpeg"},
	{0, "GIF8", "gif"},
}

// magic names what the first octets of a part say that it is; "" for nothing
// that is known.
func magic(head []byte) string {
	for _, m := range magics {
		if len(head) >= m.at+len(m.bytes) && string(head[m.at:m.at+len(m.bytes)]) == m.bytes {
			return m.name
		}
	}
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(head) == 0 || head[0] != '<' {
		return ""
	}
	lower := bytes.ToLower(head)
	if bytes.HasPrefix(lower, []byte("<!doctype html")) || bytes.HasPrefix(lower, []byte("<html")) {
		return "html"
	}
	return ""
}

// extension is the part of a file name after its last dot, in lower case.
// Trailing dots and spaces go: Windows drops them when it opens the file.
func extension(name string) string {
	name = strings.TrimRight(name, ". \t")
	i := strings.LastIndexByte(name, '.')
	if i < 0 || len(name)-i > 12 {
		return ""
	}
	return strings.ToLower(name[i+1:])
}
