package smtpd

import (
	"strings"

	"mailweir/filter"
)

// appendReceivedSPF adds the field of RFC 7208 section 9.1, above our Received
// field. There is none when SPF was not examined.
func appendReceivedSPF(b []byte, f *filter.Facts, receiver string) []byte {
	if f.SPF.Result == "" {
		return b
	}
	b = append(b, "Received-SPF: "...)
	b = append(b, f.SPF.Result...)
	for i, pair := range [][2]string{
		{"receiver", receiver},
		{"client-ip", f.Client.Address},
		{"envelope-from", f.Envelope.From},
		{"helo", f.Client.Helo},
		{"identity", f.SPF.Identity},
	} {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, "\r\n\t"...)
		b = append(b, pair[0]...)
		b = append(b, '=')
		b = appendDotAtom(b, pair[1])
	}
	return append(b, "\r\n"...)
}

// appendDotAtom appends a dot-atom (RFC 5322 section 3.2.3) or, where it must,
// a quoted-string. Control characters become question marks.
func appendDotAtom(b []byte, s string) []byte {
	if s != "" && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..") && strings.IndexFunc(s, notAtom) < 0 {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func notAtom(c rune) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') &&
		!strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", c)
}
