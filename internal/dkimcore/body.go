package dkimcore

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

// BodyHash hashes a body under one canonicalisation as it arrives (RFC 6376
// sections 3.4.3 and 3.4.4). What ends up in the hash depends on what follows,
// so the octets that may yet be dropped are only counted: empty lines, a space
// run, a CR. Every octet is looked at a bounded number of times.
type BodyHash struct {
	hash    hash.Hash
	relaxed bool
	size    int64 // canonical octets, for l=
	lines   int   // empty lines, or line ends, not yet hashed
	space   bool  // white space not yet hashed (relaxed)
	cr      bool  // a CR whose LF may follow
	scratch []byte
	sum     []byte
}

// NewBodyHash starts a body, under "relaxed" or under "simple".
func NewBodyHash(relaxed bool) *BodyHash {
	return &BodyHash{hash: sha256.New(), relaxed: relaxed}
}

// Write takes the next octets of the body. p is not kept.
func (h *BodyHash) Write(p []byte) {
	if h.relaxed {
		h.writeRelaxed(p)
	} else {
		h.writeSimple(p)
	}
}

func (h *BodyHash) put(p []byte) {
	h.hash.Write(p)
	h.size += int64(len(p))
}

var lineEnds = bytes.Repeat([]byte("\r\n"), 512)

// putLines hashes the line ends that turned out to be followed by something.
func (h *BodyHash) putLines() {
	for h.lines > 0 {
		n := min(h.lines, len(lineEnds)/2)
		h.put(lineEnds[:2*n])
		h.lines -= n
	}
}

// writeSimple passes everything through but the line ends at the very end.
func (h *BodyHash) writeSimple(p []byte) {
	if h.cr && len(p) > 0 {
		h.cr = false
		if p[0] == '\n' {
			h.lines++
			p = p[1:]
		} else {
			h.putLines()
			h.put([]byte{'\r'})
		}
	}
	for bytes.HasPrefix(p, lineEnds[:2]) {
		h.lines++
		p = p[2:]
	}
	end, cr := len(p), false
	if end > 0 && p[end-1] == '\r' {
		end, cr = end-1, true
	}
	lines := 0
	for end >= 2 && p[end-2] == '\r' && p[end-1] == '\n' {
		end -= 2
		lines++
	}
	if end > 0 {
		h.putLines()
		h.put(p[:end])
	}
	h.lines += lines
	h.cr = cr
}

// writeRelaxed hashes runs of lines that are canonical already straight from
// p, and takes all others octet by octet.
func (h *BodyHash) writeRelaxed(p []byte) {
	for len(p) > 0 {
		if !h.cr && !h.space {
			n := cleanLines(p)
			if n > 0 {
				h.putLines()
				h.put(p[:n-2])
				h.lines = 1
				p = p[n:]
				continue
			}
		}
		n := bytes.IndexByte(p, '\n') + 1
		if n == 0 {
			n = len(p)
		}
		h.relaxLine(p[:n])
		p = p[n:]
	}
}

var spaceSpace = []byte("  ")

// cleanLines is the length of the complete lines at the start of p that
// relaxing would not change: not empty, no tab, no run of spaces, no space at
// the end.
func cleanLines(p []byte) int {
	n := 0
	for n < len(p) {
		i := bytes.IndexByte(p[n:], '\n')
		if i < 2 || p[n+i-1] != '\r' || p[n+i-2] == ' ' {
			break
		}
		line := p[n : n+i]
		if bytes.IndexByte(line, '\t') >= 0 || hasSpaceRun(line) {
			break
		}
		n += i + 1
	}
	return n
}

// hasSpaceRun finds two spaces in a row. Up to 64 octets bytes.Contains is a few
// vector instructions; beyond, it stops at every single space.
func hasSpaceRun(line []byte) bool {
	for len(line) > 64 {
		if bytes.Contains(line[:64], spaceSpace) {
			return true
		}
		line = line[63:]
	}
	return bytes.Contains(line, spaceSpace)
}

// relaxLine takes up to one line, or a part of one.
func (h *BodyHash) relaxLine(p []byte) {
	out := h.scratch[:0]
	for len(p) > 0 {
		n := 0
		if !h.space || p[0] != ' ' {
			n = ordinary(p[:min(len(p), scratchSize)])
		}
		if h.cr && p[0] != '\n' {
			h.cr = false
			out = append(h.resume(out), '\r') // it ended no line
		}
		if n > 0 {
			out = append(h.resume(out), p[:n]...)
			p = p[n:]
			continue
		}
		switch c := p[0]; {
		case c == ' ' || c == '\t':
			h.space = true
		case c == '\r':
			h.cr = true
		case c == '\n' && h.cr:
			h.cr, h.space = false, false
			h.putScratch(&out)
			h.lines++
		default:
			out = append(h.resume(out), c)
		}
		p = p[1:]
	}
	h.putScratch(&out)
	h.scratch = out
}

const scratchSize = 4096

// ordinary is the length of the run at the start of p that relaxing leaves
// alone: no control characters, and spaces only one at a time.
func ordinary(p []byte) int {
	for i, c := range p {
		if c <= ' ' && (c != ' ' || i+1 == len(p) || p[i+1] <= ' ') {
			return i
		}
	}
	return len(p)
}

// resume emits what was held back, now that something follows it.
func (h *BodyHash) resume(out []byte) []byte {
	if h.lines > 0 {
		h.putScratch(&out)
		h.putLines()
	}
	if h.space {
		h.space = false
		out = append(out, ' ')
	}
	if len(out) >= scratchSize {
		h.putScratch(&out)
	}
	return out
}

func (h *BodyHash) putScratch(out *[]byte) {
	if len(*out) > 0 {
		h.put(*out)
		*out = (*out)[:0]
	}
}

// Size is the number of canonical octets, once Sum was called.
func (h *BodyHash) Size() int64 { return h.size }

// Sum ends the body and returns its hash; it may be called again.
func (h *BodyHash) Sum() []byte {
	if h.sum != nil {
		return h.sum
	}
	if h.cr {
		h.cr = false
		h.putLines()
		h.putSpace()
		h.put([]byte{'\r'})
		h.lines = 1
	}
	h.endLine()
	h.sum = h.hash.Sum(nil)
	return h.sum
}

func (h *BodyHash) putSpace() {
	if h.space {
		h.put([]byte{' '})
		h.space = false
	}
}

// endLine gives the last line its CRLF. An empty body is one CRLF under simple
// and nothing under relaxed; trailing white space without a line end goes too.
func (h *BodyHash) endLine() {
	h.space = false
	if !h.relaxed || h.size > 0 {
		h.put(lineEnds[:2])
	}
	h.lines = 0
}

// Bodies hash one body, once for each canonicalisation that is wanted.
type Bodies struct {
	simple, relaxed *BodyHash
	joined          bool
}

// Join makes the caller one of those that share the hashes, and tells it
// whether it is the first, who alone is to call Write. All join, and say what
// they want, before the first octet comes.
func (b *Bodies) Join() (first bool) {
	first, b.joined = !b.joined, true
	return first
}

// Want asks for a canonicalisation, before the first octet comes.
func (b *Bodies) Want(relaxed bool) {
	switch {
	case relaxed && b.relaxed == nil:
		b.relaxed = NewBodyHash(true)
	case !relaxed && b.simple == nil:
		b.simple = NewBodyHash(false)
	}
}

// Write takes the next octets of the body: CRLF line ends, dots unstuffed.
func (b *Bodies) Write(p []byte) {
	if b.simple != nil {
		b.simple.Write(p)
	}
	if b.relaxed != nil {
		b.relaxed.Write(p)
	}
}

// of is the hash of a canonicalisation that was wanted.
func (b *Bodies) of(relaxed bool) *BodyHash {
	if relaxed {
		return b.relaxed
	}
	return b.simple
}
