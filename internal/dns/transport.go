package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	maxUDP     = 4096  // more than ednsSize: servers need not obey
	maxTCP     = 32768 // half of what the protocol allows; no mail record needs more
	maxIgnored = 16    // replies that do not match, per query: a flood of guesses ends the attempt
)

var (
	errGarbage  = errors.New("unusable reply")
	errMismatch = fmt.Errorf("%w: too many replies with a wrong id or question", errGarbage)
	errTooLarge = fmt.Errorf("%w: larger than %d octets", errGarbage, maxTCP)
)

// exchanger sends one query to one server and returns its matching reply,
// never a truncated one. The reply is the caller's own.
type exchanger func(ctx context.Context, s *server, q *query) ([]byte, error)

// network is the exchanger of the real network: TLS where the server is asked
// over it; else UDP, then TCP when the answer does not fit (RFC 7766 section 5).
func (r *Resolver) network(ctx context.Context, s *server, q *query) ([]byte, error) {
	if s.secured != nil {
		return s.secured.exchange(ctx, q)
	}
	reply, err := r.overUDP(ctx, s.addr, q)
	if err == nil && truncated(reply) {
		return overTCP(ctx, s.addr, q)
	}
	return reply, err
}

var udpBuffers = sync.Pool{New: func() any { return new([maxUDP]byte) }}

func (r *Resolver) overUDP(ctx context.Context, addr string, q *query) ([]byte, error) {
	// A connected socket of its own: the kernel picks a random port, and lets
	// only the server's datagrams in.
	conn, end, err := dial(ctx, "udp", addr)
	if err != nil {
		return nil, err
	}
	defer end()
	if _, err := conn.Write(q.msg); err != nil {
		return nil, err
	}
	buf := udpBuffers.Get().(*[maxUDP]byte)
	defer udpBuffers.Put(buf)
	for range maxIgnored {
		n, err := conn.Read(buf[:])
		if err != nil {
			return nil, err
		}
		if q.matches(buf[:n]) {
			return append([]byte(nil), buf[:n]...), nil
		}
		r.metrics.ignored.Inc()
	}
	return nil, errMismatch
}

func overTCP(ctx context.Context, addr string, q *query) ([]byte, error) {
	conn, end, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer end()
	msg := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(q.msg)), uint16(len(q.msg)))
	if _, err := conn.Write(append(msg, q.msg...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > maxTCP {
		return nil, errTooLarge
	}
	reply := make([]byte, n)
	if _, err := io.ReadFull(conn, reply); err != nil {
		return nil, err
	}
	if !q.matches(reply) || truncated(reply) {
		return nil, errGarbage
	}
	return reply, nil
}

// dial connects, and binds the connection to ctx; end closes it.
func dial(ctx context.Context, network, addr string) (conn net.Conn, end func(), err error) {
	conn, err = new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // fails only on a closed connection
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); _ = conn.Close() }, nil
}
