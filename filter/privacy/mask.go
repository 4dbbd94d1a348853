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

// introduced reports that the text says of the token that it is a client:
// brackets around it, or a word before it.
func introduced(s *scanner) bool {
	if s.start > 0 && s.b[s.start-1] == '[' {
		return true
	}
	if i := bytes.IndexByte(s.b[s.start:s.end], ':'); i >= 0 && isIntroduction(s.b[s.start:s.start+i]) {
		return true // ip4:192.0.2.1
	}
	before := bytes.TrimRight(s.b[:s.start], " \t\r\n:=")
	for _, word := range introductions {
		if n := len(before) - len(word); n > 0 && equalFold(before[n:], word) && classes[before[n-1]]&isDelimiter != 0 {
			return true
		}
	}
	return false
}

var introductions = [...]string{"client", "from", "via", "remote", "peer", "orig", "ip", "ip4", "ip6", "ipv4", "ipv6", "proxy", "address", "host", "helo", "be"}

func isIntroduction(b []byte) bool {
	for _, word := range introductions {
		if equalFold(b, word) {
			return true
		}
	}
	return false
}

// versionNumber reports four numbers behind the name of a program: "(IceWarp
// 12.0.3.1)" tells no client.
func (m *masker) versionNumber() bool {
	s := &m.s
	if string(s.between()) != " " || introduced(s) {
		return false
	}
	start := bytes.LastIndexAny(s.b[:s.gap], delimiters) + 1
	return start < s.gap && isUpper(s.b[start])
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
	if m.name[1] > 0 && m.name[1] == m.s.gap && m.name[0] >= m.copied && bytes.ContainsAny(m.s.between(), "[(|/") {
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
	"host": true, "hostname": true, "remote": true, "peer": true, "oip": true, "hip": true, "origip": true, "lhlo": true,
	"connecting-ip": true, "remote-host": true, "dns.ptr": true, "client_ip": true, "client-address": true,
	// Forefront writes them with a colon.
	"cip": true, "h": true, "ptr": true,
}

// maskField appends the body of a field that tells more than the client.
// Under class own a field that tells of no own client is left as it is, and so
// is one whose name promises nothing, unless it tells what a hop has told.
func (r *redactor) maskField(dst, b []byte, t treatment) []byte {
	if t == told && !couldTellAny(b) {
		return append(dst, b...)
	}
	r.learnHops()
	m := fieldMasker{redactor: r, masker: masker{dst: dst, s: scanner{b: b}}, treatment: t, iprev: -1}
	m.sole = (t == suspect || t == suspectHost) && r.ownOrigin && soleAddress(b)
	if (t == told || r.options.Class == Own) && !m.tellsClient(b) {
		return append(dst, b...)
	}
	m.learnKeyed(b)
	for m.s.next() {
		m.step()
	}
	return m.finish()
}

// learnKeyed takes in the host names that the field itself calls the client's:
// a comment before may have them, too.
func (m *fieldMasker) learnKeyed(b []byte) {
	key := [2]int{}
	for s := (scanner{b: b}); s.next(); key = [2]int{s.start, s.end} {
		if tok := s.token(); !s.encoded && s.value() && key[1] == s.gap && isHostName(tok) && m.isKey(b[key[0]:key[1]]) {
			m.seen.learnName(s.stable(tok))
		}
	}
}

// couldTellAny is couldTell for a whole body: few fields have such a token.
func couldTellAny(b []byte) bool {
	for s := (scanner{b: b}); s.next(); {
		if s.encoded || s.hex >= 7 || s.dots >= 3 || s.colons >= 2 || s.dashes >= 2 && s.hex >= 2 {
			return true
		}
	}
	return false
}

// tellsClient reports whether a field speaks of a client that is protected; for
// a name that promises nothing, of one that a hop has told. Under class own a
// host name of a hop counts in fields that are made of such names.
func (m *fieldMasker) tellsClient(b []byte) bool {
	tells := func(s *scanner) bool {
		return m.isClient(s) || m.treatment != told && m.treatment != mask && m.isName(s)
	}
	for s := (scanner{b: b}); s.next(); {
		if s.encoded && m.inWord(&s, tells) || !s.encoded && tells(&s) {
			return true
		}
	}
	return false
}

// isClient judges one token by itself: an address that the class protects, or
// one of a redacted hop in whatever spelling.
func (m *fieldMasker) isClient(s *scanner) bool {
	if (m.treatment != told || isLiteral(s) || introduced(s)) && m.isProtected(s) || m.seen.hasAddr(s.token()) || m.sole && !s.encoded {
		return true
	}
	return m.treatment != told && m.treatment != mask && m.madeOfAddress(s)
}

// madeOfAddress reports a name that is made of a protected address: in a report
// that is no accident.
func (m *fieldMasker) madeOfAddress(s *scanner) bool {
	tok := s.token()
	if len(tok) > maxToken {
		return false
	}
	tok = tok[trimAddress(tok).start:]
	if bytes.IndexByte(tok, ':') >= 0 {
		return false // a time
	}
	m.seen.buf = numberRuns(m.seen.buf[:0], tok)
	for k := 0; k < len(m.seen.buf); k += 2 { // each is there backwards, too
		a, back := m.seen.buf[k], m.seen.buf[k+1]
		// 127.0.0.4 is an answer of a list, 127.2.0.192.bl.example a question.
		if (tells(a) || isHostName(tok) && tells(back)) && (m.options.Class == All || m.own(a) || m.own(back)) {
			return true
		}
	}
	return false
}

// isLiteral reports brackets around the token that are no part of a mail
// address: the way servers note an address (RFC 5321 section 4.1.3).
func isLiteral(s *scanner) bool {
	return s.start > 0 && s.b[s.start-1] == '[' && s.end < len(s.b) && s.b[s.end] == ']' && (s.start == 1 || s.b[s.start-2] != '@')
}

// fieldMasker masks one field; what a token is depends on those before it.
type fieldMasker struct {
	*redactor
	masker
	treatment treatment
	sole      bool   // addresses are all that the field has
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
		if m.inWord(s, func(in *scanner) bool { return m.isClient(in) || m.isName(in) }) {
			m.replace(s.start, s.end)
		}
	case m.keyed():
	case m.isClient(s):
		m.address(isName)
	case isName && m.treatment != mask && (m.isName(s) || m.wasClient || m.treatment != told && introduced(&m.s)):
		m.replace(s.start, s.end)
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

// isName reports a host name of a hop, or any one where the field's name
// promises one and the class reaches the message's first hop.
func (m *fieldMasker) isName(s *scanner) bool {
	return m.seen.hasName(s.token()) || m.treatment == suspectHost && m.ownOrigin && isHostName(s.token()) && !s.atSign()
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

// address replaces the token, but not a key or a port that is glued to it,
// where it is the rest that tells the client.
func (m *fieldMasker) address(isName bool) {
	s := &m.s
	start, end := s.start, s.end
	if !isName && !bytes.ContainsAny(s.b[start:end], "\\\r") && end-start <= maxToken {
		span := trimAddress(s.b[start:end])
		text := s.b[start+span.start : start+span.end]
		if a, ok := plain(text); ok && tells(a) || m.seen.hasAddr(text) {
			start, end = start+span.start, start+span.end
		}
	}
	m.client(start, end)
	m.wasClient = true
}
