package mime

import (
	"strings"
)

// leaf is the part whose body is arriving.
type leaf struct {
	open    bool
	index   int // in tree.Parts
	decoder decoder
	size    int64
	head    [48]byte // first decoded octets, for magic
	headLen int
	text    bool // the sink wants the rest
	begun   bool // the sink was told of it
	content Content
	taken   bool // content wants the rest
	inner   *Walker
	outer   outer
	scratch []byte
}

// begin opens a leaf.
func (l *leaf) begin(w *Walker, part *Part, e *entity) {
	scratch := l.scratch
	*l = leaf{open: true, index: len(w.Parts) - 1, decoder: newDecoder(part.Encoding), scratch: scratch}
	switch {
	case part.Depth >= MaxDepth:
	case part.Type == "message/rfc822" || part.Type == "message/global":
		l.inner = w.inside(part)
	case w.text != nil && isText(part):
		l.text, l.begun = true, true
		w.text.Begin(isHTML(part), part.Charset)
	}
	if w.take != nil && l.inner == nil {
		l.content = w.take.Begin(&Leaf{Part: *part, Names: e.names(part.Name)})
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
	ext := extension(p.Name)
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
		l.taken = l.content.Write(p)
	}
	if l.inner != nil {
		l.outer.write(l.inner, p)
	}
}

// end closes the leaf.
func (l *leaf) end(w *Walker, crlf int) {
	l.open = false
	rest, odd := l.decoder.finish(l.scratch[:0])
	l.decoded(w, rest)
	w.Odd |= odd
	part := &w.Parts[l.index]
	part.Size = l.size - min(l.size, int64(crlf))
	part.Magic = magic(l.head[:l.headLen])
	if l.begun {
		w.text.End()
	}
	if l.content != nil {
		l.content.End()
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
type outer struct{ begun bool }

func (o *outer) write(w *Walker, p []byte) {
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
