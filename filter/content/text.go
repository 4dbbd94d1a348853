package content

import (
	"unicode"
	"unicode/utf8"
)

// text collects what a reader sees, in the form that patterns are matched in:
// lower case, one space between words, no invisible characters, letters in
// disguise (fullwidth, mathematical) as what they look like.
type text struct {
	out       []byte
	letters   int // ASCII letters
	capitals  int
	invisible int
	mixed     int
}

// What the normaliser does with an ASCII octet: the octet to write, 0 for
// white space.
var asciiForm = func() (t [128]byte) {
	for c := range t {
		switch {
		case c <= ' ' || c == 0x7f:
		case 'A' <= c && c <= 'Z':
			t[c] = byte(c) + 'a' - 'A'
		default:
			t[c] = byte(c)
		}
	}
	return t
}()

// add appends UTF-8.
func (t *text) add(p []byte) {
	out := t.out
	for i := 0; i < len(p); {
		c := p[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(p[i:])
			t.out = out
			t.rune(r, p[i+n:])
			out = t.out
			i += n
			continue
		}
		i++
		form := asciiForm[c]
		if form == 0 {
			if len(out) > 0 && out[len(out)-1] != ' ' {
				out = append(out, ' ')
			}
			continue
		}
		if 'a' <= form && form <= 'z' {
			t.letters++
			if form != c {
				t.capitals++
			}
		}
		out = append(out, form)
	}
	t.out = out
}

// space ends a word.
func (t *text) space() {
	if n := len(t.out); n > 0 && t.out[n-1] != ' ' {
		t.out = append(t.out, ' ')
	}
}

// rune appends a character beyond ASCII; rest is what follows it.
func (t *text) rune(r rune, rest []byte) {
	switch {
	case isInvisible(r):
		t.invisible++
		return
	case unicode.IsSpace(r), r >= 0x2010 && r <= 0x206f && typographic(r) == 0, r == utf8.RuneError:
		t.space()
		return
	case r >= 0x2010 && r <= 0x206f:
		t.out = append(t.out, typographic(r))
		return
	case r >= 0xff01 && r <= 0xff5e: // fullwidth forms
		t.add([]byte{byte(r - 0xff01 + '!')})
		return
	case r >= 0x1d400 && r <= 0x1d7ff:
		t.mixed++
		t.out = append(t.out, mathematical(r))
		return
	}
	if isGreekOrCyrillic(r) && (t.afterLatin() || len(rest) > 0 && isLatin(rest[0])) {
		t.mixed++
	}
	t.out = utf8.AppendRune(t.out, unicode.ToLower(r))
}

func (t *text) afterLatin() bool {
	return len(t.out) > 0 && isLatin(t.out[len(t.out)-1])
}

func isLatin(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isGreekOrCyrillic(r rune) bool { return r >= 0x370 && r < 0x530 }

// isInvisible are the characters without width that split a word for a
// machine and not for a reader.
func isInvisible(r rune) bool {
	switch {
	case r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x2064,
		r >= 0x2066 && r <= 0x206f, r == 0xfeff, r == 0xad, r == 0x34f, r == 0x180e,
		r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0000 && r <= 0xe01ef:
		return true
	}
	return false
}

// typographic is the ASCII mark that people type for r; 0 for a space.
func typographic(r rune) byte {
	switch r {
	case 0x2018, 0x2019, 0x201b, 0x2032:
		return '\''
	case 0x201c, 0x201d, 0x201f, 0x2033:
		return '"'
	case 0x2010, 0x2011, 0x2012, 0x2013:
		return '-'
	case 0x2024:
		return '.'
	}
	return 0
}

// mathematical is the ASCII letter or digit of the Mathematical Alphanumeric
// Symbols block; Greek ones are rare enough to be "?".
func mathematical(r rune) byte {
	switch {
	case r <= 0x1d6a3:
		n := (r - 0x1d400) % 52
		return 'a' + byte(n%26)
	case r >= 0x1d7ce:
		return '0' + byte((r-0x1d7ce)%10)
	}
	return '?'
}
