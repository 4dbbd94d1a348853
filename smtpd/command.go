package smtpd

import (
	"bytes"
	"strconv"

	"github.com/emersion/go-smtp"

	"mailweir/mail"
)

// command is how one verb is served. check looks at syntax, order and limits,
// writes nothing but c.cmd, and answers nil or the refusal; proceed acts and
// replies.
type command struct {
	check   func(c *conn, arg []byte) *Reply
	proceed func(c *conn)
	// junk marks what brings no message forward: a flood of it is cut short.
	junk bool
}

// commands is the table of what we understand. TURN, ETRN and the like are
// unknown to an MX (RFC 5321 section 4.5.1 has the minimum), and so is AUTH to
// all but listeners for outgoing mail.
func commands() map[string]command {
	return map[string]command{
		"HELO":     {(*conn).checkHelo, (*conn).doHelo, true},
		"EHLO":     {(*conn).checkHelo, (*conn).doEhlo, true},
		"STARTTLS": {(*conn).checkStartTLS, (*conn).doStartTLS, true},
		"AUTH":     {(*conn).checkAuth, (*conn).doAuth, true},
		"XCLIENT":  {(*conn).checkXclient, (*conn).doXclient, false},
		"MAIL":     {(*conn).checkMail, (*conn).doMail, false},
		"RCPT":     {(*conn).checkRcpt, (*conn).doRcpt, false},
		"DATA":     {(*conn).checkData, (*conn).doData, false},
		"BDAT":     {(*conn).checkBdat, (*conn).doBdat, false},
		"RSET":     {noArgument, (*conn).doReset, true},
		"NOOP":     {anyArgument, (*conn).doNoop, true},
		"VRFY":     {checkVrfy, (*conn).doVrfy, true},
		"EXPN":     {anyArgument, (*conn).doExpn, true},
		"HELP":     {anyArgument, (*conn).doHelp, true},
		"QUIT":     {noArgument, (*conn).doQuit, false},
	}
}

// arguments is what the check of a command has parsed for its proceed.
type arguments struct {
	path   mail.Path
	mail   smtp.MailOptions
	rcpt   smtp.RcptOptions
	client mail.Client  // EHLO, XCLIENT: what the client becomes
	named  xclientNames // XCLIENT
	chunk  int64        // BDAT: its size
	last   bool         // BDAT: LAST

	initial []byte // AUTH: the initial response
}

// dispatch serves one command line.
func (c *conn) dispatch(line []byte) {
	verb, arg, ok := splitLine(line)
	if !ok {
		c.badLine()
		return
	}
	var upper [maxVerb]byte
	name := upper[:copy(upper[:], verb)]
	upperASCII(name)
	command, known := c.srv.commands[string(name)]
	if !known || len(verb) > maxVerb {
		c.srv.metrics.commands[""].Inc()
		c.refuse(unknownCommand(arg))
		return
	}
	c.srv.metrics.commands[string(name)].Inc()
	if command.junk {
		c.waste()
	}
	if c.closing {
		return
	}
	switch r := command.check(c, arg); {
	case r == nil:
		command.proceed(c)
	case c.tx.refused && (r == &replyNeedMail || r == &replyNeedRcpt):
		c.reply(r) // a pipelining client could not know yet: no error of its own
		c.waste()
	default:
		c.refuse(r)
	}
}

// waste counts a command that brought no message forward.
func (c *conn) waste() {
	if c.junk++; c.junk > c.limits.Commands && !c.closing {
		c.fault(errorTooMany)
		c.reply(&replyTooManyErrors)
	}
}

// unknownCommand is the reply to a verb that we do not know. A web browser that
// somebody makes send mail (a form's content is commands, after the header) is not
// heard to the end.
func unknownCommand(arg []byte) *Reply {
	if bytes.Contains(arg, []byte(" HTTP/")) {
		return &replyNotSMTP
	}
	return &replyUnknownCommand
}

// maxVerb is the length of STARTTLS, the longest verb.
const maxVerb = 8

// readCommand waits for a whole command line. A shutdown need not wait for it
// when no data was begun.
func (c *conn) readCommand() ([]byte, error) {
	ends := over
	switch {
	case !c.tx.open:
		ends = closing
	case !c.tx.chunking:
		ends = hurrying
	}
	if c.srv.reached(ends) {
		return nil, errShutdown
	}
	if line, ok := c.in.line(); ok {
		return c.shortLine(line), nil
	}
	c.yields.Store(ends)
	defer c.yields.Store(serving)
	return c.awaitLine()
}

// awaitLine reads until a line is complete. The time is for the whole line, so
// that an octet now and then does not help.
func (c *conn) awaitLine() ([]byte, error) {
	deadline := c.deadline(c.limits.CommandTimeout)
	dropped := 0
	for {
		if n := len(c.in.unused()); n >= c.limits.CommandLine {
			if dropped += n; dropped > maxDropped {
				return nil, errLineSize
			}
			c.in.r = c.in.w
		}
		c.in.shrink()
		if err := c.fill(deadline); err != nil {
			return nil, err
		}
		if line, ok := c.in.line(); ok {
			if dropped > 0 {
				return longLine, nil
			}
			return c.shortLine(line), nil
		}
	}
}

// maxDropped is how much of an over-long command line is read in the hope of
// its end, so that the client gets the reply that it deserves.
const maxDropped = 64 << 10

// longLine stands for a line that was too long to keep: it is refused for its
// missing CR.
var longLine = []byte("\n")

func (c *conn) shortLine(line []byte) []byte {
	if len(line) > c.limits.CommandLine {
		return longLine
	}
	return line
}

// badLine refuses a line that is no line of SMTP. Such bytes come from no mail
// system, but from another protocol or from a smuggler: three are enough.
func (c *conn) badLine() {
	if c.badLines++; c.badLines < 3 {
		c.refuse(&replySyntax)
		return
	}
	c.fault(errorSyntax)
	c.reply(&replySyntax)
	c.closing, c.linger = true, true
}

// splitLine cuts a line into verb and argument. It insists on RFC 5321
// section 2.3.8: CRLF at the end, and no CR, LF or NUL anywhere else.
func splitLine(line []byte) (verb, arg []byte, ok bool) {
	body, found := bytes.CutSuffix(line, crlf)
	if !found || bytes.IndexByte(body, '\r') >= 0 || bytes.IndexByte(body, 0) >= 0 {
		return nil, nil, false
	}
	verb, arg, _ = bytes.Cut(body, space)
	return verb, bytes.Trim(arg, " "), true
}

var (
	crlf  = []byte("\r\n")
	space = []byte(" ")
)

func upperASCII(b []byte) {
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - ('a' - 'A')
		}
	}
}

func noArgument(_ *conn, arg []byte) *Reply {
	if len(arg) > 0 {
		return &replyBadArgument
	}
	return nil
}

func anyArgument(*conn, []byte) *Reply { return nil }

func checkVrfy(_ *conn, arg []byte) *Reply {
	if len(arg) == 0 {
		return &replyBadArgument
	}
	return nil
}

func (c *conn) doNoop() { c.reply(&replyOK) }
func (c *conn) doVrfy() { c.reply(&replyVrfy) }
func (c *conn) doHelp() { c.reply(&replyHelp) }
func (c *conn) doExpn() { c.refuse(&replyNotImplemented) }
func (c *conn) doQuit() {
	c.tally.ended("quit")
	c.reply(&replyBye)
}

func (c *conn) doReset() {
	c.endTransaction()
	c.reply(&replyReset)
}

// endTransaction is the only way out of a mail transaction, good or bad.
func (c *conn) endTransaction() {
	c.tx = mailState{}
	c.session.Reset()
}

// checkHelo takes any argument: RFC 5321 section 4.1.4 forbids to refuse mail
// for a HELO name alone. One that is no domain is not kept.
func (c *conn) checkHelo(arg []byte) *Reply {
	if len(arg) == 0 {
		return &replyBadArgument
	}
	c.cmd.client = c.client
	if !c.named.helo {
		c.cmd.client.Helo = ""
		if mail.ValidDomain(string(arg), false) {
			c.cmd.client.Helo = string(arg)
		}
	}
	return nil
}

func (c *conn) doHelo() {
	c.greet(false)
	c.say(250, smtp.NoEnhancedCode, c.srv.hostname)
}

func (c *conn) doEhlo() {
	c.greet(true)
	text := c.srv.hostname + "\nPIPELINING\nSIZE " + strconv.FormatInt(c.limits.MessageSize, 10) +
		"\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nCHUNKING\nDSN"
	if c.srv.tls != nil && c.client.TLS.Version == "" {
		text += "\nSTARTTLS"
	}
	if c.offersAuth() {
		text += "\nAUTH PLAIN"
	}
	if c.trusted {
		text += "\nXCLIENT NAME ADDR PORT PROTO HELO"
	}
	c.say(250, smtp.NoEnhancedCode, text)
}

// greet also resets, as RFC 5321 section 4.1.4 wants it.
func (c *conn) greet(esmtp bool) {
	c.endTransaction()
	c.client = c.cmd.client
	if !c.named.proto {
		c.client.ESMTP = esmtp
	}
	c.greeted = true
	c.tellGreeter()
}

func (c *conn) tellGreeter() {
	if g, ok := c.session.(Greeter); ok {
		g.Greet(c.client)
	}
}

func (c *conn) banner() {
	c.say(220, smtp.NoEnhancedCode, c.srv.hostname+" ESMTP")
}
