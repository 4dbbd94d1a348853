package smtpd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("smtpd: server closed")

// Options is what all listeners of a server have in common.
type Options struct {
	// Hostname is what the banner and EHLO say.
	Hostname string
	Limits   Limits // the zero Limits is DefaultLimits
	// TLS switches STARTTLS on, and is what implicit-TLS listeners use. A
	// certificate is replaced through its GetCertificate.
	TLS *tls.Config
	// Exempt reports own_networks: no limit per network, and Client.Own.
	Exempt  func(netip.Addr) bool
	Logger  *slog.Logger // nil: slog.Default
	Names   Names        // of clients in it; nil: PlainNames
	Metrics *Metrics     // nil: registered nowhere
}

// ListenerOptions is what listeners differ in.
type ListenerOptions struct {
	// TrustedProxies are the TCP peers that may use XCLIENT, and that must
	// send a PROXY header where ProxyProtocol is set.
	TrustedProxies []netip.Prefix
	// ProxyProtocol wants a PROXY v1 or v2 header before anything else; all
	// other peers are turned away.
	ProxyProtocol bool
	// ImplicitTLS starts with the handshake (RFC 8314 section 3).
	ImplicitTLS bool
	// Outbound is a listener for mail that our own users send: sessions hear
	// of it in mail.Client, and AUTH is offered through TLS.
	Outbound bool
	// ClientCAs are the issuers of certificates that tell who a client is; nil:
	// clients are not asked for one, which some mail systems cannot stand.
	ClientCAs *x509.CertPool
}

// Server accepts connections and drives one session for each.
type Server struct {
	hostname string
	tls      *tls.Config
	exempt   func(netip.Addr) bool
	log      *slog.Logger
	names    Names
	metrics  *Metrics
	open     Opener
	commands map[string]command
	limits   atomic.Pointer[Limits]
	networks networks

	// ctx is the parent of every session's context; cancel is for a shutdown
	// that has lost its patience.
	ctx    context.Context
	cancel context.CancelFunc
	phase  atomic.Int32  // how far a shutdown has come
	done   chan struct{} // closed when one begins

	mu        sync.Mutex
	listeners map[net.Listener]*listener
	conns     map[*conn]struct{}
	wg        sync.WaitGroup // a count for each conn
}

// listener is one listener with what may change while it serves.
type listener struct {
	ListenerOptions
	proxies   atomic.Pointer[[]netip.Prefix]
	clientCAs atomic.Pointer[x509.CertPool]
}

// tls is the server's configuration, as this listener needs it.
func (l *listener) tls(config *tls.Config) *tls.Config {
	if l.clientCAs.Load() == nil {
		return config
	}
	config = config.Clone()
	config.ClientAuth = tls.RequestClientCert // certify judges it
	return config
}

// trusts reports whether peer may speak for others.
func (l *listener) trusts(peer netip.Addr) bool {
	for _, p := range *l.proxies.Load() {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// NewServer makes a server whose sessions come from open.
func NewServer(o Options, open Opener) *Server {
	s := &Server{
		hostname:  o.Hostname,
		tls:       o.TLS,
		exempt:    o.Exempt,
		log:       o.Logger,
		names:     o.Names,
		metrics:   o.Metrics,
		open:      open,
		commands:  commands(),
		done:      make(chan struct{}),
		listeners: make(map[net.Listener]*listener),
		conns:     make(map[*conn]struct{}),
	}
	if s.exempt == nil {
		s.exempt = func(netip.Addr) bool { return false }
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.names == nil {
		s.names = PlainNames{}
	}
	if s.metrics == nil {
		s.metrics = NewMetrics(prometheus.NewRegistry())
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	s.SetLimits(o.Limits)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// SetLimits replaces the limits for connections that come from now on.
func (s *Server) SetLimits(l Limits) {
	l.CommandLine = min(l.CommandLine, smallBuffer)
	s.limits.Store(&l)
}

// SetTrustedProxies replaces the trusted proxies of a listener that Serve was
// called with, for connections that come from now on.
func (s *Server) SetTrustedProxies(l net.Listener, proxies []netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if li := s.listeners[l]; li != nil {
		li.proxies.Store(&proxies)
	}
}

// SetClientCAs replaces the issuers of clients' certificates of a listener, for
// handshakes from now on.
func (s *Server) SetClientCAs(l net.Listener, pool *x509.CertPool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if li := s.listeners[l]; li != nil {
		li.clientCAs.Store(pool)
	}
}

// Serve accepts connections on l until Shutdown or Close, then returns
// ErrServerClosed. It closes l.
func (s *Server) Serve(l net.Listener, lo ListenerOptions) error {
	li := &listener{ListenerOptions: lo}
	li.proxies.Store(&lo.TrustedProxies)
	li.clientCAs.Store(lo.ClientCAs)
	if !s.addListener(l, li) {
		l.Close()
		return ErrServerClosed
	}
	defer s.removeListener(l)
	var wait time.Duration
	for {
		nc, err := l.Accept()
		if err == nil {
			wait = 0
			s.start(nc, li)
			continue
		}
		if s.reached(closing) {
			return ErrServerClosed
		}
		if !isTemporary(err) {
			return err
		}
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		s.log.Warn("cannot accept connections", "error", err, "wait_ms", wait.Milliseconds())
		if !s.pause(wait) {
			return ErrServerClosed
		}
	}
}

// isTemporary reports a failed accept that is worth another try: a connection
// that was reset too early, or too many open files.
func isTemporary(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && t.Temporary()
}

// pause waits, and reports false when the server was closed meanwhile.
func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.done:
		return false
	}
}

func (s *Server) addListener(l net.Listener, li *listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reached(closing) {
		return false
	}
	s.listeners[l] = li
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	l.Close()
}

// start gives nc its goroutine, unless there are too many connections.
func (s *Server) start(nc net.Conn, li *listener) {
	limits := s.limits.Load()
	c := newConn(s, nc, li, limits)
	s.mu.Lock()
	late, full := s.reached(closing), len(s.conns) >= limits.Connections
	if !late && !full {
		s.conns[c] = struct{}{}
		s.wg.Add(1)
	}
	s.mu.Unlock()
	switch {
	case late:
		s.turnAway(nc, li, replyShutdown)
	case full:
		c.admission(connTooMany)
		s.turnAway(nc, li, replyTooBusy)
		c.tally.reply(replyTooBusy.Code, replyTooBusy.Enhanced)
		c.log()
	default:
		s.metrics.open.Inc()
		go s.run(c)
	}
}

// turnAway answers from the accept loop, which must not wait: the reply fits
// into the socket's empty buffer.
func (s *Server) turnAway(nc net.Conn, li *listener, r Reply) {
	if !li.ImplicitTLS && !li.ProxyProtocol {
		nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		nc.Write(appendReply(nil, r.Code, r.Enhanced, r.Text))
		s.metrics.reply(r.Code)
	}
	nc.Close()
}

func (s *Server) run(c *conn) {
	defer func() {
		c.close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.metrics.open.Dec()
		c.log()
		s.wg.Done()
	}()
	c.serve()
}
