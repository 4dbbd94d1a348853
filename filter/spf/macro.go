package spf

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// errMacro is the cause of every syntax error in a macro-string.
var errMacro = errors.New("bad macro")

// macro is one %{...} of RFC 7208 section 7.1.
type macro struct {
	letter  byte // lower case
	escape  bool // the letter was upper case: URL-escape the value
	digits  int  // right-hand parts to keep, 0 keeps all
	reverse bool
	delims  string
}

// nextMacro parses the macro-expand at the start of s, which begins with '%'.
// literal is what "%%", "%_" and "%-" stand for.
func nextMacro(s string) (m macro, literal string, n int, err error) {
	if len(s) < 2 {
		return m, "", 0, errMacro
	}
	switch s[1] {
	case '%':
		return m, "%", 2, nil
	case '_':
		return m, " ", 2, nil
	case '-':
		return m, "%20", 2, nil
	case '{':
	default:
		return m, "", 0, errMacro
	}
	end := strings.IndexByte(s, '}')
	if end < 0 {
		return m, "", 0, errMacro
	}
	m, err = parseMacro(s[2:end])
	return m, "", end + 1, err
}

// parseMacro reads macro-letter transformers *delimiter.
func parseMacro(s string) (m macro, err error) {
	if s == "" || strings.IndexByte("slodiphcrtv", s[0]|0x20) < 0 || !isAlpha(s[0]) {
		return m, errMacro
	}
	m.letter, m.escape = s[0]|0x20, s[0] < 'a'
	i := 1
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	if i > 1 {
		if m.digits, err = strconv.Atoi(s[1:i]); err != nil {
			m.digits = 1 << 20 // more parts than any name has
		}
		if m.digits == 0 {
			return m, errMacro
		}
	}
	if i < len(s) && s[i]|0x20 == 'r' {
		m.reverse = true
		i++
	}
	m.delims = s[i:]
	for ; i < len(s); i++ {
		if strings.IndexByte(".-+,/_=", s[i]) < 0 {
			return m, errMacro
		}
	}
	return m, nil
}

// checkMacros checks a macro-string. The letters c, r and t are for exp's text
// only (section 7.2), where also spaces may stand.
func checkMacros(s string, explain bool) error {
	for i := 0; i < len(s); {
		if s[i] != '%' {
			if s[i] < ' ' || s[i] > '~' || s[i] == ' ' && !explain {
				return errMacro
			}
			i++
			continue
		}
		m, _, n, err := nextMacro(s[i:])
		if err != nil {
			return err
		}
		if !explain && (m.letter == 'c' || m.letter == 'r' || m.letter == 't') {
			return errMacro
		}
		i += n
	}
	return nil
}

// endsInMacro reports that a macro-string, already checked, ends in a
// macro-expand.
func endsInMacro(s string) bool {
	for i := 0; i < len(s); {
		if s[i] != '%' {
			i++
			continue
		}
		_, _, n, err := nextMacro(s[i:])
		if err != nil {
			return false
		}
		if i += n; i == len(s) {
			return true
		}
	}
	return false
}

// maxExpansion bounds an expanded explanation; names are cut to 253 anyway.
const maxExpansion = 4096

// expand expands a checked macro-string in the context of domain. ok is false
// when a macro stands for a local-part that DNS cannot hold: RFC 8616 section 4
// makes such a term match nothing.
func (e *evaluation) expand(s, domain string) (out string, ok bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	b := make([]byte, 0, 128)
	for i := 0; i < len(s) && len(b) < maxExpansion; {
		if s[i] != '%' {
			b = append(b, s[i])
			i++
			continue
		}
		m, literal, n, err := nextMacro(s[i:])
		if err != nil {
			return "", false
		}
		i += n
		if m.letter == 0 {
			b = append(b, literal...)
			continue
		}
		if (m.letter == 's' || m.letter == 'l') && !isASCII(e.local) {
			return "", false
		}
		b = m.append(b, e.macroValue(m.letter, domain))
	}
	return string(b), true
}

func (e *evaluation) macroValue(letter byte, domain string) string {
	switch letter {
	case 's':
		return e.local + "@" + e.sender
	case 'l':
		return e.local
	case 'o':
		return e.sender
	case 'd':
		return domain
	case 'i':
		return dotted(e.ip)
	case 'p':
		return e.validatedName(domain)
	case 'v':
		if e.ip.Is4() {
			return "in-addr"
		}
		return "ip6"
	case 'h':
		return e.args.Helo
	case 'c':
		return e.ip.String()
	case 'r':
		if e.args.Receiver == "" {
			return "unknown"
		}
		return e.args.Receiver
	case 't':
		now := e.args.Now
		if now.IsZero() {
			now = time.Now()
		}
		return strconv.FormatInt(now.Unix(), 10)
	}
	return ""
}

// append transforms value as the macro says and appends it.
func (m macro) append(b []byte, value string) []byte {
	delims := m.delims
	if delims == "" {
		delims = "."
	}
	if m.digits > 0 || m.reverse || delims != "." {
		parts := splitAny(nil, value, delims)
		if m.reverse {
			for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
				parts[i], parts[j] = parts[j], parts[i]
			}
		}
		if m.digits > 0 && m.digits < len(parts) {
			parts = parts[len(parts)-m.digits:]
		}
		value = strings.Join(parts, ".")
	}
	if !m.escape {
		return append(b, value...)
	}
	return appendEscaped(b, value)
}

// splitAny splits s at every octet of delims, keeping empty parts.
func splitAny(parts []string, s, delims string) []string {
	start := 0
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(delims, s[i]) >= 0 {
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// appendEscaped escapes all but the unreserved characters of RFC 3986
// section 2.3.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		if c := s[i]; isAlpha(c) || isDigit(c) || strings.IndexByte("-._~", c) >= 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// dotted is the address for %{i}: IPv6 as 32 nibbles (section 7.3), in upper
// case as the test suite's explanations have them; DNS does not care.
func dotted(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, 63)
	for _, c := range a.As16() {
		b = append(b, hex[c>>4], '.', hex[c&15], '.')
	}
	return string(b[:63])
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
