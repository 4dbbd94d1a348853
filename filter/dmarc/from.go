package dmarc

import (
	"bytes"
	"slices"

	"mailweir/mail"
)

// Authors is what the From fields of a message say, for DMARC: the domains
// that any reader might take for the author's.
type Authors struct {
	Domains []string // distinct, canonical, in order of appearance
	Fields  int      // From fields; RFC 5322 section 3.6 has exactly one
	// Malformed says that something in them is outside of the grammar of RFC
	// 5322, obsolete forms and RFC 6854 groups included.
	Malformed bool
	// More says that there were more than maxAuthors distinct domains.
	More bool
}

// maxAuthors bounds the domains that are judged; honest mail has one.
const maxAuthors = 5

// ParseAuthors reads all From fields of a header. Readers disagree about a
// malformed field, and an attacker chooses the field: so every domain that
// stands behind an "@" outside of comments and quoted strings is an author,
// whether it is in angle brackets or not. The worst of them decides.
func ParseAuthors(h *mail.Header) Authors {
	var a Authors
	for _, f := range h.Fields {
		if f.Is("From") {
			a.Fields++
			p := fromParser{rest: f.Body(), authors: &a}
			p.run()
		}
	}
	return a
}

func (a *Authors) add(domain string) {
	if !mail.ValidDomain(domain, true) || domain[0] == '[' {
		a.Malformed = true
		return
	}
	domain = mail.CanonicalDomain(domain)
	if slices.Contains(a.Domains, domain) {
		return
	}
	if len(a.Domains) == maxAuthors {
		a.More = true
		return
	}
	a.Domains = append(a.Domains, domain)
}

// fromParser walks the tokens of one address list (RFC 5322 section 3.4) once.
type fromParser struct {
	rest    []byte
	authors *Authors

	words   int  // words since the last separator
	at      int  // addr-specs in this mailbox
	angle   bool // inside <...>
	closed  bool // a mailbox has had its <...>
	group   bool
	started bool
}

// run consumes the field. Each token is looked at once.
func (p *fromParser) run() {
	for {
		p.skipCFWS()
		if len(p.rest) == 0 {
			break
		}
		p.token()
	}
	p.endMailbox()
	if p.angle || p.group || !p.started {
		p.malformed()
	}
}

func (p *fromParser) malformed() { p.authors.Malformed = true }

func (p *fromParser) token() {
	switch c := p.rest[0]; c {
	case '"':
		p.rest = p.rest[p.quoted():]
		p.word()
	case '<':
		p.rest = p.rest[1:]
		if p.angle || p.closed || p.at > 0 {
			p.malformed()
		}
		p.angle, p.words = true, 0
	case '>':
		p.rest = p.rest[1:]
		if !p.angle || p.at == 0 {
			p.malformed()
		}
		p.angle, p.closed = false, true
	case '@':
		p.rest = p.rest[1:]
		p.domain()
	case ',', ';', ':':
		p.rest = p.rest[1:]
		p.separator(c)
	default:
		n := atomLength(p.rest)
		if n == 0 { // a special that has no business here
			p.malformed()
			n = 1
		}
		p.rest = p.rest[n:]
		p.word()
	}
}

func (p *fromParser) word() {
	p.words++
	p.started = true
	if p.closed || p.at > 0 {
		p.malformed() // text behind the address
	}
}

// separator ends a mailbox, opens a group or closes one. In a source route
// ("<@a,@b:joe@c>") the separators stand inside the brackets.
func (p *fromParser) separator(c byte) {
	if p.angle {
		if c == ';' {
			p.malformed()
		}
		p.words, p.at = 0, 0
		return
	}
	switch {
	case c == ':' && !p.group && p.words > 0 && p.at == 0 && !p.closed:
		p.group = true
	case c == ':' || c == ';' && !p.group:
		p.malformed()
	default:
		p.endMailbox()
		if c == ';' {
			p.group = false
		}
	}
	p.words, p.at, p.closed = 0, 0, false
}

// endMailbox checks that words came with an address. Empty list elements are
// an obsolete form (section 4.4).
func (p *fromParser) endMailbox() {
	if p.words > 0 && p.at == 0 && !p.closed {
		p.malformed()
	}
}

// domain reads what follows an "@". In angle brackets without a local-part it
// is a source route (section 4.4), which names no author.
func (p *fromParser) domain() {
	p.started = true
	route := p.angle && p.words == 0
	if p.words == 0 && !route || p.at > 0 {
		p.malformed()
	}
	if !route {
		p.at++
	}
	p.skipCFWS()
	if len(p.rest) > 0 && p.rest[0] == '[' {
		n := bytes.IndexByte(p.rest, ']') + 1
		if n == 0 {
			n = len(p.rest)
		}
		p.rest = p.rest[n:]
		p.malformed() // no domain that DMARC could ask for
		return
	}
	if name := p.domainName(); !route {
		p.authors.add(name)
	}
}

// domainName reads atoms and dots, with CFWS between them as the obsolete form
// allows.
func (p *fromParser) domainName() string {
	var name []byte
	for {
		n := atomLength(p.rest)
		name = append(name, p.rest[:min(n, 512)]...)
		p.rest = p.rest[n:]
		p.skipCFWS()
		more := len(p.rest) > 0 && (p.rest[0] == '.' || bytes.HasSuffix(name, []byte(".")))
		if n == 0 || !more || len(name) > 512 {
			return string(bytes.TrimSuffix(name, []byte(".")))
		}
	}
}

// atomLength is the length of the run of atext, dots and UTF-8 at the start.
func atomLength(b []byte) int {
	n := 0
	for n < len(b) && (isAtext(b[n]) || b[n] == '.') {
		n++
	}
	return n
}

func isAtext(c byte) bool {
	return c >= 0x80 || c > ' ' && c < 0x7f && bytes.IndexByte([]byte(`()<>[]:;@\,."`), c) < 0
}

// quoted is the length of the quoted-string at the start of rest.
func (p *fromParser) quoted() int {
	for i := 1; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	p.malformed()
	return len(p.rest)
}

// skipCFWS skips white space and nested comments.
func (p *fromParser) skipCFWS() {
	depth := 0
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case depth > 0 || c == ' ' || c == '\t' || c == '\r' || c == '\n':
		default:
			p.rest = p.rest[i:]
			return
		}
	}
	if depth > 0 {
		p.malformed()
	}
	p.rest = nil
}
