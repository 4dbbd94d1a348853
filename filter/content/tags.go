package content

import "bytes"

// attributes are the values of one tag that matter, still escaped.
type attributes struct {
	href, src, style, kind, equiv, content, action, hidden []byte
}

// startTag takes "<name attribute=value ...>" and returns its length.
func (p *page) startTag(b []byte) int {
	name, n := p.tagName(b[1:])
	var a attributes
	n++ // the "<"
	for n < len(b) && b[n] != '>' {
		n += a.next(b[n:])
	}
	if n >= len(b) {
		return len(b) // the end came inside of a tag: nothing of it is shown
	}
	n++
	if breaksWord(name) {
		p.m.text.space()
	}
	p.element(name, &a)
	p.hide(name, &a)
	if rawText(name) {
		n += skipRaw(b[n:], name)
	}
	return n
}

// next takes one attribute, or an octet between attributes.
func (a *attributes) next(b []byte) int {
	if isSpace(b[0]) || b[0] == '/' {
		return 1
	}
	n := 0
	for n < len(b) && b[n] != '=' && b[n] != '>' && b[n] != '/' && !isSpace(b[n]) {
		n++
	}
	name := b[:n]
	i := n
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	if i >= len(b) || b[i] != '=' {
		a.set(name, nil)
		return max(n, 1)
	}
	i++
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	value, m := attributeValue(b[i:])
	a.set(name, value)
	return i + m
}

func attributeValue(b []byte) (value []byte, n int) {
	if len(b) > 0 && (b[0] == '"' || b[0] == '\'') {
		i := bytes.IndexByte(b[1:], b[0])
		if i < 0 {
			return b[1:], len(b)
		}
		return b[1 : i+1], i + 2
	}
	for n < len(b) && b[n] != '>' && !isSpace(b[n]) {
		n++
	}
	return b[:n], n
}

func (a *attributes) set(name, value []byte) {
	var target *[]byte
	switch {
	case equalFold(name, "href"):
		target = &a.href
	case equalFold(name, "src"), equalFold(name, "background"):
		target = &a.src
	case equalFold(name, "style"):
		target = &a.style
	case equalFold(name, "type"):
		target = &a.kind
	case equalFold(name, "http-equiv"):
		target = &a.equiv
	case equalFold(name, "content"):
		target = &a.content
	case equalFold(name, "action"):
		target = &a.action
	case equalFold(name, "hidden"):
		a.hidden = name
		return
	default:
		return
	}
	if *target == nil { // browsers take the first of two
		*target = value
	}
}

func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// element counts a start tag and follows its address.
func (p *page) element(name []byte, a *attributes) {
	m := p.m
	switch string(name) {
	case "a":
		p.openLink(a)
	case "area":
		p.follow(a.href, false)
	case "img":
		m.body.Images++
		if p.follow(a.src, true) >= 0 {
			m.body.Remote++
		}
	case "form":
		m.body.Forms++
		p.follow(a.action, false)
	case "input":
		if equalFold(a.kind, "password") {
			m.body.Passwords++
		}
	case "script":
		m.body.Scripts++
		p.follow(a.src, false)
	case "iframe", "frame", "object", "embed":
		m.body.Frames++
		p.follow(a.src, false)
	case "meta":
		p.meta(a)
	case "link":
		p.follow(a.href, true)
	case "body", "table", "td":
		p.follow(a.src, true)
	}
}

// openLink begins a link, and ends the one that is open: links do not nest.
func (p *page) openLink(a *attributes) {
	p.closeLink()
	if a.href == nil {
		return
	}
	p.m.body.Links++
	p.link, p.linkAt = p.follow(a.href, false), len(p.m.text.out)
}

func (p *page) follow(raw []byte, image bool) int {
	if len(raw) == 0 {
		return -1
	}
	return p.m.links.add(unescape(raw), image)
}

// meta follows <meta http-equiv=refresh content="0; url=...">.
func (p *page) meta(a *attributes) {
	if !equalFold(a.equiv, "refresh") {
		return
	}
	p.m.body.Refreshes++
	content := unescape(a.content)
	if i := bytes.Index(bytes.ToLower(content), []byte("url=")); i >= 0 {
		p.m.links.add(bytes.Trim(content[i+4:], " '\""), false)
	}
}

// hide keeps count of an element whose style hides what is in it.
func (p *page) hide(name []byte, a *attributes) {
	if isVoid(name) {
		return
	}
	if p.hidden > 0 {
		if string(name) == p.hiddenTag {
			p.hidden++
		}
		if !impliesEnd(p.hiddenTag, name) {
			return
		}
		p.hidden = 0
	}
	if a.hidden != nil || len(a.style) > 0 && p.hides(a.style) {
		p.hiddenTag, p.hidden = string(name), 1
	}
}

// impliesEnd reports that the start of name ends an open element without its
// end tag.
func impliesEnd(open string, name []byte) bool {
	switch open {
	case "p":
		return breaksWord(name) && string(name) != "br" && string(name) != "img"
	case "li", "tr", "dt", "dd", "option":
		return string(name) == open
	case "td", "th":
		return string(name) == "td" || string(name) == "th" || string(name) == "tr"
	}
	return false
}

// maxStyle is how much of one style attribute is looked at.
const maxStyle = 1024

// hides reports a style under which text cannot be seen.
func (p *page) hides(style []byte) bool {
	style = style[:min(len(style), maxStyle)]
	s := append(p.scratch[:0], ';')
	for _, c := range style {
		if c > ' ' && c < 0x80 {
			s = append(s, asciiForm[c])
		}
	}
	s = append(s, ';')
	p.scratch = s
	for _, mark := range hidingStyles {
		if bytes.Contains(s, mark) {
			return true
		}
	}
	return false
}

var hidingStyles = [][]byte{
	[]byte(";display:none"), []byte(";visibility:hidden"), []byte(";opacity:0;"), []byte(";font-size:0;"),
	[]byte(";font-size:0p"), []byte(";font-size:1px;"), []byte(";mso-hide:all"), []byte(";max-height:0"),
}

// rawText are the elements whose content is no text of the page.
func rawText(name []byte) bool {
	switch string(name) {
	case "script", "style", "title":
		return true
	}
	return false
}

// skipRaw is the length of an element's raw content, up to its end tag.
func skipRaw(b, name []byte) int {
	for n := 0; ; {
		i := bytes.Index(b[n:], []byte("</"))
		if i < 0 {
			return len(b)
		}
		n += i
		if rest := b[n+2:]; len(rest) >= len(name) && equalFold(rest[:len(name)], string(name)) {
			return n
		}
		n += 2
	}
}

// breaksWord reports the elements that part words.
func breaksWord(name []byte) bool {
	switch string(name) {
	case "p", "br", "div", "td", "th", "tr", "table", "tbody", "thead", "li", "ul", "ol", "dl", "dt", "dd",
		"h1", "h2", "h3", "h4", "h5", "h6", "hr", "center", "blockquote", "pre", "body", "html", "head",
		"form", "input", "select", "option", "textarea", "button", "img", "section", "article", "header",
		"footer", "title", "style", "script", "address", "fieldset", "iframe":
		return true
	}
	return false
}

func isVoid(name []byte) bool {
	switch string(name) {
	case "br", "img", "hr", "input", "meta", "link", "area", "base", "col", "embed", "source", "wbr":
		return true
	}
	return false
}
