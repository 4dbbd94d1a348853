// Package authres writes the Authentication-Results field of RFC 8601 and
// recognises incoming fields that pretend to be ours.
package authres

import (
	"strconv"
	"strings"

	"mailweir/filter"
	"mailweir/mail"
)

const (
	lineWidth = 78 // RFC 5322 section 2.1.1
	tabWidth  = 8
	maxReason = 200
)

// Options say how a field is written.
type Options struct {
	Redact bool // leave out what tells the client's address, host name or HELO
	UTF8   bool // the message came by SMTPUTF8; without it nothing but ASCII is written
}

// Append appends a complete Authentication-Results field, folded, with its
// final CRLF.
func Append(dst []byte, authservID string, results []filter.AuthResult, o Options) []byte {
	return appendField(dst, "Authentication-Results: ", authservID, results, o)
}

// AppendARC appends the same as ARC-Authentication-Results (RFC 8617 section
// 4.1.1).
func AppendARC(dst []byte, instance int, authservID string, results []filter.AuthResult, o Options) []byte {
	return appendField(dst, "ARC-Authentication-Results: i="+strconv.Itoa(instance)+"; ", authservID, results, o)
}

func appendField(dst []byte, start, authservID string, results []filter.AuthResult, o Options) []byte {
	w := writer{dst: dst, o: o}
	w.word(start)
	w.word(value(authservID))
	n := 0
	for i := range results {
		if r := &results[i]; !o.Redact || !r.Client {
			w.result(r)
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
	o      Options
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
func (w *writer) result(r *filter.AuthResult) {
	w.word(";")
	w.fold()
	w.word(keyword(r.Method) + "=" + keyword(r.Result))
	if r.Reason != "" {
		w.spaced("reason=" + value(ascii(r.Reason, maxReason)))
	}
	for _, p := range r.Props {
		if !w.o.Redact || !p.Client {
			w.spaced(keyword(p.Type) + "." + keyword(p.Property) + "=" + w.pvalue(p.Value))
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
func value(s string) string {
	if s == "" {
		return `""`
	}
	for i := 0; i < len(s); i++ {
		if !isToken(s[i]) {
			return quote(s)
		}
	}
	return s
}

// pvalue is value, or [[local-part] "@"] domain-name written plainly (RFC 8601
// section 2.2).
func (w *writer) pvalue(s string) string {
	if !w.o.UTF8 {
		s = ascii(s, len(s))
	}
	at := strings.LastIndexByte(s, '@')
	if at >= 0 && (at == 0 || isDotAtom(s[:at])) && mail.ValidDomain(s[at+1:], w.o.UTF8) && s[at+1] != '[' && !strings.Contains(s[at:], "_") {
		return s
	}
	return value(s)
}

// isDotAtom tests a local-part that needs no quotes (RFC 5322 section 3.2.3).
func isDotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := 0; i < len(atom); i++ {
			c := atom[i]
			if !isAlnum(c) && c < 0x80 && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
				return false
			}
		}
	}
	return true
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

// ascii is text in a message that may not be UTF-8, of at most limit octets.
func ascii(s string, limit int) string {
	b := []byte(s)
	b = b[:min(len(b), limit)]
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
