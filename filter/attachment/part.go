package attachment

import (
	"bytes"
	"slices"
	"strings"

	"mailweir/internal/archive"
	"mailweir/internal/filetype"
)

// Part is what is told of a part before its octets come.
type Part struct {
	Type        string // declared, lower case
	Disposition string
	Names       []string // all that some client may show
	Reading     string   // "" for the plain reading of the message
	Offset      int64    // of its octets in the body of the message; -1 where they lie elsewhere
}

// Content takes the octets of a part.
type Content interface {
	// Write takes the next octets, valid during the call; false when no more
	// are wanted.
	Write(p []byte) bool
	// End is called after the last octet, whether it was wanted or not.
	End()
}

// Walk takes a message apart, and gives its parts to take as Begin gets them.
type Walk func(message []byte, take func(p Part) Content)

// IsBody tells a part that is only read, as the text of the message: no program
// opens it.
func (p *Part) IsBody() bool {
	return len(p.Names) == 0 && p.Disposition != "attachment" && (p.Type == "text/plain" || p.Type == "text/html")
}

// extensions are those of all names.
func (p *Part) extensions() []string {
	var out []string
	for _, n := range p.Names {
		if ext := filetype.Extension(n); ext != "" && !slices.Contains(out, ext) {
			out = append(out, ext)
		}
	}
	return out
}

// wanted tells, from the first octets, how a part is to be looked at: whole, or
// not beyond what is there.
func (p *Part) wanted(head []byte) (whole bool) {
	kind := filetype.Detect(head)
	switch kind.Group() {
	case filetype.Archive, filetype.Document:
		return true
	case filetype.Executable, filetype.Image:
		return archive.Known(string(kind)) // what others are says all
	}
	for _, ext := range p.extensions() {
		if filetype.ArchiveName(ext) || filetype.MacroName(ext) || scanned[ext] {
			return true
		}
	}
	return scannedType(p.Type) || kind == filetype.Unknown && zeros(head)
}

// scanned are the extensions of what programs open by their name, whatever the
// octets look like.
var scanned = map[string]bool{
	"htm": true, "html": true, "shtml": true, "xhtml": true, "xht": true, "mht": true, "mhtml": true, "svg": true, "pdf": true,
	"doc": true, "docx": true, "dot": true, "dotx": true, "xls": true, "xlsx": true, "xlt": true, "xltx": true, "ppt": true,
	"pptx": true, "rtf": true, "eml": true, "msg": true, "one": true, "dat": true, "odt": true, "ods": true, "odp": true,
	"iso": true, "img": true, "csv": true, "xml": true,
}

func scannedType(t string) bool {
	switch t {
	case "text/html", "application/xhtml+xml", "image/svg+xml", "application/pdf", "message/rfc822", "application/ms-tnef":
		return true
	}
	return strings.Contains(t, "zip") || strings.Contains(t, "compressed")
}

// zeros tells a beginning that says nothing: disk images have their signature
// after 32 KiB of zeros.
func zeros(head []byte) bool {
	return len(head) >= 512 && len(bytes.Trim(head[:512], "\x00")) == 0
}

// declaredOther reports a declared type that is another kind of thing than the
// octets are: a program that is called a picture.
func declaredOther(declared string, kind filetype.Type) bool {
	major, _, _ := strings.Cut(declared, "/")
	switch major {
	case "image", "audio", "video":
	case "text":
		if kind == filetype.RTF || kind == filetype.HTML || kind == filetype.XML || kind == filetype.Script ||
			kind == filetype.SVG || kind == filetype.URL || kind == filetype.Registry {
			return false
		}
	default:
		return false
	}
	switch kind.Group() {
	case filetype.Executable, filetype.Image, filetype.Archive:
		return true
	case filetype.Document:
		return kind != filetype.SVG && kind != filetype.XML && kind != filetype.EPS
	}
	return false
}

// namedOther reports a name that promises a picture, a text or a PDF, for
// octets that are a program, an archive or an Office document.
func namedOther(ext string, kind filetype.Type) bool {
	if kind == filetype.Unknown {
		return false
	}
	switch ext {
	case "pdf":
		return kind != filetype.PDF && kind.Group() != filetype.Media
	case "txt", "csv", "log":
		return kind.Group() == filetype.Executable && kind != filetype.Script || archive.Known(string(kind)) && kind != filetype.RTF || kind == filetype.OLE
	}
	return media[ext] && declaredOther("image/"+ext, kind)
}

// media are the extensions of pictures, sounds and films.
var media = map[string]bool{
	"png": true, "jpg": true, "jpeg": true, "jpe": true, "gif": true, "bmp": true, "tif": true, "tiff": true, "webp": true,
	"heic": true, "mp3": true, "wav": true, "ogg": true, "m4a": true, "flac": true, "mp4": true, "mov": true, "avi": true,
	"mpg": true, "mpeg": true, "wmv": true, "webm": true,
}
