package relay

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailweir/mail"
)

// conn is one SMTP connection to a next hop, used by one attempt at a time.
type conn struct {
	hop  *hop
	tcp  net.Conn // for deadlines
	nc   net.Conn // the same, or a *tls.Conn over it
	raw  syscall.RawConn
	poll poll
	addr string // that we are connected to

	timeouts *Timeouts
	in       replyReader
	wait     time.Duration // for the reply that is being read
	until    time.Time     // when that wait ends; zero before its first read
	readBy   time.Time     // the deadline of reads that is armed, see Read
	writeBy  time.Time     // that of writes, see armWrite
	out      []byte        // commands, and small content with them
	vec      [3][]byte     // what bufs refers to
	bufs     net.Buffers

	ext      extensions
	maxRcpt  int // recipients that a transaction may have here
	messages int // transactions that were done
	usedAt   time.Time
	expires  time.Time
	resetDue bool // a transaction may still be open at the next hop: RSET first

	ctx  context.Context // of the attempt that uses the connection, or used it last
	stop func() bool     // ends what bind has begun
	late lateness
}

// lateness is what the end of an attempt's context leaves of a wait: nothing,
// but for the reply to a message that is complete. Without it the next hop has
// the message and we do not know: a copy would follow (RFC 1047).
type lateness struct {
	mu   sync.Mutex
	sent bool
}

// lateReply is how long that reply may take after the context has ended.
const lateReply = 10 * time.Second

// set notes whether a complete message waits for its reply.
func (l *lateness) set(sent bool) {
	l.mu.Lock()
	l.sent = sent
	l.mu.Unlock()
}

// cut ends the waits on tcp. A complete message cannot come between the look
// at it and the deadline: set waits.
func (l *lateness) cut(tcp net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tcp.SetWriteDeadline(time.Unix(1, 0))
	if l.sent {
		tcp.SetReadDeadline(time.Now().Add(lateReply))
	} else {
		tcp.SetReadDeadline(time.Unix(1, 0))
	}
}

// errNoService is why a next hop is given up for this attempt: it said 421, or
// nothing, or nothing sensible.
type errNoService struct {
	what  string // "connect", "banner", "EHLO", "MAIL", ...
	code  mail.EnhancedCode
	reply mail.Reply // the zero Reply when none came
	cause error
}

func (e *errNoService) Error() string {
	if e.cause != nil {
		return e.what + ": " + e.cause.Error()
	}
	return e.what + ": " + e.reply.String()
}

func (e *errNoService) Unwrap() error { return e.cause }

// outcome is what the recipients get when there is no other next hop.
func (e *errNoService) outcome() mail.Reply {
	if e.reply.Code != 0 {
		return e.reply
	}
	return mail.Reply{Enhanced: e.code, Text: printable(e.Error())}
}

func printable(s string) string {
	return strings.ToValidUTF8(string(appendPrintable(nil, []byte(s[:min(len(s), maxReplyLine)]))), "?")
}

// lost is the error for a connection that broke, or was silent for too long,
// during what.
func (c *conn) lost(what string, err error) *errNoService {
	code := mail.EnhancedCode{4, 4, 2}
	switch {
	case c.ctx.Err() != nil:
		err = errInterrupted
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errTimeout
	case errors.Is(err, errReplySyntax), errors.Is(err, errReplyLength):
		code = mail.EnhancedCode{4, 5, 0}
	}
	return &errNoService{what: what, code: code, cause: err}
}

var (
	errInterrupted = errors.New("the attempt was interrupted")
	errTimeout     = errors.New("time-out")
)

// bind makes the end of ctx end every wait on c, see lateness, until c is bound to
// another context or closed. Attempts have one in common, so that mostly there is
// nothing to do. It reports false when the context before has ended, which leaves
// c of no use.
func (c *conn) bind(ctx context.Context) bool {
	if c.ctx == ctx {
		return ctx.Err() == nil
	}
	if c.stop != nil && !c.stop() {
		return false
	}
	c.ctx = ctx
	c.stop = context.AfterFunc(ctx, func() { c.late.cut(c.tcp) })
	return true
}

// Read implements io.Reader for the reply reader: one deadline for all reads
// of a reply. A deadline that is armed from a reply before may be earlier: then
// it is set when it has fired, so that busy connections set none.
//
// Setting a deadline may undo the one that bind sets when ctx ends; but then
// ctx has ended before the check here.
func (c *conn) Read(p []byte) (int, error) {
	if now := time.Now(); c.until.IsZero() {
		c.until = now.Add(c.wait)
		if !now.Before(c.readBy) || c.readBy.After(c.until) {
			c.armRead()
		}
		if err := c.ctx.Err(); err != nil {
			if !c.late.sent {
				return 0, err
			}
			c.late.cut(c.tcp)
		}
	}
	for {
		n, err := c.nc.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || c.ctx.Err() != nil || !time.Now().Before(c.until) {
			return n, err
		}
		c.armRead()
		if c.ctx.Err() != nil {
			c.late.cut(c.tcp)
		}
	}
}

func (c *conn) armRead() {
	c.readBy = c.until
	c.tcp.SetReadDeadline(c.until)
}

// reply reads the next reply, waiting for at most wait.
func (c *conn) reply(rep *reply, wait time.Duration) error {
	c.wait, c.until = wait, time.Time{}
	return c.in.read(rep)
}

// write sends p within Timeouts.Block.
func (c *conn) write(p []byte) error {
	if err := c.armWrite(); err != nil {
		return err
	}
	_, err := c.nc.Write(p)
	return err
}

// armWrite sets the deadline of a write. One that is armed already, and is hardly
// later, serves as well: busy connections set none.
func (c *conn) armWrite() error {
	now, patience := time.Now(), c.timeouts.Block
	if left := c.writeBy.Sub(now); left < patience || left > patience+patience/16 {
		c.writeBy = now.Add(patience + patience/16)
		c.tcp.SetWriteDeadline(c.writeBy)
	}
	return c.ctx.Err()
}

// writev sends several pieces, in one system call where the connection can.
func (c *conn) writev(pieces ...[]byte) error {
	if err := c.armWrite(); err != nil {
		return err
	}
	c.bufs = append(c.vec[:0], pieces...)
	_, err := c.bufs.WriteTo(c.nc)
	clear(c.vec[:])
	return err
}

// ask sends a command and reads the reply to it. 421 is an error: the next hop
// is closing the connection (RFC 5321 section 3.8).
func (c *conn) ask(what string, rep *reply, command ...string) *errNoService {
	c.out = c.out[:0]
	for _, s := range command {
		c.out = append(c.out, s...)
	}
	c.out = append(c.out, "\r\n"...)
	if err := c.write(c.out); err != nil {
		return c.lost(what, err)
	}
	return c.answer(what, rep, c.timeouts.Command)
}

// answer reads the reply to what.
func (c *conn) answer(what string, rep *reply, wait time.Duration) *errNoService {
	if err := c.reply(rep, wait); err != nil {
		return c.lost(what, err)
	}
	if rep.code == 421 {
		return &errNoService{what: what, reply: rep.value()}
	}
	return nil
}

// readable reports whether an idle connection has something to read: its end,
// a 421, or a mistake. In none of these cases can it be used.
func (c *conn) readable() bool {
	if c.in.buffered() > 0 {
		return true
	}
	if c.raw == nil {
		return false
	}
	if c.poll.look == nil {
		c.poll.look = c.poll.run // once: a method value is an allocation
	}
	err := c.raw.Control(c.poll.look)
	return c.poll.ready || err != nil
}

// poll asks the kernel whether there is something to read, without waiting.
type poll struct {
	look  func(fd uintptr)
	fds   [1]unix.PollFd
	ready bool
}

func (p *poll) run(fd uintptr) {
	p.fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}
	n, err := unix.Poll(p.fds[:], 0)
	p.ready = n != 0 || err != nil
}

// close closes the connection without a word.
func (c *conn) close() {
	c.stop()
	c.hop.metrics.open.Dec()
	c.nc.Close()
}

// quitTimeout is how long the reply to QUIT may take: politeness (RFC 5321
// section 4.1.1.10) must not hold up a shutdown.
const quitTimeout = 2 * time.Second

// quit ends the connection as the RFC wants it. No attempt uses c.
func (c *conn) quit() {
	defer c.close()
	c.stop()
	c.tcp.SetDeadline(time.Now().Add(quitTimeout))
	if _, err := c.nc.Write([]byte("QUIT\r\n")); err == nil {
		c.ctx = context.Background()
		var rep reply
		c.reply(&rep, quitTimeout)
	}
}
