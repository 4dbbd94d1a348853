package authres

import (
	"bytes"
	"strings"

	"mailweir/mail"
)

// Forged reports that f is an Authentication-Results field that claims to be
// written by us: such a field must go before the message does (RFC 8601
// section 5). A field that cannot be parsed is forged when our authserv-id
// occurs anywhere in it: some reader may see it there.
func Forged(f mail.Field, authservID string) bool {
	if !f.Is("Authentication-Results") {
		return false
	}
	if id, ok := parseID(f.Body()); ok {
		return sameID(id, authservID)
	}
	return strings.Contains(bare(f.Body()), bare([]byte(authservID)))
}

func sameID(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// bare reduces text to what an identifier is made of, for a comparison that no
// folding, comment bracket, quoting or case can hide from.
func bare(b []byte) string {
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if isToken(c) || c >= 0x80 {
			out = append(out, c)
		}
	}
	return strings.ToLower(string(out))
}

// parseID reads [CFWS] authserv-id [CFWS version] [CFWS] up to the semicolon
// or the end of the field (RFC 8601 section 2.2).
func parseID(b []byte) (id string, ok bool) {
	b, ok = skipCFWS(b)
	if !ok {
		return "", false
	}
	if id, b, ok = cutValue(b); !ok {
		return "", false
	}
	if b, ok = skipCFWS(b); !ok {
		return "", false
	}
	digits := 0
	for digits < len(b) && '0' <= b[digits] && b[digits] <= '9' {
		digits++
	}
	if b, ok = skipCFWS(b[digits:]); !ok {
		return "", false
	}
	return id, len(b) == 0 || b[0] == ';'
}

// cutValue takes a token or quoted-string off the start of b.
func cutValue(b []byte) (v string, rest []byte, ok bool) {
	if len(b) > 0 && b[0] == '"' {
		return cutQuoted(b)
	}
	n := 0
	for n < len(b) && isToken(b[n]) {
		n++
	}
	return string(b[:n]), b[n:], n > 0
}

func cutQuoted(b []byte) (v string, rest []byte, ok bool) {
	var out []byte
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return string(out), b[i+1:], len(out) > 0
		case '\\':
			if i++; i < len(b) {
				out = append(out, b[i])
			}
		case '\r', '\n': // folding disappears
		default:
			out = append(out, b[i])
		}
	}
	return "", nil, false
}

// skipCFWS skips folding white space and nested comments; ok is false for a
// comment without an end.
func skipCFWS(b []byte) (rest []byte, ok bool) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case depth > 0 || bytes.IndexByte([]byte(" \t\r\n"), c) >= 0:
		default:
			return b[i:], true
		}
	}
	return nil, depth == 0
}
