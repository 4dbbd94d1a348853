package mime

import (
	"strings"
	"unicode/utf8"
)

// recoded passes a text on, and again in UTF-8: character sets in which ASCII is
// not ASCII hide from a scanner what a client shows, or runs.
type recoded struct {
	next Content // nil when nobody wants it as it is
	out  Content
	set  recoder
	buf  []byte
}

// recoder turns octets of a character set into UTF-8.
type recoder interface {
	recode(dst, src []byte) []byte
}

// recoderFor is nil where ASCII is ASCII.
func recoderFor(charset string) recoder {
	switch strings.ToLower(charset) {
	case "utf-7", "utf7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7", "csunicode11utf7":
		return new(utf7)
	case "utf-16be", "unicodefffe":
		return &wide{size: 2, big: true}
	case "utf-16", "utf-16le", "utf16", "ucs-2", "unicode", "iso-10646-ucs-2", "csunicode":
		return &wide{size: 2}
	case "utf-32be":
		return &wide{size: 4, big: true}
	case "utf-32", "utf-32le", "ucs-4", "iso-10646-ucs-4", "csucs4":
		return &wide{size: 4}
	}
	return nil
}

func (x *recoded) Write(p []byte) bool {
	if x.next != nil && !x.next.Write(p) {
		x.next.End()
		x.next = nil
	}
	if x.out != nil {
		x.buf = x.set.recode(x.buf[:0], p)
		if len(x.buf) > 0 && !x.out.Write(x.buf) {
			x.out.End()
			x.out = nil
		}
	}
	return x.next != nil || x.out != nil
}

// End implements Content.
func (x *recoded) End() {
	for _, c := range []Content{x.next, x.out} {
		if c != nil {
			c.End()
		}
	}
}

// wide is UTF-16 and UTF-32. A byte order mark overrules the label. Halves of
// pairs stand for themselves: what counts here is ASCII.
type wide struct {
	size, n int
	big     bool
	begun   bool
	unit    [4]byte
}

func (d *wide) recode(dst, src []byte) []byte {
	for _, c := range src {
		d.unit[d.n] = c
		if d.n++; d.n < d.size {
			continue
		}
		d.n = 0
		r := d.value(d.big)
		if !d.begun {
			d.begun = true
			if d.value(!d.big) == 0xfeff {
				d.big = !d.big
				continue
			}
			if r == 0xfeff {
				continue
			}
		}
		dst = utf8.AppendRune(dst, rune(r))
	}
	return dst
}

func (d *wide) value(big bool) (v uint32) {
	for i := range d.size {
		c := d.unit[i]
		if !big {
			c = d.unit[d.size-1-i]
		}
		v = v<<8 | uint32(c)
	}
	return v & 0x7fffffff
}

// utf7 is RFC 2152: "+" and base64 of UTF-16, up to what is not base64.
type utf7 struct {
	shifted bool
	any     bool // a sextet since the "+"
	bits    uint32
	n       uint8
}

func (d *utf7) recode(dst, src []byte) []byte {
	for _, c := range src {
		switch v := base64Value[c]; {
		case !d.shifted && c == '+':
			d.shifted, d.any, d.bits, d.n = true, false, 0, 0
		case !d.shifted:
			dst = append(dst, c)
		case v&b64Not == 0:
			d.any = true
			d.bits = d.bits<<6 | uint32(v)
			if d.n += 6; d.n >= 16 {
				d.n -= 16
				dst = utf8.AppendRune(dst, rune(d.bits>>d.n&0xffff))
			}
		default:
			d.shifted = false
			if c == '-' {
				if !d.any {
					dst = append(dst, '+')
				}
				continue
			}
			dst = append(dst, c)
		}
	}
	return dst
}

// widen adds to the content of a leaf what else a client may make of it.
// files counts what is found, odd tells of what exceeds the limit.
func widen(content Content, take Taker, l *Leaf, files *int, odd *Ambiguities) Content {
	if !strings.HasPrefix(l.Type, "text") && !strings.HasPrefix(l.Type, "multipart") && l.Encoding != "" {
		return content
	}
	content = &embedded{next: content, take: take, leaf: l, files: files, odd: odd}
	if set := recoderFor(l.Charset); set != nil {
		again := *l
		again.Reading = "in UTF-8"
		content = &recoded{next: content, out: take.Begin(&again), set: set}
	}
	return content
}
