package attachment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"

	"mailweir/filter"
	"mailweir/internal/archive"
	"mailweir/internal/compound"
	"mailweir/internal/filetype"
)

// maxStream is how many octets of one stream are looked at.
const maxStream = 32 << 20

// Class identifiers of the root storage, as they lie in the file.
var installers = map[string]string{
	"\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46": "Windows installer",
	"\x86\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46": "Windows installer patch",
	"\x82\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46": "Windows installer transform",
}

// ole looks into a compound file: Office documents before 2007, Outlook's
// messages, Windows' installers.
func (x *exam) ole(f *file) {
	c, err := compound.Open(f.data)
	if err != nil {
		x.failed(f, archive.ErrDamaged)
		return
	}
	if what := installers[string(c.Entries[0].CLSID[:])]; what != "" {
		f.kind = filetype.MSI
		x.found(f, filter.SymExecutable, what)
	}
	for i := range c.Entries {
		if err := x.budget.Check(); err != nil {
			x.failed(f, err)
			return
		}
		e := &c.Entries[i]
		switch e.Kind {
		case compound.Storage, compound.Root:
			x.outlook(f, c, i)
		case compound.Stream:
			x.stream(f, c, e)
		}
	}
}

// stream looks at a stream by its name.
func (x *exam) stream(f *file, c *compound.File, e *compound.Entry) {
	read := func(limit int64) []byte {
		b, err := c.Read(e, limit)
		if err != nil {
			x.failed(f, archive.ErrDamaged)
		}
		return b
	}
	switch name := strings.ToLower(e.Name); name {
	case "_vba_project", "vba_project_cur":
		x.found(f, filter.SymMacro, "Visual Basic")
	case "encryptedpackage", "encryptedsummary":
		x.found(f, filter.SymEncrypted, "")
	case "worddocument":
		if b := read(12); len(b) == 12 && b[11]&1 != 0 { // fEncrypted, [MS-DOC] 2.5.1
			x.found(f, filter.SymEncrypted, "")
		}
	case "workbook", "book":
		x.workbook(f, read(maxStream))
	case "current user":
		if b := read(16); len(b) == 16 && binary.LittleEndian.Uint32(b[12:]) == 0xf3d1c4df { // [MS-PPT] 2.3.2
			x.found(f, filter.SymEncrypted, "")
		}
	case "\x01ole10native":
		x.native(f, read(maxStream))
	}
}

// workbook looks at the records of an Excel file ([MS-XLS] 2.1.4), each with a
// type and a length of two octets: FilePass, and BoundSheet8 of a macro sheet.
func (x *exam) workbook(f *file, b []byte) {
	const filePass, boundSheet = 0x2f, 0x85
	for len(b) >= 4 {
		kind, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		b = b[4:]
		if n > len(b) {
			return
		}
		switch {
		case kind == filePass && n > 0:
			x.found(f, filter.SymEncrypted, "")
			return // the names of the sheets follow encrypted
		case kind == boundSheet && n >= 6 && b[5] == 1:
			x.found(f, filter.SymMacro, "Excel 4 macros")
		}
		b = b[n:]
	}
}

// native is a file that was put into a document ([MS-OLEDS] 2.3.6): its size, and
// what the packager writes into it.
func (x *exam) native(f *file, b []byte) {
	if len(b) < 8 {
		return
	}
	if e, ok := packaged(b[4:]); ok {
		x.found(f, filter.SymOLEObject, "a file: "+show(e.names))
		e.depth, e.path = f.depth+1, x.pathOf(f)
		if e.depth > x.budget.Limits().Depth {
			x.limit(f, "depth")
			return
		}
		x.file(e)
		return
	}
	if kind := filetype.Detect(b[4:]); kind.Group() == filetype.Executable {
		x.found(f, filter.SymExecutable, "in an object: "+string(kind))
	}
}

func packaged(b []byte) (*file, bool) {
	names, data, ok := archive.Packaged(b)
	for k := range names {
		names[k] = filetype.Base(names[k])
	}
	return &file{names: names, data: data, size: int64(len(data))}, ok
}

// outlook looks at a storage that holds an attachment of an Outlook message
// ([MS-OXMSG] 2.2.2): streams are named after the property that they hold.
func (x *exam) outlook(f *file, c *compound.File, storage int) {
	const content, longName, name = "__substg1.0_37010102", "__substg1.0_3707001F", "__substg1.0_3704001F"
	if storage != 0 && !strings.HasPrefix(c.Entries[storage].Name, "__attach") {
		return
	}
	a := &file{depth: f.depth + 1, path: x.pathOf(f)}
	found := false
	for _, e := range c.Children(storage) {
		switch e.Name {
		case content:
			found = true
			b, err := c.Read(e, maxStream)
			if err != nil {
				x.failed(f, archive.ErrDamaged)
			}
			a.data, a.size = b, int64(len(b))
		case longName, name:
			b, _ := c.Read(e, 1024) // a name that is cut short is still one
			a.names = append(a.names, utf16Name(b))
		}
	}
	switch {
	case !found:
	case a.depth > x.budget.Limits().Depth:
		x.limit(f, "depth")
	default:
		x.file(a)
	}
}

func utf16Name(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, binary.LittleEndian.Uint16(b))
	}
	return string(utf16.Decode(units))
}

// oneNote looks at the files that lie in a OneNote section ([MS-ONESTORE]
// 2.6.13): each begins with an identifier, and has its length after it.
func (x *exam) oneNote(f *file) {
	const guid = "\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac"
	rest := f.data
	for n := 0; ; n++ {
		i := bytes.Index(rest, []byte(guid))
		if i < 0 || len(rest) < i+36 {
			return
		}
		size := binary.LittleEndian.Uint64(rest[i+16:])
		rest = rest[i+36:]
		data := rest[:min(size, uint64(len(rest)))]
		rest = rest[len(data):]
		kind := filetype.Detect(data[:min(len(data), filetype.HeadSize)])
		if kind.Group() == filetype.Media {
			continue
		}
		x.found(f, filter.SymOLEObject, fmt.Sprintf("file %d in it", n+1))
		if f.depth+1 > x.budget.Limits().Depth || x.budget.Check() != nil {
			x.limit(f, "depth")
			return
		}
		x.file(&file{names: []string{fmt.Sprintf("file %d", n+1)}, data: data, size: int64(len(data)), depth: f.depth + 1, path: x.pathOf(f)})
	}
}
