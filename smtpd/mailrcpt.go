package smtpd

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-smtp"

	"mailweir/mail"
)

// checkMail parses MAIL FROM:<reverse-path> [parameters] (RFC 5321 section
// 4.1.1.2).
func (c *conn) checkMail(arg []byte) *Reply {
	switch {
	case !c.greeted:
		return &replyNeedHelo
	case c.tx.open:
		return &replyNestedMail
	}
	path, params, ok := splitPath(arg, "FROM:")
	if !ok {
		return &replyBadArgument
	}
	c.cmd.mail = smtp.MailOptions{}
	if r := eachParam(params, c.mailParam); r != nil {
		return r
	}
	if r := c.parsePath(path, c.cmd.mail.UTF8, &replyBadSender); r != nil {
		return r
	}
	if p := c.cmd.path; !p.IsNull() && p.Domain() == "" {
		return &replyBadSender // <postmaster> is a forward-path only
	}
	return nil
}

// doMail hands MAIL to the session, whose the options are until it returns.
func (c *conn) doMail() {
	if err := c.session.Mail(string(c.cmd.path), &c.cmd.mail); err != nil {
		c.tx.refused = true
		c.refuseError(err)
		return
	}
	c.tx = mailState{open: true, utf8: c.cmd.mail.UTF8}
	c.tally.transactions++
	c.reply(&replySender)
}

// checkRcpt parses RCPT TO:<forward-path> [parameters] (RFC 5321 section
// 4.1.1.3).
func (c *conn) checkRcpt(arg []byte) *Reply {
	if r := c.inTransaction(); r != nil {
		return r
	}
	if c.tx.chunking {
		return &replyInTransaction
	}
	path, params, ok := splitPath(arg, "TO:")
	if !ok {
		return &replyBadArgument
	}
	c.cmd.rcpt = smtp.RcptOptions{}
	if r := eachParam(params, c.rcptParam); r != nil {
		return r
	}
	if r := c.parsePath(path, c.tx.utf8, &replyBadRecipient); r != nil {
		return r
	}
	if c.cmd.path.IsNull() {
		return &replyBadRecipient
	}
	if c.tx.rcpts >= c.limits.Recipients {
		return &replyTooManyRcpts
	}
	return nil
}

// doRcpt is doMail for RCPT.
func (c *conn) doRcpt() {
	if err := c.session.Rcpt(string(c.cmd.path), &c.cmd.rcpt); err != nil {
		c.tx.refused = true
		c.refuseError(err)
		return
	}
	c.tx.rcpts++
	c.reply(&replyRecipient)
}

// inTransaction refuses what needs MAIL.
func (c *conn) inTransaction() *Reply {
	switch {
	case !c.greeted:
		return &replyNeedHelo
	case c.tx.open:
		return nil
	}
	return &replyNeedMail
}

// splitPath cuts "FROM: <path> parameters". Blanks around the colon's right
// side are tolerated, since enough clients send them.
func splitPath(arg []byte, keyword string) (path, params []byte, ok bool) {
	if len(arg) < len(keyword) || !bytes.EqualFold(arg[:len(keyword)], []byte(keyword)) {
		return nil, nil, false
	}
	arg = bytes.TrimLeft(arg[len(keyword):], " ")
	n := pathLength(arg)
	if n == 0 || len(arg) > n && arg[n] != ' ' {
		return nil, nil, false
	}
	return arg[1 : n-1], arg[n:], true
}

// pathLength is the length of the "<...>" that b starts with, or 0. A ">"
// inside a quoted-string does not end it.
func pathLength(b []byte) int {
	if len(b) == 0 || b[0] != '<' {
		return 0
	}
	quoted := false
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case '>':
			if !quoted {
				return i + 1
			}
		}
	}
	return 0
}

// parsePath puts the path into c.cmd.
func (c *conn) parsePath(b []byte, utf8ok bool, bad *Reply) *Reply {
	s := string(b)
	path, err := mail.ParsePath(s, utf8ok)
	if err == nil && utf8.ValidString(s) {
		c.cmd.path = path
		return nil
	}
	if _, err := mail.ParsePath(s, true); err == nil && !utf8ok && utf8.ValidString(s) {
		return &replyNeedUTF8 // RFC 6531 section 3.5
	}
	return bad
}

// eachParam calls f for each esmtp-param (RFC 5321 section 4.1.2), the keyword
// in upper case. None may be given twice.
func eachParam(params []byte, f func(key, value string, hasValue bool) *Reply) *Reply {
	if len(params) == 0 {
		return nil
	}
	var seen []string
	for field := range strings.FieldsFuncSeq(string(params), func(r rune) bool { return r == ' ' }) {
		key, value, hasValue := strings.Cut(field, "=")
		key = strings.ToUpper(key)
		for _, s := range seen {
			if s == key {
				return &replyBadArgument
			}
		}
		seen = append(seen, key)
		if hasValue && !validParamValue(value) {
			return &replyBadArgument
		}
		if r := f(key, value, hasValue); r != nil {
			return r
		}
	}
	return nil
}

// validParamValue is esmtp-value: no "=", blank or control character.
func validParamValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == '=' || c == 0x7f {
			return false
		}
	}
	return s != "" && utf8.ValidString(s)
}

func (c *conn) mailParam(key, value string, hasValue bool) *Reply {
	o := &c.cmd.mail
	switch key {
	case "SIZE":
		size, ok := parseSize(value)
		if !ok {
			return &replyBadArgument
		}
		if size > c.limits.MessageSize {
			return &replyTooBig
		}
		o.Size = size
	case "BODY":
		switch body := smtp.BodyType(strings.ToUpper(value)); body {
		case smtp.Body7Bit, smtp.Body8BitMIME:
			o.Body = body
		default:
			return &replyUnknownParam // BINARYMIME is not offered
		}
	case "SMTPUTF8":
		if hasValue {
			return &replyBadArgument
		}
		o.UTF8 = true
	case "AUTH": // RFC 4954 section 5: who submitted it is not passed on
		if c.authenticator() == nil || !hasValue {
			return &replyUnknownParam
		}
	case "RET":
		switch ret := smtp.DSNReturn(strings.ToUpper(value)); ret {
		case smtp.DSNReturnFull, smtp.DSNReturnHeaders:
			o.Return = ret
		default:
			return &replyBadArgument
		}
	case "ENVID":
		id, ok := parseEnvID(value)
		if !ok {
			return &replyBadArgument
		}
		o.EnvelopeID = id
	default:
		return &replyUnknownParam
	}
	return nil
}

// parseSize takes the 1 to 20 digits of RFC 1870 section 4; what no int64
// holds is too big for any limit.
func parseSize(s string) (int64, bool) {
	if s == "" || len(s) > 20 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}

func (c *conn) rcptParam(key, value string, _ bool) *Reply {
	o := &c.cmd.rcpt
	switch key {
	case "NOTIFY":
		notify, ok := parseNotify(value)
		if !ok {
			return &replyBadArgument
		}
		o.Notify = notify
	case "ORCPT":
		kind, addr, ok := parseORcpt(value)
		if !ok {
			return &replyBadArgument
		}
		o.OriginalRecipientType, o.OriginalRecipient = kind, addr
	default:
		return &replyUnknownParam
	}
	return nil
}
