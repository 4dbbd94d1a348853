package archive

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf16"
)

// readTNEF visits the attachments of a winmail.dat ([MS-OXTNEF]), little endian:
//
//	| 78 9f 3e 22 | key 2 | attribute ...
//	attribute: | level 1 | id 4 | length 4 | data | checksum 2 |
//
// A render attribute begins an attachment; title, data and properties follow.
const (
	tnefRender     = 0x00069002
	tnefData       = 0x0006800f
	tnefTitle      = 0x00018010
	tnefProperties = 0x00069005
	tnefMessage    = 0x00069003 // properties of the message: the body, among others

	mapiLongName = 0x3707
	mapiName     = 0x3704
	mapiObject   = 0x3701
)

func readTNEF(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	if len(data) < 6 {
		return 0, ErrDamaged
	}
	t := &tnefReader{b: b, visit: visit}
	rest := data[6:]
	for len(rest) >= 11 {
		id, n := binary.LittleEndian.Uint32(rest[1:]), uint64(binary.LittleEndian.Uint32(rest[5:]))
		if n > uint64(len(rest)-11) {
			if err := t.flush(); err != nil {
				return 0, err
			}
			return 0, ErrDamaged
		}
		if err := t.attribute(id, rest[9:9+n]); err != nil {
			return 0, err
		}
		rest = rest[11+n:]
	}
	if err := t.flush(); err != nil {
		return 0, err
	}
	if len(rest) > 0 {
		return Trailing, nil
	}
	return 0, nil
}

type tnefReader struct {
	b       *Budget
	visit   Visitor
	current Entry
	filled  bool
}

func (t *tnefReader) attribute(id uint32, data []byte) error {
	switch id {
	case tnefRender:
		return t.flush()
	case tnefTitle:
		if t.current.Name == "" {
			t.current.Name = tnefString(data)
		}
		t.filled = true
	case tnefData:
		if t.current.Data != nil { // a second one without a new beginning
			if err := t.flush(); err != nil {
				return err
			}
		}
		t.current.Data, t.filled = data, true
	case tnefProperties:
		t.properties(data)
	}
	return nil
}

// flush visits the attachment that is complete.
func (t *tnefReader) flush() error {
	if !t.filled {
		return nil
	}
	e := t.current
	t.current, t.filled = Entry{}, false
	e.Size = int64(len(e.Data))
	return t.visit(&e, &meter{r: bytes.NewReader(e.Data), b: t.b})
}

func tnefString(data []byte) string {
	s, _, _ := strings.Cut(string(data), "\x00")
	return decodeName(s)
}

// properties reads MAPI properties for the long name, and for the content of
// attachments that are objects themselves:
//
//	| count 4 | type 2 | id 2 | [named: guid 16, kind 4, id 4 or length 4 and name] | value ... |
func (t *tnefReader) properties(data []byte) {
	r := bytes.NewReader(data)
	var count uint32
	if binary.Read(r, binary.LittleEndian, &count) != nil {
		return
	}
	for range min(count, 2048) {
		var head struct{ Kind, ID uint16 }
		if binary.Read(r, binary.LittleEndian, &head) != nil {
			return
		}
		if head.ID >= 0x8000 && !skipMapiName(r) {
			return
		}
		values, ok := mapiValues(r, head.Kind)
		if !ok {
			return
		}
		for _, v := range values {
			t.property(head.Kind&0x0fff, head.ID, v)
		}
	}
}

func (t *tnefReader) property(kind, id uint16, v []byte) {
	switch {
	case id == mapiLongName, id == mapiName && t.current.Name == "":
		if kind == 0x1f {
			t.current.Name = utf16String(v)
		} else {
			t.current.Name = tnefString(v)
		}
		t.filled = true
	case id == mapiObject && kind == 0x0d && len(v) > 16 && t.current.Data == nil:
		t.current.Data, t.filled = v[16:], true // after the identifier of the object's interface
	}
}

func utf16String(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// skipMapiName skips the name of a named property.
func skipMapiName(r *bytes.Reader) bool {
	var head struct {
		GUID [16]byte
		Kind uint32
		N    uint32
	}
	if binary.Read(r, binary.LittleEndian, &head) != nil {
		return false
	}
	if head.Kind == 0 {
		return true
	}
	_, ok := take(r, head.N)
	return ok
}

// mapiValues reads the values of a property of a type ([MS-OXCDATA] 2.11.1).
func mapiValues(r *bytes.Reader, kind uint16) ([][]byte, bool) {
	size := uint32(0)
	switch kind &^ 0x1000 {
	case 0x02, 0x03, 0x04, 0x0a, 0x0b:
		size = 4
	case 0x05, 0x06, 0x07, 0x14, 0x40:
		size = 8
	case 0x48:
		size = 16
	case 0x0d, 0x1e, 0x1f, 0x102:
	default:
		return nil, false
	}
	n := uint32(1)
	if kind&0x1000 != 0 || size == 0 {
		if binary.Read(r, binary.LittleEndian, &n) != nil || n > uint32(r.Len()) {
			return nil, false
		}
	}
	var out [][]byte
	for range n {
		length := size
		if size == 0 && binary.Read(r, binary.LittleEndian, &length) != nil {
			return nil, false
		}
		v, ok := take(r, length)
		if !ok {
			return nil, false
		}
		out = append(out, v)
	}
	return out, true
}

// take reads n octets, padded to four.
func take(r *bytes.Reader, n uint32) ([]byte, bool) {
	if uint64(n) > uint64(r.Len()) {
		return nil, false
	}
	v := make([]byte, n)
	_, _ = io.ReadFull(r, v)
	_, _ = r.Seek(int64(min(uint32(r.Len()), (4-n%4)%4)), io.SeekCurrent)
	return v, true
}
