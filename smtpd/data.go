package smtpd

import (
	"errors"
	"io"
	"time"

	"github.com/emersion/go-smtp"
)

// message is the message being received: what the session's Data reads. It is
// an io.WriterTo that hands over straight from the connection's buffer.
type message struct {
	c        *conn
	scan     scanner
	chunked  bool
	left     int64     // BDAT: octets of this chunk that are still to come
	last     bool      // BDAT: this is the last chunk
	aborted  []byte    // BDAT: the command line that came instead of the next chunk
	started  time.Time // for the data rate; time between chunks does not count
	received int64     // octets since started, dots included
	size     int64     // octets of message text
	rest     []byte    // Read: text that did not fit
	err      error     // how it ended: io.EOF, io.ErrUnexpectedEOF, a fault
	broken   error     // what really broke the connection
	done     bool      // the end of the data, or of this chunk, was reached
}

func (c *conn) newMessage(chunked bool) *message {
	c.msg = message{
		c:       c,
		chunked: chunked,
		started: time.Now(),
		scan: scanner{
			dots:      !chunked,
			maxLine:   c.limits.TextLine,
			maxHeader: c.limits.HeaderSection,
		},
	}
	return &c.msg
}

func (c *conn) checkData(arg []byte) *Reply {
	switch {
	case c.tx.chunking:
		return &replyBdatOrder
	case len(arg) > 0:
		return &replyBadArgument
	}
	return c.checkOrder()
}

// checkOrder refuses data without an envelope.
func (c *conn) checkOrder() *Reply {
	r := c.inTransaction()
	if r == nil && c.tx.rcpts == 0 {
		return &replyNeedRcpt
	}
	return r
}

// doData receives one message with DATA (RFC 5321 section 4.1.1.4).
func (c *conn) doData() {
	if err := c.startData(); err != nil {
		c.refuseError(err)
		c.endTransaction()
		c.tx.refused = true
		return
	}
	// DATA is the last command of a pipelined group (RFC 2920 section 3.1):
	// who sends more before our 354 does not speak SMTP with us.
	if !c.in.empty() {
		c.fault(errorSync)
		c.reply(&replySync)
		return
	}
	c.reply(&replyStart)
	m := c.newMessage(false)
	c.in.grow()
	err := c.session.Data(m)
	if !m.finish() {
		c.abandon(m, err)
		return
	}
	c.answer(m, err)
}

func (c *conn) startData() error {
	if s, ok := c.session.(Starter); ok {
		return s.StartData()
	}
	return nil
}

// answer replies to the end of the data and ends the transaction.
func (c *conn) answer(m *message, err error) {
	c.junk = 0
	e, said := errors.AsType[*smtp.SMTPError](err)
	switch {
	case m.fault() != nil && (!said || e.Code != m.fault().Code):
		c.refuse(m.fault()) // whatever the session made of it
	case m.err != io.EOF && (err == nil || said && e.Code < 300):
		c.srv.log.Error("session accepted a message that it did not read")
		c.reply(&replyFault)
	case err == nil:
		c.errors = 0
		c.tally.accepted++
		c.reply(&replyOK)
	case said && e.Code >= 200 && e.Code < 300:
		c.errors = 0
		c.tally.accepted++
		c.say(e.Code, e.EnhancedCode, e.Message)
	default:
		c.refuseError(err)
	}
	c.endTransaction()
	c.tx.refused = m.chunked && !m.last
}

// abandon ends a session whose message cannot be read to its end: because the
// connection broke, or because it went on too long after it was refused.
func (c *conn) abandon(m *message, err error) {
	if m.broken == nil {
		c.fault(errorOversize)
		if m.fault() != nil {
			c.reply(m.fault())
		} else {
			c.replyError(err, &replyFault)
		}
		c.closing, c.linger = true, true
		return
	}
	switch m.broken {
	case errOutOfStep:
	case io.EOF:
		c.fault(errorTruncated)
	default:
		c.broken(m.broken)
	}
	c.closing = true
}

// Read implements io.Reader.
func (m *message) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		text, err := m.next()
		if err != nil {
			return 0, err
		}
		m.rest = text
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// WriteTo implements io.WriterTo: w gets whole buffers, as they arrive, and
// must not keep them.
func (m *message) WriteTo(w io.Writer) (n int64, err error) {
	for {
		text := m.rest
		if m.rest = nil; len(text) == 0 {
			if text, err = m.next(); err != nil {
				if err == io.EOF {
					err = nil
				}
				return n, err
			}
		}
		written, err := w.Write(text)
		n += int64(written)
		if err != nil {
			return n, err
		}
	}
}

// next is the next text, valid until it is called again; never empty without
// an error.
func (m *message) next() ([]byte, error) {
	for m.err == nil {
		if m.done {
			m.end()
			continue
		}
		text, err := m.step()
		switch {
		case err != nil:
			m.broken, m.err = err, io.ErrUnexpectedEOF
		case m.scan.fault != nil:
			m.err = m.scan.fault.Err()
		case len(text) > 0:
			return text, nil
		}
	}
	return nil, m.err
}

// end is what follows the end of the data, or of a chunk.
func (m *message) end() {
	switch {
	case m.chunked && !m.last:
		m.nextChunk()
	case m.scan.cr:
		m.scan.fail(&replyBare)
	case m.scan.text:
		m.scan.fail(&replyUnterminated)
	default:
		m.err = io.EOF
	}
	if m.scan.fault != nil && m.err == nil {
		m.err = m.scan.fault.Err()
	}
}

// step scans what is in the buffer; when that gives no text it reads, once.
func (m *message) step() ([]byte, error) {
	text := m.take()
	if len(text) > 0 || m.done {
		return text, nil
	}
	return nil, m.fill()
}

func (m *message) take() []byte {
	in := &m.c.in
	b := in.unused()
	if m.chunked && int64(len(b)) > m.left {
		b = b[:m.left]
	}
	n, used, end := m.scan.scan(b)
	in.r += used
	m.size += int64(n)
	if m.size > m.c.limits.MessageSize {
		m.scan.fail(&replyTooBig)
	}
	if m.chunked {
		m.left -= int64(used)
		end = m.left == 0
	}
	m.done = end
	return b[:n]
}

// fill reads on, as long as the client is fast enough on the average.
func (m *message) fill() error {
	l := m.c.limits
	deadline := m.c.deadline(l.DataTimeout)
	if l.MinDataRate > 0 {
		grace := time.Duration(m.received/int64(l.MinDataRate)) * time.Second
		if slowest := m.started.Add(l.DataTimeout + grace); slowest.Before(deadline) {
			deadline = slowest
		}
	}
	m.c.yields.Store(over)
	defer m.c.yields.Store(serving)
	before := len(m.c.in.unused())
	err := m.c.fill(deadline)
	m.received += int64(len(m.c.in.unused()) - before)
	return err
}

// fault is the engine's own reason to refuse the message, or nil.
func (m *message) fault() *Reply { return m.scan.fault }

// maxAfterFault is how far the real end of a message is searched after
// something in it that no mail system sends.
const maxAfterFault = 1 << 20

// finish reads and drops what the session did not read of the data, or of this
// chunk: only behind it is the next command. It reports false when the
// connection broke, or when the client goes on for too long.
func (m *message) finish() bool {
	most := 2 * m.c.limits.MessageSize
	if m.fault() == &replyBare || m.fault() == &replyNUL {
		most = m.size + maxAfterFault
	}
	for !m.done && m.broken == nil && m.size <= most {
		_, m.broken = m.step()
	}
	return m.done && m.broken == nil
}
