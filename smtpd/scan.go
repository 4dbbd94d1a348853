package smtpd

import "bytes"

// scanner checks the octets of one message as they come, and for DATA finds
// its end and takes the dots off (RFC 5321 section 4.5.2). It sees a message
// in pieces cut anywhere, keeps no octet of them, and does the same whatever
// the cuts.
//
// Only CRLF ends a line, and only CRLF "." CRLF ends DATA. What other systems
// read in other ways (a bare CR, a bare LF, NUL) makes a fault: the message
// will be refused, and the search for its real end goes on, so that what a
// more lenient reader would take for a second message is part of the refused
// one.
type scanner struct {
	dots      bool // DATA; BDAT has none
	maxLine   int
	maxHeader int

	text   bool // not at the beginning of a line
	cr     bool // the last octet was CR
	body   bool // behind the header section
	line   int  // octets of this line so far
	header int  // octets of the header section so far
	fault  *Reply
}

// scan uses octets of b. The first n of b are then message text, unstuffed in
// place: each octet moves once at most, and none before the first dot. used
// can stay short of len(b) by two octets, where a dot may or may not be the
// end: they must come again with more behind them. With end, what follows
// b[:used] is the next command.
func (s *scanner) scan(b []byte) (n, used int, end bool) {
	first := s.cr
	pairs, from := 0, 0 // CRLFs seen; where the text not yet moved starts
	for used < len(b) {
		if s.dots && !s.text && b[used] == '.' {
			rest := b[used:]
			if len(rest) == 1 || len(rest) == 2 && rest[1] == '\r' {
				break
			}
			n += move(b, n, from, used)
			if rest[1] == '\r' && rest[2] == '\n' {
				from, used, end = used+3, used+3, true
				break
			}
			used++
			from, s.text, s.cr = used, true, false
		}
		i := bytes.IndexByte(b[used:], '\n')
		if i < 0 {
			s.openLine(b[used:])
			used = len(b)
			break
		}
		// b[used-1] may have been overwritten by a move; it is no CR anyway.
		if i > 0 && b[used+i-1] == '\r' || i == 0 && used == 0 && s.cr {
			pairs++
			s.endLine(i + 1)
		} else {
			s.bareLF(i + 1)
		}
		used += i + 1
	}
	if from < used {
		n += move(b, n, from, used)
	}
	s.checkOctets(b[:n], pairs, first)
	return n, used, end
}

// move appends b[from:to] to b[:n].
func move(b []byte, n, from, to int) int {
	if n != from {
		copy(b[n:], b[from:to])
	}
	return to - from
}

// openLine takes the beginning or middle of a line whose end is still to come.
func (s *scanner) openLine(b []byte) {
	s.text, s.cr = true, b[len(b)-1] == '\r'
	s.grow(len(b))
}

// endLine takes the last n octets of a line, CRLF included.
func (s *scanner) endLine(n int) {
	s.grow(n)
	if s.line == len(crlf) {
		s.body = true
	}
	s.text, s.cr, s.line = false, false, 0
}

// bareLF goes on with the same line: for us the LF ended nothing.
func (s *scanner) bareLF(n int) {
	s.text, s.cr = true, false
	s.fail(&replyBare)
	s.grow(n)
}

func (s *scanner) grow(n int) {
	s.line += n
	if s.line > s.maxLine {
		s.fail(&replyLineTooLong)
	}
	if !s.body {
		if s.header += n; s.header > s.maxHeader {
			s.fail(&replyHeaderTooLarge)
		}
	}
}

// checkOctets finds NUL and bare CR in bulk: as many CRs as CRLFs, and one
// more when the text ends in one that may still get its LF.
func (s *scanner) checkOctets(text []byte, pairs int, first bool) {
	if s.fault != nil {
		return
	}
	crs := bytes.Count(text, cr)
	if first {
		crs++
	}
	if s.cr {
		crs--
	}
	if crs != pairs {
		s.fail(&replyBare)
	} else if bytes.IndexByte(text, 0) >= 0 {
		s.fail(&replyNUL)
	}
}

var cr = []byte("\r")

// fail keeps the first fault.
func (s *scanner) fail(r *Reply) {
	if s.fault == nil {
		s.fault = r
	}
}
