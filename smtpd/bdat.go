package smtpd

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/emersion/go-smtp"
)

// CHUNKING (RFC 3030). A chunk has the length that BDAT says and not an octet
// less: one cut short is a broken connection, never a message. The session
// reads one message from one reader, which serves the commands between the
// chunks itself; so a message of a million chunks costs no more memory than
// one of one, and no second goroutine.

// errOutOfStep ends the reading of a message between two chunks: what it was
// is in out already.
var errOutOfStep = errors.New("smtpd: connection is closing")

// checkBdat parses chunk-size [LAST]. It refuses nothing for its order: the
// chunk must be read off the connection first.
func (c *conn) checkBdat(arg []byte) *Reply {
	number, rest, _ := bytes.Cut(arg, space)
	rest = bytes.TrimLeft(rest, " ")
	last := bytes.EqualFold(rest, []byte("LAST"))
	size, ok := parseSize(string(number))
	if !ok || len(rest) > 0 && !last {
		return &replyBadChunk
	}
	if size > 2*c.limits.MessageSize {
		return &replyChunkTooBig
	}
	c.cmd.chunk, c.cmd.last = size, last
	return nil
}

// doBdat receives one message with BDAT, from its first chunk on.
func (c *conn) doBdat() {
	m := c.newMessage(true)
	m.startChunk()
	if r := c.checkOrder(); r != nil {
		c.dropChunk(m, r.With(c.tally.name()))
		return
	}
	if err := c.startData(); err != nil {
		c.dropChunk(m, err)
		c.endTransaction()
		c.tx.refused = true
		return
	}
	c.tx.chunking = true
	err := c.session.Data(m)
	c.tx.chunking = false
	if m.aborted != nil {
		c.endTransaction()
		c.dispatch(m.aborted)
		return
	}
	if !m.finish() {
		c.abandon(m, err)
		return
	}
	c.answer(m, err)
}

// dropChunk reads a chunk that will be part of no message, and then refuses
// it. A pipelining client has more of them under way (RFC 3030 section 2):
// they follow from its first mistake and are no errors of their own.
func (c *conn) dropChunk(m *message, err error) {
	if !m.finish() {
		c.abandon(m, err)
		return
	}
	code := c.replyError(err, &replyFault)
	if c.tx.refused {
		c.waste()
	} else {
		c.punish(code)
	}
	c.tx.refused = true
}

// startChunk takes over what checkBdat parsed.
func (m *message) startChunk() {
	m.left, m.last = m.c.cmd.chunk, m.c.cmd.last
	m.done = m.left == 0
	m.started, m.received = time.Now(), 0
	if m.left > smallBuffer {
		m.c.in.grow()
	}
}

// nextChunk acknowledges a chunk and serves commands until the next one. Only
// those that end the transaction are left to doBdat.
func (m *message) nextChunk() {
	c := m.c
	c.reply(&replyChunk)
	for !c.closing {
		line, err := c.readCommand()
		if err != nil {
			m.broken, m.err = err, io.ErrUnexpectedEOF
			return
		}
		switch verbOf(line) {
		case "BDAT":
			if c.takeChunk(line) && !c.closing {
				m.startChunk()
				return
			}
		case "RSET", "EHLO", "HELO", "QUIT":
			m.aborted, m.err = bytes.Clone(line), smtp.ErrDataReset
			return
		default:
			c.dispatch(line)
		}
	}
	m.broken, m.err = errOutOfStep, io.ErrUnexpectedEOF
}

// takeChunk is the part of dispatch that a BDAT between others needs.
func (c *conn) takeChunk(line []byte) bool {
	_, arg, _ := splitLine(line)
	c.srv.metrics.commands["BDAT"].Inc()
	if r := c.checkBdat(arg); r != nil {
		c.refuse(r)
		return false
	}
	if c.cmd.chunk == 0 && !c.cmd.last {
		c.waste()
	}
	return true
}

// verbOf is the verb of a well-formed line in upper case, else "".
func verbOf(line []byte) string {
	verb, _, ok := splitLine(line)
	if !ok || len(verb) > maxVerb {
		return ""
	}
	var upper [maxVerb]byte
	name := upper[:copy(upper[:], verb)]
	upperASCII(name)
	return string(name)
}
