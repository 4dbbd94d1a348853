package relay

import (
	"strconv"

	"mailweir/mail"
)

// appendMail appends the MAIL command with the parameters that the next hop
// knows.
func appendMail(dst []byte, env *mail.Envelope, e *extensions, size int64, utf8 bool) []byte {
	dst = append(dst, "MAIL FROM:<"...)
	dst = append(dst, env.ReversePath...)
	dst = append(dst, '>')
	if e.size {
		dst = append(dst, " SIZE="...)
		dst = strconv.AppendInt(dst, size, 10)
	}
	if e.eightBit && env.EightBit {
		dst = append(dst, " BODY=8BITMIME"...)
	}
	if e.utf8 && utf8 {
		dst = append(dst, " SMTPUTF8"...)
	}
	if e.dsn && (env.Return == "FULL" || env.Return == "HDRS") {
		dst = append(dst, " RET="...)
		dst = append(dst, env.Return...)
	}
	if e.dsn && env.EnvID != "" && safeParameter(env.EnvID, false) {
		dst = append(dst, " ENVID="...)
		dst = append(dst, env.EnvID...)
	}
	return append(dst, "\r\n"...)
}

// appendRcpt appends the RCPT command.
func appendRcpt(dst []byte, r *mail.Recipient, e *extensions) []byte {
	dst = append(dst, "RCPT TO:<"...)
	dst = append(dst, r.Path...)
	dst = append(dst, '>')
	if e.dsn && r.Notify != 0 {
		dst = appendNotify(dst, r.Notify)
	}
	if e.dsn && r.ORcpt != "" && safeParameter(r.ORcpt, e.utf8) {
		dst = append(dst, " ORCPT="...)
		dst = append(dst, r.ORcpt...)
	}
	return append(dst, "\r\n"...)
}

// appendNotify appends NOTIFY=; NEVER stands alone (RFC 3461 section 4.1).
func appendNotify(dst []byte, n mail.Notify) []byte {
	dst = append(dst, " NOTIFY="...)
	if n&mail.NotifyNever != 0 {
		return append(dst, "NEVER"...)
	}
	begin := len(dst)
	for _, v := range [...]struct {
		bit  mail.Notify
		name string
	}{{mail.NotifySuccess, "SUCCESS"}, {mail.NotifyFailure, "FAILURE"}, {mail.NotifyDelay, "DELAY"}} {
		if n&v.bit == 0 {
			continue
		}
		if len(dst) > begin {
			dst = append(dst, ',')
		}
		dst = append(dst, v.name...)
	}
	return dst
}

// safePath reports whether p may stand between angle brackets in a command.
// The intake has parsed every path; this is the last line of defence against a
// path that would end the command and begin another (or add parameters to it):
// outside of a quoted-string no space, control or angle bracket, inside no
// control, and the quoted-string is closed.
func safePath(p mail.Path) bool {
	quoted := false
	for i := 0; i < len(p); i++ {
		c := p[i]
		switch {
		case c < ' ' || c == 0x7f:
			return false
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
			if i == len(p) || p[i] < ' ' || p[i] == 0x7f {
				return false
			}
		case !quoted && (c == ' ' || c == '<' || c == '>'):
			return false
		}
	}
	return !quoted && len(p) <= mail.MaxPath
}

// safeParameter reports whether v may stand as the value of a parameter: no
// space, no control. It came as xtext (RFC 3461 section 4); one that did not is
// left out, since DSN parameters are less than the message.
func safeParameter(v string, utf8 bool) bool {
	for i := 0; i < len(v); i++ {
		if c := v[i]; c <= ' ' || c == 0x7f || c >= 0x80 && !utf8 {
			return false
		}
	}
	return len(v) <= 500 // RFC 3461 section 5.4: ORCPT at most 500, ENVID 100 octets
}

func isASCII[T string | mail.Path | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
