package recipients

import (
	"context"
	"errors"
	"fmt"
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
		return Unavailable, fmt.Errorf("MAIL: %w", err)
	}
	err = c.Rcpt(string(rcpt), nil)
	if r, err = classify(err); r != Unavailable {
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
	return Unavailable, fmt.Errorf("RCPT: %w", err)
}

// connect greets, over TLS where the next hop offers it: some take no mail
// without. A next hop where it fails is asked in the clear, on a connection of
// its own, unless TLS is required; for a while that is remembered.
func (p *Probe) connect(ctx context.Context, addr string) (*smtp.Client, error) {
	if until, ok := p.clear.Load(addr); ok && time.Now().Before(until.(time.Time)) {
		return p.greet(ctx, addr, false)
	}
	c, err := p.greet(ctx, addr, true)
	if err != nil && !p.o.RequireTLS && ctx.Err() == nil {
		if c, err = p.greet(ctx, addr, false); err == nil {
			p.clear.Store(addr, time.Now().Add(p.o.UnknownFor))
		}
	}
	return c, err
}

func (p *Probe) greet(ctx context.Context, addr string, secure bool) (*smtp.Client, error) {
	nc, err := p.o.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	c, err := p.client(nc, addr, secure)
	if err == nil {
		err = c.Hello(p.o.Hostname)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.CommandTimeout = p.o.Timeout
	return c, nil
}

func (p *Probe) client(nc net.Conn, addr string, secure bool) (*smtp.Client, error) {
	if !secure {
		return smtp.NewClient(nc), nil
	}
	nc.SetDeadline(time.Now().Add(p.o.Timeout))
	config := p.tls.Clone()
	config.ServerName, _, _ = net.SplitHostPort(addr)
	return smtp.NewClientStartTLS(nc, config)
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
