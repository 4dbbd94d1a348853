package dkimcore

import (
	"bytes"

	"mailweir/mail"
)

// AppendRelaxed appends a field as RFC 6376 section 3.4.2 wants it: the name,
// which the caller gives in lower case, unfolded, single spaces, CRLF at the
// end.
func AppendRelaxed(dst []byte, name string, body []byte) []byte {
	dst = append(append(dst, name...), ':')
	start := len(dst)
	space := false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == ' ' || c == '\t':
			space = true
		case c == '\r' && i+1 < len(body) && body[i+1] == '\n':
			i++
		default:
			if space && len(dst) > start {
				dst = append(dst, ' ')
			}
			space = false
			dst = append(dst, c)
		}
	}
	return append(dst, '\r', '\n')
}

// FieldIndex finds the fields of a name, bottom first, because that is the
// order in which signatures take them.
type FieldIndex struct {
	last map[string]int // of each lower-case name, its lowest field
	prev []int          // of each field, the next one of its name upwards, or none
}

const none = -1

// IndexFields indexes a header section.
func IndexFields(h *mail.Header) *FieldIndex {
	index := &FieldIndex{last: make(map[string]int, len(h.Fields)), prev: make([]int, len(h.Fields))}
	buf := make([]byte, 0, 64)
	for i, f := range h.Fields {
		buf = appendLower(buf[:0], f)
		if len(buf) == 0 {
			continue
		}
		last, ok := index.last[string(buf)] // no copy of buf
		if !ok {
			last = none
		}
		index.prev[i] = last
		index.last[string(buf)] = i
	}
	return index
}

// appendLower appends the field's name in lower case.
func appendLower(dst []byte, f mail.Field) []byte {
	for _, c := range f.NameBytes() {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// lowest is the lowest field of a lower-case name, or none.
func (x *FieldIndex) lowest(name string) int {
	if i, ok := x.last[name]; ok {
		return i
	}
	return none
}

// withoutCRLF is b without the line end of its last line.
func withoutCRLF(b []byte) []byte { return bytes.TrimSuffix(b, []byte("\r\n")) }
