package main

import (
	"bytes"
	"net"
	"strconv"
)

// sinkBuffer is read at once: a message of 64 KB in one system call or two.
const sinkBuffer = 128 << 10

// endOfData is how DATA ends (RFC 5321 section 4.1.1.4).
var endOfData = []byte("\r\n.\r\n")

// sinkConn is one session of the sink. It is as strict as counting needs, not
// more: the gateway's own tests have a strict next hop.
type sinkConn struct {
	sink *sink
	nc   net.Conn
	buf  []byte
	in   []byte // read and not used yet
	out  []byte // replies, sent before the next read
	rcpt []int  // numbers of the transaction's recipients; -1 for none
}

func (c *sinkConn) serve() {
	c.say("220 sink.example ESMTP\r\n")
	for {
		line, ok := c.line()
		if !ok || !c.command(line) {
			c.flush()
			return
		}
	}
}

func (c *sinkConn) say(reply string) { c.out = append(c.out, reply...) }

func (c *sinkConn) flush() bool {
	if len(c.out) == 0 {
		return true
	}
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err == nil
}

// fill sends what is to be said and reads more behind what is there.
func (c *sinkConn) fill() bool {
	if !c.flush() {
		return false
	}
	n := copy(c.buf, c.in)
	if n == len(c.buf) {
		return false // a command line of 128 KB
	}
	m, err := c.nc.Read(c.buf[n:])
	c.in = c.buf[:n+m]
	return m > 0 || err == nil
}

// line takes the next command line; valid until the next fill.
func (c *sinkConn) line() ([]byte, bool) {
	for {
		if k := bytes.IndexByte(c.in, '\n'); k >= 0 {
			line := c.in[:k]
			c.in = c.in[k+1:]
			return bytes.TrimSuffix(line, []byte("\r")), true
		}
		if !c.fill() {
			return nil, false
		}
	}
}

// command answers one; false ends the session.
func (c *sinkConn) command(line []byte) bool {
	if len(line) < 4 {
		c.say("500 5.5.2 Not a command\r\n")
		return true
	}
	switch string(bytes.ToUpper(line[:4])) {
	case "EHLO":
		c.out = append(c.out, c.sink.ehlo...)
	case "RCPT":
		c.rcpt = append(c.rcpt, numberIn(line))
		c.say("250 2.1.5 Ok\r\n")
	case "DATA":
		c.say("354 Go ahead\r\n")
		return c.data() && c.message()
	case "BDAT":
		return c.bdat(bytes.Fields(line))
	case "RSET":
		c.rcpt = c.rcpt[:0]
		c.say("250 2.0.0 Ok\r\n")
	case "QUIT":
		c.say("221 2.0.0 Bye\r\n")
		return false
	default: // MAIL, HELO, NOOP
		c.say("250 2.0.0 Ok\r\n")
	}
	return true
}

// numberIn takes 17 out of "RCPT TO:<user+17@mx.test>".
func numberIn(line []byte) int {
	_, rest, _ := bytes.Cut(line, []byte("+"))
	digits, _, found := bytes.Cut(rest, []byte("@"))
	n, err := strconv.Atoi(string(digits))
	if !found || err != nil {
		return -1
	}
	return n
}

// data reads up to the end of data.
func (c *sinkConn) data() bool {
	for len(c.in) < len(".\r\n") {
		if !c.fill() {
			return false
		}
	}
	if bytes.HasPrefix(c.in, endOfData[2:]) { // an empty message
		c.in = c.in[3:]
		return true
	}
	for {
		if k := bytes.Index(c.in, endOfData); k >= 0 {
			c.sink.octets.Add(int64(k + 2))
			c.in = c.in[k+len(endOfData):]
			return true
		}
		if keep := len(endOfData) - 1; len(c.in) > keep { // an end may have begun there
			c.sink.octets.Add(int64(len(c.in) - keep))
			c.in = c.in[len(c.in)-keep:]
		}
		if !c.fill() {
			return false
		}
	}
}

// bdat reads one chunk (RFC 3030 section 2).
func (c *sinkConn) bdat(words [][]byte) bool {
	if len(words) < 2 {
		c.say("501 5.5.4 Size missing\r\n")
		return true
	}
	left, err := strconv.Atoi(string(words[1]))
	if err != nil || left < 0 {
		c.say("501 5.5.4 Size wrong\r\n")
		return true
	}
	c.sink.octets.Add(int64(left))
	for left > len(c.in) {
		left -= len(c.in)
		c.in = c.in[:0]
		if !c.fill() {
			return false
		}
	}
	c.in = c.in[left:]
	if len(words) > 2 {
		return c.message()
	}
	c.say("250 2.0.0 Ok\r\n")
	return true
}

// message counts one that came in whole.
func (c *sinkConn) message() bool {
	c.sink.messages.Add(1)
	r := c.sink.roll.Load()
	for _, n := range c.rcpt {
		r.tick(n)
	}
	c.rcpt = c.rcpt[:0]
	c.say("250 2.0.0 Ok: sunk\r\n")
	return true
}
