package mime

import (
	"bytes"
	"strings"

	"mailweir/internal/filetype"
)

// leaf is the part whose body is arriving.
type leaf struct {
	open    bool
	index   int // in tree.Parts
	decoder decoder
	size    int64
	head    [48]byte // first decoded octets, for filetype
	headLen int
	plain   bool // not in base64
	text    bool // the sink wants the rest
	begun   bool // the sink was told of it
	content Content
	crlf    int            // octets of a line end that content was not given yet
	taken   bool           // content wants the rest
	inner   *Walker        // of a message that lies in it
	signed  *signedContent // nil where the part is that message
	outer   outer
	scratch []byte
}

// begin opens a leaf.
func (l *leaf) begin(w *Walker, part *Part, names []string) {
	scratch := l.scratch
	*l = leaf{open: true, index: len(w.Parts) - 1, decoder: newDecoder(part.Encoding), scratch: scratch,
		plain: part.Encoding != "base64"}
	switch {
	case part.Depth >= MaxDepth:
	case part.Type == "message/rfc822" || part.Type == "message/global":
		l.inner = w.inside(part)
	case isSigned(part.Type, names):
		if l.inner = w.inside(part); l.inner != nil {
			l.signed = &signedContent{to: func(p []byte) { l.outer.write(l.inner, p) }, inflated: &w.inflated, odd: &w.Odd}
		}
	case w.text != nil && isText(part):
		l.text, l.begun = true, true
		w.text.Begin(isHTML(part), part.Charset)
	}
	if w.take != nil && (l.inner == nil || l.signed != nil) {
		told := Leaf{Part: *part, Names: names}
		l.content = widen(w.take.Begin(&told), w.take, &told, &w.files, &w.Odd)
		l.taken = l.content != nil
	}
}

func newDecoder(encoding string) decoder {
	switch encoding {
	case "base64":
		return new(base64Decoder)
	case "quoted-printable":
		return new(qpDecoder)
	}
	return identity{}
}

// isText tells what a reader sees when the message is opened. HTML counts
// however it is attached: a form in an attachment is what phishing sends.
func isText(p *Part) bool {
	if isHTML(p) {
		return true
	}
	if p.Disposition == "attachment" {
		return false
	}
	return p.Type == "text/plain" || p.Type == "text/enriched" || p.Type == "text" ||
		strings.HasPrefix(p.Type, "multipart/")
}

func isHTML(p *Part) bool {
	if p.Type == "text/html" || p.Type == "application/xhtml+xml" {
		return true
	}
	ext := filetype.Extension(p.Name)
	return (ext == "html" || ext == "htm" || ext == "shtml" || ext == "xhtml") && p.Type != "message/rfc822"
}

// write takes octets of the body. Text is decoded whole; of the rest only the
// first octets are, and its encoding is checked.
func (l *leaf) write(w *Walker, p []byte) {
	if !l.open {
		return // a preamble or an epilogue
	}
	l.size += int64(len(p))
	for len(p) > 0 {
		n := min(len(p), decodePiece)
		if !l.wanted() {
			l.decoder.check(p)
			return
		}
		if l.headLen < len(l.head) {
			n = min(n, 2*len(l.head))
		}
		l.scratch = l.decoder.decode(l.scratch[:0], p[:n])
		l.decoded(w, l.scratch)
		p = p[n:]
	}
}

func (l *leaf) wanted() bool {
	return l.text || l.taken || l.inner != nil || l.headLen < len(l.head)
}

func (l *leaf) decoded(w *Walker, p []byte) {
	if l.headLen < len(l.head) {
		l.headLen += copy(l.head[l.headLen:], p)
	}
	if l.text && len(p) > 0 {
		l.text = w.text.Write(p)
	}
	if l.taken && len(p) > 0 {
		l.give(p)
	}
	switch {
	case l.signed != nil:
		l.signed.write(p)
	case l.inner != nil:
		l.outer.write(l.inner, p)
	}
}

// give hands octets to the taker, but for a line end that may be the delimiter's
// (RFC 2046 section 5.1.1).
func (l *leaf) give(p []byte) {
	if !l.plain {
		l.taken = l.content.Write(p)
		return
	}
	if l.crlf == 1 && len(p) == 1 && p[0] == '\n' {
		l.crlf = 2
		return
	}
	l.lineEnd()
	n := len(p)
	switch {
	case p[n-1] == '\r':
		l.crlf = 1
	case n > 1 && p[n-1] == '\n' && p[n-2] == '\r':
		l.crlf = 2
	}
	if l.taken && n > l.crlf {
		l.taken = l.content.Write(p[:n-l.crlf])
	}
}

// lineEnd gives the line end that was held back.
func (l *leaf) lineEnd() {
	if l.taken && l.crlf > 0 {
		l.taken = l.content.Write([]byte("\r\n")[:l.crlf])
	}
	l.crlf = 0
}

// end closes the leaf.
func (l *leaf) end(w *Walker, crlf int) {
	l.open = false
	rest, odd := l.decoder.finish(l.scratch[:0])
	l.decoded(w, rest)
	w.Odd |= odd
	part := &w.Parts[l.index]
	part.Odd |= odd
	part.Size = l.size - min(l.size, int64(crlf))
	kind := filetype.Detect(l.head[:l.headLen])
	part.Magic = string(kind)
	part.capable = part.capable || capableMagic(kind)
	if l.begun {
		w.text.End()
	}
	if l.content != nil {
		if crlf == 0 {
			l.lineEnd()
		}
		l.content.End()
	}
	if l.signed != nil {
		l.signed.close()
	}
	if l.inner != nil {
		l.outer.close(l.inner)
	}
}

// inside makes the walker of an encoded message; nil beyond the limit.
func (w *Walker) inside(part *Part) *Walker {
	if w.level >= MaxEncoded {
		w.Odd.Add(LimitDepth)
		return nil
	}
	return &Walker{tree: w.tree, text: w.text, take: w.take, depth: part.Depth + 1, level: w.level + 1}
}

// outer feeds an encoded message to its own walker: first its header section,
// which that walker reads like a part's.
type outer struct{ begun, cr bool }

func (o *outer) write(w *Walker, p []byte) {
	if len(p) == 0 {
		return
	}
	if !w.Odd.Has(BareCR) && bareCR(p, o.cr) {
		w.Odd.Add(BareCR)
	}
	o.cr = p[len(p)-1] == '\r'
	if !o.begun {
		o.begun = true
		w.frames = append(w.frames, frame{index: -1, depth: w.depth - 1})
		w.state = inHeader
	}
	w.Write(p)
}

func (o *outer) close(w *Walker) {
	if o.begun {
		w.Close()
	}
}

// bareCR reports a CR that no LF follows; before tells that one came before p.
func bareCR(p []byte, before bool) bool {
	for {
		if before && p[0] != '\n' {
			return true
		}
		i := bytes.IndexByte(p, '\r')
		if i < 0 || i+1 == len(p) {
			return false
		}
		p, before = p[i+1:], true
	}
}
