package privacy

import (
	"bytes"
	"net/netip"
)

// maskOutside appends to dst what stands around a from-clause. Only what the
// clause told of the client is replaced there: everywhere as an address, but
// as a host name in comments alone, and never the by-domain at offset by: a
// client that greets with our own name must not blot out ours.
func (r *redactor) maskOutside(dst, b []byte, by int) []byte {
	if r.hop.empty() {
		return append(dst, b...)
	}
	m := masker{dst: dst, s: scanner{b: b}}
	for m.s.next() {
		if m.s.start != by && r.isHop(&m.s) {
			m.replace(m.s.start, m.s.end)
		}
	}
	return m.finish()
}

// isHop judges one token outside of the from-clause.
func (r *redactor) isHop(s *scanner) bool {
	if s.encoded {
		return r.inWord(s, func(in *scanner) bool { return r.hop.hasAddr(in.token()) || r.hop.hasName(in.token()) })
	}
	tok := s.token()
	if s.depth == 0 {
		span := trimAddress(tok)
		a, ok := plain(tok[span.start:span.end])
		_, known := r.hop.addrs[a]
		return ok && known
	}
	return r.hop.hasAddr(tok) || r.hop.hasName(tok) && !s.atSign()
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

// maskHop appends a Received that has no from-clause. Under class all the
// addresses in its comments go ("with HTTP (client 192.0.2.1)"), but for the
// TCP-info behind the by-domain, which is the server's own.
func (r *redactor) maskHop(dst, b []byte) []byte {
	if r.options.Class != All {
		return append(dst, b...)
	}
	from, to := byInfo(b)
	m := masker{dst: dst, s: scanner{b: b}}
	for m.s.next() {
		if m.s.depth == 0 || from <= m.s.start && m.s.end <= to {
			continue
		}
		if m.s.encoded && r.inWord(&m.s, isPlain) || !m.s.encoded && isPlain(&m.s) {
			m.replace(m.s.start, m.s.end)
		}
	}
	return m.finish()
}

func isPlain(s *scanner) bool {
	tok := s.token()
	span := trimAddress(tok)
	a, ok := plain(tok[span.start:span.end])
	return ok && tells(a)
}

// byInfo is where the comment behind the by-domain is, when all that it holds
// are addresses and host names.
func byInfo(b []byte) (from, to int) {
	words := -1 // since "by"
	l := lexer{b: b}
	for t, ok := l.next(); ok; t, ok = l.next() {
		switch {
		case t.kind == word && equalFold(b[t.start:t.end], "by"):
			words = 0
		case t.kind == word && words >= 0:
			words++
		case t.kind == comment && words == 1 && onlyHosts(b[t.start:t.end]):
			return t.start, t.end
		}
		if words > 1 {
			break
		}
	}
	return -1, -1
}

func onlyHosts(b []byte) bool {
	for s := (scanner{b: b}); s.next(); {
		tok := s.token()
		span := trimAddress(tok)
		if _, ok := plain(tok[span.start:span.end]); !ok && !isHostName(tok) {
			return false
		}
	}
	return true
}

// masker copies a field body and replaces tokens on the way.
type masker struct {
	s      scanner
	dst    []byte
	copied int // how far s.b is in dst
}

func (m *masker) replace(start, end int) {
	m.dst = append(m.dst, m.s.b[m.copied:start]...)
	m.dst = append(m.dst, clientName...)
	m.copied = end
}

func (m *masker) finish() []byte { return append(m.dst, m.s.b[m.copied:]...) }

// clientKeys are the keys whose value is the client, in the fields that are
// masked: RFC 7208 section 9.1, RFC 8601 section 2.7, and what others write.
var clientKeys = map[string]bool{
	"client-ip": true, "client-host": true, "client-name": true, "client": true,
	"helo": true, "ehlo": true, "rdns": true, "ip": true, "remote-ip": true, "sender-ip": true,
	"smtp.helo": true, "smtp.ehlo": true, "smtp.remote-ip": true, "smtp.client-ip": true,
	"smtp.rdns": true, "smtp.remote-host": true,
	"policy.iprev": true, "policy.ptr": true, "policy.ip": true, "x-ptr-helo": true, "x-ptr-lookup": true,
	"posting-host": true, "posting-ip": true,
	// Forefront writes them with a colon.
	"cip": true, "h": true, "ptr": true,
}

// maskField appends the body of a field that tells more than the client.
// Under class own a field that tells of no own client is left as it is.
func (r *redactor) maskField(dst, b []byte) []byte {
	if r.options.Class == Own && !r.tellsOwn(b) {
		return append(dst, b...)
	}
	m := fieldMasker{redactor: r, masker: masker{dst: dst, s: scanner{b: b}}, iprev: -1}
	for m.s.next() {
		m.step()
	}
	return m.finish()
}

// tellsOwn reports whether a field speaks of a client that class own protects.
func (r *redactor) tellsOwn(b []byte) bool {
	for s := (scanner{b: b}); s.next(); {
		if s.encoded && r.inWord(&s, r.isClient) || !s.encoded && r.isClient(&s) {
			return true
		}
	}
	return false
}

// isClient judges one token by itself: an address that the class protects, or
// one of a redacted hop in whatever spelling.
func (r *redactor) isClient(s *scanner) bool {
	tok := s.token()
	span := trimAddress(tok)
	if a, ok := plain(tok[span.start:span.end]); ok && tells(a) && r.protects(a) {
		return true
	}
	return r.seen.hasAddr(tok)
}

func (r *redactor) protects(a netip.Addr) bool {
	return r.options.Class == All || r.own(a)
}

// fieldMasker masks one field; what a token is depends on those before it.
type fieldMasker struct {
	*redactor
	masker
	key       [2]int // the token before, a key when "=" follows
	name      [2]int // the host name before, for "name [address]"
	wasClient bool   // the token before was replaced as an address
	iprev     int    // the section that holds the result of iprev
}

func (m *fieldMasker) step() {
	s := &m.s
	key := [2]int{s.start, s.end}
	isName := !s.encoded && isHostName(s.token()) && !s.atSign()
	if s.depth == 0 && equalFold(s.b[s.start:s.end], "iprev") {
		m.iprev = s.section
	}
	switch {
	case s.encoded:
		if m.inWord(s, func(in *scanner) bool { return m.isClient(in) || m.seen.hasName(in.token()) }) {
			m.replace(s.start, s.end)
		}
	case m.keyed():
	case m.isClient(s):
		m.address(isName)
	case isName && s.depth > 0 && (m.seen.hasName(s.token()) || m.iprev == s.section || m.wasClient && bytes.IndexByte(s.between(), '(') >= 0):
		m.replace(s.start, s.end)
	default:
		if m.wasClient = false; isName {
			m.name = key
		}
		m.key = key
		return
	}
	m.key = key
}

// keyed replaces the value of a key that stands for the client, be it
// "client-ip=192.0.2.1" or "CIP:192.0.2.1".
func (m *fieldMasker) keyed() bool {
	s := &m.s
	if s.value() && m.key[1] == s.gap && m.isKey(s.b[m.key[0]:m.key[1]]) {
		m.replace(s.start, s.end)
		m.wasClient = true
		return true
	}
	tok := s.b[s.start:s.end]
	i := bytes.IndexByte(tok, ':')
	if i > 0 && i+1 < len(tok) && m.isKey(tok[:i]) {
		m.replace(s.start+i+1, s.end)
		return true
	}
	return false
}

func (m *fieldMasker) isKey(b []byte) bool {
	if len(b) > 32 {
		return false
	}
	m.seen.text = appendLower(m.seen.text[:0], b)
	return clientKeys[string(m.seen.text)]
}

// address replaces the token, and the host name before it in "name [address]".
func (m *fieldMasker) address(isName bool) {
	s := &m.s
	if m.name[1] == s.gap && m.name[0] >= m.masker.copied && bytes.ContainsAny(s.between(), "[(") {
		m.replace(m.name[0], m.name[1])
	}
	start, end := s.start, s.end
	if span := trimAddress(s.b[start:end]); !isName && bytes.IndexByte(s.b[start:end], '\\') < 0 {
		end = start + span.end
		start += span.start
	}
	m.replace(start, end)
	m.wasClient = true
}
