package mailtest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// sinkConn is one connection to a Sink.
type sinkConn struct {
	sink   *Sink
	nc     net.Conn
	r      *bufio.Reader
	number int
	tls    bool

	helo         string
	transactions int
	inMail       bool
	m            Message
}

var errEnd = errors.New("the connection ends")

func (c *sinkConn) serve() {
	plain := c.nc
	defer c.sink.forget(plain)
	defer func() { c.nc.Close() }()
	c.r = bufio.NewReaderSize(c.nc, 64<<10)
	if _, err := c.reply("CONNECT", "", "220 sink.example ESMTP"); err != nil {
		return
	}
	for {
		line, err := c.line()
		if err != nil {
			return
		}
		c.sink.command(line)
		if err := c.do(verbOf(line), line); err != nil {
			return
		}
	}
}

// line reads a command line: it must end in CRLF and hold no other CR.
func (c *sinkConn) line() (string, error) {
	raw, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line, ok := strings.CutSuffix(raw, "\r\n")
	if !ok || strings.ContainsAny(line, "\r\x00") {
		c.sink.fault(fmt.Sprintf("command line %q does not end in CRLF alone", raw))
	}
	return line, nil
}

// step asks the script what to do.
func (c *sinkConn) step(verb, line string) Step {
	if c.sink.o.On == nil {
		return Step{}
	}
	return c.sink.o.On(Event{Verb: verb, Line: line, Conn: c.number,
		Transaction: c.transactions, Recipients: len(c.m.Rcpts), TLS: c.tls})
}

// reply sends the script's reply, or ours where the script has none, and
// returns the code that was sent.
func (c *sinkConn) reply(verb, line, ours string) (code int, err error) {
	return c.act(c.step(verb, line), ours)
}

func (c *sinkConn) act(step Step, ours string) (code int, err error) {
	if step.Delay > 0 {
		select {
		case <-time.After(step.Delay):
		case <-c.sink.ctx.Done():
			return 0, errEnd
		}
	}
	out := wire(ours)
	switch {
	case step.Drop:
		return 0, errEnd
	case step.Hang:
		io.Copy(io.Discard, c.r)
		return 0, errEnd
	case step.Raw != "":
		out = step.Raw
	case step.Reply != "":
		out = wire(step.Reply)
	}
	code = codeOf(out)
	if _, err = io.WriteString(c.nc, out); err == nil && (step.Close || code == 421) {
		err = errEnd
	}
	return code, err
}

func codeOf(reply string) int {
	code, _ := strconv.Atoi(reply[:min(3, len(reply))])
	return code
}

// wire is the reply as it is sent: each line but the last has a hyphen after
// its code (RFC 5321 section 4.2.1).
func wire(reply string) string {
	lines := strings.Split(reply, "\n")
	for i, l := range lines {
		if i < len(lines)-1 && len(l) > 3 {
			lines[i] = l[:3] + "-" + l[4:]
		}
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

func (c *sinkConn) do(verb, line string) error {
	switch verb {
	case "EHLO", "HELO":
		return c.hello(verb, line)
	case "STARTTLS":
		return c.startTLS(line)
	case "MAIL":
		return c.mail(line)
	case "RCPT":
		return c.rcpt(line)
	case "DATA":
		return c.data(line)
	case "BDAT":
		return c.bdat(line)
	case "RSET":
		_, err := c.reply(verb, line, "250 2.0.0 Reset")
		c.inMail, c.m = false, Message{}
		return err
	case "NOOP":
		_, err := c.reply(verb, line, "250 2.0.0 Ok")
		return err
	case "QUIT":
		c.reply(verb, line, "221 2.0.0 Bye")
		return errEnd
	}
	c.sink.fault(fmt.Sprintf("unknown command %q", line))
	_, err := c.reply(verb, line, "500 5.5.1 Unknown command")
	return err
}

func (c *sinkConn) hello(verb, line string) error {
	ours := "250 sink.example"
	if verb == "EHLO" {
		for _, e := range c.sink.o.Extensions {
			ours += "\n250 " + e
		}
		if c.sink.o.TLS != nil && !c.tls {
			ours += "\n250 STARTTLS"
		}
	}
	code, err := c.reply(verb, line, ours)
	if code/100 == 2 {
		_, c.helo, _ = strings.Cut(line, " ")
		c.inMail, c.m = false, Message{}
	}
	c.last(verb)
	return err
}

// last notes a fault when more than the command was sent: after EHLO, DATA and
// the like a client waits for the reply (RFC 2920 section 3.1).
func (c *sinkConn) last(verb string) {
	if c.r.Buffered() > 0 {
		c.sink.fault("octets after " + verb + " before its reply")
	}
}

func (c *sinkConn) startTLS(line string) error {
	c.last("STARTTLS")
	code, err := c.reply("STARTTLS", line, "220 2.0.0 Go ahead")
	if err != nil || code != 220 || c.sink.o.TLS == nil {
		return err
	}
	tc := tls.Server(c.nc, c.sink.o.TLS)
	if err := tc.HandshakeContext(c.sink.ctx); err != nil {
		return err
	}
	c.nc, c.tls, c.helo = tc, true, ""
	c.r = bufio.NewReaderSize(tc, 64<<10)
	return nil
}

func (c *sinkConn) mail(line string) error {
	if c.inMail || c.helo == "" {
		c.sink.fault("MAIL inside of a transaction, or before EHLO")
	}
	path, params, ok := parsePath(line, "MAIL FROM:")
	if !ok {
		c.sink.fault(fmt.Sprintf("malformed %q", line))
	}
	code, err := c.reply("MAIL", line, "250 2.1.0 Ok")
	if code/100 == 2 {
		c.transactions++
		c.inMail = true
		c.m = Message{Helo: c.helo, From: path, MailParams: params, TLS: c.tls, Conn: c.number}
	}
	return err
}

func (c *sinkConn) rcpt(line string) error {
	path, params, ok := parsePath(line, "RCPT TO:")
	if !ok {
		c.sink.fault(fmt.Sprintf("malformed %q", line))
	}
	ours := "250 2.1.5 Ok"
	if !c.inMail {
		ours = "503 5.5.1 MAIL first"
	}
	code, err := c.reply("RCPT", line, ours)
	if code/100 == 2 && c.inMail {
		c.m.Rcpts = append(c.m.Rcpts, Rcpt{path, params})
	}
	return err
}

// parsePath takes a MAIL or RCPT command apart. The path ends at the first ">"
// outside of quotes.
func parsePath(line, verb string) (path string, params []string, ok bool) {
	if len(line) <= len(verb) || !strings.EqualFold(line[:len(verb)], verb) || line[len(verb)] != '<' {
		return "", nil, false
	}
	rest := line[len(verb)+1:]
	quoted := false
	for i := 0; i < len(rest); i++ {
		switch {
		case quoted && rest[i] == '\\':
			i++
		case rest[i] == '"':
			quoted = !quoted
		case rest[i] == '>' && !quoted:
			tail := rest[i+1:]
			return rest[:i], strings.Fields(tail), tail == "" || tail[0] == ' '
		}
	}
	return "", nil, false
}

func (c *sinkConn) data(line string) error {
	c.last("DATA")
	ours := "354 Go ahead"
	if len(c.m.Rcpts) == 0 {
		ours = "554 5.5.1 No valid recipients"
	}
	code, err := c.reply("DATA", line, ours)
	if err != nil || code != 354 {
		return err
	}
	if c.m.Data, err = c.readLines(); err != nil {
		return err
	}
	return c.message(line)
}

// readLines reads to the final dot, and notes each line end that is not CRLF.
func (c *sinkConn) readLines() ([]byte, error) {
	var data []byte
	for {
		line, err := c.r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if !bytes.HasSuffix(line, []byte("\r\n")) || bytes.IndexByte(line[:len(line)-2], '\r') >= 0 {
			c.sink.fault(fmt.Sprintf("bare CR or LF in %.40q", line))
		}
		if bytes.Equal(line, []byte(".\r\n")) {
			return data, nil
		}
		data = append(data, bytes.TrimPrefix(line, []byte("."))...)
	}
}

func (c *sinkConn) bdat(line string) error {
	args := strings.Fields(line)[1:]
	size, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil || size < 0 {
		c.sink.fault(fmt.Sprintf("malformed %q", line))
		return errEnd
	}
	chunk := make([]byte, size)
	if _, err := io.ReadFull(c.r, chunk); err != nil {
		return err
	}
	if len(c.m.Rcpts) == 0 {
		_, err := c.reply("BDAT", line, "554 5.5.1 No valid recipients")
		return err
	}
	c.m.Data = append(c.m.Data, chunk...)
	c.m.Chunks++
	if len(args) == 2 && strings.EqualFold(args[1], "LAST") {
		return c.message(line)
	}
	_, err = c.reply("BDAT", line, "250 2.0.0 Chunk ok")
	return err
}

// message replies to a complete message. What the script lets pass is kept,
// before the reply: a client never has the reply before the test can have the
// message. A script that drops the connection here has taken the message too.
func (c *sinkConn) message(line string) error {
	m, step := c.m, c.step("MESSAGE", line)
	c.inMail, c.m = false, Message{}
	ours := "250 2.0.0 Ok: taken"
	switch said := step.Reply + step.Raw; {
	case len(m.Rcpts) == 0: // the lone dot of RFC 2920 section 3.1
		ours = "554 5.5.1 No valid recipients"
	case said == "" || codeOf(said)/100 == 2:
		c.sink.add(m)
	}
	_, err := c.act(step, ours)
	return err
}
