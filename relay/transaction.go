package relay

import (
	"errors"
	"time"

	"mailweir/mail"
)

// freshFor is how long a connection that has served a message counts as alive:
// within it the next message is sent in one write, content and all.
const freshFor = time.Second

// transaction is one MAIL to end of data, for recipients with the same header
// section. run settles each of them in the attempt, but for those that the next
// hop should get in the following transaction, or another next hop.
type transaction struct {
	a        *attempt
	c        *conn
	rcpts    []int // positions in the attempt
	accepted []int // those with a positive reply to RCPT
	content  content
	utf8     bool // SMTPUTF8 is to be said
	eager    bool // the content goes out with the commands

	answered bool // MAIL was
	refused  bool // MAIL was, with 4yz or 5yz
	sending  bool // the content, after the replies to the envelope
	sent     bool // all of the message: silence does not mean that it was not taken
}

// errSettled says that the connection is useless now and that the recipients
// of the transaction have their outcomes.
var errSettled = errors.New("settled")

// run does the transaction. nil leaves the connection in use; errSettled and
// *errNoService do not.
func (t *transaction) run() error {
	t.c.late.set(false)
	if err := t.begin(); err != nil {
		return t.failed("MAIL", err)
	}
	if err := t.envelope(); err != nil {
		return err
	}
	switch {
	case t.eager:
		return t.final()
	case t.c.ext.chunking:
		return t.chunk()
	}
	return t.data()
}

// commands are those of the envelope: RSET where the last transaction may be
// open still, MAIL, one RCPT for each recipient.
func (t *transaction) appendCommand(dst []byte, k int) []byte {
	env := &t.a.m.Envelope
	switch k {
	case 0:
		return append(dst, "RSET\r\n"...)
	case 1:
		return appendMail(dst, env, &t.c.ext, t.content.size, t.utf8)
	}
	return appendRcpt(dst, &env.Recipients[t.a.rcpts[t.rcpts[k-2]]], &t.c.ext)
}

func (t *transaction) firstCommand() int {
	if t.c.resetDue {
		return 0
	}
	return 1
}

// begin sends, with PIPELINING, all that may be sent now (RFC 2920).
func (t *transaction) begin() error {
	c := t.c
	c.out = c.out[:0]
	if !c.ext.pipelining {
		return nil
	}
	for k := t.firstCommand(); k < 2+len(t.rcpts); k++ {
		c.out = t.appendCommand(c.out, k)
	}
	switch {
	case t.eager:
		c.out = appendBDAT(c.out, t.content.size)
		if err := t.content.sendChunk(c); err != nil {
			return err
		}
		t.complete()
		return nil
	case !c.ext.chunking:
		c.out = append(c.out, "DATA\r\n"...)
	}
	return c.write(c.out)
}

// ask sends command k, when it was not sent by begin, and reads its reply.
func (t *transaction) ask(k int, what string, rep *reply) error {
	c := t.c
	if !c.ext.pipelining {
		c.out = t.appendCommand(c.out[:0], k)
		if err := c.write(c.out); err != nil {
			return t.failed(what, err)
		}
	}
	if err := c.answer(what, rep, c.timeouts.Command); err != nil {
		return t.gone(err)
	}
	return nil
}

// envelope takes the replies to MAIL and RCPT.
func (t *transaction) envelope() error {
	var rep reply
	if t.c.resetDue {
		if err := t.ask(0, "RSET", &rep); err != nil {
			return err
		}
		t.c.resetDue = false
	}
	if err := t.ask(1, "MAIL", &rep); err != nil {
		return err
	}
	t.answered = true
	if !rep.positive() {
		t.refused = true
		t.settle(t.rcpts, rep.value())
		if !t.c.ext.pipelining {
			return nil
		}
	}
	for i, pos := range t.rcpts {
		if err := t.ask(2+i, "RCPT", &rep); err != nil {
			return err
		}
		if !t.refused {
			t.recipient(pos, &rep)
		}
	}
	return nil
}

// recipient takes the reply to one RCPT.
func (t *transaction) recipient(pos int, rep *reply) {
	switch {
	case rep.positive():
		t.accepted = append(t.accepted, pos)
	case len(t.accepted) > 0 && tooMany(rep):
		// The rest goes in a transaction of its own, at once; it and all
		// later ones on this connection know the limit.
		t.c.maxRcpt = len(t.accepted)
	default:
		t.settle([]int{pos}, rep.value())
	}
}

// tooMany recognizes a limit on recipients: 452, and 552 of old servers
// (RFC 5321 section 4.5.3.1.10), where the enhanced status code does not say
// that it means something else, such as a full mailbox.
func tooMany(rep *reply) bool {
	e := rep.enhanced
	return (rep.code == 452 || rep.code == 552) && (e == mail.EnhancedCode{} || e[1] == 5 && e[2] == 3)
}

// chunk sends the content with BDAT after the replies to RCPT.
func (t *transaction) chunk() error {
	if len(t.accepted) == 0 {
		t.c.resetDue = true
		return nil
	}
	t.sending = true
	t.c.out = appendBDAT(t.c.out[:0], t.content.size)
	if err := t.content.sendChunk(t.c); err != nil {
		return t.failed("BDAT", err)
	}
	t.complete()
	return t.final()
}

// complete notes that the whole message has left.
func (t *transaction) complete() {
	t.sent = true
	t.c.late.set(true)
	t.a.relay.metrics.bytes.Add(float64(t.content.size))
}

// data sends the content with DATA.
func (t *transaction) data() error {
	c := t.c
	if !c.ext.pipelining {
		if len(t.accepted) == 0 {
			c.resetDue = true
			return nil
		}
		if err := c.write(append(c.out[:0], "DATA\r\n"...)); err != nil {
			return t.failed("DATA", err)
		}
	}
	var rep reply
	if err := c.answer("DATA", &rep, c.timeouts.Data); err != nil {
		return t.gone(err)
	}
	switch {
	case rep.code == 354 && len(t.accepted) == 0:
		return t.loneDot()
	case rep.code == 354:
	default:
		c.resetDue = true
		return t.verdict(&rep)
	}
	t.sending = true
	if err := t.content.sendLines(c); err != nil {
		return t.failed("content", err)
	}
	t.complete()
	return t.final()
}

// loneDot ends a DATA that the next hop let begin though it has accepted no
// recipient (RFC 2920 section 3.1). Whatever it replies, all is settled.
func (t *transaction) loneDot() error {
	if err := t.c.write([]byte(".\r\n")); err != nil {
		return errSettled
	}
	var rep reply
	if err := t.c.answer("final dot", &rep, t.c.timeouts.Final); err != nil {
		return errSettled
	}
	t.c.resetDue = true
	return nil
}

// final takes the reply to the complete message.
func (t *transaction) final() error {
	var rep reply
	if err := t.c.answer("end of data", &rep, t.c.timeouts.Final); err != nil {
		return t.gone(err)
	}
	if !rep.positive() {
		t.c.resetDue = true
	}
	return t.verdict(&rep)
}

// verdict gives the accepted recipients the reply to DATA or to the message. A
// reply that cannot be one, such as 250 to DATA, is a mistake of the next hop:
// nothing that it says on this connection can be trusted to mean what it says.
func (t *transaction) verdict(rep *reply) error {
	switch {
	case rep.code/100 == 3, rep.positive() && !t.sent:
		t.settleDeferred(mail.Reply{Enhanced: mail.EnhancedCode{4, 5, 0}, Text: "unexpected reply: " + rep.value().String()})
		return errSettled
	case len(t.accepted) > 0:
		t.settle(t.accepted, rep.value())
	}
	return nil
}

// settle gives the recipients what a reply means.
func (t *transaction) settle(pos []int, r mail.Reply) {
	result := classify(r)
	for _, p := range pos {
		t.a.settle(p, result, r)
	}
}

// settleDeferred defers all recipients that have no outcome yet.
func (t *transaction) settleDeferred(r mail.Reply) {
	for _, p := range t.rcpts {
		t.a.settle(p, mail.Deferred, r)
	}
}

// classify is what a reply to a transaction means. Only 5yz fails for good:
// what cannot be understood is tried again.
func classify(r mail.Reply) mail.Result {
	switch {
	case r.Positive():
		return mail.Relayed
	case r.Permanent():
		return mail.Failed
	}
	return mail.Deferred
}

// failed handles an error in sending. The next hop may have said why it closed
// the connection; a fault of ours is no fault of the next hop.
func (t *transaction) failed(what string, err error) error {
	var unreadable *errContent
	switch {
	case errors.Is(err, errLineEnds):
		t.a.fault(t.rcpts, mail.Failed, mail.Reply{Enhanced: mail.EnhancedCode{5, 6, 0}, Text: "internal error: " + err.Error()})
		return errSettled
	case errors.As(err, &unreadable):
		t.a.fault(t.rcpts, mail.Deferred, mail.Reply{Enhanced: mail.EnhancedCode{4, 3, 0}, Text: "internal error: stored content cannot be read"})
		t.a.log("content of a queued message cannot be read", "error", err.Error())
		return errSettled
	}
	return t.lastWords(t.c.lost(what, err))
}

// lastWordsTimeout is how long a reply may take after a write has failed.
const lastWordsTimeout = time.Second

// lastWords reads what the next hop said before it closed the connection on a
// message that was not complete. 421 explains the silence; another refusal is
// the answer to the content, if that was what we were sending.
func (t *transaction) lastWords(silence *errNoService) error {
	if t.c.ctx.Err() != nil {
		return silence
	}
	var rep reply
	if t.c.reply(&rep, lastWordsTimeout) != nil {
		return silence
	}
	switch {
	case rep.code == 421:
		return &errNoService{what: silence.what, reply: rep.value()}
	case t.sending && rep.code >= 400:
		t.settle(t.accepted, rep.value())
		return errSettled
	}
	return silence
}

// gone handles a connection that ended in place of a reply. When the whole
// message was sent before, and no 421 says that it was not taken, it may have
// been: its recipients are deferred, here and now (RFC 1047).
func (t *transaction) gone(err *errNoService) error {
	if t.refused {
		return errSettled
	}
	if !t.sent || err.reply.Code != 0 {
		return err
	}
	if t.eager && !t.answered {
		t.c.hop.beWary()
	}
	t.c.hop.suspend(t.a.state.HopRetry)
	r := err.outcome()
	r.Text = "no reply to the complete message: " + r.Text
	t.settleDeferred(r)
	return errSettled
}
