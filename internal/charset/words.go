package charset

import (
	"encoding/base64"
	"strings"
)

// maxWord is how far an encoded word may reach. RFC 2047 section 2 allows 75
// octets; honest senders exceed that, and the bound keeps a line of "=?" that
// never end linear.
const maxWord = 2048

// DecodeWords decodes the encoded words (RFC 2047) in an unfolded field value
// wherever they stand: also in quoted strings and without the white space that
// section 5 wants around them, since mail clients show those decoded too.
// Raw octets beyond ASCII are read as UTF-8 or windows-1252.
func DecodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return clean(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			b.WriteString(clean(s))
			break
		}
		text, rest, ok := words(s[i:])
		if !ok {
			b.WriteString(clean(s[:i+2]))
			s = s[i+2:]
			continue
		}
		b.WriteString(clean(s[:i]))
		b.WriteString(text)
		s = rest
	}
	return b.String()
}

// HasWord reports an encoded word in s.
func HasWord(s string) bool {
	for {
		i := strings.Index(s, "=?")
		if i < 0 {
			return false
		}
		if _, _, _, ok := word(s[i:]); ok {
			return true
		}
		s = s[i+2:]
	}
}

// words decodes the run of encoded words that s starts with. White space
// between two of them is not shown (section 6.2). Octets of neighbours in the
// same character set are joined before they are decoded, because senders cut
// characters in half.
func words(s string) (text, rest string, ok bool) {
	label, raw, n, ok := word(s)
	if !ok {
		return "", s, false
	}
	out := make([]byte, 0, len(raw))
	for {
		s = s[n:]
		gap := len(s) - len(strings.TrimLeft(s, " \t\r\n"))
		next, more, m, ok := word(s[gap:])
		if !ok {
			return string(ToUTF8(out, raw, label)), s, true
		}
		if strings.EqualFold(next, label) {
			raw = append(raw, more...)
		} else {
			out = ToUTF8(out, raw, label)
			label, raw = next, more
		}
		n = gap + m
	}
}

// word splits the encoded word that s starts with and undoes its encoding; n
// is its length.
func word(s string) (label string, raw []byte, n int, ok bool) {
	if len(s) < 8 || s[0] != '=' || s[1] != '?' {
		return "", nil, 0, false
	}
	s = s[:min(len(s), maxWord)]
	q := strings.IndexByte(s[2:], '?') + 2
	if q <= 2 || q+3 > len(s) || s[q+2] != '?' {
		return "", nil, 0, false
	}
	label, _, _ = strings.Cut(s[2:q], "*") // a language (RFC 2231 section 5)
	end := strings.Index(s[q+3:], "?=")
	if end < 0 {
		return "", nil, 0, false
	}
	text := s[q+3 : q+3+end]
	n = q + 3 + end + 2
	switch s[q+1] {
	case 'Q', 'q':
		return label, decodeQ(text), n, true
	case 'B', 'b':
		return label, decodeB(text), n, true
	}
	return "", nil, 0, false
}

func decodeQ(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16:
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out
}

func decodeB(s string) []byte {
	s = strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '=' {
			return -1
		}
		return r
	}, s)
	out, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil && len(s)%4 == 1 {
		out, _ = base64.RawStdEncoding.DecodeString(s[:len(s)-1])
	}
	return out // up to the first error
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

func clean(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return string(guess(nil, []byte(s)))
		}
	}
	return s
}
