package content

import (
	"bytes"
	"html"

	"mailweir/filter"
)

// page renders one HTML leaf into the text of the message. It is no browser:
// tags are taken as they come, which is all that words, links and hidden text
// need, and costs one pass without a tree.
type page struct {
	m *Message

	link      int // index of the open link's address, -1 for none
	linkAt    int // where its text begins in the output
	hiddenTag string
	hidden    int // open elements of hiddenTag; text is hidden while > 0
	scratch   []byte
	name      [12]byte
}

// render reads a complete HTML document in UTF-8.
func (p *page) render(b []byte) {
	p.link = -1
	for len(b) > 0 {
		i := bytes.IndexByte(b, '<')
		if i < 0 {
			p.text(b)
			break
		}
		p.text(b[:i])
		b = b[i:]
		n := p.markup(b)
		if p.splits(b, n) {
			p.m.body.Split++
		}
		b = b[n:]
	}
	p.closeLink()
	p.m.text.space()
}

// markup takes what begins with "<" and returns its length.
func (p *page) markup(b []byte) int {
	if len(b) < 2 {
		return len(b)
	}
	switch c := b[1]; {
	case isLatin(c):
		return p.startTag(b)
	case c == '/':
		return p.endTag(b)
	case c == '!' && bytes.HasPrefix(b, []byte("<!--")):
		return through(b, "-->")
	case c == '!', c == '?':
		return through(b, ">")
	}
	p.text(b[:1])
	return 1
}

// through is the length up to and with mark, or all.
func through(b []byte, mark string) int {
	i := bytes.Index(b, []byte(mark))
	if i < 0 {
		return len(b)
	}
	return i + len(mark)
}

// splits tells markup of no visible effect between two letters: the n octets
// at the start of b, where the output ends with a letter.
func (p *page) splits(b []byte, n int) bool {
	if n >= len(b) || n < 2 || !isLatin(b[n]) || !p.m.text.afterLatin() || p.hidden > 0 {
		return false
	}
	name, _ := p.tagName(b[1:n])
	return b[1] == '!' || len(name) > 0 && !breaksWord(name) && name[0] != 'a' && b[1] != '/'
}

// text appends a run of character data. Where something is hidden is only
// nearly known without a tree, so hidden text is kept apart and not dropped:
// markup that fools this page hides nothing from the patterns.
func (p *page) text(b []byte) {
	t := &p.m.text
	if p.hidden > 0 {
		t = &p.m.unseen
	}
	for len(b) > 0 {
		i := bytes.IndexByte(b, '&')
		if i < 0 {
			t.add(b)
			return
		}
		t.add(b[:i])
		b = b[i:]
		n := entityLength(b)
		if n == 1 {
			t.add(b[:1])
		} else {
			t.add([]byte(html.UnescapeString(string(b[:n]))))
		}
		b = b[n:]
	}
}

// entityLength is the length of the character reference that b begins with, 1
// when it is only an ampersand.
func entityLength(b []byte) int {
	n := 1
	for n < len(b) && n < 33 && (isLatin(b[n]) || '0' <= b[n] && b[n] <= '9' || b[n] == '#' && n == 1) {
		n++
	}
	if n < len(b) && b[n] == ';' {
		n++
	}
	return n
}

func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '&') < 0 {
		return b
	}
	return []byte(html.UnescapeString(string(b)))
}

// tagName is the lower-case name at the start of b, valid until the next call,
// and its length there. Names longer than p.name are none that matters.
func (p *page) tagName(b []byte) (name []byte, n int) {
	if len(b) > 0 && b[0] == '/' {
		b = b[1:]
	}
	for n < len(b) && !isSpace(b[n]) && b[n] != '>' && b[n] != '/' {
		n++
	}
	name = append(p.name[:0], b[:min(n, len(p.name))]...)
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c + 'a' - 'A'
		}
	}
	return name, n
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }

// endTag takes "</name>".
func (p *page) endTag(b []byte) int {
	n := through(b, ">")
	name, _ := p.tagName(b[1:n])
	switch {
	case string(name) == "a":
		p.closeLink()
	case breaksWord(name):
		p.m.text.space()
	}
	if p.hidden > 0 && string(name) == p.hiddenTag {
		p.hidden--
	}
	return n
}

// closeLink ends the open link: its text may show another address.
func (p *page) closeLink() {
	if p.link < 0 {
		return
	}
	u := &p.m.links.list[p.link]
	p.link = -1
	if u.Text != "" {
		return
	}
	if host := shownHost(p.m.text.out[p.linkAt:]); host != "" {
		u.Text = host
		u.Disguised = filter.Organization(host) != u.Domain && host != u.Host
	}
}
