package recipients

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/emersion/go-smtp"

	"mailweir/mail"
)

// ask makes one probe of one next hop. err says why r is not Known.
func (p *Probe) ask(ctx context.Context, addr string, rcpt mail.Path) (r Result, err error) {
	c, err := p.connect(ctx, addr)
	if err != nil {
		return Unavailable, err
	}
	// The client sets deadlines of its own; only closing ends a wait for good.
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	defer c.Close()
	if err := c.Mail("", &smtp.MailOptions{UTF8: !isASCII(string(rcpt))}); err != nil {
		return Unavailable, refused("MAIL", err)
	}
	err = c.Rcpt(string(rcpt), nil)
	r, err = classify(err)
	if r == Unknown && !aboutRecipient(err) {
		r, err = confirm(c, rcpt, err)
	}
	if r != Unavailable {
		c.Quit() // ends the transaction too; the client's Reset would greet again first
	}
	return r, err
}

// classify tells what the reply to RCPT means.
func classify(err error) (Result, error) {
	var reply *smtp.SMTPError
	switch {
	case err == nil:
		return Known, nil
	case errors.As(err, &reply) && reply.Code >= 500 && reply.Code < 600:
		return Unknown, reply
	}
	return Unavailable, refused("RCPT", err)
}

// refused is an error for the log: without what a next hop may say of people.
func refused(verb string, err error) error {
	if said := codes(err); said != "" {
		return fmt.Errorf("%s: %s", verb, said)
	}
	return fmt.Errorf("%s: %w", verb, err)
}

// aboutRecipient reports that a 5yz to RCPT speaks of the recipient: by its
// enhanced status code (RFC 3463: 1 addresses, 2 mailboxes; 5.4.1 is what Exchange
// Online says of an address that its directory does not have), or, without one,
// by its code (RFC 5321 section 4.2.3).
func aboutRecipient(err error) bool {
	reply, ok := errors.AsType[*smtp.SMTPError](err)
	if !ok {
		return false
	}
	switch e := reply.EnhancedCode; {
	case e == smtp.EnhancedCodeNotSet, e == smtp.NoEnhancedCode:
		return reply.Code == 550 || reply.Code == 551 || reply.Code == 553
	default:
		return e[1] == 1 || e[1] == 2 || e[1] == 4 && e[2] == 1
	}
}

// confirm decides about a refusal that may be of us and not of the recipient, as
// where a next hop lists our address or wants a login: one that takes mail for
// postmaster, as all must (RFC 5321 section 4.5.1), takes mail from us.
func confirm(c *smtp.Client, rcpt mail.Path, refusal error) (Result, error) {
	if err := c.Rcpt("postmaster@"+rcpt.Domain(), nil); err != nil {
		return Unavailable, fmt.Errorf("RCPT: %s, for postmaster, too", codes(refusal))
	}
	return Unknown, refusal
}

// connect greets, over TLS where the next hop offers it: some take no mail
// without. A next hop where it fails is asked in the clear, on a connection of
// its own, unless TLS is required; for a while that is remembered.
func (p *Probe) connect(ctx context.Context, addr string) (*smtp.Client, error) {
	if until, ok := p.clear.Load(addr); ok && time.Now().Before(until.(time.Time)) {
		return p.greet(ctx, addr, false)
	}
	c, err := p.greet(ctx, addr, true)
	if errors.Is(err, errTLS) && !p.o.RequireTLS && ctx.Err() == nil {
		if c, err = p.greet(ctx, addr, false); err == nil {
			p.clear.Store(addr, time.Now().Add(p.o.UnknownFor))
		}
	}
	return c, err
}

// errTLS is a next hop that offers TLS and cannot do it.
var errTLS = errors.New("TLS failed")

func (p *Probe) greet(ctx context.Context, addr string, secure bool) (*smtp.Client, error) {
	nc, err := p.o.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	c, err := p.hello(nc)
	if err == nil && secure {
		if offered, _ := c.Extension("STARTTLS"); offered {
			c, err = p.startTLS(nc, addr)
		} else if p.o.RequireTLS {
			err = errors.New("TLS is not offered")
		}
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (p *Probe) hello(nc net.Conn) (*smtp.Client, error) {
	c := smtp.NewClient(nc)
	c.CommandTimeout = p.o.Timeout
	return c, c.Hello(p.o.Hostname)
}

// startTLS goes on over TLS with a next hop that was greeted (RFC 3207). go-smtp
// has a way to it that greets as "localhost", which strict next hops refuse. Its
// client wants a greeting when it begins, and after the handshake there is none.
func (p *Probe) startTLS(nc net.Conn, addr string) (*smtp.Client, error) {
	nc.SetDeadline(time.Now().Add(p.o.Timeout))
	config := p.tls.Clone()
	config.ServerName, _, _ = net.SplitHostPort(addr)
	secured := tls.Client(nc, config)
	_, err := io.WriteString(nc, "STARTTLS\r\n")
	if err == nil {
		err = ready(nc)
	}
	if err == nil {
		err = secured.Handshake()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTLS, err)
	}
	return p.hello(&greeted{Conn: secured, rest: "220 \r\n"})
}

// ready reads the reply to STARTTLS, and not an octet of what follows it.
func ready(nc net.Conn) error {
	var line []byte
	for b := []byte{0}; !bytes.HasSuffix(line, []byte("\n")); line = append(line, b...) {
		if len(line) > 512 {
			return errors.New("the reply to STARTTLS is too long")
		}
		if _, err := io.ReadFull(nc, b); err != nil {
			return err
		}
	}
	if !bytes.HasPrefix(line, []byte("220")) || bytes.HasPrefix(line, []byte("220-")) {
		return errors.New("STARTTLS was refused")
	}
	return nil
}

// greeted is a connection on which rest is read first.
type greeted struct {
	net.Conn
	rest string
}

func (g *greeted) Read(b []byte) (int, error) {
	if g.rest == "" {
		return g.Conn.Read(b)
	}
	n := copy(b, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// codes are of a reply what can be logged: its text may name the recipient.
func codes(err error) string {
	reply, ok := errors.AsType[*smtp.SMTPError](err)
	if !ok {
		return ""
	}
	e := reply.EnhancedCode
	if e == smtp.EnhancedCodeNotSet || e == smtp.NoEnhancedCode {
		return strconv.Itoa(reply.Code)
	}
	return fmt.Sprintf("%d %d.%d.%d", reply.Code, e[0], e[1], e[2])
}
