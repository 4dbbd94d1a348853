package relay

import (
	"fmt"

	"mailweir/mail"
)

// admissible settles the recipients that the next hop cannot serve by what it
// said at EHLO, without asking it, and reports whether any are left.
//
// 8-bit content goes to one without 8BITMIME as it is, undeclared, as all mail
// systems do it. RFC 6152 section 3 wants it converted, which would break
// signatures, or returned: lost for the sake of seven-bit paths that are gone.
func (t *transaction) admissible() bool {
	env := &t.a.m.Envelope
	e := &t.c.ext
	if !safePath(env.ReversePath) {
		t.a.fault(t.rcpts, mail.Failed, localReply(mail.EnhancedCode{5, 1, 7}, "internal error: unsafe reverse-path"))
		return false
	}
	if e.maxSize > 0 && t.content.size > e.maxSize {
		text := fmt.Sprintf("message of %d octets is too big for the next hop, which takes %d", t.content.size, e.maxSize)
		t.a.fault(t.rcpts, mail.Failed, localReply(mail.EnhancedCode{5, 3, 4}, text))
		return false
	}
	t.utf8 = !isASCII(env.ReversePath) || env.UTF8 && !isASCII(t.content.head)
	if t.utf8 && !e.utf8 {
		t.a.fault(t.rcpts, mail.Failed, replyNeedUTF8)
		return false
	}
	t.rcpts = t.admissibleRcpts()
	t.utf8 = t.utf8 || env.UTF8
	return len(t.rcpts) > 0
}

var replyNeedUTF8 = localReply(mail.EnhancedCode{5, 6, 7}, "message needs SMTPUTF8 and the next hop does not offer it")

func localReply(code mail.EnhancedCode, text string) mail.Reply {
	return mail.Reply{Enhanced: code, Text: text}
}

func (t *transaction) admissibleRcpts() []int {
	rest := t.rcpts[:0]
	for _, pos := range t.rcpts {
		path := t.a.m.Envelope.Recipients[t.a.rcpts[pos]].Path
		switch {
		case path.IsNull() || !safePath(path):
			t.a.fault([]int{pos}, mail.Failed, localReply(mail.EnhancedCode{5, 1, 3}, "internal error: unsafe recipient path"))
		case isASCII(path):
			rest = append(rest, pos)
		case t.c.ext.utf8:
			t.utf8 = true
			rest = append(rest, pos)
		default:
			t.a.fault([]int{pos}, mail.Failed, replyNeedUTF8)
		}
	}
	return rest
}
