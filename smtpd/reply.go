package smtpd

import (
	"errors"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"
)

// reply sends r. A refusal of the engine's own has the connection's ID at its
// end, since there is no transaction that could have one.
func (c *conn) reply(r *Reply) {
	text := r.Text
	if r.Code >= 400 {
		text += "; id " + c.tally.name().String()
	}
	c.say(r.Code, r.Enhanced, text)
	if r.Close {
		c.closing, c.linger = true, r.Code >= 400
	}
}

// refuse sends the engine's own refusal of a command.
func (c *conn) refuse(r *Reply) {
	c.reply(r)
	c.punish(r.Code)
}

// replyError sends what the session answered. An error of any other type than
// *smtp.SMTPError, or with a code that refuses nothing, is a fault of ours and
// never a 5yz. It returns the code that was sent.
func (c *conn) replyError(err error, fault *Reply) int {
	e, ok := errors.AsType[*smtp.SMTPError](err)
	if !ok || e.Code < 400 || e.Code > 599 {
		c.srv.log.Error("internal fault in a session", "error", err)
		c.reply(fault)
		return fault.Code
	}
	c.say(e.Code, e.EnhancedCode, e.Message)
	if e.Code == 421 {
		c.closing, c.linger = true, true
	}
	return e.Code
}

// refuseError is refuse for the session's refusals.
func (c *conn) refuseError(err error) {
	c.punish(c.replyError(err, &replyFault))
}

// punish counts a refusal. A 4yz is our trouble, not the client's.
func (c *conn) punish(code int) {
	if code < 500 || c.closing {
		return
	}
	if c.errors++; c.errors >= c.limits.Errors {
		c.fault(errorTooMany)
		c.reply(&replyTooManyErrors)
	}
}

// say puts one reply into out.
func (c *conn) say(code int, enhanced smtp.EnhancedCode, text string) {
	c.out = appendReply(c.out, code, enhanced, text)
	c.srv.metrics.reply(code)
	c.tally.reply(code, enhanced)
	if len(c.out) > maxOut && c.flush() != nil {
		c.closing = true
	}
}

// appendReply formats a reply, one line for each line of text (RFC 5321
// section 4.2.1). A code that is not set becomes X.0.0, as go-smtp does it.
func appendReply(dst []byte, code int, enhanced smtp.EnhancedCode, text string) []byte {
	if enhanced == smtp.EnhancedCodeNotSet {
		enhanced = smtp.EnhancedCode{code / 100, 0, 0}
	}
	for {
		line, rest, more := strings.Cut(text, "\n")
		dst = strconv.AppendInt(dst, int64(code), 10)
		if more {
			dst = append(dst, '-')
		} else {
			dst = append(dst, ' ')
		}
		if enhanced[0] > 0 && code >= 200 && (code < 300 || code >= 400) {
			dst = appendEnhanced(dst, enhanced)
		}
		dst = append(appendText(dst, line), "\r\n"...)
		if !more {
			return dst
		}
		text = rest
	}
}

func appendEnhanced(dst []byte, e smtp.EnhancedCode) []byte {
	for i, sep := range [3]byte{'.', '.', ' '} {
		dst = append(strconv.AppendInt(dst, int64(e[i]), 10), sep)
	}
	return dst
}

// appendText lets nothing through that could start another reply line.
func appendText(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= ' ' && c != 0x7f {
			dst = append(dst, c)
		}
	}
	return dst
}
