package mime

import (
	"bytes"
	"encoding/base64"
	"slices"
)

// decoder undoes a Content-Transfer-Encoding as the octets arrive.
type decoder interface {
	// decode appends what src gives to dst.
	decode(dst, src []byte) []byte
	// check takes src without decoding it, noting only what is odd.
	check(src []byte)
	// finish appends what was held back, and tells what was odd about the whole.
	finish(dst []byte) ([]byte, Ambiguities)
}

// identity is 7bit, 8bit and binary.
type identity struct{}

func (identity) decode(dst, src []byte) []byte           { return append(dst, src...) }
func (identity) check([]byte)                            {}
func (identity) finish(dst []byte) ([]byte, Ambiguities) { return dst, 0 }

// base64Decoder is RFC 2045 section 6.8, as mail clients read it: what is not
// in the alphabet is skipped, and data after padding goes on with a new
// quantum.
type base64Decoder struct {
	quantum uint32
	n       uint8 // sextets in quantum
	padding uint8 // "=" seen since the last sextet
	odd     Ambiguities
}

const (
	b64Space = 0x40
	b64Pad   = 0x41
	b64Odd   = 0x42
	b64Not   = 0xc0 // any of these bits: not a sextet
)

// The table has the sextet, or a class with one of the b64Not bits.
var base64Value = func() (t [256]byte) {
	for i := range t {
		t[i] = b64Odd
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	for _, c := range []byte(" \t\r\n") {
		t[c] = b64Space
	}
	t['='] = b64Pad
	return t
}()

func (d *base64Decoder) decode(dst, src []byte) []byte {
	slow := 0 // up to here a line is not clean
	for i := 0; i < len(src); {
		if d.n == 0 && d.padding == 0 && i+4 <= len(src) {
			if i >= slow {
				var n int
				var ok bool
				if dst, n, ok = cleanLine(dst, src[i:]); ok {
					i += n
					continue
				}
				slow = i + n + 1 // once a line, or this would not be linear
			}
			a, b, c, e := base64Value[src[i]], base64Value[src[i+1]], base64Value[src[i+2]], base64Value[src[i+3]]
			if (a|b|c|e)&b64Not == 0 {
				dst = append(dst, a<<2|b>>4, b<<4|c>>2, c<<6|e)
				i += 4
				continue
			}
		}
		dst = d.octet(dst, src[i])
		i++
	}
	return dst
}

// cleanLine decodes whole quanta up to the end of the line, when all of them are
// in the alphabet. n is how many octets that are, or would have been.
func cleanLine(dst, src []byte) (out []byte, n int, ok bool) {
	src = src[:min(len(src), 4096)]
	if n = bytes.IndexByte(src, '\n'); n < 0 {
		n = len(src)
	}
	if n > 0 && src[n-1] == '\r' {
		n--
	}
	if n &^= 3; n < 16 { // not worth it
		return dst, n, false
	}
	old := len(dst)
	dst = slices.Grow(dst, n/4*3)
	got, err := base64.RawStdEncoding.Decode(dst[old:cap(dst)], src[:n])
	if err != nil || got != n/4*3 {
		return dst[:old], n, false
	}
	return dst[:old+got], n, true
}

// octet takes one octet off the fast path.
func (d *base64Decoder) octet(dst []byte, c byte) []byte {
	v := base64Value[c]
	switch v {
	case b64Space:
		return dst
	case b64Pad:
		return d.pad(dst)
	case b64Odd:
		d.odd.Add(OddBase64)
		return dst
	}
	if d.padding > 0 {
		d.odd.Add(Base64AfterPadding)
		d.padding, d.n = 0, 0
	}
	d.quantum = d.quantum<<6 | uint32(v)
	if d.n++; d.n == 4 {
		q := d.quantum
		d.n = 0
		return append(dst, byte(q>>16), byte(q>>8), byte(q))
	}
	return dst
}

// pad takes a "=": the first one ends the quantum.
func (d *base64Decoder) pad(dst []byte) []byte {
	d.padding++
	if d.padding > 2 {
		d.padding = 2
		d.odd.Add(ShortBase64)
	}
	if d.padding > 1 {
		return dst
	}
	q, n := d.quantum, d.n
	switch n {
	case 2:
		return append(dst, byte(q>>4))
	case 3:
		return append(dst, byte(q>>10), byte(q>>2))
	}
	d.odd.Add(ShortBase64)
	return dst
}

func (d *base64Decoder) check(src []byte) {
	for i := 0; i < len(src); {
		if d.padding == 0 && i+8 <= len(src) {
			s := src[i : i+8]
			v := base64Value[s[0]] | base64Value[s[1]] | base64Value[s[2]] | base64Value[s[3]] |
				base64Value[s[4]] | base64Value[s[5]] | base64Value[s[6]] | base64Value[s[7]]
			if v&b64Not == 0 { // eight sextets leave n as it is
				i += 8
				continue
			}
		}
		var scratch [4]byte
		d.octet(scratch[:0], src[i])
		i++
	}
}

func (d *base64Decoder) finish(dst []byte) ([]byte, Ambiguities) {
	if d.n+d.padding == 0 || d.n+d.padding == 4 {
		return dst, d.odd
	}
	d.odd.Add(ShortBase64)
	switch {
	case d.padding > 0:
	case d.n == 2:
		dst = append(dst, byte(d.quantum>>4))
	case d.n == 3:
		dst = append(dst, byte(d.quantum>>10), byte(d.quantum>>2))
	}
	return dst, d.odd
}

var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range byte(10) {
		t['0'+i] = i
	}
	for i := range byte(6) {
		t['A'+i], t['a'+i] = 10+i, 10+i
	}
	return t
}()

// qpDecoder is quoted-printable, RFC 2045 section 6.7. White space at the end
// of a line stays: it makes no difference to words and links.
type qpDecoder struct {
	held [2]byte // an "=" and what followed it, when the octets ended there
	n    uint8
	odd  Ambiguities
}

func (d *qpDecoder) decode(dst, src []byte) []byte {
	for d.n > 0 && len(src) > 0 {
		dst = d.escape(dst, src[0])
		src = src[1:]
	}
	for {
		i := bytes.IndexByte(src, '=')
		if i < 0 {
			return append(dst, src...)
		}
		dst = append(dst, src[:i]...)
		src = src[i+1:]
		if len(src) >= 2 {
			if h, l := hexValue[src[0]], hexValue[src[1]]; h < 16 && l < 16 {
				dst = append(dst, h<<4|l)
				src = src[2:]
				continue
			}
		}
		d.held[0], d.n = '=', 1
		for d.n > 0 && len(src) > 0 {
			dst = d.escape(dst, src[0])
			src = src[1:]
		}
	}
}

// escape takes an octet after an "=". Held then is "=" or "=" and one octet.
func (d *qpDecoder) escape(dst []byte, c byte) []byte {
	if d.n == 1 {
		switch {
		case c == '\n':
			d.n = 0
		case hexValue[c] < 16, c == '\r', c == ' ', c == '\t':
			d.held[1], d.n = c, 2
		default:
			d.odd.Add(OddQuotedPrintable)
			d.n = 0
			return d.resume(append(dst, '='), c)
		}
		return dst
	}
	first := d.held[1]
	if first == '\r' || first == ' ' || first == '\t' {
		return d.softBreak(dst, first, c)
	}
	d.n = 0
	if hexValue[c] < 16 {
		return append(dst, hexValue[first]<<4|hexValue[c])
	}
	d.odd.Add(OddQuotedPrintable)
	return d.resume(append(dst, '=', first), c)
}

// softBreak is "=" and white space: a soft line break may have some before its
// line end (transport padding).
func (d *qpDecoder) softBreak(dst []byte, first, c byte) []byte {
	switch {
	case c == '\n':
		d.n = 0
		return dst
	case first != '\r' && (c == ' ' || c == '\t' || c == '\r'):
		d.held[1] = c
		return dst
	}
	d.odd.Add(OddQuotedPrintable)
	d.n = 0
	return d.resume(append(dst, '=', first), c)
}

// resume takes an octet after an escape that was none.
func (d *qpDecoder) resume(dst []byte, c byte) []byte {
	if c == '=' {
		d.held[0], d.n = '=', 1
		return dst
	}
	return append(dst, c)
}

func (d *qpDecoder) check(src []byte) {
	for len(src) > 0 {
		n := min(len(src), 512)
		var scratch [1024]byte
		d.decode(scratch[:0], src[:n])
		src = src[n:]
	}
}

func (d *qpDecoder) finish(dst []byte) ([]byte, Ambiguities) {
	if d.n == 2 && hexValue[d.held[1]] < 16 {
		d.odd.Add(OddQuotedPrintable)
		dst = append(dst, d.held[:]...)
	}
	return dst, d.odd
}
