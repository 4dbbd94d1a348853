package mime

import (
	"strings"

	"mailweir/internal/filetype"
)

// isSigned tells a part that may be an opaquely signed message (RFC 8551 section
// 3.5.2), or a compressed one (section 3.6): clients show the message in it as if
// it were the part. Programs go by the name where the type says nothing (section
// 3.9).
func isSigned(kind string, names []string) bool {
	if strings.HasSuffix(kind, "/pkcs7-mime") || strings.HasSuffix(kind, "/x-pkcs7-mime") {
		return true
	}
	for _, n := range names {
		if ext := filetype.Extension(n); ext == "p7m" || ext == "p7z" {
			return true
		}
	}
	return false
}

// signedContent finds the message in SignedData (RFC 5652 section 5.1) as its
// octets arrive, whoever signed it:
//
//	SEQUENCE { OID signedData, [0] { SEQUENCE { version, SET of digests,
//	  SEQUENCE { OID type, [0] { OCTET STRING } }, ... } } }
//
// The octet string may come in pieces, and lengths need not be known (BER, ITU-T
// X.690 section 8). CompressedData (RFC 3274) has an algorithm in the place of the
// digests, and the message in zlib's form. What is encrypted gives nothing.
type signedContent struct {
	to       func(p []byte)
	inflated *int64       // octets of all compressed messages so far
	odd      *Ambiguities // where a limit of them is noted

	inflater *inflater // of CompressedData, once there is something in it
	done     bool
	header   []byte // tag and length of an element, as far as they are there
	give     bool   // the element is octets of the message
	left     int64  // octets of it
	at       int64
	open     []berElement
	oid      []byte // of ContentInfo
}

// berElement is a constructed element that is not at its end.
type berElement struct {
	end  int64 // -1 where its end is marked
	path bool  // the message lies in it
}

const (
	signedDataOID     = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
	compressedDataOID = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09"
	// signedPath are the tags around the message, from the outside in.
	signedPath   = "\x30\xa0\x30\x30\xa0\x24"
	signedOctets = len(signedPath) - 1 // place of the octet string in it
	maxBERDepth  = 32

	berOID, berOctets, berConstructed = 0x06, 0x04, 0x20
)

// write takes the next octets.
func (s *signedContent) write(p []byte) {
	for len(p) > 0 && !s.done {
		if s.left == 0 {
			s.header = append(s.header, p[0])
			s.at, p = s.at+1, p[1:]
			s.element()
			continue
		}
		n := int(min(int64(len(p)), s.left))
		switch {
		case s.give && string(s.oid) == compressedDataOID:
			s.inflate(p[:n])
		case s.give:
			s.to(p[:n])
		case len(s.open) == 1:
			s.oid = append(s.oid, p[:min(n, 16)]...)
		}
		p, s.left, s.at = p[n:], s.left-int64(n), s.at+int64(n)
		if s.left == 0 {
			s.leave()
		}
	}
}

func (s *signedContent) inflate(p []byte) {
	if s.inflater == nil {
		s.inflater = newInflater()
	}
	if !s.inflater.write(p, s.inflated, s.to) {
		s.odd.Add(LimitReadings)
		s.done = true
	}
}

// close ends it, whether all octets have come or not.
func (s *signedContent) close() {
	s.done = true
	if s.inflater != nil {
		s.inflater.stop()
	}
}

// element acts on a tag and a length, once they are complete.
func (s *signedContent) element() {
	h := s.header
	if len(h) < 2 {
		return
	}
	length := int64(h[1])
	if h[1] > 0x80 {
		size := int(h[1] & 0x7f)
		if size > 8 {
			s.done = true
			return
		}
		if len(h) < 2+size {
			return
		}
		length = 0
		for _, c := range h[2:] {
			length = length<<8 | int64(c)
		}
	}
	s.header = s.header[:0]
	switch {
	case length < 0, len(s.open) == 0 && h[0] != signedPath[0]:
		s.done = true
	case h[0] == 0 && length == 0: // the mark of an end
		s.pop()
		s.leave()
	case h[0]&berConstructed != 0:
		s.enter(h[0], length, h[1] == 0x80)
	default:
		s.give = h[0] == berOctets && len(s.open) >= signedOctets && s.open[len(s.open)-1].path
		if s.left = length; length == 0 {
			s.leave()
		}
	}
}

// enter begins a constructed element.
func (s *signedContent) enter(tag byte, length int64, marked bool) {
	depth := len(s.open)
	if depth >= maxBERDepth || depth == 1 && string(s.oid) != signedDataOID && string(s.oid) != compressedDataOID {
		s.done = true
		return
	}
	e := berElement{end: s.at + length, path: depth == 0 || s.open[depth-1].path}
	if marked {
		e.end = -1
	}
	e.path = e.path && tag == signedPath[min(depth, signedOctets)]
	if !e.path && !marked { // nothing in it counts
		s.give, s.left = false, length
		return
	}
	s.open = append(s.open, e)
	s.leave()
}

// leave ends the elements that end here.
func (s *signedContent) leave() {
	for n := len(s.open); n > 0 && s.open[n-1].end >= 0 && s.open[n-1].end <= s.at; n-- {
		s.pop()
	}
}

// pop ends the innermost element. After what held the message nothing counts.
func (s *signedContent) pop() {
	n := len(s.open) - 1
	s.done = s.done || n == 0 || n == signedOctets-1 && s.open[n].path
	s.open = s.open[:n]
}
