package smtpd

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"mailweir/mail"
)

// conn is one TCP connection and the one goroutine that serves it. Nothing of
// it is shared but yields and tcp, which Shutdown uses.
type conn struct {
	srv    *Server
	li     *listener
	limits *Limits
	tcp    net.Conn
	nc     net.Conn // tcp, or the TLS connection on it
	in     input
	out    []byte // replies that wait for the next blocking read

	peerAddr netip.Addr // the TCP peer; the zero Addr when it is no TCP
	trusted  bool       // the TCP peer may use XCLIENT: judged once
	counted  netip.Addr // the address that networks counts us under
	client   mail.Client
	named    xclientNames // what XCLIENT said and EHLO does not override

	ctx     context.Context // the session's
	cancel  context.CancelFunc
	session smtp.Session

	ends    time.Time    // of the whole session
	readBy  time.Time    // the deadline of reads that is armed, see armRead
	writeBy time.Time    // ... and of writes
	yields  atomic.Int32 // the phase of a shutdown that ends the blocked read; serving: none does
	greeted bool
	tx      mailState
	cmd     arguments // of the command at hand, filled in by its check
	msg     message

	tally        tally
	authFailures int
	errors       int // 5yz replies since the last accepted message
	junk         int // commands that brought nothing forward since the last message
	badLines     int
	closing      bool // close after what is in out
	linger       bool // ... and see to it that the client gets it
}

// mailState is what the engine itself must know of a mail transaction.
type mailState struct {
	open     bool // MAIL was accepted
	utf8     bool
	rcpts    int  // accepted
	refused  bool // MAIL, a RCPT or the data was refused: what a pipelining client had sent behind it is no error of its own
	chunking bool // between BDAT chunks
}

// Sentinels of reading a command; all else comes from the network.
var (
	errShutdown = errors.New("smtpd: shutting down")
	errLineSize = errors.New("smtpd: endless line")
)

func newConn(s *Server, nc net.Conn, li *listener, limits *Limits) *conn {
	c := &conn{srv: s, li: li, limits: limits, tcp: nc, nc: nc, tally: tally{began: time.Now()}}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		c.peerAddr = ap.Addr().Unmap().WithZone("")
		c.client = mail.Client{Addr: c.peerAddr, Port: ap.Port()}
	}
	c.client.Outbound = li.Outbound
	c.trusted = li.trusts(c.peerAddr)
	return c
}

// serve is the life of a connection. A panic costs this session only.
func (c *conn) serve() {
	defer func() {
		if p := recover(); p != nil {
			c.srv.metrics.panics.Inc()
			c.tally.ended("panic")
			c.srv.log.Error("panic in a session", "panic", p, "stack", string(debug.Stack()))
			c.reply(&replySessionFault)
			c.hangUp()
		}
	}()
	c.in.init()
	c.ends = time.Now().Add(c.limits.SessionTimeout)
	if c.admit() {
		for !c.closing {
			line, err := c.readCommand()
			if err != nil {
				c.broken(err)
				break
			}
			c.dispatch(line)
		}
	}
	c.hangUp()
}

// admit does all that comes before the first command: PROXY, the limit per
// network, implicit TLS, the session's own word, the banner.
func (c *conn) admit() bool {
	if c.li.ProxyProtocol && !c.readProxy() {
		c.admission(connProxyError)
		return false
	}
	admitted := c.count()
	if c.li.ImplicitTLS && (c.srv.tls == nil || !c.startTLS()) {
		c.admission(connTLSError)
		return false
	}
	if !admitted {
		c.admission(connTooManyNetwork)
		c.reply(&replyTooManyConns)
		return false
	}
	c.noteEarlyTalker()
	if !c.openSession() {
		c.admission(connRefused)
		return false
	}
	c.admission(connAccepted)
	c.banner()
	return true
}

// count counts the connection under its effective client address, and not
// under the one before. It reports false when that network has too many.
func (c *conn) count() bool {
	if c.counted.IsValid() {
		c.srv.networks.leave(c.counted)
		c.counted = netip.Addr{}
	}
	addr := c.client.Addr
	c.client.Own = addr.IsValid() && c.srv.exempt(addr)
	if c.client.Own || c.li.trusts(addr) {
		return true
	}
	if !c.srv.networks.enter(addr, c.limits.ConnectionsPerNetwork) {
		return false
	}
	c.counted = addr
	return true
}

// openSession asks for a session for the client as we know it now. When there
// is to be none, what was said instead is in out.
func (c *conn) openSession() bool {
	c.ctx, c.cancel = context.WithCancel(c.srv.ctx)
	session, err := c.srv.open.Open(c.ctx, c.client)
	if err != nil {
		c.replyError(err, &replySessionFault)
		c.closing, c.linger = true, true
		return false
	}
	c.session = session
	return true
}

// closeSession calls Logout exactly once a session. Its context has ended by
// then, so that Logout can wait for whatever the session started.
func (c *conn) closeSession() {
	if c.cancel != nil {
		c.cancel()
	}
	s := c.session
	c.session = nil
	if s == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			c.srv.metrics.panics.Inc()
			c.srv.log.Error("panic in a session's end", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if err := s.Logout(); err != nil {
		c.srv.log.Warn("session did not end cleanly", "error", err)
	}
}

// close frees everything; it runs after serve, whatever happened there.
func (c *conn) close() {
	c.closeSession()
	if c.counted.IsValid() {
		c.srv.networks.leave(c.counted)
	}
	c.nc.Close()
	if c.in.small != nil {
		c.in.release()
	}
}

// broken ends a session whose connection gave no further command.
func (c *conn) broken(err error) {
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case err == errShutdown:
		c.srv.metrics.shutdown.Inc()
		c.tally.ended("shutdown")
		c.reply(&replyShutdown)
		c.linger = c.tx.open || !c.in.empty() // more may be under way
	case err == errLineSize:
		c.fault(errorSyntax)
		c.reply(&replySyntax)
		c.closing, c.linger = true, true
	case ok && timeout.Timeout():
		c.fault(errorTimeout)
		c.reply(&replyTimeout)
	case err == io.EOF && !c.tx.open, errors.Is(err, net.ErrClosed):
	default:
		c.fault(errorIO)
	}
}
