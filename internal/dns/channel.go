package dns

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// channelIdle is how long a connection without queries is kept open (RFC 7766
// section 6.2.3 leaves that to both sides).
const channelIdle = 30 * time.Second

// errEnded is why a query on a connection has no reply when the connection is
// gone: another one may answer it.
var errEnded = errors.New("connection ended")

// channel is one TLS connection to a server. Queries share it: they are sent
// one behind the other without waiting, and replies come in any order (RFC
// 7858 section 3.3, RFC 7766 section 6.2.1.1).
type channel struct {
	conn     net.Conn
	metrics  *Metrics
	patience time.Duration // without any reply for so long it takes no more queries
	idle     *time.Timer
	heard    atomic.Int64 // when something was read last, in Unix nanoseconds

	writing sync.Mutex // one message at a time

	mu      sync.Mutex
	waiting map[uint16]*call
	err     error // why it ended
	stalled bool
}

// call is a query that waits for its reply. reply and err may be read once
// done is closed.
type call struct {
	query *query
	done  chan struct{}
	reply []byte
	err   error
}

func newChannel(conn net.Conn, patience time.Duration, m *Metrics) *channel {
	c := &channel{conn: conn, metrics: m, patience: patience, waiting: map[uint16]*call{}}
	c.idle = time.AfterFunc(channelIdle, c.rest)
	return c
}

// rest closes a connection that nobody has used for a while.
func (c *channel) rest() {
	c.mu.Lock()
	used := len(c.waiting) > 0
	c.mu.Unlock()
	if used {
		c.idle.Reset(channelIdle)
		return
	}
	c.end(errors.New("idle"))
}

// usable reports that new queries may be sent.
func (c *channel) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && !c.stalled
}

// exchange sends one query and waits for its reply.
func (c *channel) exchange(ctx context.Context, q *query) ([]byte, error) {
	w := &call{query: q, done: make(chan struct{})}
	if err := c.enter(w); err != nil {
		return nil, err
	}
	defer c.leave(w)
	sent := time.Now()
	if err := c.send(q.msg); err != nil {
		c.end(err)
		<-w.done
		return nil, w.err
	}
	stall := time.NewTimer(c.patience)
	defer stall.Stop()
	for {
		select {
		case <-w.done:
			return w.reply, w.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-stall.C:
			c.doubt(sent)
		}
	}
}

// enter makes w wait under an id that no other query of the connection has.
func (c *channel) enter(w *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	for c.waiting[w.query.id()] != nil {
		w.query.renew()
	}
	c.waiting[w.query.id()] = w
	c.idle.Reset(channelIdle)
	return nil
}

func (c *channel) leave(w *call) {
	c.mu.Lock()
	if c.waiting[w.query.id()] == w {
		delete(c.waiting, w.query.id())
	}
	useless := c.stalled && len(c.waiting) == 0
	c.mu.Unlock()
	if useless {
		c.end(errLate)
	}
}

// doubt gives a connection no more queries on which nothing was heard since.
// It may be dead without anybody having said so; a reply is still taken.
func (c *channel) doubt(since time.Time) {
	if c.heard.Load() < since.UnixNano() {
		c.mu.Lock()
		c.stalled = true
		c.mu.Unlock()
	}
}

func (c *channel) send(msg []byte) error {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg)))
	b = append(b, msg...) // one write, and so one TLS record (RFC 7766 section 8)
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.patience)) // fails only on a closed connection
	_, err := c.conn.Write(b)
	return err
}

// read hands replies to those who wait, until the connection ends.
func (c *channel) read() {
	in := bufio.NewReaderSize(c.conn, 4096)
	for {
		msg, err := readMessage(in)
		if err != nil {
			c.end(err)
			return
		}
		c.heard.Store(time.Now().UnixNano())
		if !c.deliver(msg) {
			c.metrics.ignored.Inc() // nobody waits for it any more, or it answers something else
		}
	}
}

func readMessage(in io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(in, msg); err != nil {
		return nil, err
	}
	if len(msg) < headerLen {
		return nil, fmt.Errorf("%w: shorter than a header", errGarbage)
	}
	return msg, nil
}

func (c *channel) deliver(msg []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waiting[binary.BigEndian.Uint16(msg)]
	if w == nil || !w.query.matches(msg) {
		return false
	}
	delete(c.waiting, w.query.id())
	switch {
	case len(msg) > maxTCP:
		w.err = errTooLarge
	case truncated(msg):
		w.err = fmt.Errorf("%w: cut short over TLS", errGarbage)
	default:
		w.reply = msg
	}
	close(w.done)
	return true
}

// end closes the connection and fails whoever waits. Only the first reason
// counts.
func (c *channel) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = fmt.Errorf("%w: %w", errEnded, cause)
	for id, w := range c.waiting {
		delete(c.waiting, id)
		w.err = c.err
		close(w.done)
	}
	c.idle.Stop()
	// Not through TLS: close_notify could wait for a write that is stuck.
	if t, ok := c.conn.(*tls.Conn); ok {
		_ = t.NetConn().Close()
		return
	}
	_ = c.conn.Close()
}
