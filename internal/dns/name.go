package dns

import (
	"net/netip"
	"strings"
)

// Limits of a name (RFC 1035 section 2.3.4). 253 octets of text are 255 on
// the wire: a length octet before the first label and the root at the end.
const (
	maxName  = 253
	maxLabel = 63
)

// canonical is the cache's form of a name: without the trailing dot, ASCII
// letters in lower case (RFC 4343: no other octet has a case). It reports
// false for what cannot be put on the wire. It allocates only when there is
// an upper-case letter.
func canonical(name string) (string, bool) {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > maxName {
		return "", false
	}
	upper, label := false, 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return "", false
			}
			label = 0
			continue
		case 'A' <= c && c <= 'Z':
			upper = true
		}
		if label++; label > maxLabel {
			return "", false
		}
	}
	if label == 0 {
		return "", false
	}
	if upper {
		name = lower(name)
	}
	return name, true
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}

// unescape turns a name in presentation form, as the wire library gives it
// (RFC 1035 section 5.1: \X and \DDD), into raw octets without the trailing
// dot. It reports false for a dot within a label: no host has such a name, and
// raw text cannot express it.
func unescape(name string) (string, bool) {
	name = strings.TrimSuffix(name, ".")
	if strings.IndexByte(name, '\\') < 0 {
		return name, true
	}
	raw := make([]byte, 0, len(name))
	for i := 0; i < len(name); {
		c, n := unescapeOctet(name[i:])
		if n > 1 && c == '.' {
			return "", false
		}
		raw = append(raw, c)
		i += n
	}
	return string(raw), true
}

// unescapeOctet decodes the first octet of presentation text, which is not
// empty, and tells how long it was.
func unescapeOctet(s string) (c byte, n int) {
	if s[0] != '\\' || len(s) == 1 {
		return s[0], 1
	}
	if len(s) >= 4 && digit(s[1]) && digit(s[2]) && digit(s[3]) {
		return (s[1]-'0')*100 + (s[2]-'0')*10 + (s[3] - '0'), 4
	}
	return s[1], 2
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// appendText appends one character-string of a TXT record, which the wire
// library hands over escaped too.
func appendText(dst []byte, s string) []byte {
	if strings.IndexByte(s, '\\') < 0 {
		return append(dst, s...)
	}
	for len(s) > 0 {
		c, n := unescapeOctet(s)
		dst = append(dst, c)
		s = s[n:]
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// AppendReverse appends the labels of an address, least significant first and
// with a dot after each, as in-addr.arpa, ip6.arpa (RFC 1035 section 3.5,
// RFC 3596 section 2.5) and DNS lists (RFC 5782 section 2) want them.
func AppendReverse(dst []byte, addr netip.Addr) []byte {
	if addr = addr.Unmap(); addr.Is4() {
		b := addr.As4()
		for i := 3; i >= 0; i-- {
			dst = append(appendDecimal(dst, b[i]), '.')
		}
		return dst
	}
	b := addr.As16()
	for i := 15; i >= 0; i-- {
		dst = append(dst, hexDigits[b[i]&15], '.', hexDigits[b[i]>>4], '.')
	}
	return dst
}

func appendDecimal(dst []byte, v byte) []byte {
	if v >= 100 {
		dst = append(dst, '0'+v/100)
	}
	if v >= 10 {
		dst = append(dst, '0'+v/10%10)
	}
	return append(dst, '0'+v%10)
}

func reverseName(addr netip.Addr) string {
	var buf [80]byte
	b := AppendReverse(buf[:0], addr)
	if addr.Unmap().Is4() {
		return string(append(b, "in-addr.arpa"...))
	}
	return string(append(b, "ip6.arpa"...))
}
