package relay

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"

	"mailweir/mail"
)

// Sizes of writes.
const (
	coalesce  = 16 << 10  // up to here content is copied behind the commands: one write of one piece
	oneWrite  = 128 << 10 // up to here content is sent along before its recipients are accepted
	pieceSize = 256 << 10 // of content in memory, for each of which Timeouts.Block counts
	blockSize = 64 << 10  // of content that is read from the queue
)

var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// errLineEnds is a bare CR or LF in the content. The intake refuses them, so
// this is a fault of ours or of the disk; sent, it could smuggle a message.
var errLineEnds = errors.New("bare CR or LF in stored content")

// errContent is content that cannot be read back.
type errContent struct{ cause error }

func (e *errContent) Error() string { return "content cannot be read: " + e.cause.Error() }
func (e *errContent) Unwrap() error { return e.cause }

// content is the octets of one transaction: a header section and the body.
type content struct {
	head   []byte
	body   mail.Content
	memory []byte        // the body, when it is in memory
	stream io.ReadCloser // of the body, when it is not
	size   int64

	dots  bool // there is a dot to be doubled, or nobody has looked
	lines scanner
}

// open prepares the content for sending. Where dots have to be doubled the
// part in memory is checked now, before the next hop hears of the message.
func (ct *content) open(head []byte, body mail.Content, stuff bool) error {
	*ct = content{head: head, body: body, size: int64(len(head)) + body.Size(), lines: scanner{last: '\n'}}
	if b, ok := body.(mail.Bytes); ok {
		ct.memory = b
	} else {
		r, err := body.Open()
		if err != nil {
			return &errContent{err}
		}
		ct.stream, ct.dots = r, true
	}
	if !stuff {
		return nil
	}
	if err := ct.scan(head); err != nil {
		return err
	}
	if ct.stream != nil {
		return nil
	}
	if err := ct.scan(ct.memory); err != nil {
		return err
	}
	return ct.lines.end()
}

func (ct *content) scan(p []byte) error {
	dots, err := ct.lines.scan(p)
	ct.dots = ct.dots || dots
	return err
}

func (ct *content) close() {
	if ct.stream != nil {
		ct.stream.Close()
	}
	*ct = content{}
}

// sendChunk sends the content behind what is in c.out, which ends in
// "BDAT n LAST": no octet of it has to be looked at (RFC 3030 section 2).
func (ct *content) sendChunk(c *conn) error {
	if ct.stream == nil {
		return c.sendMemory(ct.head, ct.memory, nil)
	}
	c.out = append(c.out, ct.head...)
	if err := c.write(c.out); err != nil {
		return err
	}
	return ct.blocks(func(p []byte) error { return c.write(p) })
}

// sendLines sends the content after 354, with dots doubled and the final dot
// (RFC 5321 section 4.5.2).
func (ct *content) sendLines(c *conn) error {
	c.out = c.out[:0]
	if !ct.dots {
		return c.sendMemory(ct.head, ct.memory, ct.lines.finalDot())
	}
	w := stuffer{c: c, bol: true}
	if err := w.write(ct.head); err != nil {
		return err
	}
	if ct.stream == nil {
		if err := w.write(ct.memory); err != nil {
			return err
		}
		return w.finish(ct.lines.finalDot())
	}
	err := ct.blocks(func(p []byte) error {
		if _, err := ct.lines.scan(p); err != nil {
			return err
		}
		return w.write(p)
	})
	if err == nil {
		err = ct.lines.end()
	}
	if err != nil {
		return err
	}
	return w.finish(ct.lines.finalDot())
}

// blocks hands the streamed body to send in pieces: all of it, or an error.
func (ct *content) blocks(send func([]byte) error) error {
	buf := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(buf)
	for left := ct.body.Size(); left > 0; {
		n := int(min(left, blockSize))
		if _, err := io.ReadFull(ct.stream, buf[:n]); err != nil {
			return &errContent{err}
		}
		if err := send(buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// sendMemory sends c.out, head, body and tail, in one write when they are small
// enough to leave within one time-out.
func (c *conn) sendMemory(head, body, tail []byte) error {
	if len(c.out)+len(head)+len(body)+len(tail) <= coalesce {
		c.out = append(append(append(c.out, head...), body...), tail...)
		return c.write(c.out)
	}
	c.out = append(c.out, head...)
	first := min(len(body), pieceSize)
	if err := c.writev(c.out, body[:first]); err != nil {
		return err
	}
	for body = body[first:]; len(body) > 0; {
		n := min(len(body), pieceSize)
		if err := c.write(body[:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	if len(tail) == 0 {
		return nil
	}
	return c.write(tail)
}

func appendBDAT(dst []byte, size int64) []byte {
	dst = append(dst, "BDAT "...)
	dst = strconv.AppendInt(dst, size, 10)
	return append(dst, " LAST\r\n"...)
}

// scanner looks for bare CR and LF, and for lines that begin with a dot, over
// content in any number of pieces. Each LF must follow a CR; then, when there
// are as many CRs as LFs, no CR stands alone either. Counting is a bulk scan,
// so only line ends cost time of their own.
type scanner struct {
	last     byte // of the piece before; LF at the beginning
	crs, lfs int
}

func (s *scanner) scan(p []byte) (dots bool, err error) {
	if len(p) == 0 {
		return false, nil
	}
	dots = p[0] == '.' && s.last == '\n'
	for i := 0; ; i++ {
		n := bytes.IndexByte(p[i:], '\n')
		if n < 0 {
			break
		}
		i += n
		if i > 0 && p[i-1] != '\r' || i == 0 && s.last != '\r' {
			return dots, errLineEnds
		}
		s.lfs++
		if i+1 < len(p) && p[i+1] == '.' {
			dots = true
		}
	}
	s.crs += bytes.Count(p, crByte)
	s.last = p[len(p)-1]
	open := 0
	if s.last == '\r' {
		open = 1
	}
	if s.crs != s.lfs+open {
		return dots, errLineEnds
	}
	return dots, nil
}

var crByte = []byte{'\r'}

// end checks what only the end of the content shows.
func (s *scanner) end() error {
	if s.last == '\r' {
		return errLineEnds
	}
	return nil
}

// finalDot ends the content: with a line end of its own where the last line,
// received by BDAT, has none.
func (s *scanner) finalDot() []byte {
	if s.last == '\n' {
		return []byte(".\r\n")
	}
	return []byte("\r\n.\r\n")
}

// stuffer doubles dots at the beginning of lines.
type stuffer struct {
	c   *conn
	bol bool // at the beginning of a line
}

func (w *stuffer) write(p []byte) error {
	for len(p) > 0 {
		if w.bol && p[0] == '.' {
			w.c.out = append(w.c.out, '.')
		}
		n := dotLine(p)
		w.c.out = append(w.c.out, p[:n]...)
		w.bol = p[n-1] == '\n'
		p = p[n:]
		if len(w.c.out) >= blockSize {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// dotLine is how much of p comes before the next line that begins with a dot,
// at most a block.
func dotLine(p []byte) int {
	p = p[:min(len(p), blockSize)]
	if i := bytes.Index(p, lfDot); i >= 0 {
		return i + 1
	}
	return len(p)
}

var lfDot = []byte("\n.")

func (w *stuffer) finish(dot []byte) error {
	w.c.out = append(w.c.out, dot...)
	return w.flush()
}

func (w *stuffer) flush() error {
	err := w.c.write(w.c.out)
	w.c.out = w.c.out[:0]
	return err
}
