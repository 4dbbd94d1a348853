package privacy

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// scanner finds the tokens of text that may hold addresses and host names
// anywhere: unlike the lexer it looks into comments, quotes and brackets.
type scanner struct {
	b          []byte
	start, end int  // the token
	depth      int  // of comments around it
	comment    int  // where the outermost one starts, when depth > 0
	section    int  // how many top-level ";" stand before it
	encoded    bool // it is an encoded word (RFC 2047)
	gap        int  // where the token before ended

	dots, colons, dashes, hex int // how many the token has

	scratch []byte
}

const delimiters = " \t\r\n()<>[]{}\",;=@/'|&"

// What the scanner notes of each byte.
const (
	isDelimiter uint8 = 1 << iota
	isDot
	isColon
	isDash
	isHexDigit
	isBackslash
)

var classes = func() (set [256]uint8) {
	for _, c := range []byte(delimiters) {
		set[c] = isDelimiter
	}
	for _, c := range []byte("0123456789abcdefABCDEF") {
		set[c] = isHexDigit
	}
	set['.'], set[':'], set['-'], set['\\'] = isDot, isColon, isDash, isBackslash
	return set
}()

// next advances to the next token; false at the end.
func (s *scanner) next() bool {
	s.gap = s.end
	i := s.end
	for ; i < len(s.b) && classes[s.b[i]]&isDelimiter != 0; i++ {
		switch s.b[i] {
		case '(':
			if s.depth++; s.depth == 1 {
				s.comment = i
			}
		case ')':
			s.depth = max(0, s.depth-1)
		case ';':
			if s.depth == 0 {
				s.section++
			}
		case '=':
			if n := encodedWords(s.b[i:]); n > 0 {
				s.start, s.end, s.encoded = i, i+n, true
				return true
			}
		}
	}
	if i == len(s.b) {
		s.end = i
		return false
	}
	s.start, s.encoded = i, false
	s.read(i)
	return true
}

// read finds the end of the token that starts at i.
func (s *scanner) read(i int) {
	var dots, colons, dashes, hex int
	for ; i < len(s.b); i++ {
		switch classes[s.b[i]] {
		case 0:
		case isHexDigit:
			hex++
		case isDelimiter:
			if n := foldInAddress(s.b, s.start, i); n > 0 {
				i += n - 1
				continue
			}
			s.end, s.dots, s.colons, s.dashes, s.hex = i, dots, colons, dashes, hex
			return
		case isDot:
			dots++
		case isColon:
			colons++
		case isDash:
			dashes++
		case isBackslash:
			if i+1 < len(s.b) {
				i++ // a quoted pair, be it a delimiter
			}
		}
	}
	s.end, s.dots, s.colons, s.dashes, s.hex = i, dots, colons, dashes, hex
}

// foldInAddress is the length of a fold at b[i:] that cuts b[start:], digits
// that an address may be made of, behind or before a dot or a colon; else 0.
func foldInAddress(b []byte, start, i int) int {
	if b[i] != '\r' || i+3 >= len(b) || b[i+1] != '\n' || i == start {
		return 0
	}
	next := i + 2
	for next < len(b) && (b[next] == ' ' || b[next] == '\t') {
		next++
	}
	if next == i+2 || next == len(b) {
		return 0
	}
	last, first := classes[b[i-1]], classes[b[next]]
	const joint = isDot | isColon
	if !(last&joint != 0 && first == isHexDigit || last == isHexDigit && first&joint != 0) {
		return 0
	}
	for _, c := range b[start:i] {
		if classes[c]&(isHexDigit|joint) == 0 && !isSpace(c) {
			return 0
		}
	}
	return next - i
}

// encodedWords is the length of the encoded words that b starts with, 0 for
// none. Those with nothing but white space between are one text (RFC 2047
// section 6.2), which may be cut in the middle of an address.
func encodedWords(b []byte) int {
	n := encodedWord(b)
	for end := n; n > 0; n = end {
		for end < len(b) && isSpace(b[end]) {
			end++
		}
		more := encodedWord(b[end:])
		if more == 0 {
			break
		}
		end += more
	}
	return n
}

// encodedWord is the length of the encoded word that b starts with, 0 for none.
func encodedWord(b []byte) int {
	if len(b) < 8 || b[1] != '?' {
		return 0
	}
	marks := 0
	for i := 1; i < len(b) && i < 256; i++ {
		switch c := b[i]; {
		case c <= ' ':
			return 0
		case c == '?':
			if marks++; marks == 4 {
				if i+1 < len(b) && b[i+1] == '=' {
					return i + 2
				}
				return 0
			}
		}
	}
	return 0
}

// token is the text of the token without its backslashes (RFC 5322 section
// 3.2.1) and folds, valid until the next call.
func (s *scanner) token() []byte {
	t := s.b[s.start:s.end]
	if bytes.IndexByte(t, '\\') < 0 && bytes.IndexByte(t, '\r') < 0 {
		return t
	}
	s.scratch = s.scratch[:0]
	for i, c := range t {
		if isSpace(c) && !s.encoded {
			continue
		}
		if c != '\\' || i > 0 && t[i-1] == '\\' {
			s.scratch = append(s.scratch, c)
		}
	}
	return bytes.Trim(s.scratch, delimiters)
}

// stable is the token's text where it outlives the next call.
func (s *scanner) stable(tok []byte) []byte {
	if len(tok) == s.end-s.start {
		return s.b[s.start:s.end]
	}
	return bytes.Clone(tok)
}

// between is what stands between the token before and this one.
func (s *scanner) between() []byte { return s.b[s.gap:s.start] }

// atSign reports that the token is the local-part or the domain of a mail
// address, and so no host that sends.
func (s *scanner) atSign() bool {
	return s.start > 0 && s.b[s.start-1] == '@' || s.end < len(s.b) && s.b[s.end] == '@'
}

// value reports that "=" stands before the token: key is the token before.
func (s *scanner) value() bool { return bytes.IndexByte(s.between(), '=') >= 0 }

// decodeWord is the text of encoded words, as encodedWords found them. The
// character set does not matter: addresses and host names are ASCII in all that
// mail uses, but for UTF-16, whose NULs go.
func decodeWord(w []byte) []byte {
	n := encodedWord(w)
	if n == 0 {
		return nil
	}
	parts := strings.SplitN(string(w[2:n-2]), "?", 3)
	if len(parts) != 3 {
		return nil
	}
	var text []byte
	switch strings.ToLower(parts[1]) {
	case "b":
		data := strings.TrimRight(parts[2], "=")
		text, _ = base64.RawStdEncoding.DecodeString(data)
	case "q":
		text = decodeQ(parts[2])
	}
	text = bytes.ReplaceAll(text, []byte{0}, nil)
	return append(text, decodeWord(bytes.TrimLeft(w[n:], " \t\r\n"))...)
}

func decodeQ(s string) []byte {
	text := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '_':
			text = append(text, ' ')
		case s[i] == '=' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0:
			text = append(text, byte(hexDigit(s[i+1])<<4|hexDigit(s[i+2])))
			i += 2
		default:
			text = append(text, s[i])
		}
	}
	return text
}
