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

// executables are the extensions that Windows, or a program that everyone has,
// runs on a double click.
var executables = map[string]bool{
	"ade": true, "adp": true, "appx": true, "bat": true, "chm": true, "cmd": true, "com": true, "cpl": true,
	"dll": true, "exe": true, "gadget": true, "hta": true, "inf": true, "ins": true, "isp": true, "jar": true,
	"jnlp": true, "js": true, "jse": true, "lnk": true, "mde": true, "msc": true, "msi": true, "msp": true,
	"mst": true, "pif": true, "ps1": true, "psm1": true, "reg": true, "scf": true, "scr": true, "sct": true,
	"shb": true, "sys": true, "url": true, "vb": true, "vbe": true, "vbs": true, "ws": true, "wsc": true,
	"wsf": true, "wsh": true, "xll": true,
}

// documents are the extensions that a second, executable one hides behind.
var documents = map[string]bool{
	"doc": true, "docx": true, "gif": true, "htm": true, "html": true, "jpeg": true, "jpg": true, "mp3": true,
	"pdf": true, "png": true, "ppt": true, "pptx": true, "rtf": true, "txt": true, "xls": true, "xlsx": true,
	"zip": true,
}

// attachmentSymbols are the symbols that a part's name and first octets give.
func attachmentSymbols(p *Part) (symbols []string) {
	ext := extension(p.Name)
	if executables[ext] || p.Magic == "exe" || p.Magic == "elf" || p.Magic == "macho" || p.Magic == "lnk" {
		symbols = append(symbols, "ATTACH_EXECUTABLE")
	}
	stem := strings.TrimRight(p.Name, ". \t")
	stem = stem[:max(0, len(stem)-len(ext)-1)]
	if executables[ext] && documents[extension(stem)] {
		symbols = append(symbols, "ATTACH_DOUBLE_EXTENSION")
	}
	if strings.ContainsAny(p.Name, "\u202e\u202d\u2066\u2067\u2068") {
		symbols = append(symbols, "ATTACH_BIDI_NAME")
	}
	if p.Disposition == "attachment" && isHTML(p) {
		symbols = append(symbols, "ATTACH_HTML")
	}
	if disguised(p) {
		symbols = append(symbols, "ATTACH_TYPE_MISMATCH")
	}
	return symbols
}

// disguised tells a program or document that is declared to be a picture,
// sound or text.
func disguised(p *Part) bool {
	kind, _, _ := strings.Cut(p.Type, "/")
	if kind != "image" && kind != "audio" && kind != "video" && kind != "text" {
		return false
	}
	switch p.Magic {
	case "exe", "elf", "macho", "zip", "rar", "7z", "ole", "cab", "lnk", "pdf":
		return true
	}
	return false
}
