package attachment

import (
	"bytes"
	"encoding/binary"
	"regexp"

	"mailweir/filter"
	"mailweir/internal/filetype"
)

// maxObjects is how many objects of one RTF file are looked at.
const maxObjects = 64

var (
	rtfTemplate = regexp.MustCompile(`(?i)\\\*\s*\\template\s+(https?:|ftp:|\\\\\\\\)`)
	rtfUpdate   = regexp.MustCompile(`(?i)\\objupdate|\\objautlink`)
)

// rtf looks for objects in Rich Text, written in hexadecimal digits, and for a
// template elsewhere.
func (x *exam) rtf(f *file) {
	if rtfTemplate.Match(f.data) {
		x.found(f, filter.SymRemoteTemplate, "")
	}
	if rtfUpdate.Match(f.data) {
		x.found(f, filter.SymOLEObject, "that opens by itself")
	}
	rest := f.data
	for range maxObjects {
		i := bytes.Index(rest, []byte(`\objdata`))
		if i < 0 || x.budget.Check() != nil {
			return
		}
		rest = rest[i+len(`\objdata`):]
		object, n := rtfHex(rest, false)
		plain, _ := rtfHex(rest, true)
		rest = rest[n:]
		x.object(f, object)
		if !bytes.Equal(plain, object) {
			x.object(f, plain)
		}
	}
	x.found(f, filter.SymLimit, "more objects than are looked at")
}

// rtfHex reads digits up to the end of the group. Readers skip white space and
// control words among them, which is used to hide the digits; and, with skip, what
// stands in groups for readers who know them ("{\*\word 12}").
func rtfHex(b []byte, skip bool) (out []byte, n int) {
	var half byte
	have, depth, hidden := false, 0, 0 // hidden: depth of the group that is skipped
	for n = 0; n < len(b); n++ {
		c := b[n]
		switch {
		case c == '{':
			depth++
			if skip && hidden == 0 && bytes.HasPrefix(bytes.TrimLeft(b[n+1:min(n+9, len(b))], " \r\n\t"), []byte(`\*`)) {
				hidden = depth
			}
			continue
		case c == '}':
			if hidden == depth {
				hidden = 0
			}
			if depth--; depth < 0 {
				return out, n
			}
			continue
		case c == '\\':
			for n++; n < len(b) && (b[n]|0x20 >= 'a' && b[n]|0x20 <= 'z' || b[n] == '*' || b[n] == '-' || b[n] >= '0' && b[n] <= '9'); n++ {
			}
			n--
			continue
		}
		v, ok := hexDigit(c)
		if !ok || hidden > 0 {
			continue
		}
		if have {
			out = append(out, half<<4|v)
		}
		half, have = v, !have
	}
	return out, n
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// object is OLE 1.0 ([MS-OLEDS] 2.2.5): a version, a format, three strings with
// their lengths, and the data with theirs.
func (x *exam) object(f *file, b []byte) {
	if len(b) < 8 {
		return
	}
	b = b[8:]
	class := ""
	for i := range 3 {
		if len(b) < 4 {
			return
		}
		n := uint64(binary.LittleEndian.Uint32(b))
		if b = b[4:]; n > uint64(len(b)) {
			return
		}
		if i == 0 {
			class = string(bytes.TrimRight(b[:n], "\x00"))
		}
		b = b[n:]
	}
	if len(b) < 4 {
		return
	}
	b = b[4:]
	switch {
	case class == "Package":
		x.native(f, append(make([]byte, 4), b...))
	case filetype.Detect(b) != filetype.Unknown && f.depth < x.budget.Limits().Depth:
		x.file(&file{names: []string{"object " + show([]string{class})}, data: b, size: int64(len(b)), depth: f.depth + 1, path: x.pathOf(f)})
	}
}
