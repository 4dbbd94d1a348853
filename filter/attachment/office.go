package attachment

import (
	"bytes"
	"io"
	"regexp"
	"strings"

	"mailweir/filter"
	"mailweir/internal/archive"
)

// maxMarkup is how many octets of one part of a document are searched.
const maxMarkup = 8 << 20

// office looks at an archive as at a document: Office Open XML (ECMA-376) and
// OpenDocument are zip files.
type office struct {
	x *exam
	f *file
}

// see looks at an entry that means something in a document; false where it is
// to be looked at like any other.
func (o *office) see(e *archive.Entry, r io.Reader) bool {
	name := strings.ToLower(strings.ReplaceAll(e.Name, `\`, "/"))
	switch {
	case strings.HasSuffix(name, "vbaproject.bin"):
		o.x.found(o.f, filter.SymMacro, e.Name)
	case strings.HasPrefix(name, "xl/macrosheets/"), strings.HasPrefix(name, "xl/intlmacrosheets/"):
		o.x.found(o.f, filter.SymMacro, "Excel 4 macros")
	case strings.HasPrefix(name, "basic/") && strings.HasSuffix(name, ".xml"), strings.HasPrefix(name, "scripts/"):
		o.basic(e)
	case r == nil:
		return false
	case name == "[content_types].xml":
		if b := lowered(r); bytes.Contains(b, []byte("vbaproject")) || bytes.Contains(b, []byte("macroenabled")) {
			o.x.found(o.f, filter.SymMacro, "by its content types")
		}
		return true
	case strings.HasSuffix(name, ".rels"):
		o.relations(lowered(r))
		return true
	case name == "meta-inf/manifest.xml":
		if bytes.Contains(lowered(r), []byte("encryption-data")) {
			o.x.found(o.f, filter.SymEncrypted, "OpenDocument")
		}
		return true
	case name == "word/document.xml", strings.HasPrefix(name, "xl/externallinks/") && strings.HasSuffix(name, ".xml"),
		name == "content.xml":
		if dde(lowered(r)) {
			o.x.found(o.f, filter.SymDDE, "")
		}
		return true
	}
	return false
}

// basic is OpenDocument's macros: the folder is there without any, too.
func (o *office) basic(e *archive.Entry) {
	name := strings.ToLower(e.Name)
	if !strings.HasSuffix(name, "script-lc.xml") && !strings.HasSuffix(name, "script-lb.xml") && !e.Dir {
		o.x.found(o.f, filter.SymMacro, e.Name)
	}
}

// lowered reads the beginning of an entry in lower case. Markup in UTF-16 is
// made plain by dropping its zeros.
func lowered(r io.Reader) []byte {
	b, _ := io.ReadAll(io.LimitReader(r, maxMarkup)) // a fault shows when the rest is read
	if len(b) > 2 && (b[0] == 0xff || b[0] == 0xfe) {
		b = bytes.ReplaceAll(b, []byte{0}, nil)
	}
	return bytes.ToLower(b)
}

// external are targets elsewhere that a document fetches when it is opened:
// templates, frames, objects. Hyperlinks and pictures are external in honest
// documents, and templates lie on disks and shares there.
var (
	relation   = regexp.MustCompile(`<relationship\s[^>]*>`)
	fetched    = regexp.MustCompile(`/(attachedtemplate|oleobject|frame|subdocument|afchunk)"`)
	farAway    = regexp.MustCompile(`target\s*=\s*["'](https?:|ftp:|mhtml:|ms-[a-z-]+:|\\\\[^"']*@)`)
	isExternal = []byte(`"external"`)
)

func (o *office) relations(b []byte) {
	for _, r := range relation.FindAll(b, 10000) {
		if bytes.Contains(r, isExternal) && farAway.Match(r) {
			if m := fetched.FindSubmatch(r); m != nil {
				o.x.found(o.f, filter.SymRemoteTemplate, string(m[1]))
			}
		}
	}
}

// dde finds fields and links that start a program (Dynamic Data Exchange).
func dde(b []byte) bool {
	return bytes.Contains(b, []byte("ddeauto")) || bytes.Contains(b, []byte("<ddelink")) ||
		bytes.Contains(b, []byte("office:dde-application")) || instruction.Match(b)
}

var instruction = regexp.MustCompile(`<w:instrtext[^>]*>\s*dde\s`)

// flatOffice looks at documents that are one XML file.
func (x *exam) flatOffice(f *file) {
	b := bytes.ToLower(f.data[:min(len(f.data), maxMarkup)])
	switch {
	case bytes.Contains(b, []byte("w:macrospresent=\"yes\"")), bytes.Contains(b, []byte("bindata w:name=\"editdata.mso\"")),
		bytes.Contains(b, []byte("vbaproject")):
		x.found(f, filter.SymMacro, "in one XML file")
	case dde(b):
		x.found(f, filter.SymDDE, "")
	}
}
