package privacy

import "bytes"

// masker copies a field body and replaces tokens on the way.
type masker struct {
	s      scanner
	dst    []byte
	copied int    // how far s.b is in dst
	name   [2]int // the last host name that was let through
}

func (m *masker) replace(start, end int) {
	m.dst = append(m.dst, m.s.b[m.copied:start]...)
	m.dst = append(m.dst, clientName...)
	m.copied = end
}

// noteName remembers the token if it is a host name: an address in brackets
// behind it would make it the client's, "name [192.0.2.1]".
func (m *masker) noteName() {
	if !m.s.encoded && isHostName(m.s.token()) && !m.s.atSign() {
		m.name = [2]int{m.s.start, m.s.end}
	}
}

// client replaces the client's address, and its host name before it.
func (m *masker) client(start, end int) {
	if m.name[1] > 0 && m.name[1] == m.s.gap && m.name[0] >= m.copied && bytes.ContainsAny(m.s.between(), "[(") {
		m.replace(m.name[0], m.name[1])
	}
	m.replace(start, end)
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
	r.learnHops()
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
	return r.isProtected(s) || r.seen.hasAddr(s.token())
}

// fieldMasker masks one field; what a token is depends on those before it.
type fieldMasker struct {
	*redactor
	masker
	key       [2]int // the token before, a key when "=" follows
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
		m.wasClient = false
		m.noteName()
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

// address replaces the token, but not a key or a port that is glued to it.
func (m *fieldMasker) address(isName bool) {
	s := &m.s
	start, end := s.start, s.end
	if span := trimAddress(s.b[start:end]); !isName && bytes.IndexByte(s.b[start:end], '\\') < 0 {
		end = start + span.end
		start += span.start
	}
	m.client(start, end)
	m.wasClient = true
}
