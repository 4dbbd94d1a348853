package relay

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"mailweir/mail"
)

// Limits on what a next hop may say. RFC 5321 section 4.5.3.1.5 has 512 octets
// a line; longer ones are read, and cut in what is kept.
const (
	maxReplyLine = 512
	maxReplyText = 16 << 10 // kept of one reply
	maxReplyWire = 64 << 10 // read for one reply; beyond it the connection is given up
	readBuffer   = 4 << 10
)

var (
	errReplySyntax = errors.New("malformed reply")
	errReplyLength = errors.New("reply without end")
)

// reply is one reply as read. Its text is valid until the next one is read:
// most replies are only looked at, and cost no allocation.
type reply struct {
	code     int
	enhanced mail.EnhancedCode
	text     []byte
}

func (r *reply) positive() bool { return r.code/100 == 2 }

// value is the reply as an outcome keeps it.
func (r *reply) value() mail.Reply {
	return mail.Reply{Code: r.code, Enhanced: r.enhanced, Text: strings.ToValidUTF8(string(r.text), "?")}
}

// replyReader reads replies from src.
type replyReader struct {
	src  io.Reader
	buf  []byte // of readBuffer octets
	r, w int
	text []byte // of the last reply
}

func (rr *replyReader) reset(src io.Reader) {
	rr.src, rr.r, rr.w = src, 0, 0
	if rr.buf == nil {
		rr.buf = make([]byte, readBuffer)
	}
}

// buffered is how much was received and not yet read.
func (rr *replyReader) buffered() int { return rr.w - rr.r }

// read reads one reply of one or more lines (RFC 5321 section 4.2.1).
func (rr *replyReader) read(rep *reply) error {
	*rep = reply{}
	rr.text = rr.text[:0]
	for total, first := 0, true; ; first = false {
		line, n, err := rr.line(maxReplyWire - total)
		if err != nil {
			return err
		}
		total += n
		more, err := rr.add(rep, line, first)
		if err != nil {
			return err
		}
		if !more {
			rep.text = rr.text
			return nil
		}
	}
}

// line returns the next line without its end, cut to maxReplyLine, and how
// many octets it took, at most limit.
func (rr *replyReader) line(limit int) (line []byte, n int, err error) {
	for {
		if i := bytes.IndexByte(rr.buf[rr.r:rr.w], '\n'); i >= 0 {
			if i >= limit {
				return nil, 0, errReplyLength
			}
			line = rr.buf[rr.r : rr.r+i]
			rr.r += i + 1
			return cutLine(line), i + 1, nil
		}
		if rr.w-rr.r == len(rr.buf) {
			return rr.long(limit)
		}
		if err := rr.fill(); err != nil {
			return nil, 0, err
		}
	}
}

// long reads a line that is longer than the buffer: its beginning is kept in
// place, the rest is dropped as it comes.
func (rr *replyReader) long(limit int) ([]byte, int, error) {
	n := rr.w - rr.r
	for n <= limit {
		rr.w = rr.r + maxReplyLine
		if err := rr.fill(); err != nil {
			return nil, 0, err
		}
		rest := rr.buf[rr.r+maxReplyLine : rr.w]
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			n += len(rest)
			continue
		}
		line := rr.buf[rr.r : rr.r+maxReplyLine]
		rr.r += maxReplyLine + i + 1
		return line, n + i + 1, nil
	}
	return nil, 0, errReplyLength
}

// fill reads more, moving what is there to the front when there is no room.
func (rr *replyReader) fill() error {
	if rr.r == rr.w {
		rr.r, rr.w = 0, 0
	} else if rr.w == len(rr.buf) {
		rr.w = copy(rr.buf, rr.buf[rr.r:rr.w])
		rr.r = 0
	}
	n, err := rr.src.Read(rr.buf[rr.w:])
	rr.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func cutLine(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) > maxReplyLine {
		line = line[:maxReplyLine]
	}
	return line
}

// add takes one line into rep and tells whether more follow. The code of the
// last line counts, should they differ.
func (rr *replyReader) add(rep *reply, line []byte, first bool) (more bool, err error) {
	code := replyCode(line)
	if code == 0 {
		return false, errReplySyntax
	}
	rep.code = code
	text := line[3:]
	if len(text) > 0 {
		if text[0] != ' ' && text[0] != '-' {
			return false, errReplySyntax
		}
		more = text[0] == '-'
		text = text[1:]
	}
	if e, n := enhancedCode(text); n > 0 && e[0] == code/100 {
		rep.enhanced = e
		text = text[n:]
	}
	if len(rr.text)+1+len(text) > maxReplyText {
		return more, nil
	}
	if !first {
		rr.text = append(rr.text, '\n')
	}
	rr.text = appendPrintable(rr.text, text)
	return more, nil
}

// replyCode is the code that a line begins with, 0 when it has none of RFC
// 5321 section 4.2: 2 to 5, 0 to 9, 0 to 9. (1yz is not used in SMTP.)
func replyCode(line []byte) int {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return 0
	}
	return int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// enhancedCode reads an enhanced status code (RFC 3463 section 2) at the
// beginning of text; n is its length with the space that follows, 0 for none.
func enhancedCode(text []byte) (code mail.EnhancedCode, n int) {
	for i := range code {
		begin := n
		for n < len(text) && n-begin < 3 && isDigit(text[n]) {
			code[i] = code[i]*10 + int(text[n]-'0')
			n++
		}
		if n == begin {
			return mail.EnhancedCode{}, 0
		}
		if i < 2 {
			if n == len(text) || text[n] != '.' {
				return mail.EnhancedCode{}, 0
			}
			n++
		}
	}
	if n == len(text) {
		return code, n
	}
	if text[n] != ' ' {
		return mail.EnhancedCode{}, 0
	}
	return code, n + 1
}

// appendPrintable appends text with each control character replaced: replies
// end up in logs, in DSNs and on terminals.
func appendPrintable(dst, text []byte) []byte {
	for _, c := range text {
		switch {
		case c == '\t':
			c = ' '
		case c < ' ' || c == 0x7f:
			c = '?'
		}
		dst = append(dst, c)
	}
	return dst
}
