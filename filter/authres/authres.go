// Package authres writes the Authentication-Results field of RFC 8601 and
// recognises incoming fields that pretend to be ours.
package authres

import (
	"mailweir/filter"
)

const (
	lineWidth = 78 // RFC 5322 section 2.1.1
	tabWidth  = 8
	maxReason = 200
)

// Append appends a complete Authentication-Results field, folded, with its
// final CRLF. redact leaves out what tells the client's address, host name or
// HELO.
func Append(dst []byte, authservID string, results []filter.AuthResult, redact bool) []byte {
	w := writer{dst: dst}
	w.word("Authentication-Results: ")
	w.word(value(authservID))
	n := 0
	for i := range results {
		if r := &results[i]; !redact || !r.Client {
			w.result(r, redact)
			n++
		}
	}
	if n == 0 {
		w.word("; none")
	}
	return append(w.dst, "\r\n"...)
}

// writer appends words and folds before one that would make the line too long.
type writer struct {
	dst    []byte
	column int
}

func (w *writer) word(s string) {
	w.dst = append(w.dst, s...)
	w.column += len(s)
}

// fold starts a new line. White space stands for the space that a word brings.
func (w *writer) fold() {
	w.dst = append(w.dst, "\r\n\t"...)
	w.column = tabWidth
}

// spaced adds a word after a space, or after a fold.
func (w *writer) spaced(s string) {
	if w.column+1+len(s) > lineWidth-1 { // room for the semicolon
		w.fold()
	} else {
		w.word(" ")
	}
	w.word(s)
}

// result writes one resinfo (section 2.2) on a line of its own.
func (w *writer) result(r *filter.AuthResult, redact bool) {
	w.word(";")
	w.fold()
	w.word(keyword(r.Method) + "=" + keyword(r.Result))
	if r.Reason != "" {
		w.spaced("reason=" + value(ascii(r.Reason)))
	}
	for _, p := range r.Props {
		if !redact || !p.Client {
			w.spaced(keyword(p.Type) + "." + keyword(p.Property) + "=" + pvalue(p.Value))
		}
	}
}

// keyword keeps only what a Keyword of RFC 5321 section 4.1.2 may have: these
// come from our own code, and a mistake there must not break the field.
func keyword(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '_' {
			return "x"
		}
	}
	return s
}

// value is a token (RFC 2045 section 5.1) or, where it must, a quoted-string.
func value(s string) string { return plainOr(s, 0) }

// pvalue is value, or [[local-part] "@"] domain-name written plainly.
func pvalue(s string) string { return plainOr(s, '@') }

func plainOr(s string, also byte) string {
	if s == "" {
		return `""`
	}
	for i := 0; i < len(s); i++ {
		if !isToken(s[i]) && (also == 0 || s[i] != also) {
			return quote(s)
		}
	}
	return s
}

// quote makes a quoted-string (RFC 5322 section 3.2.4). Control characters
// have no place in one and become question marks; UTF-8 stays (RFC 6532).
func quote(s string) string {
	b := make([]byte, 0, len(s)+4)
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
	return string(append(b, '"'))
}

// ascii is text for people in a message that may not be UTF-8.
func ascii(s string) string {
	b := []byte(s)
	b = b[:min(len(b), maxReason)]
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

func isToken(c byte) bool {
	if c <= ' ' || c == 0x7f {
		return false
	}
	switch c {
	case '(', ')', '<', '>', '@', ',', ';', ':', '\\', '"', '/', '[', ']', '?', '=':
		return false
	}
	return true
}

func isAlnum(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
}
