package mime

import (
	"strings"
	"unicode/utf8"
)

// recoded passes a text on, and again in UTF-8: character sets in which ASCII is
// not ASCII hide from a scanner what a client shows, or runs.
type recoded struct {
	next  Content // nil when nobody wants it as it is
	out   Content
	set   recoder // nil where ASCII is ASCII
	known bool    // that it has no mark, or which
	take  Taker
	leaf  *Leaf
	buf   []byte
}

// begin begins the text in UTF-8.
func (x *recoded) begin() {
	again := *x.leaf
	again.Reading = "in UTF-8"
	x.out, x.known = x.take.Begin(&again), true
}

// recoder turns octets of a character set into UTF-8.
type recoder interface {
	recode(dst, src []byte) []byte
}

// recoderFor is nil where ASCII is ASCII. Programs differ in the spellings that
// they know of a name: the words in it count.
func recoderFor(charset string) recoder {
	switch charset {
	case "", "utf-8", "us-ascii", "iso-8859-1", "windows-1252":
		return nil
	}
	name := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, strings.ToLower(charset))
	big := strings.HasSuffix(name, "be") || strings.HasSuffix(name, "big") || strings.HasSuffix(name, "fffe") || name == "cp1201"
	switch {
	case strings.Contains(name, "utf7"), name == "cp65000":
		return new(utf7)
	case strings.Contains(name, "utf16"), strings.Contains(name, "ucs2"), strings.Contains(name, "unicode"), name == "cp1200", name == "cp1201":
		return &wide{size: 2, big: big}
	case strings.Contains(name, "utf32"), strings.Contains(name, "ucs4"):
		return &wide{size: 4, big: big}
	}
	return nil
}

// Write implements Content.
func (x *recoded) Write(p []byte) bool {
	if x.next != nil && !x.next.Write(p) {
		x.next.End()
		x.next = nil
	}
	if !x.known {
		p = x.mark(p)
	}
	if x.out != nil {
		x.buf = x.set.recode(x.buf[:0], p)
		if len(x.buf) > 0 && !x.out.Write(x.buf) {
			x.out.End()
			x.out = nil
		}
	}
	return x.next != nil || x.out != nil || !x.known
}

// mark looks for a mark of UTF-16 at the beginning: programs believe it more than
// what the fields say. It returns what is to be recoded.
func (x *recoded) mark(p []byte) []byte {
	if len(x.buf) > 0 || len(p) < 2 {
		if x.buf = append(x.buf, p...); len(x.buf) < 2 {
			return nil
		}
		p = x.buf
	}
	if string(p[:2]) == "\xff\xfe" || string(p[:2]) == "\xfe\xff" {
		x.set = &wide{size: 2}
		x.begin()
		p = append([]byte(nil), p...)
	}
	x.known, x.buf = true, x.buf[:0]
	return p
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
	const hex = "application/mac-binhex40"
	calendar := hasProperties(l)
	if !calendar && !strings.HasPrefix(l.Type, "text") && !strings.HasPrefix(l.Type, "multipart") && l.Type != hex && l.Encoding != "" {
		return content
	}
	old := &embedded{next: content, take: take, leaf: l, files: files, odd: odd}
	if l.Type == hex {
		old.likely = old.hexLine
	}
	content = old
	if calendar {
		content = &properties{next: content, find: func(name string) Content { return old.found("property in base64", name) }}
	}
	x := &recoded{next: content, take: take, leaf: l, set: recoderFor(l.Charset)}
	if x.set != nil {
		x.begin()
	}
	return x
}
