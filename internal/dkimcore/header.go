package dkimcore

import (
	"bytes"
	"strings"

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

// FieldIndex has the positions of the fields of each lower-case name, bottom
// first, because that is the order in which signatures take them.
type FieldIndex map[string][]int

// IndexFields indexes a header section.
func IndexFields(h *mail.Header) FieldIndex {
	index := make(FieldIndex, len(h.Fields))
	for i := len(h.Fields) - 1; i >= 0; i-- {
		if name := strings.ToLower(h.Fields[i].Name()); name != "" {
			index[name] = append(index[name], i)
		}
	}
	return index
}

// withoutCRLF is b without the line end of its last line.
func withoutCRLF(b []byte) []byte { return bytes.TrimSuffix(b, []byte("\r\n")) }
