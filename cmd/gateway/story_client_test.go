package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// client is one SMTP connection that does exactly what the story says.
type client struct {
	w   *world
	nc  net.Conn
	r   *bufio.Reader
	out bytes.Buffer // written before the next reply is read: pipelined
	id  string       // the last trace ID that a reply named
	all []string     // every reply
}

func (w *world) dial(name string) (*client, error) {
	addr := name
	if a := w.names[name]; a != "" {
		addr = a
	}
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(2 * patience))
	return &client{w: w, nc: nc, r: bufio.NewReader(nc)}, nil
}

func (c *client) close() { c.nc.Close() }

// reply reads one reply, its lines joined by " | ".
func (c *client) reply() (string, error) {
	if err := c.flush(); err != nil {
		return "", err
	}
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("after %q: %w", c.all, err)
		}
		text, ok := strings.CutSuffix(line, "\r\n")
		if !ok || len(text) < 4 || text[3] != ' ' && text[3] != '-' {
			return "", fmt.Errorf("not a reply line: %q", line)
		}
		if len(lines) == 0 {
			lines = append(lines, text[:4]+text[4:])
		} else if text[:3] != lines[0][:3] {
			return "", fmt.Errorf("the code changes inside a reply: %q, %q", lines, line)
		} else {
			lines = append(lines, text[4:])
		}
		if text[3] == ' ' {
			break
		}
	}
	all := lines[0][:3] + " " + strings.Join(append([]string{lines[0][4:]}, lines[1:]...), " | ")
	c.all = append(c.all, all)
	if m := traceID.FindString(all); m != "" {
		c.id = m
	}
	return all, nil
}

var traceID = regexp.MustCompile(`\b[0-9A-HJKMNP-TV-Z]{26}\b`)

func (c *client) flush() error {
	if c.out.Len() == 0 {
		return nil
	}
	_, err := c.nc.Write(c.out.Bytes())
	c.out.Reset()
	return err
}

// do sends a command and reads its reply.
func (c *client) do(format string, args ...any) (string, error) {
	fmt.Fprintf(&c.out, format+"\r\n", args...)
	return c.reply()
}

// expect reads a reply that must match.
func (c *client) expect(pattern string) error {
	got, err := c.reply()
	if err == nil && !matches(pattern, got) {
		err = fmt.Errorf("reply %q, want %q", got, pattern)
	}
	return err
}

// matches compares a reply with a pattern: its beginning up to the end of a
// word, "..." stands for anything, {ID} for a trace ID.
func matches(pattern, reply string) bool {
	re := regexp.QuoteMeta(pattern)
	re = strings.ReplaceAll(re, `\.\.\.`, `.*`)
	re = strings.ReplaceAll(re, `\{ID\}`, `[0-9A-HJKMNP-TV-Z]{26}`)
	return regexp.MustCompile(`^` + re + `($|[^0-9A-Za-z].*)`).MatchString(reply)
}

// data writes a message as DATA wants it: dots stuffed, the end marked.
func (c *client) data(msg []byte) {
	for line := range bytes.SplitAfterSeq(msg, []byte("\r\n")) {
		if bytes.HasPrefix(line, []byte(".")) {
			c.out.WriteByte('.')
		}
		c.out.Write(line)
	}
	c.out.WriteString(".\r\n")
}

// startTLS does the handshake; the certificate must be valid for the name,
// unless that is "".
func (c *client) startTLS(name string) error {
	if c.r.Buffered() > 0 {
		return errors.New("the gateway sent something before the handshake")
	}
	t := tls.Client(c.nc, &tls.Config{InsecureSkipVerify: true})
	c.nc, c.r = t, bufio.NewReader(t)
	if err := t.Handshake(); err != nil || name == "" {
		return err
	}
	return t.ConnectionState().PeerCertificates[0].VerifyHostname(name)
}

// closed makes sure that the gateway has ended the connection.
func (c *client) closed() error {
	if err := c.flush(); err != nil {
		return nil
	}
	line, err := c.r.ReadString('\n')
	var timeout net.Error
	switch {
	case err == nil:
		return fmt.Errorf("the connection should be closed, but %q came", line)
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("the connection was not closed")
	}
	return nil
}

// dialogue plays a file on one connection:
//
//	C: EHLO client.example     a line that the client sends
//	C! "EHLO x\n"              octets, as a Go string
//	M: ham.eml                 the message and its final dot
//	B: ham.eml LAST            the message as one BDAT chunk
//	S: 250 2.1.0 ...           the reply that must come (see matches)
//	TLS mx.example.org         the handshake; the certificate is for that name
//	EVERY 1s C: NOOP           again and again while it gets a 250
//	CLOSED                     the gateway has ended the connection
//	CLOSE                      the client ends it
//
// Client lines are sent in one piece up to the next line of another kind.
func (c *client) dialogue(name string) error {
	text, err := os.ReadFile(c.w.path(name))
	if err != nil {
		return err
	}
	for n, line := range strings.Split(string(text), "\n") {
		if err := c.step(line); err != nil {
			return fmt.Errorf("%s:%d: %s\n%w", filepath.Base(name), n+1, line, err)
		}
	}
	return c.flush()
}

func (c *client) step(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "C:":
		c.out.WriteString(rest + "\r\n")
	case "C!":
		s, err := strconv.Unquote(rest)
		c.out.WriteString(s)
		return err
	case "M:":
		c.data(c.w.message(rest))
	case "B:":
		file, last, _ := strings.Cut(rest, " ")
		msg := c.w.message(file)
		fmt.Fprintf(&c.out, "BDAT %d %s\r\n%s", len(msg), last, msg)
	case "S:":
		return c.expect(rest)
	case "TLS":
		return c.startTLS(rest)
	case "EVERY":
		return c.every(rest)
	case "CLOSED":
		return c.closed()
	case "CLOSE":
		err := c.flush()
		c.close()
		return err
	default:
		if line != "" && line[0] != '#' {
			return errors.New("not a line of a dialogue")
		}
	}
	return nil
}

// every repeats a command until another reply than a 250 is there to be read.
func (c *client) every(args string) error {
	text, command, _ := strings.Cut(args, " C: ")
	pause, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(pause) {
		c.out.WriteString(command + "\r\n")
		if err := c.flush(); err != nil {
			return nil
		}
		next, err := c.r.Peek(3)
		if err != nil {
			return err
		}
		if string(next) != "250" {
			return nil
		}
		if _, err := c.reply(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s was answered for %v", command, patience)
}

// letter is one message to send, and who says to send it.
type letter struct {
	listen     string // name of the listener
	xclient    string // arguments of XCLIENT; "" sends none
	helo, from string
	mailParams string
	rcptParams string
	to         []string
	msg        []byte
}

// post sends a letter in a session of its own, and returns the reply that
// decided: the first negative one that ends it, else the last.
func (w *world) post(l *letter) (reply, id string, err error) {
	c, err := w.dial(l.listen)
	if err != nil {
		return "", "", err
	}
	defer c.close()
	if reply, err = c.greet(l); err == nil {
		if reply, err = c.transact(l); err == nil {
			fmt.Fprint(&c.out, "QUIT\r\n")
			c.flush()
		}
	}
	if errors.Is(err, io.EOF) && len(c.all) > 0 {
		return c.all[len(c.all)-1], c.id, nil // a 421, say
	}
	return reply, c.id, err
}

// greet is banner and EHLO, with XCLIENT where the letter has it.
func (c *client) greet(l *letter) (string, error) {
	reply, err := c.reply()
	if err != nil || reply[0] != '2' {
		return reply, err
	}
	if l.xclient != "" {
		if reply, err = c.do("EHLO proxy.example"); err != nil {
			return reply, err
		}
		if reply, err = c.do("XCLIENT %s", l.xclient); err != nil || reply[0] != '2' {
			return reply, err
		}
	}
	return c.do("EHLO %s", l.helo)
}

func (c *client) transact(l *letter) (string, error) {
	if last := c.all[len(c.all)-1]; last[0] != '2' {
		return last, nil
	}
	reply, err := c.do("MAIL FROM:<%s>%s", l.from, l.mailParams)
	if err != nil || reply[0] != '2' {
		return reply, err
	}
	accepted := 0
	for _, to := range l.to {
		if reply, err = c.do("RCPT TO:<%s>%s", to, l.rcptParams); err != nil {
			return reply, err
		}
		if reply[0] == '2' {
			accepted++
		}
	}
	if accepted == 0 {
		return reply, nil
	}
	if reply, err = c.do("DATA"); err != nil || reply[0] != '3' {
		return reply, err
	}
	c.data(l.msg)
	return c.reply()
}
