package attachment

import (
	"bytes"

	"mailweir/filter"
)

// html looks for a page that builds a file out of its own text and hands it to
// the reader: nothing of the file is in the message, so no scanner sees it.
func (x *exam) html(f *file) {
	b := squeezed(f.data)
	makes := contains(b, "blob(", "newfile(", "newwindow.file(", "createobjecturl", "mssaveblob", "readasdataurl(", "data:application/octet-stream",
		"data:application/zip", "data:application/x-", "showsavefilepicker")
	decodes := contains(b, "atob(", "fromcharcode", "uint8array", "base64,", "unescape(", "decodeuricomponent(")
	hands := contains(b, "click(", "newmouseevent(", "download", "mssaveoropenblob", "mssaveblob", "location=", "location.href", "locationhref",
		"location.replace", "locationreplace", "window.open(", "windowopen(", "src=url.", "src=window")
	if makes && decodes && hands {
		x.found(f, filter.SymHTMLSmuggling, "")
	}
}

// squeezed is a page in lower case without white space, quotes, brackets and plus
// signs, with escapes of scripts (\x41, \u0041, \u{41}) as the letters that they
// are: however a word is put together, it stands there in one.
func squeezed(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		c := data[i]
		if c == '\\' {
			if r, n := scriptEscape(data[i:]); n > 0 {
				c, i = r, i+n-1
			}
		}
		switch {
		case c <= ' ' || c == '"' || c == '\'' || c == '`' || c == '+' || c == '[' || c == ']' || c == '\\' || c >= 0x7f: // UTF-16, too
		case 'A' <= c && c <= 'Z':
			out = append(out, c+'a'-'A')
		default:
			out = append(out, c)
		}
	}
	return out
}

// scriptEscape reads an escape of a letter, and its length; 0 for none.
func scriptEscape(b []byte) (letter byte, n int) {
	if len(b) < 4 || b[1] != 'x' && b[1] != 'u' {
		return 0, 0
	}
	digits, end := 2, 0
	if b[1] == 'u' {
		digits = 4
		if b[2] == '{' {
			digits, end = bytes.IndexByte(b[3:min(len(b), 11)], '}'), 2
		}
	}
	n = 2 + digits + end
	if digits < 1 || n > len(b) {
		return 0, 0
	}
	value := 0
	for _, c := range b[2+end/2 : 2+end/2+digits] {
		v, ok := hexDigit(c)
		if !ok {
			return 0, 0
		}
		value = value<<4 | int(v)
	}
	if value >= 0x80 {
		return 0, 0
	}
	return byte(value), n
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
