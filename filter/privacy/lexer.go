package privacy

import "bytes"

// kind of a token.
type tokenKind uint8

const (
	word    tokenKind = iota + 1 // up to white space, a comment or ";"; quoted strings are part of it
	comment                      // with its parentheses, nested ones included
	open                         // a comment that is never closed: the rest of the field
	semi
)

// token is a part of a field body, by its offsets.
type token struct {
	kind       tokenKind
	start, end int
}

// lexer splits a structured field body (RFC 5322 section 3.2). It is made for
// what servers really write, so nothing is an error. Its cost is linear: that
// there is no closing quote or parenthesis ahead is found out only once.
type lexer struct {
	b       []byte
	pos     int
	noQuote bool // no quoted string ends in what is left
}

// endsWord are the bytes that a word ends before.
var endsWord = [256]bool{' ': true, '\t': true, '\r': true, '\n': true, '(': true, ';': true}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// next returns the next token; ok is false at the end.
func (l *lexer) next() (t token, ok bool) {
	for l.pos < len(l.b) && isSpace(l.b[l.pos]) {
		l.pos++
	}
	if l.pos == len(l.b) {
		return token{}, false
	}
	start := l.pos
	switch l.b[start] {
	case ';':
		l.pos++
		return token{semi, start, l.pos}, true
	case '(':
		return l.comment(start), true
	}
	for l.pos < len(l.b) && !endsWord[l.b[l.pos]] {
		if l.b[l.pos] == '"' {
			l.quoted()
		} else {
			l.pos++
		}
	}
	return token{word, start, l.pos}, true
}

// comment reads to the parenthesis that closes the one at start.
func (l *lexer) comment(start int) token {
	depth := 0
	for i := start; i < len(l.b); i++ {
		switch l.b[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				l.pos = i + 1
				return token{comment, start, l.pos}
			}
		}
	}
	l.pos = len(l.b)
	return token{open, start, len(bytes.TrimRight(l.b, " \t\r\n"))}
}

// quoted passes over a quoted string, or over a quote that opens none.
func (l *lexer) quoted() {
	if !l.noQuote {
		for i := l.pos + 1; i < len(l.b); i++ {
			switch l.b[i] {
			case '\\':
				i++
			case '"':
				l.pos = i + 1
				return
			}
		}
		l.noQuote = true
	}
	l.pos++
}

// equalFold compares with a lower-case ASCII word.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
