package mime

import (
	"bytes"

	"mailweir/mail"
)

// Limits of the other readings.
const (
	maxReadings   = 48       // contents that are read at the same time
	maxStarts     = 2000     // header sections that contents follow
	maxBoundaries = 32       // that the fields of a message could mean
	MaxReread     = 64 << 20 // octets that go through decoders for other readings
)

// Readings goes through a message whose walk found ambiguities once more, and
// hands over what it can hold in other readings than the walker's. It asks not
// how one client reads the message but what any could: wherever a header section
// may end a content begins, in every encoding that its fields could mean, and a
// content ends only where no reader can go on. A line that some take for a
// delimiter and others for text thus begins a content and ends none.
//
// It is one pass in linear time: at most maxReadings contents are open at once.
type Readings struct {
	*reread
	take  Taker
	level int // encoded messages around this one

	bounds map[string]bool // boundaries of this level
	order  [][]byte        // the same, to look through for each line: a map takes five times as long
	first  [256]bool       // octets that they begin with, in either case

	open   []*reading
	block  []byte // what may be a header section; nil outside of one
	buf    []byte // of block, kept
	firm   bool   // block follows a delimiter, and needs no field to be one
	broken bool   // a line of block is no field
	held   []byte // the beginning of a line
	inLine bool   // what comes is the rest of a line that is too long to matter
}

// reread is what all levels of one message share.
type reread struct {
	starts int // so far
	files  int // in encodings older than MIME
	left   int // of MaxReread

	inflated int64 // octets of compressed messages
	Odd      Ambiguities
	Capable  bool // a part is there that could be executed, in some reading
}

// NewReadings begins the other readings of a message with this header section.
// take may be nil: then only Odd and Capable come of it.
func NewReadings(h *mail.Header, take Taker) *Readings {
	r := &Readings{take: take, bounds: map[string]bool{}, reread: &reread{left: MaxReread}}
	r.begin(h.Raw)
	return r
}

// Write takes the next octets of the body. Beyond a limit it takes no more: what
// was not looked at is said by then, and more of it says nothing new.
func (r *Readings) Write(p []byte) {
	if r.Odd&limits != 0 {
		return
	}
	run := 0 // p[run:i] was not given to the open contents yet
	for i := 0; i < len(p); {
		n := bytes.IndexByte(p[i:], '\n') + 1
		switch {
		case r.inLine && n == 0:
			i = len(p)
			continue
		case r.inLine:
			r.inLine = false
			i += n
			continue
		case n == 0: // the line goes on in the next call
			r.feed(p[run:i])
			r.hold(p[i:])
			return // hold has seen to the rest
		}
		line := p[i : i+n]
		if len(r.held) > 0 {
			r.hold(line)
			line, r.held = r.held, nil
			if r.line(line, func() {}) {
				r.feed(line)
			}
			i += n
			run = i
			continue
		}
		if r.block == nil && !mayMatter(line) {
			i += n
			continue
		}
		if !r.line(line, func() { r.feed(p[run:i]); run = i }) {
			run = i + n
		}
		i += n
	}
	r.feed(p[run:])
}

// mayMatter tells, outside of a header section, the lines that can begin one.
func mayMatter(line []byte) bool {
	switch line[0] {
	case '-':
		return len(line) > 2 && line[1] == '-'
	case 'c', 'C':
		return isContentField(line)
	}
	return false
}

func isContentField(line []byte) bool {
	const name = "content-"
	return len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name))
}

// hold keeps the beginning of a line.
func (r *Readings) hold(p []byte) {
	r.held = append(r.held, p...)
	limit := maxDelimiter
	if r.block != nil {
		limit = MaxHeader
	}
	if len(r.held) > limit && r.held[len(r.held)-1] != '\n' {
		r.feed(r.held)
		r.held, r.inLine = nil, true
	}
}

// Close ends the message.
func (r *Readings) Close() {
	if len(r.held) > 0 {
		line := r.held
		r.held = nil
		if r.line(line, func() {}) {
			r.feed(line)
		}
	}
	r.finish()
}

// line looks at one line. flush hands what came before it to the open contents
// and is called before these change. It returns whether the line itself is
// still theirs.
func (r *Readings) line(line []byte, flush func()) bool {
	if len(line) > 2 && line[0] == '-' && line[1] == '-' {
		switch r.match(line[2:]) {
		case exact:
			flush()
			r.finish()
			r.startBlock(nil, true)
			return false
		case alike:
			r.startBlock(nil, true)
		default:
			r.startBlock(nil, false)
		}
		return true
	}
	if r.block == nil {
		if isContentField(line) {
			r.startBlock(line, false)
		}
		return true
	}
	return r.blockLine(line, flush)
}

// startBlock begins what may be a header section.
func (r *Readings) startBlock(line []byte, firm bool) {
	if r.buf == nil {
		r.buf = make([]byte, 0, 1024)
	}
	r.block, r.firm, r.broken = append(r.buf[:0], line...), firm, false
}

// blockLine looks at a line of what may be a header section.
func (r *Readings) blockLine(line []byte, flush func()) bool {
	text := bytes.TrimRight(line, " \t\r\n")
	blank := len(text) == 0
	odd := !blank && line[0] != ' ' && line[0] != '\t' && bytes.IndexByte(line, ':') < 0
	if !blank && !odd {
		if len(r.block)+len(line) > MaxHeader {
			if r.firm {
				r.Odd.Add(LimitHeader)
			}
			r.block = nil
			return true
		}
		r.block = append(r.block, line...)
		r.buf = r.block
		return true
	}
	if !r.firm && !hasContentField(r.block) {
		r.block = nil // a dashed line in a text
		return true
	}
	if !blank { // no field: some readers skip it, for others the body begins here
		if !r.broken {
			flush()
			block, firm := r.block, r.firm
			r.begin(block)
			r.block, r.firm, r.broken = block, firm, true
		}
		return true
	}
	flush()
	r.feed(line)
	block := r.block
	r.block = nil
	r.begin(block)
	if r.block == nil && !r.broken && (line[0] == ' ' || line[0] == '\t') { // an empty fold; some go on after it
		r.block, r.broken = block, true
	}
	return false
}

func hasContentField(block []byte) bool {
	for len(block) > 0 {
		if isContentField(bytes.TrimLeft(block, " \t")) {
			return true
		}
		i := bytes.IndexByte(block, '\n')
		if i < 0 {
			return false
		}
		block = block[i+1:]
	}
	return false
}

type likeness uint8

const (
	none  likeness = iota
	alike          // it begins with a boundary, or differs from one in case
	exact
)

// match compares a line, without its dashes, with every boundary there is.
func (r *Readings) match(rest []byte) likeness {
	rest = bytes.TrimRight(rest, " \t\r\n")
	if len(rest) == 0 || !r.first[rest[0]] {
		return none
	}
	if r.bounds[string(rest)] || r.bounds[string(bytes.TrimSuffix(rest, dashes[1:]))] {
		return exact
	}
	for _, b := range r.order {
		if len(rest) >= len(b) && bytes.EqualFold(rest[:len(b)], b) {
			return alike
		}
	}
	return none
}

// feed gives octets to the open contents.
func (r *Readings) feed(p []byte) {
	if len(p) == 0 {
		return
	}
	for _, c := range r.open {
		c.write(r, p)
	}
}

// finish ends the open contents.
func (r *Readings) finish() {
	for _, c := range r.open {
		c.end(r)
	}
	r.open = r.open[:0]
}
