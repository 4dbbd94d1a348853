package attachment

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/zlib"

	"mailweir/filter"
)

// Limits of the look into one PDF.
const (
	maxPDFStreams = 2000
	maxPDFStream  = 4 << 20 // octets of an unpacked stream
	maxPDFDict    = 4 << 10 // octets before a stream in which its dictionary is looked for
)

// pdf looks at the names of a PDF file (ISO 32000-1 section 7.3.5) outside of
// its streams, and inside of those that hold objects; and at the files that are
// attached to it.
func (x *exam) pdf(f *file) {
	rest, streams := f.data, 0
	for {
		i := bytes.Index(rest, []byte("stream"))
		if i < 0 {
			x.pdfNames(f, rest)
			return
		}
		head := rest[:i]
		x.pdfNames(f, head)
		rest = rest[i+len("stream"):]
		end := bytes.Index(rest, []byte("endstream"))
		if end < 0 {
			end = len(rest)
		}
		dict := head[max(bytes.LastIndex(head, []byte(" obj")), len(head)-maxPDFDict, 0):]
		if streams++; streams > maxPDFStreams || x.budget.Check() != nil {
			x.limit(f, "streams")
			return
		}
		x.pdfStream(f, dict, rest[:end])
		rest = rest[min(len(rest), end+len("endstream")):]
	}
}

// pdfStream unpacks a stream of objects, or an attached file.
func (x *exam) pdfStream(f *file, dict, data []byte) {
	names := pdfPlain(dict)
	objects, attached := bytes.Contains(names, []byte("/ObjStm")), bytes.Contains(names, []byte("/EmbeddedFile"))
	if !objects && !attached {
		return
	}
	data = bytes.TrimLeft(data, "\r\n")
	if bytes.Contains(names, []byte("/FlateDecode")) || bytes.Contains(names, []byte("/Fl ")) {
		z, err := zlib.NewReader(bytes.NewReader(data))
		if err != nil {
			return // encrypted, or damaged: readers see nothing either
		}
		data, _ = io.ReadAll(io.LimitReader(x.budget.Meter(z), maxPDFStream))
	}
	if objects {
		x.pdfNames(f, data)
		return
	}
	x.found(f, filter.SymPDFAttachment, "")
	if f.depth < x.budget.Limits().Depth {
		x.file(&file{names: []string{"attached"}, data: data, size: int64(len(data)), depth: f.depth + 1, path: x.pathOf(f)})
	}
}

// pdfNames looks for what acts when the file is opened.
func (x *exam) pdfNames(f *file, b []byte) {
	if bytes.IndexByte(b, '#') >= 0 {
		b = pdfPlain(b)
	}
	for _, n := range []struct{ name, symbol string }{
		{"/JavaScript", filter.SymPDFScript}, {"/JS", filter.SymPDFScript}, {"/Launch", filter.SymPDFLaunch},
		{"/Encrypt", filter.SymPDFEncrypted},
	} {
		for rest := b; ; {
			i := bytes.Index(rest, []byte(n.name))
			if i < 0 {
				break
			}
			rest = rest[i+len(n.name):]
			if len(rest) == 0 || !pdfRegular(rest[0]) {
				x.found(f, n.symbol, "")
				break
			}
		}
	}
}

// pdfRegular tells a character that goes on with a name.
func pdfRegular(c byte) bool {
	return bytes.IndexByte([]byte("\x00\t\n\f\r ()<>[]{}/%"), c) < 0
}

// pdfPlain undoes the escapes of names: /J#61vaScript.
func pdfPlain(b []byte) []byte {
	if bytes.IndexByte(b, '#') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '#' && i+2 < len(b) {
			h, ok1 := hexDigit(b[i+1])
			l, ok2 := hexDigit(b[i+2])
			if ok1 && ok2 {
				out = append(out, h<<4|l)
				i += 2
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
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
