package mail

import (
	"bytes"
	"slices"
	"strings"
)

// Header is an index over the header section of a message as it came. It
// copies and changes nothing, so that what is relayed is what was received.
type Header struct {
	Raw    []byte  // with the empty line at its end, if the message has one
	Fields []Field // in order of appearance, top first
}

// Field is one header field with its folding and its final CRLF.
type Field struct {
	Raw []byte
	// colon is the offset of the colon; -1 for a line that is no field at
	// all (no colon, or a name outside of RFC 5322 section 2.2).
	colon int
}

// HeaderLength is the length of the header section of data: up to and with
// the first empty line. When there is none all of data is header, and ok is
// false: an index of it is still good, but the message has no body.
func HeaderLength(data []byte) (n int, ok bool) {
	if bytes.HasPrefix(data, crlf) {
		return 2, true
	}
	if i := bytes.Index(data, crlfcrlf); i >= 0 {
		return i + 4, true
	}
	return len(data), false
}

var (
	lf       = []byte("\n")
	crlf     = []byte("\r\n")
	crlfcrlf = []byte("\r\n\r\n")
)

// ParseHeader indexes a header section. Its cost is linear, and nothing is
// refused: a line that is no field is a Field with an empty Name, for the
// structure check to report.
func ParseHeader(raw []byte) Header {
	var h Header
	h.Parse(raw)
	return h
}

// Parse is ParseHeader into h, whose memory is used again.
func (h *Header) Parse(raw []byte) {
	h.Raw, h.Fields = raw, slices.Grow(h.Fields[:0], bytes.Count(raw, lf))
	for rest := raw; len(rest) > 0 && !bytes.HasPrefix(rest, crlf); {
		n := fieldLength(rest)
		h.Fields = append(h.Fields, newField(rest[:n:n]))
		rest = rest[n:]
	}
}

// fieldLength is the length of the first line of b and the lines that continue
// it (RFC 5322 section 2.2.3).
func fieldLength(b []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			return len(b)
		}
		n += i + 1
		if n == len(b) || b[n] != ' ' && b[n] != '\t' {
			return n
		}
	}
}

func newField(raw []byte) Field {
	for i, c := range raw {
		if c == ':' && i > 0 {
			return Field{raw, i}
		}
		if c <= ' ' || c >= 0x7f {
			break
		}
	}
	return Field{raw, fieldWithSpace(raw)}
}

// fieldWithSpace is the colon's offset of a field with white space between
// name and colon: obsolete syntax (RFC 5322 section 4.5.8) that readers
// disagree on. It still has a name; SpaceBeforeColon tells it apart.
func fieldWithSpace(raw []byte) int {
	i := bytes.IndexByte(raw, ':')
	if i <= 0 {
		return -1
	}
	name := bytes.TrimRight(raw[:i], " \t")
	if len(name) == 0 {
		return -1
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return -1
		}
	}
	return i
}

// Name is the field's name as it came, "" when the line is no field.
func (f Field) Name() string { return string(f.NameBytes()) }

// NameBytes is Name without a copy.
func (f Field) NameBytes() []byte {
	if f.colon < 0 {
		return nil
	}
	return bytes.TrimRight(f.Raw[:f.colon], " \t")
}

// Is compares the name, ignoring case.
func (f Field) Is(name string) bool {
	if f.colon < len(name) {
		return false
	}
	if !asciiEqualFold(f.Raw[:len(name)], name) {
		return false
	}
	return f.colon == len(name) || len(bytes.TrimRight(f.Raw[:f.colon], " \t")) == len(name)
}

func asciiEqualFold(b []byte, s string) bool {
	for i := 0; i < len(s); i++ {
		x, y := b[i], s[i]
		if 'A' <= x && x <= 'Z' {
			x += 'a' - 'A'
		}
		if 'A' <= y && y <= 'Z' {
			y += 'a' - 'A'
		}
		if x != y {
			return false
		}
	}
	return true
}

// SpaceBeforeColon reports white space between the name and the colon.
func (f Field) SpaceBeforeColon() bool {
	return f.colon > 0 && (f.Raw[f.colon-1] == ' ' || f.Raw[f.colon-1] == '\t')
}

// Body is the field's body as it came, folding and final CRLF included: what
// follows the colon. For a line that is no field it is the whole line.
func (f Field) Body() []byte { return f.Raw[f.colon+1:] }

// Value is the body unfolded (RFC 5322 section 2.2.3), without the white space
// around it. Encoded words stay encoded.
func (f Field) Value() string {
	b := f.Body()
	if bytes.IndexByte(b[:max(0, len(b)-2)], '\n') >= 0 {
		b = bytes.ReplaceAll(b, crlf, nil)
	}
	return strings.Trim(string(b), " \t\r\n")
}

// Get returns the first field of that name, the topmost.
func (h *Header) Get(name string) (Field, bool) {
	for _, f := range h.Fields {
		if f.Is(name) {
			return f, true
		}
	}
	return Field{}, false
}

// Value is the unfolded value of the first field of that name, or "".
func (h *Header) Value(name string) string {
	f, ok := h.Get(name)
	if !ok {
		return ""
	}
	return f.Value()
}

// Count is how many fields have that name.
func (h *Header) Count(name string) int {
	n := 0
	for _, f := range h.Fields {
		if f.Is(name) {
			n++
		}
	}
	return n
}
