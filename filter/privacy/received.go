package privacy

import "bytes"

// clauses is where the parts of a Received body are (RFC 5321 section 4.4).
type clauses struct {
	from, end int // b[from:end] is the from-clause with its comments; from < 0: there is none
	by        int // offset of the by-domain, -1 when there is none
	info      int // offset of the comment behind it that has the server's own address; -1
}

// parseReceived finds the from-clause. It starts at the word "from" and reaches
// up to the keyword that opens the next clause:
//
//   - that is the last top-level "by": a HELO argument with a "by" of its own
//     would else push the client's address out of the clause;
//   - without "by", the first of via, with, id, for;
//   - without those, the last ";", which opens the date.
//
// The first word behind "from" is the name that the client gave itself,
// whatever it reads, unless it is the only "by" there is. Where a comment is
// never closed the clause takes all up to the date.
func parseReceived(b []byte) clauses {
	p := receivedParser{b: b, clauses: clauses{-1, -1, -1, -1}, openAt: -1, byEnd: -1, otherEnd: -1, dateEnd: -1}
	l := lexer{b: b}
	for t, ok := l.next(); ok; t, ok = l.next() {
		if p.from < 0 {
			p.before(t)
		} else {
			p.inside(t)
		}
		p.last = t.end
	}
	return p.finish()
}

type receivedParser struct {
	clauses
	b        []byte
	last     int  // end of the token before
	parts    int  // words and comments since "from"
	behindBy bool // the by-clause came first
	byNext   bool // the word before was "by"
	infoNext bool // the word before was the by-domain
	openAt   int  // start of a comment that is never closed

	// Ends of the clause if it ends at by, at another keyword, at the date.
	byEnd, otherEnd, dateEnd int
}

// server notes the by-domain and its TCP-info.
func (p *receivedParser) server(t token) {
	switch {
	case p.byNext && t.kind == word:
		p.by, p.info, p.byNext, p.infoNext = t.start, -1, false, true
	case p.infoNext:
		if t.kind == comment && onlyHosts(p.b[t.start:t.end]) {
			p.info = t.start
		}
		p.infoNext = false
	}
}

func (p *receivedParser) before(t token) {
	p.server(t)
	if t.kind != word {
		return
	}
	w := p.b[t.start:t.end]
	switch {
	case isFrom(w):
		p.from = t.start
		if len(w) > len("from") {
			p.parts = 1 // from[192.0.2.1]
		}
	case equalFold(w, "by"):
		p.behindBy, p.byNext = true, true
	}
}

// isFrom takes "from", and "from" that an address is glued to.
func isFrom(w []byte) bool {
	return len(w) >= 4 && equalFold(w[:4], "from") && (len(w) == 4 || w[4] == '[' || w[4] == '<' || w[4] == '"' || w[4] == '=')
}

func (p *receivedParser) inside(t token) {
	p.server(t)
	switch t.kind {
	case semi:
		p.dateEnd = p.last
		return
	case open:
		p.openAt = t.start
		return
	case comment:
		p.parts++
		p.byNext = false
		return
	}
	w := p.b[t.start:t.end]
	switch {
	case equalFold(w, "by"):
		if p.byEnd < 0 || p.parts > 0 {
			p.byEnd, p.byNext = p.last, true
		}
	case p.parts > 0 && p.otherEnd < 0 && isClause(w):
		p.otherEnd = p.last
	}
	p.parts++
}

func isClause(w []byte) bool {
	return equalFold(w, "with") || equalFold(w, "via") || equalFold(w, "id") || equalFold(w, "for")
}

func (p *receivedParser) finish() clauses {
	if p.from < 0 {
		return p.clauses
	}
	if done := p.from + len(fromRedacted); bytes.HasPrefix(p.b[p.from:], fromRedacted) && (done == len(p.b) || endsWord[p.b[done]]) {
		p.end = done // by another gateway, or by us the time before
		return p.clauses
	}
	switch {
	case p.openAt >= 0:
		p.end, p.by = p.beforeDate(), -1
	case p.behindBy && p.otherEnd >= 0:
		p.end = p.otherEnd // "by mx from client with ...": the clause is short
	case p.byEnd >= 0:
		p.end = p.byEnd
	case p.otherEnd >= 0:
		p.end = p.otherEnd
	case p.dateEnd >= 0:
		p.end = p.dateEnd
	default:
		p.end = p.last
	}
	return p.clauses
}

// beforeDate is the end of what stands before the ";" in an open comment.
func (p *receivedParser) beforeDate() int {
	i := bytes.LastIndexByte(p.b[p.openAt:], ';')
	if i < 0 {
		return p.last
	}
	return len(bytes.TrimRight(p.b[:p.openAt+i], " \t\r\n"))
}

// clientName is what stands for a redacted client.
const clientName = "redacted.invalid"

var fromRedacted = []byte("from " + clientName)

// redactReceived appends the field body b without its client to dst.
func (r *redactor) redactReceived(dst, b []byte, c clauses) []byte {
	if c.from < 0 {
		return r.maskHop(dst, b, c)
	}
	dst = r.maskOutside(dst, b, c, 0, c.from)
	dst = append(dst, fromRedacted...)
	if c.end < len(b) && !isSpace(b[c.end]) && b[c.end] != ';' {
		dst = append(dst, ' ') // "(...)by": the name would swallow the keyword
	}
	return r.maskOutside(dst, b, c, c.end, len(b))
}
