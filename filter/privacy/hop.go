package privacy

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
)

// maskOutside appends b[from:to], which lies around the from-clause of c. Only
// what from-clauses told of clients is replaced there: what its own clause told
// as an address wherever it stands; that, what the other hops told, and host
// names in comments alone, and these not in the TCP-info of the server. The
// by-domain stays, whatever the client called itself, but for submitted mail. Where the clause gives no
// address at all ("from laptop by mx with HTTP (192.0.2.1)") comments may, as
// in maskHop.
func (r *redactor) maskOutside(dst, b []byte, c clauses, from, to int) []byte {
	m := masker{dst: dst, s: scanner{b: b[:to], end: from}, copied: from}
	learned, nameless, before := false, false, -1 // before: the token before
	for ; m.s.next(); before = m.s.start {
		inInfo := m.s.depth > 0 && m.s.comment == c.info
		if m.s.start == c.by {
			if r.isMadeOfTold(&m.s) || r.options.Submitted && r.isClientsName(m.s.token()) {
				m.replace(m.s.start, m.s.end)
			}
			continue
		}
		if !couldTell(&m.s, !inInfo) {
			continue
		}
		if !learned { // most fields have nothing to compare with the clause
			clause := b[c.from:c.end]
			r.hop.reset()
			r.hop.learn(clause)
			list := clientAddr(clause)
			learned, nameless = true, !slices.ContainsFunc(list, tells) && !bytes.Equal(clause, fromRedacted)
		}
		switch {
		case r.isHop(&m.s, inInfo) || !inInfo && (nameless || !m.versionNumber()) && r.inComment(&m.s),
			nameless && m.s.depth == 0 && before != c.by && isLiteral(&m.s) && r.holdsProtected(&m.s): // "id 4711 [192.0.2.1]"
			m.client(m.s.start, m.s.end)
		case m.s.depth > 0 && !inInfo:
			m.noteName()
		}
	}
	return m.finish()
}

// couldTell is a quick look at whether a token can be an address or, in a
// comment where names count, a host name.
func couldTell(s *scanner, names bool) bool {
	if s.encoded || bytes.IndexByte(s.b[s.start:s.end], '\\') >= 0 {
		return true
	}
	v6 := s.colons >= 6 || s.colons >= 2 && bytes.Contains(s.b[s.start:s.end], []byte("::"))
	if s.depth == 0 {
		return s.dots >= 3 || v6 || s.hex == len("0x01020304")-1 && s.b[s.start] == '0'
	}
	if !names {
		a, ok := address(s.token())
		return ok && tells(a)
	}
	return s.dots > 0 || v6 || s.dashes >= 3 && s.hex >= 4 || s.hex >= 7 && s.hex+2 >= s.end-s.start
}

// isHop judges one token outside of the from-clause.
func (r *redactor) isHop(s *scanner, inInfo bool) bool {
	if s.encoded {
		return r.inWord(s, func(in *scanner) bool { return r.isTold(in.token()) })
	}
	tok := s.token()
	switch {
	case s.depth == 0:
		a, ok := address(tok)
		return ok && r.hop.knowsAddr(a)
	case inInfo:
		return r.hop.hasAddr(tok)
	}
	return !s.atSign() && r.isTold(tok) || r.hop.hasAddr(tok)
}

// isTold reports what a from-clause told: of this hop, or of any other.
func (r *redactor) isTold(tok []byte) bool {
	r.learnHops()
	return r.hop.hasAddr(tok) || r.hop.hasName(tok) || r.seen.hasAddr(tok) || r.seen.hasName(tok)
}

// inWord decodes an encoded word and asks judge of every token in it.
func (r *redactor) inWord(s *scanner, judge func(*scanner) bool) bool {
	for in := (scanner{b: decodeWord(s.b[s.start:s.end])}); in.next(); {
		if !in.encoded && judge(&in) {
			return true
		}
	}
	return false
}

// maskHop appends a Received that has no from-clause. The addresses in its
// comments go ("with HTTP (client 192.0.2.1)"), those that the class protects,
// but for the server's own; the host that a comment says the message is from
// ("(from anna@pc.example.org)", Sendmail); and the by-domain when another hop
// calls it its client: the message began on that host. Under class all every address
// goes from a field without a by-clause, too: nothing says that it is not the
// client's.
func (r *redactor) maskHop(dst, b []byte, c clauses) []byte {
	m := masker{dst: dst, s: scanner{b: b}}
	garbage := c.by < 0 && r.options.Class == All
	from := -1 // the comment that begins with "from"
	if c.by >= 0 {
		r.learnHops()
	}
	for m.s.next() {
		s := &m.s
		switch {
		case s.start == c.by:
			if r.isMadeOfTold(s) || isHostName(s.token()) && r.seen.hasName(s.token()) {
				m.replace(s.start, s.end)
			}
		case s.depth > 0 && s.comment == c.info:
		case r.inComment(s), (garbage || introduced(s)) && r.holdsProtected(s), couldTell(s, true) && r.isToldAddr(s):
			m.client(s.start, s.end)
		case s.depth > 0 && s.comment == from && isHostName(s.token()):
			m.replace(s.start, s.end)
		case s.depth > 0:
			if s.start == s.comment+1 && equalFold(s.token(), "from") {
				from = s.comment
			}
			m.noteName()
		}
	}
	return m.finish()
}

// isMadeOfTold reports a host name that is made of a client's address.
func (r *redactor) isMadeOfTold(s *scanner) bool {
	if !couldTell(s, true) && s.hex < 4 || !isHostName(s.token()) {
		return false
	}
	r.learnHops()
	return r.seen.hasAddr(s.token())
}

// isClientsName reports what the connecting client is called, or calls itself.
func (r *redactor) isClientsName(tok []byte) bool {
	c := &r.options.Client
	return isHostName(tok) && (strings.EqualFold(string(tok), c.Name) || strings.EqualFold(string(tok), c.Helo))
}

// isToldAddr reports an address that another hop has told, in any spelling.
func (r *redactor) isToldAddr(s *scanner) bool {
	r.learnHops()
	if s.encoded {
		return r.inWord(s, func(in *scanner) bool { return r.seen.hasAddr(in.token()) })
	}
	if s.depth == 0 {
		a, ok := address(s.token())
		return ok && r.seen.knowsAddr(a)
	}
	return r.seen.hasAddr(s.token())
}

// inComment reports a protected address in a comment.
func (r *redactor) inComment(s *scanner) bool { return s.depth > 0 && r.holdsProtected(s) }

// holdsProtected looks into encoded words, too.
func (r *redactor) holdsProtected(s *scanner) bool {
	if s.encoded {
		return r.inWord(s, r.isProtected)
	}
	return r.isProtected(s)
}

// isProtected reports an address that the class protects.
func (r *redactor) isProtected(s *scanner) bool {
	tok := s.token()
	a, ok := address(tok)
	if !ok || r.options.Class == All {
		return ok && tells(a)
	}
	return slices.ContainsFunc(readingsOf(a, tok), func(a netip.Addr) bool { return tells(a) && r.own(a) })
}

// onlyHosts reports that b, a comment, holds addresses and host names alone; the
// first may be short: "(mrgmx005 [192.0.2.1])".
func onlyHosts(b []byte) bool {
	first := true
	for s := (scanner{b: b}); s.next(); first = false {
		tok := s.token()
		if _, ok := address(tok); !ok && !isHostName(tok) && !(first && bytes.ContainsAny(tok, "0123456789")) {
			return false
		}
	}
	return true
}
