// Package looks tells what a reader takes a name for: letters of other
// alphabets, accents, digits and pairs of letters become the Latin letters that
// they look like. What comes out is for comparing with another one that was made
// so, and not for reading.
package looks

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Name is a label of a host name, and as what it is read. One that IDNA has
// encoded is decoded; hyphens go, since with and without them is the same to
// many.
type Name struct{ Label, Read string }

// NewName reads a label.
func NewName(label string) Name { return Name{label, Word(Unicode(label))} }

// Unicode is a label as programs show it that show all of Unicode.
func Unicode(label string) string {
	if strings.HasPrefix(label, "xn--") {
		if u, err := idna.Punycode.ToUnicode(label); err == nil {
			return u
		}
	}
	return label
}

// Word is a word of a name as it is read, letter by letter. Punctuation goes.
func Word(s string) string {
	out := make([]byte, 0, len(s)+4)
	if !ascii(s) {
		s = norm.NFKD.String(s)
	}
	for _, r := range s {
		if r >= utf8.RuneSelf {
			out = appendLooks(out, r)
		} else if c := asciiLooks[r]; c != 0 {
			out = put(out, c)
		}
	}
	return string(out)
}

// put appends a letter, which may run into one with the letter before it in the
// fonts of mail programs.
func put(out []byte, c byte) []byte {
	if n := len(out) - 1; n >= 0 {
		switch {
		case out[n] == 'r' && c == 'n':
			out[n] = 'm'
			return out
		case out[n] == 'v' && c == 'v':
			out[n] = 'w'
			return out
		case out[n] == 'c' && c == 'l':
			out[n] = 'd'
			return out
		}
	}
	return append(out, c)
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendLooks appends what a character beyond ASCII looks like: nothing for what
// has no width and for marks on a letter.
func appendLooks(out []byte, r rune) []byte {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.P) || r == 'ʼ' {
		return out
	}
	r = unicode.ToLower(r)
	if s, ok := latinLooks[r]; ok {
		for i := range len(s) {
			out = put(out, s[i])
		}
		return out
	}
	return utf8.AppendRune(out, r)
}

// asciiLooks: letters and digits, capitals as small ones. "i", "l", "1" and "|"
// are one letter, since a capital I cannot be told from a small l; 0 for what is
// none.
var asciiLooks = func() (t [utf8.RuneSelf]byte) {
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = byte(c), byte(c)
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = byte(c)
	}
	for from, to := range map[byte]byte{'0': 'o', '1': 'l', 'i': 'l', 'I': 'l', '|': 'l', '!': 'l', '3': 'e', '4': 'a', '5': 's', '$': 's', '8': 'b'} {
		t[from] = to
	}
	return t
}()

// latinLooks are letters that have no decomposition into a Latin one.
var latinLooks = func() map[rune]string {
	m := make(map[rune]string, 200)
	for latin, others := range map[string]string{
		"a": "аɑαᴀ", "b": "вьƅʙᏏ", "c": "сϲᴄ", "d": "ԁđðɗᴅժ", "e": "еєɛᴇҽ", "f": "ƒꜰ", "g": "ɡɢց",
		"h": "нһʜհ", "j": "јϳᴊ", "k": "кκᴋ", "l": "іӏιıɩłʟɪƖ", "m": "мᴍ", "n": "ηɴոᴨп", "o": "оοσօøᴏ०௦ഠ",
		"p": "рρᴘ", "q": "ԛգ", "r": "гʀᴦ", "s": "ѕꜱ", "t": "тτᴛ", "u": "υսᴜ", "v": "νѵᴠ", "w": "ѡωԝшᴡ",
		"x": "хχ", "y": "уүγʏ", "z": "ᴢ", "ss": "ß", "ae": "æӕ", "oe": "œ", "th": "þ",
	} {
		for _, r := range others {
			m[unicode.ToLower(r)] = latin
		}
	}
	return m
}()

// Near reports that a and b, as they are read, differ by one letter that is
// wrong, missing or added, or by two neighbours that are swapped.
func Near(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 || a == b {
		return a == b
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	if a[i+1:] == b[i+1:] {
		return true
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// minNear is the shortest name of which another with one letter changed is
// hardly an accident.
const minNear = 7

// Similar reports that somebody takes n for own: both are read alike letter for
// letter, or are near in names that are long enough. Equal labels are not
// similar.
func (n Name) Similar(own Name) bool {
	if n.Label == own.Label || n.Label == "" {
		return false
	}
	return n.Read == own.Read && len(own.Read) >= 3 || len(own.Read) >= minNear && Near(n.Read, own.Read)
}
