package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"mailweir/mail"
)

// dial makes a connection to h that is ready for MAIL, or says why there is
// none. What it returns is bound to ctx.
func (s *state) dial(ctx context.Context, h *hop) (*conn, *errNoService) {
	c, err := s.connect(ctx, h, true)
	var failed *errHandshake
	if errors.As(err, &failed) && h.tls == TLSOpportunistic && ctx.Err() == nil {
		s.Logger.Warn("TLS handshake with next hop failed, trying in the clear", "next_hop", h.name, "error", failed.Error())
		c, err = s.connect(ctx, h, false)
	}
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		return nil, &errNoService{what: "connect to " + h.name, code: mail.EnhancedCode{4, 4, 1}, cause: errInterrupted}
	}
	var no *errNoService
	if !errors.As(err, &no) {
		no = &errNoService{what: "TLS", code: mail.EnhancedCode{4, 7, 5}, cause: err}
	}
	return nil, no
}

// connect makes one TCP connection and greets, with TLS when allowed.
func (s *state) connect(ctx context.Context, h *hop, allowTLS bool) (*conn, error) {
	begin := time.Now()
	c, result, err := s.open(ctx, h)
	if err == nil {
		if result, err = s.greet(c, allowTLS); err != nil {
			c.close()
			c = nil
		}
	}
	if errors.Is(err, errTimeout) {
		result = connectTimeout
	}
	h.metrics.connected(result, time.Since(begin))
	return c, err
}

// open dials.
func (s *state) open(ctx context.Context, h *hop) (*conn, int, error) {
	dialing, cancel := context.WithTimeout(ctx, s.Timeouts.Connect)
	defer cancel()
	nc, err := s.Dial(dialing, "tcp", h.addr)
	if err != nil {
		return nil, connectRefused, dialError(ctx, h.name, err)
	}
	c := &conn{hop: h, tcp: nc, nc: nc, addr: nc.RemoteAddr().String(), timeouts: s.timeouts(h), maxRcpt: s.MaxRecipients}
	if sc, ok := nc.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn()
	}
	c.in.reset(c)
	c.bind(ctx)
	h.metrics.open.Inc()
	return c, connectOK, nil
}

// timeouts are those for h.
func (s *state) timeouts(h *hop) *Timeouts {
	if h.spare != nil { // a mail exchanger
		return &s.far
	}
	return &s.Timeouts
}

func dialError(ctx context.Context, name string, err error) error {
	code := mail.EnhancedCode{4, 4, 1} // no answer from host
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		err = errInterrupted
	case errors.As(err, &dns):
		code = mail.EnhancedCode{4, 4, 3} // directory server failure
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		err = errTimeout
	default:
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // without the addresses, which what has
		}
	}
	return &errNoService{what: "connect to " + name, code: code, cause: err}
}

// greet reads the banner and says EHLO, STARTTLS and EHLO again. On failure it
// tells the metric's result.
func (s *state) greet(c *conn, allowTLS bool) (int, error) {
	var rep reply
	if err := c.answer("banner", &rep, c.timeouts.Banner); err != nil {
		return connectBanner, err
	}
	if rep.code != 220 {
		// 554 and 521 too: this host takes no mail (RFC 7504), which is a
		// fault of the route and says nothing about the message.
		return connectBanner, &errNoService{what: "banner", reply: rep.value()}
	}
	if err := s.hello(c); err != nil {
		return connectGreeting, err
	}
	if allowTLS && (c.ext.startTLS || c.hop.tls == TLSRequired) {
		if err := s.startTLS(c); err != nil {
			return connectTLS, err
		}
	}
	if n := c.ext.maxRcpt; n > 0 {
		c.maxRcpt = min(c.maxRcpt, n)
	}
	return connectOK, nil
}

// hello says EHLO, and HELO to a next hop that does not know EHLO (RFC 5321
// section 3.2).
func (s *state) hello(c *conn) error {
	var rep reply
	if err := c.ask("EHLO", &rep, "EHLO ", s.Hostname); err != nil {
		return err
	}
	if rep.positive() {
		c.ext = parseExtensions(rep.text)
		return nil
	}
	if rep.code/100 != 5 {
		return &errNoService{what: "EHLO", reply: rep.value()}
	}
	c.ext = extensions{}
	if err := c.ask("HELO", &rep, "HELO ", s.Hostname); err != nil {
		return err
	}
	if !rep.positive() {
		return &errNoService{what: "HELO", reply: rep.value()}
	}
	return nil
}

// errHandshake is a failed TLS handshake: the connection is lost, but the next
// hop may still take mail in the clear.
type errHandshake struct{ cause error }

func (e *errHandshake) Error() string { return "TLS handshake: " + e.cause.Error() }
func (e *errHandshake) Unwrap() error { return e.cause }

var (
	errNotOffered = errors.New("TLS is required but STARTTLS is not offered")
	errInjection  = errors.New("octets after the reply to STARTTLS, before the handshake")
)

// startTLS encrypts the connection (RFC 3207). A next hop that offers STARTTLS
// and then refuses it is used in the clear, unless TLS is required.
func (s *state) startTLS(c *conn) error {
	required := c.hop.tls == TLSRequired
	if !c.ext.startTLS {
		return errNotOffered
	}
	var rep reply
	if err := c.ask("STARTTLS", &rep, "STARTTLS"); err != nil {
		return err
	}
	if rep.code != 220 {
		if required {
			return fmt.Errorf("TLS is required but STARTTLS was refused: %s", rep.value())
		}
		return nil
	}
	// What came before the handshake was not encrypted, and must not be taken
	// for replies to what follows it: response injection.
	if c.in.buffered() > 0 {
		return &errNoService{what: "STARTTLS", code: mail.EnhancedCode{4, 5, 0}, cause: errInjection}
	}
	if err := s.handshake(c, required); err != nil {
		return err
	}
	// All that was learned in the clear is forgotten (RFC 3207 section 4.2).
	return s.hello(c)
}

func (s *state) handshake(c *conn, required bool) error {
	tc := tls.Client(c.nc, &tls.Config{
		ServerName:         c.hop.host,
		RootCAs:            s.RootCAs,
		InsecureSkipVerify: !required, // opportunistic: see TLSOpportunistic
		ClientSessionCache: s.sessions,
	})
	c.tcp.SetDeadline(time.Now().Add(c.timeouts.Command))
	c.readBy, c.writeBy = time.Time{}, time.Time{}
	err := tc.HandshakeContext(c.ctx)
	if err != nil {
		c.hop.metrics.handshakes.WithLabelValues("failed").Inc()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errTimeout
		}
		return &errHandshake{err}
	}
	c.hop.metrics.handshakes.WithLabelValues(versionLabel(tc.ConnectionState().Version)).Inc()
	c.nc = tc
	c.in.reset(c)
	return nil
}

func versionLabel(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return "other"
}
