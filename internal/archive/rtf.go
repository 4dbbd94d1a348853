package archive

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Of one RTF file so many objects are looked at, and so many octets of them more
// than once.
const (
	maxObjects = 64
	maxOthers  = 4 << 20
)

// readRTF visits the objects of a text in Rich Text. They are written in
// hexadecimal digits, among which readers skip this and that, not all of them the
// same: where more than digits and white space stands there, every reading that
// differs is visited.
func readRTF(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	const word = `\objdata`
	rest, others := data, 0
	for range maxObjects {
		i := bytes.Index(rest, []byte(word))
		if i < 0 {
			return 0, nil
		}
		if err := b.Check(); err != nil {
			return 0, err
		}
		rest = rest[i+len(word):]
		var seen [][]byte
		next := 0
		for k, how := range rtfWays {
			object, n, plain := how.digits(rest)
			if next = max(next, n); k > 0 {
				others += n
			}
			if !containsOctets(seen, object) {
				seen = append(seen, object)
				if err := visitObject(object, b, visit); err != nil {
					return 0, err
				}
			}
			if plain {
				break
			}
			if others+n > maxOthers {
				return 0, &LimitError{"objects"}
			}
		}
		rest = rest[next:]
	}
	return 0, &LimitError{"objects"}
}

func containsOctets(list [][]byte, b []byte) bool {
	for _, other := range list {
		if bytes.Equal(other, b) {
			return true
		}
	}
	return false
}

// rtfWay is what a reader does with what is no digit.
type rtfWay struct {
	groups rtfGroups
	escape bool // the digits of \'41 are none of the object's
	whole  bool // a control word or a group ends a pair of digits that is not whole
	param  bool // digits right behind \objdata are its parameter
}

type rtfGroups uint8

const (
	rtfAll     rtfGroups = iota // digits in groups count
	rtfStarred                  // but for those in groups for who knows them: {\*\word 12}
	rtfNone                     // only those outside of groups
)

var rtfWays = []rtfWay{
	{}, {groups: rtfStarred}, {groups: rtfNone}, {escape: true}, {groups: rtfStarred, escape: true}, {groups: rtfNone, escape: true},
	{whole: true}, {groups: rtfStarred, whole: true}, {groups: rtfNone, whole: true, escape: true}, {param: true}, {groups: rtfStarred, param: true, escape: true},
}

// rtfDigits are the digits of an object as they are read.
type rtfDigits struct {
	out    []byte
	half   byte
	have   bool
	depth  int
	hidden int // depth of the group that is skipped; 0: none
}

// digits reads up to the end of the group that an object stands in: n octets.
// plain tells that there was nothing that readers could differ about.
func (w rtfWay) digits(b []byte) (out []byte, n int, plain bool) {
	d := rtfDigits{out: make([]byte, 0, min(len(b)/2, 1<<16))}
	plain = len(b) == 0 || b[0] < '0' || b[0] > '9'
	for w.param && n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	for n < len(b) {
		c := b[n]
		switch c {
		case '}':
			if d.depth == 0 {
				return d.out, n, plain
			}
			d.leave()
		case '{':
			plain = false
			d.enter(w.groups, b[n+1:])
		case '\\':
			plain = false
			n += d.control(b[n:], w.escape)
		default:
			d.digit(c)
			n++
			continue
		}
		if d.have = d.have && !w.whole; c != '\\' {
			n++
		}
	}
	return d.out, n, plain
}

func (d *rtfDigits) digit(c byte) {
	v := strings.IndexByte("0123456789abcdef", c|0x20)
	if v < 0 || c < '0' || d.hidden > 0 {
		return
	}
	if d.have {
		d.out = append(d.out, d.half<<4|byte(v))
	}
	d.half, d.have = byte(v), !d.have
}

func (d *rtfDigits) enter(groups rtfGroups, b []byte) {
	d.depth++
	starred := bytes.HasPrefix(bytes.TrimLeft(b[:min(8, len(b))], " \r\n\t"), []byte(`\*`))
	if d.hidden == 0 && (groups == rtfNone || groups == rtfStarred && starred) {
		d.hidden = d.depth
	}
}

func (d *rtfDigits) leave() {
	if d.hidden == d.depth {
		d.hidden = 0
	}
	d.depth--
}

// control takes a control word with its parameter, or a control symbol, and gives
// its length. \bin brings octets as they are.
func (d *rtfDigits) control(b []byte, escape bool) int {
	n := 1
	for n < len(b) && b[n]|0x20 >= 'a' && b[n]|0x20 <= 'z' {
		n++
	}
	word := string(b[1:n])
	if word == "" {
		if n = min(2, len(b)); n == 2 && b[1] == '\'' && escape {
			n = min(4, len(b))
		}
		return n
	}
	from := n
	if n < len(b) && b[n] == '-' {
		n++
	}
	value := 0
	for ; n < len(b) && b[n] >= '0' && b[n] <= '9'; n++ {
		value = min(value*10+int(b[n]-'0'), len(b))
	}
	if word != "bin" || b[min(from, len(b)-1)] == '-' {
		return n
	}
	if n < len(b) && b[n] == ' ' {
		n++
	}
	raw := b[n:min(n+value, len(b))]
	if d.hidden == 0 {
		d.out = append(d.out, raw...)
	}
	return n + len(raw)
}

// visitObject is OLE 1.0 ([MS-OLEDS] 2.2.5): a version, a format, three strings
// with their lengths, and the data with theirs. What the packager wrote into it is
// a file; other data is one where it begins like one.
func visitObject(b []byte, budget *Budget, visit Visitor) error {
	if len(b) < 8 {
		return nil
	}
	b = b[8:]
	class := ""
	for i := range 3 {
		if len(b) < 4 {
			return nil
		}
		n := uint64(binary.LittleEndian.Uint32(b))
		if b = b[4:]; n > uint64(len(b)) {
			return nil
		}
		if i == 0 {
			class = strings.TrimRight(string(b[:n]), "\x00")
		}
		b = b[n:]
	}
	if len(b) < 4 {
		return nil
	}
	e := &Entry{Name: "object " + class, Data: b[4:]}
	if names, data, ok := Packaged(b[4:]); ok {
		e.Name, e.Data, e.Packaged = "", data, true
		for i, n := range names {
			if i == 0 {
				e.Name = n
			} else {
				e.Alias = n
			}
		}
	}
	e.Size = int64(len(e.Data))
	return visit(e, &meter{r: bytes.NewReader(e.Data), b: budget})
}

// Packaged reads what the packager of Windows writes into an object:
//
//	| 2 | label 00 | file name 00 | 4 | length 4, temporary path | length 4, data |
func Packaged(b []byte) (names []string, data []byte, ok bool) {
	if len(b) < 2 || binary.LittleEndian.Uint16(b) != 2 {
		return nil, nil, false
	}
	b = b[2:]
	for range 2 {
		s, rest, ok := bytes.Cut(b, []byte{0})
		if !ok {
			return nil, nil, false
		}
		if len(s) > 0 {
			names = append(names, string(s))
		}
		b = rest
	}
	if len(b) < 8 {
		return nil, nil, false
	}
	n := uint64(binary.LittleEndian.Uint32(b[4:]))
	if b = b[8:]; n > uint64(len(b)) || len(b)-int(n) < 4 {
		return nil, nil, false
	}
	b = b[n:]
	size := uint64(binary.LittleEndian.Uint32(b))
	b = b[4:]
	return names, b[:min(size, uint64(len(b)))], true
}
