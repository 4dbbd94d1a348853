package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// payload is a message as it goes over the wire: dots stuffed, with the final
// dot, in two parts so that the clock starts when the last part is sent.
type payload struct{ first, last []byte }

// lastPart is how much of a message goes out with the final dot. A message
// that is not larger is one write, as real clients do.
const lastPart = 4 << 10

func newPayload(message []byte) payload {
	wire := bytes.ReplaceAll(message, []byte("\r\n."), []byte("\r\n.."))
	if len(wire) > 0 && wire[0] == '.' {
		wire = append([]byte("."), wire...)
	}
	if !bytes.HasSuffix(wire, []byte("\r\n")) {
		wire = append(wire, "\r\n"...)
	}
	wire = append(wire, ".\r\n"...)
	cut := 0
	if len(wire) > 2*lastPart {
		cut = len(wire) - lastPart
	}
	return payload{wire[:cut], wire[cut:]}
}

// sourceTimeout bounds each wait for the server: RFC 5321 section 4.5.3.2.6
// gives it ten minutes after the dot; nobody measures that.
const sourceTimeout = time.Minute

// sourceConn is one SMTP session of the source.
type sourceConn struct {
	nc       net.Conn
	job      *sourceJob
	unwatch  func() bool // of the context that closes nc
	pipeline bool
	in       []byte // what is read and not used yet: in[pos:]
	pos      int
	buf      [8 << 10]byte
	out      []byte
}

func dialSource(ctx context.Context, j *sourceJob) (*sourceConn, error) {
	d := net.Dialer{Timeout: sourceTimeout}
	nc, err := d.DialContext(ctx, "tcp", j.Address)
	if err != nil {
		return nil, err
	}
	c := &sourceConn{nc: nc, job: j, unwatch: context.AfterFunc(ctx, func() { _ = nc.Close() })}
	if err := c.greet(); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// greet takes the banner and says EHLO, again after XCLIENT: that makes it a
// new session.
func (c *sourceConn) greet() error {
	if err := c.expect("banner", '2'); err != nil {
		return err
	}
	if err := c.ehlo(); err != nil {
		return err
	}
	if len(c.job.Clients) == 0 {
		return nil
	}
	k := int(c.job.clients.Add(1)-1) % len(c.job.Clients)
	if err := c.command("XCLIENT ADDR=" + xclientAddr(c.job.Clients[k]) + " NAME=[UNAVAILABLE]"); err != nil {
		return err
	}
	return c.ehlo()
}

func xclientAddr(a netip.Addr) string {
	if a.Is6() {
		return "IPV6:" + a.String()
	}
	return a.String()
}

func (c *sourceConn) ehlo() error {
	if err := c.write([]byte("EHLO " + c.job.Helo + "\r\n")); err != nil {
		return err
	}
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if len(line) < 4 || line[0] != '2' {
			return fmt.Errorf("EHLO: %.100q", line)
		}
		if strings.EqualFold(string(line[4:]), "PIPELINING") {
			c.pipeline = true
		}
		if line[3] == ' ' {
			return nil
		}
	}
}

// envelope sends MAIL, RCPT and DATA in one write and reads the three replies.
// refused is the code of the first one that is not positive, when there is no
// 354.
func (c *sourceConn) envelope(number int) (refused string, err error) {
	to := c.job.To
	if head, tail, ok := strings.Cut(to, "%d"); ok {
		to = head + strconv.Itoa(number) + tail
	}
	commands := []string{"MAIL FROM:<" + c.job.From + ">\r\n", "RCPT TO:<" + to + ">\r\n", "DATA\r\n"}
	c.out = c.out[:0]
	for _, line := range commands {
		c.out = append(c.out, line...)
	}
	if c.pipeline {
		if err := c.write(c.out); err != nil {
			return "", err
		}
	}
	for _, line := range commands {
		if !c.pipeline {
			if err := c.write([]byte(line)); err != nil {
				return "", err
			}
		}
		code, _, err := c.reply()
		if err != nil {
			return "", err
		}
		if code[0] != '2' && code[0] != '3' && refused == "" {
			refused = code
		}
		if code == "354" { // the content must follow, whatever was refused before
			return "", nil
		}
	}
	return refused, nil
}

// content sends the message, and tells when its last part went out.
func (c *sourceConn) content(ctx context.Context) (dot time.Time, err error) {
	p := c.job.data
	switch {
	case c.job.Trickle > 0:
		if err := c.trickle(ctx, append(p.first[:len(p.first):len(p.first)], p.last...)); err != nil {
			return dot, err
		}
		p.last = []byte(".\r\n")
	case len(p.first) > 0:
		if err := c.write(p.first); err != nil {
			return dot, err
		}
	}
	dot = time.Now()
	return dot, c.write(p.last)
}

// trickleSteps is in how many pieces a message trickles.
const trickleSteps = 100

// trickle sends all but the final dot.
func (c *sourceConn) trickle(ctx context.Context, wire []byte) error {
	wire = wire[:len(wire)-len(".\r\n")]
	step := len(wire)/trickleSteps + 1
	for len(wire) > 0 {
		n := min(step, len(wire))
		if err := c.write(wire[:n]); err != nil {
			return err
		}
		wire = wire[n:]
		if !pause(ctx, c.job.Trickle/trickleSteps) {
			return ctx.Err()
		}
	}
	return nil
}

func (c *sourceConn) command(line string) error {
	if err := c.write([]byte(line + "\r\n")); err != nil {
		return err
	}
	verb, _, _ := strings.Cut(line, " ")
	return c.expect(verb, '2')
}

func (c *sourceConn) expect(what string, class byte) error {
	code, text, err := c.reply()
	if err == nil && code[0] != class {
		err = fmt.Errorf("%s: %s %.100s", what, code, text)
	}
	return err
}

func (c *sourceConn) quit() error { return c.command("QUIT") }

func (c *sourceConn) close() {
	c.unwatch()
	_ = c.nc.Close()
}

func (c *sourceConn) write(p []byte) error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(sourceTimeout)); err != nil {
		return err
	}
	_, err := c.nc.Write(p)
	return err
}

// reply reads one reply, of which the last line counts.
func (c *sourceConn) reply() (code, text string, err error) {
	for {
		line, err := c.line()
		if err != nil {
			return "", "", err
		}
		if len(line) < 3 {
			return "", "", fmt.Errorf("no reply: %.100q", line)
		}
		if len(line) == 3 || line[3] == ' ' {
			return string(line[:3]), string(line[min(4, len(line)):]), nil
		}
	}
}

// line reads one line, without its end; valid until the next call.
func (c *sourceConn) line() ([]byte, error) {
	for {
		if k := bytes.IndexByte(c.in[c.pos:], '\n'); k >= 0 {
			line := c.in[c.pos : c.pos+k]
			c.pos += k + 1
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		n := copy(c.buf[:], c.in[c.pos:])
		if n == len(c.buf) {
			return nil, fmt.Errorf("a reply line of more than %d octets", n)
		}
		if err := c.nc.SetReadDeadline(time.Now().Add(sourceTimeout)); err != nil {
			return nil, err
		}
		m, err := c.nc.Read(c.buf[n:])
		c.in, c.pos = c.buf[:n+m], 0
		if m == 0 && err != nil {
			return nil, err
		}
	}
}
