package smtpd

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-smtp"
)

// The parameters of RFC 3461. As go-smtp's server does, we hand ENVID and
// ORCPT to the session decoded; who stores them encodes them again.

const (
	maxEnvID = 100 // RFC 3461 section 4.4
	maxORcpt = 500 // RFC 3461 section 4.2
)

// parseEnvID decodes ENVID: xtext of printable US-ASCII.
func parseEnvID(s string) (string, bool) {
	if len(s) > maxEnvID {
		return "", false
	}
	id, ok := decodeXtext(s)
	return id, ok && id != "" && isPrintable(id)
}

// parseNotify takes NEVER alone, or a list without repetition of the others.
func parseNotify(s string) ([]smtp.DSNNotify, bool) {
	list := make([]smtp.DSNNotify, 0, 3)
	for item := range strings.SplitSeq(strings.ToUpper(s), ",") {
		n := smtp.DSNNotify(item)
		switch n {
		case smtp.DSNNotifyNever, smtp.DSNNotifyDelayed, smtp.DSNNotifyFailure, smtp.DSNNotifySuccess:
		default:
			return nil, false
		}
		for _, other := range list {
			if other == n || other == smtp.DSNNotifyNever || n == smtp.DSNNotifyNever {
				return nil, false
			}
		}
		list = append(list, n)
	}
	return list, true
}

// parseORcpt takes addr-type ";" address. The type is any atom: a list of
// known ones would refuse mail for what we only pass on.
func parseORcpt(s string) (smtp.DSNAddressType, string, bool) {
	kind, addr, ok := strings.Cut(s, ";")
	if !ok || len(s) > maxORcpt || !isAtom(kind) {
		return "", "", false
	}
	t := smtp.DSNAddressType(strings.ToUpper(kind))
	if t == smtp.DSNAddressTypeUTF8 {
		addr, ok = decodeUTF8Addr(addr)
	} else if addr, ok = decodeXtext(addr); ok {
		ok = isPrintable(addr)
	}
	return t, addr, ok && addr != ""
}

func isAtom(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return s != ""
}

func isPrintable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// decodeXtext decodes the xtext of RFC 3461 section 4: "+" and two upper-case
// hexadecimal digits stand for any octet.
func decodeXtext(s string) (string, bool) {
	if strings.IndexByte(s, '+') < 0 {
		return s, isXchars(s)
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '+' {
			if !isXchar(c) {
				return "", false
			}
			b = append(b, c)
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		hi, lo := hexValue(s[i+1]), hexValue(s[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		b = append(b, byte(hi<<4|lo))
		i += 2
	}
	return string(b), true
}

func isXchars(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isXchar(s[i]) {
			return false
		}
	}
	return true
}

func isXchar(c byte) bool { return c > ' ' && c <= '~' && c != '=' }

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// decodeUTF8Addr decodes utf-8-addr-xtext and utf-8-addr-unitext of RFC 6533
// section 3: "\x{HEX}" stands for a code point.
func decodeUTF8Addr(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return "", false
			}
			r, ok := embeddedRune(s[i : i+end+1])
			if !ok {
				return "", false
			}
			b = utf8.AppendRune(b, r)
			i += end
			continue
		}
		if c <= ' ' || c == '+' || c == '=' || c == 0x7f {
			return "", false
		}
		b = append(b, c)
	}
	return string(b), utf8.Valid(b)
}

// embeddedRune decodes "\x{HEX}". Control characters have an encoding there,
// but no address has use for them, and none of ours shall carry them along.
func embeddedRune(s string) (rune, bool) {
	hex, ok := strings.CutPrefix(s[:len(s)-1], `\x{`)
	if !ok || len(hex) < 2 || len(hex) > 6 || hex != strings.ToUpper(hex) {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	r := rune(n)
	if err != nil || n > utf8.MaxRune || !utf8.ValidRune(r) || r < ' ' || r == 0x7f {
		return 0, false
	}
	return r, true
}
