package mime

import (
	"bytes"

	"mailweir/mail"
)

// Limits. What exceeds one is not walked into, and says so by an ambiguity.
const (
	MaxDepth     = 100       // entities inside each other
	MaxParts     = 1000      // entities in all
	MaxHeader    = 64 << 10  // octets of one part's header section
	MaxHeaders   = 512 << 10 // octets of all parts' header sections together
	MaxEncoded   = 8         // encoded messages inside each other
	maxDelimiter = 1024      // octets of a line that may still be a delimiter
	maxBoundary  = 70        // RFC 2046 section 5.1.1; longer ones are used, up to maxDelimiter, and noted
	decodePiece  = 8 << 10   // octets decoded at a time
)

// Part is one entity of the tree, in document order.
type Part struct {
	Depth       int
	Type        string // lower case; "text/plain" where nothing is said (RFC 2045 section 5.2)
	Encoding    string // lower case, "" where nothing is said
	Charset     string
	Disposition string
	Name        string // decoded file name
	Offset      int64  // of its body's first octet, in the body of the message or of the encoded message around it
	Size        int64  // octets as transmitted
	Magic       string // see magic
	// Odd is what makes this part ambiguous.
	Odd Ambiguities

	capable bool  // it can carry executable content
	header  int64 // octets of its header section, which ends at Offset
	inner   bool  // Offset is in an encoded message
}

// Inner reports that the part lies in an encoded message, so that Offset is no
// place in the body of the message itself.
func (p *Part) Inner() bool { return p.inner }

// Sink takes the text that a reader of the message would see. The walker
// calls it in document order.
type Sink interface {
	// Begin starts a leaf: html tells HTML from plain text.
	Begin(html bool, charset string)
	// Write takes its next octets, transfer encoding undone. When it returns
	// false no more of this leaf is wanted.
	Write(p []byte) bool
	// End ends the leaf.
	End()
}

// Taker is who wants the content of the parts: a scanner, a look into archives.
type Taker interface {
	// Begin starts a leaf and returns where its octets go; nil when they are
	// not wanted. It is called while the octets arrive, as soon as the header
	// section of the part is complete.
	Begin(l *Leaf) Content
}

// Content takes the octets of one leaf, transfer encoding undone. Between Begin
// and End of one leaf there may be calls for leaves of other readings.
type Content interface {
	// Write takes the next octets, valid during the call. When it returns
	// false no more of this leaf is wanted; End is called all the same.
	Write(p []byte) bool
	End()
}

// Leaf is what a Taker is told of a part before its octets come.
type Leaf struct {
	Part             // Size and Magic are not known yet
	Names   []string // every file name that some client may show, each once; Part.Name first
	Reading string   // "" for the one that the tree of parts shows, else what is read differently
}

// Walker finds the entities of one message while its octets arrive. It keeps
// offsets and parsed header fields, never the body; the time it takes is
// linear in the length of the message.
type Walker struct {
	*tree
	text   Sink
	take   Taker
	depth  int // of the outermost entity
	level  int // encoded messages around this walk
	offset int64
	frames []frame
	state  state

	head     []byte // header section of the part that begins
	lineAt   int    // where the current line of head begins
	headLen  int64  // octets of the header section that was read last
	digest   bool   // parts default to message/rfc822 (RFC 2046 section 5.1.5)
	bol      bool   // the next octet begins a line
	held     []byte // the beginning of a line that may be a delimiter
	lastCRLF int    // octets of line end that the body stopped with
	leaf     leaf
	stray    int // octets of strayLine that the body stopped with
}

// tree is what a walker and the walkers of encoded messages inside share.
type tree struct {
	Parts   []Part
	Odd     Ambiguities
	files   int // in encodings older than MIME
	headers int // octets of parts' header sections so far
	full    bool

	inflated int64 // octets of compressed messages
}

// frame is a container that is still open.
type frame struct {
	boundary string // "" for a message/rfc822
	index    int    // in tree.Parts; -1 for the whole of an encoded message
	depth    int
	digest   bool
	parts    int
	closed   bool // its closing delimiter has been seen
}

type state uint8

const (
	inBody   state = iota // of a leaf, or a preamble or epilogue
	inHeader              // of a part
)

// NewWalker starts the walk of a message with this header section. text and
// take may be nil.
func NewWalker(h *mail.Header, text Sink, take Taker) *Walker {
	w := &Walker{tree: new(tree), text: text, take: take}
	w.bol = true
	w.open(h.Fields, true)
	return w
}

// Write takes the next octets of the body.
func (w *Walker) Write(p []byte) {
	for len(p) > 0 {
		var n int
		switch {
		case w.full:
			n = len(p)
			w.offset += int64(n)
		case w.state == inHeader:
			n = w.header(p)
		case len(w.frames) == 0:
			n = len(p)
			w.body(p)
		default:
			n = w.lines(p)
		}
		p = p[n:]
	}
}

// Close ends the message. Parts and Odd are complete then.
func (w *Walker) Close() {
	if len(w.held) > 0 {
		if !w.delimiter(w.held) { // a closing delimiter without a line end
			w.body(w.held)
		}
		w.held = nil
	}
	for w.state == inHeader {
		w.Odd.Add(NoBreak)
		w.begin()
	}
	w.end(0)
	w.pop(0, 0)
}

// lines takes octets of a body inside a multipart, looking for delimiters:
// lines that begin with "--". It returns how many it took, at least one.
func (w *Walker) lines(p []byte) int {
	if !w.bol {
		i := bytes.Index(p, dashes)
		if i >= 0 {
			w.body(p[:i+1])
			w.bol = true
			return i + 1
		}
		n := len(p)
		if p[n-1] == '\n' {
			w.bol = true
		} else if n > 1 && p[n-1] == '-' && p[n-2] == '\n' {
			n-- // the line that begins with this dash is looked at with its rest
			w.bol = true
		}
		w.body(p[:n])
		return n
	}
	return w.lineStart(p)
}

var dashes = []byte("\n--")

// lineStart takes octets at the beginning of a line.
func (w *Walker) lineStart(p []byte) int {
	if len(w.held) < 2 && p[0] != '-' {
		w.bol = false
		w.release()
		return w.plain(p)
	}
	n := bytes.IndexByte(p, '\n') + 1
	if n == 0 {
		n = len(p)
	}
	line := p[:n]
	if len(w.held) > 0 || line[n-1] != '\n' {
		n = min(n, maxDelimiter-len(w.held))
		w.held = append(w.held, p[:n]...)
		line = w.held
	}
	switch {
	case line[len(line)-1] == '\n':
		if len(line) > maxDelimiter || !w.delimiter(line) {
			w.body(line)
		}
	case len(w.held) >= maxDelimiter, len(line) > 1 && line[1] != '-':
		w.bol = false
		w.body(line)
	default:
		return n // the line goes on with the next octets
	}
	w.held = w.held[:0]
	return n
}

// release gives a held dash back to the body.
func (w *Walker) release() {
	if len(w.held) > 0 {
		w.body(w.held)
		w.held = w.held[:0]
	}
}

// plain takes the first octet of a line that cannot be a delimiter, so that
// lines may look for the line's end behind it.
func (w *Walker) plain(p []byte) int {
	w.body(p[:1])
	w.bol = p[0] == '\n'
	return 1
}

// body takes octets of a leaf, preamble or epilogue.
func (w *Walker) body(p []byte) {
	w.offset += int64(len(p))
	w.lastCRLF = trailingCRLF(p, w.lastCRLF)
	if !w.leaf.open || w.leaf.plain {
		w.lookForFields(p)
	}
	w.leaf.write(w, p)
}

const strayLine = "\ncontent-"

// lookForFields notes lines of a text, preamble or epilogue that look like the
// header section of a part: some client may find a part there.
func (w *Walker) lookForFields(p []byte) {
	if w.Odd.Has(StrayFields) {
		return
	}
	for len(p) > 0 {
		if w.stray == 0 {
			i := bytes.IndexByte(p, '\n')
			if i < 0 {
				return
			}
			p = p[i:]
		}
		n := 0
		for n < len(p) && w.stray < len(strayLine) && (p[n]|0x20 == strayLine[w.stray] || p[n] == strayLine[w.stray]) {
			n, w.stray = n+1, w.stray+1
		}
		switch {
		case w.stray == len(strayLine):
			w.Odd.Add(StrayFields)
			return
		case n == len(p):
			return
		}
		w.stray = 0
		p = p[n:]
	}
}

// trailingCRLF is how many octets of line end p ends with; before is the
// answer for what came before p.
func trailingCRLF(p []byte, before int) int {
	n := len(p)
	switch {
	case n == 0:
		return before
	case p[n-1] == '\r':
		return -1 // half of one
	case p[n-1] != '\n':
		return 0
	case n > 1 && p[n-2] == '\r', n == 1 && before == -1:
		return 2
	}
	return 1
}

// delimiter acts on a line that begins with "--"; false when it is none.
func (w *Walker) delimiter(line []byte) bool {
	i, closing := w.match(line)
	if i < 0 {
		return false
	}
	w.end(max(0, w.lastCRLF))
	w.pop(i+1, max(0, w.lastCRLF))
	w.offset += int64(len(line))
	w.lastCRLF = 0
	f := &w.frames[i]
	w.bol = true
	w.stray = 1
	if closing {
		f.closed = true
		w.state = inBody
		return true
	}
	if f.closed {
		w.Odd.Add(PartAfterClose)
		f.closed = false
	}
	f.parts++
	w.digest = f.digest
	w.state = inHeader
	return true
}

// match finds the multipart that a line delimits, the innermost first. RFC
// 2046 section 5.1.1 lets a line that only begins with the delimiter count;
// clients want all of it, so that reading is noted and not followed.
func (w *Walker) match(line []byte) (frame int, closing bool) {
	if !bytes.HasPrefix(line, dashes[1:]) {
		return -1, false
	}
	rest := bytes.TrimRight(line[2:], " \t\r\n")
	prefix := false
	for i := len(w.frames) - 1; i >= 0; i-- {
		b := w.frames[i].boundary
		if b == "" || len(rest) < len(b) || string(rest[:len(b)]) != b {
			continue
		}
		switch tail := rest[len(b):]; {
		case len(tail) == 0:
			return i, false
		case string(tail) == "--":
			return i, true
		}
		prefix = true // unless it is a delimiter of a multipart further out
	}
	if prefix {
		w.Odd.Add(BoundaryPrefix)
	}
	return -1, false
}

// end closes the leaf; crlf octets before the delimiter belong to it.
func (w *Walker) end(crlf int) {
	if w.leaf.open {
		w.leaf.end(w, crlf)
	}
}

// pop closes containers down to n open ones.
func (w *Walker) pop(n, crlf int) {
	for i := len(w.frames) - 1; i >= n; i-- {
		f := &w.frames[i]
		if f.index >= 0 {
			part := &w.Parts[f.index]
			part.Size = max(0, w.offset-part.Offset-int64(crlf))
		}
		switch {
		case f.boundary == "":
		case f.parts == 0:
			w.Odd.Add(NoParts)
		case !f.closed:
			w.Odd.Add(Unclosed)
		}
	}
	w.frames = w.frames[:n]
}
