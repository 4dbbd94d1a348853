package smtpd

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// maxOut is how much replies to pipelined commands may pile up before they are
// sent without waiting for a blocking read.
const maxOut = 8 << 10

// keepOut is the largest reply buffer that a session keeps between replies.
const keepOut = 1 << 10

// hangUp sends what is in out and closes. A close with unread input makes the
// kernel send a reset, which can overtake and destroy our last reply: so for
// one that matters the rest is read and dropped, within bounds.
func (c *conn) hangUp() {
	err := c.flush()
	if err != nil || !c.linger {
		return
	}
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if t, ok := c.tcp.(*net.TCPConn); ok && c.nc != c.tcp {
		t.CloseWrite()
	}
	c.tcp.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, c.tcp, lingerBytes)
}

const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
	lastWrite   = 10 * time.Second // for the reply before a close
)

// fill reads more, once; all replies are sent before it blocks.
func (c *conn) fill(deadline time.Time) error {
	if err := c.flush(); err != nil {
		return err
	}
	room := c.in.room()
	c.armRead(c.firstWait(deadline))
	for {
		// After the deadline is set: see wake.
		if c.interrupted() {
			return errShutdown
		}
		n, err := c.nc.Read(room)
		c.in.w += n
		if n > 0 {
			c.srv.metrics.received.Add(float64(n))
			return nil
		}
		if err == nil {
			return io.ErrNoProgress
		}
		if c.interrupted() {
			return errShutdown
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(deadline) {
			return err
		}
		c.rest()
		c.readBy = time.Time{} // it was armed for an earlier wait
		c.armRead(deadline)
	}
}

// armRead sets the deadline of reads. One that is armed already may be earlier, or
// over: fill then reads again. So a deadline is set once in minutes, not at each
// command, which is a system-wide timer each time.
func (c *conn) armRead(deadline time.Time) {
	if !c.readBy.IsZero() && !c.readBy.After(deadline) {
		return
	}
	c.readBy = deadline
	c.tcp.SetReadDeadline(deadline)
}

// armWrite sets the deadline of writes, patience from now. One that is armed
// already may be a little later; it must not be earlier, since after a time-out
// a TLS connection cannot write on.
func (c *conn) armWrite(patience time.Duration) {
	now := time.Now()
	if left := c.writeBy.Sub(now); left >= patience && left <= patience+patience/16 {
		return
	}
	c.writeBy = now.Add(patience + patience/16)
	c.tcp.SetWriteDeadline(c.writeBy)
}

// deadline is d from now, or the end of the session.
func (c *conn) deadline(d time.Duration) time.Time {
	t := time.Now().Add(d)
	if t.After(c.ends) {
		return c.ends
	}
	return t
}

// flush sends the replies.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	patience := c.limits.CommandTimeout
	if c.closing {
		patience = min(patience, lastWrite)
	}
	c.armWrite(patience)
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	if cap(c.out) > keepOut {
		c.out = nil
	}
	return err
}
