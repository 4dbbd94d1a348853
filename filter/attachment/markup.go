package attachment

import (
	"bytes"

	"mailweir/filter"
)

// html looks for a page that builds a file out of its own text and hands it to
// the reader: nothing of the file is in the message, so no scanner sees it.
func (x *exam) html(f *file) {
	b := bytes.ToLower(f.data)
	if len(b) > 2 && (b[1] == 0 || b[0] == 0xff || b[0] == 0xfe) {
		b = bytes.ReplaceAll(b, []byte{0}, nil) // UTF-16
	}
	makes := contains(b, "new blob", "createobjecturl", "mssaveoropenblob", "mssaveblob", "data:application/octet-stream",
		"data:application/zip", "data:application/x-", "showsavefilepicker")
	decodes := contains(b, "atob(", "atob (", "fromcharcode", "uint8array", "base64,", "unescape(", "decodeuricomponent(")
	hands := contains(b, ".click(", "download=", ".download", "mssaveoropenblob", "mssaveblob", "location.href", "location.replace")
	if makes && decodes && hands {
		x.found(f, filter.SymHTMLSmuggling, "")
	}
}

// svg looks for what runs when a picture is opened by itself, in a browser.
func (x *exam) svg(f *file) {
	b := bytes.ToLower(f.data)
	if contains(b, "<script", "javascript:", "<foreignobject", "onload=", "onerror=", "onclick=", "onbegin=", "onmouseover=",
		"<iframe", "<embed") {
		x.found(f, filter.SymSVGScript, "")
	}
	x.html(f)
}

func contains(b []byte, words ...string) bool {
	for _, w := range words {
		if bytes.Contains(b, []byte(w)) {
			return true
		}
	}
	return false
}
