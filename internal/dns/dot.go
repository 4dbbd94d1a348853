package dns

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
)

// secured asks one server over TLS (RFC 7858) and nothing else: whatever goes
// wrong, no query leaves in clear text. It keeps one connection open.
type secured struct {
	server   *server
	config   *tls.Config
	resolver *Resolver

	mu      sync.Mutex
	channel *channel // the last one that was opened
	opening *opening // nil while nobody connects
}

// opening is a handshake under way, for all who need the connection. channel
// and err may be read once done is closed.
type opening struct {
	done    chan struct{}
	channel *channel
	err     error
}

// newSecured prepares for a server. roots nil are the system's.
func newSecured(r *Resolver, s *server, roots *x509.CertPool) *secured {
	return &secured{server: s, resolver: r, config: &tls.Config{
		ServerName: s.name, RootCAs: roots, MinVersion: tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(1), // a shorter handshake after an idle time
	}}
}

// maxReopened is how often a query moves to a new connection because the old
// one was closed under it.
const maxReopened = 2

// exchange sends one query. A kept connection may have been closed by the
// server just now, as it may at any time (RFC 7766 section 6.2.4): that is no
// failure, the query goes out again on a new one.
func (s *secured) exchange(ctx context.Context, q *query) ([]byte, error) {
	for n := 0; ; n++ {
		c, kept, err := s.connection(ctx)
		if err != nil {
			return nil, err
		}
		reply, err := c.exchange(ctx, q)
		if err == nil || !kept || n == maxReopened || !errors.Is(err, errEnded) {
			return reply, err
		}
	}
}

// connection returns the open connection, or opens one.
func (s *secured) connection(ctx context.Context) (c *channel, kept bool, err error) {
	s.mu.Lock()
	if c := s.channel; c != nil && c.usable() {
		s.mu.Unlock()
		return c, true, nil
	}
	o := s.opening
	if o == nil {
		o = &opening{done: make(chan struct{})}
		if !s.resolver.spawn(func() { s.open(o) }) {
			s.mu.Unlock()
			return nil, false, errClosed
		}
		s.opening = o
	}
	s.mu.Unlock()
	select {
	case <-o.done:
		return o.channel, false, o.err
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
}

// open connects for everybody who waits, and is therefore not bound to the
// context of the one who came first. Then it reads until the connection ends.
func (s *secured) open(o *opening) {
	r := s.resolver
	ctx, cancel := context.WithTimeout(r.ctx, r.timeout)
	dialer := &tls.Dialer{Config: s.config}
	conn, err := dialer.DialContext(ctx, "tcp", s.server.addr)
	cancel()
	r.metrics.handshake(s.server.label, err)
	if err == nil {
		o.channel = newChannel(conn, r.timeout/4, r.metrics)
	}
	o.err = err
	s.mu.Lock()
	s.opening = nil
	if err == nil {
		s.channel = o.channel // one that stalled goes on for those who wait on it
	}
	s.mu.Unlock()
	close(o.done)
	if err != nil {
		return
	}
	stop := context.AfterFunc(r.ctx, func() { o.channel.end(errClosed) })
	defer stop()
	o.channel.read()
}

// isTLS reports that it was the handshake that failed: a wrong certificate, or
// something that does not speak TLS.
func isTLS(err error) bool {
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var alert tls.AlertError
	var remote *net.OpError
	return errors.As(err, &certificate) || errors.As(err, &header) || errors.As(err, &alert) ||
		errors.As(err, &remote) && remote.Op == "remote error"
}

// LoadRoots makes a pool of the certificates of a PEM file.
func LoadRoots(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in PEM form")
	}
	return pool, nil
}
