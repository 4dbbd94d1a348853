package content

import (
	"strings"

	"mailweir/filter"
	"mailweir/internal/charset"
	"mailweir/mail"
)

// ParseAddresses reads an unfolded address field leniently: what it cannot
// read it skips, since these are facts about what is shown and not identities
// that anything is granted to (DMARC has a strict reader of its own). It gives
// at most filter.MaxAddress mailboxes.
func ParseAddresses(s string) []filter.Address {
	p := addressParser{s: s}
	for p.s != "" && len(p.out) < filter.MaxAddress {
		p.token()
	}
	p.finish()
	return p.out
}

type addressParser struct {
	s       string
	out     []filter.Address
	phrase  strings.Builder // what stands before "<", or a bare address
	comment strings.Builder // the old form of a name: addr (Name)
	addr    string
	angle   bool
}

// token takes one piece of the grammar of RFC 5322 section 3.4.
func (p *addressParser) token() {
	c := p.s[0]
	switch c {
	case '"':
		p.quoted()
		return
	case '(':
		p.parens()
		return
	case '<':
		p.angled()
		return
	case ',', ';':
		p.s = p.s[1:]
		p.finish()
		return
	case ':': // the name of a group goes
		p.s = p.s[1:]
		p.phrase.Reset()
		return
	}
	n := strings.IndexAny(p.s[1:], "\"(<,;:") + 1
	if n == 0 {
		n = len(p.s)
	}
	if p.s[0] == '[' || n < len(p.s) && p.s[n] == ':' && strings.IndexByte(p.s[:n], '[') >= 0 {
		n = literalEnd(p.s, n) // the colons of [IPv6:...] are no group's
	}
	p.phrase.WriteString(p.s[:n])
	p.s = p.s[n:]
}

func literalEnd(s string, n int) int {
	if i := strings.IndexByte(s, ']'); i >= n {
		return i + 1
	}
	return n
}

func (p *addressParser) quoted() {
	s := p.s[1:]
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i < len(s) {
				p.phrase.WriteByte(s[i])
			}
		case '"':
			p.s = s[i+1:]
			return
		default:
			p.phrase.WriteByte(s[i])
		}
	}
	p.s = ""
}

func (p *addressParser) parens() {
	depth := 0
	for i := 0; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '\\' && i+1 < len(p.s):
			i++
			p.comment.WriteByte(p.s[i])
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				p.s = p.s[i+1:]
				return
			}
		default:
			p.comment.WriteByte(c)
		}
	}
	p.s = ""
}

// angled takes <addr>. When there are two, the last counts, as for display.
func (p *addressParser) angled() {
	end := strings.IndexByte(p.s, '>')
	if end < 0 {
		end = len(p.s)
	}
	p.addr, p.angle = p.s[1:end], true
	p.s = p.s[min(len(p.s), end+1):]
}

// finish ends a mailbox.
func (p *addressParser) finish() {
	name, addr := p.phrase.String(), p.addr
	if !p.angle {
		if strings.IndexByte(name, '@') >= 0 {
			name, addr = p.comment.String(), name
		} else {
			name += p.comment.String() // a name without any address
		}
	}
	p.phrase.Reset()
	p.comment.Reset()
	p.addr, p.angle = "", false
	addr = strings.Map(dropSpace, addr)
	if i := strings.LastIndexByte(addr, ':'); addr != "" && addr[0] == '@' && i > 0 {
		addr = addr[i+1:] // an obsolete route (section 4.4)
	}
	if addr == "" && strings.TrimSpace(name) == "" || len(p.out) >= filter.MaxAddress {
		return
	}
	a := filter.Address{Name: clip(displayName(name)), Addr: clip(addr)}
	if i := strings.LastIndexByte(addr, '@'); i >= 0 {
		a.Domain = clip(mail.CanonicalDomain(addr[i+1:]))
	}
	p.out = append(p.out, a)
}

func dropSpace(r rune) rune {
	if r <= ' ' || r == 0x7f {
		return -1
	}
	return r
}

func displayName(s string) string {
	return strings.Join(strings.Fields(charset.DecodeWords(s)), " ")
}
