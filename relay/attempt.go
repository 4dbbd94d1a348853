package relay

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"mailweir/mail"
)

// attempt is one call of Deliver: who has an outcome and who has not.
type attempt struct {
	ctx   context.Context
	relay *Relay
	state *state
	m     *mail.Message
	rcpts []int // indexes into the envelope, in the caller's order
	done  func(mail.Outcome)
	begin time.Time

	settled []bool // beside rcpts
	open    int    // how many are not settled
	best    mail.Result
	addr    string // of the next hop that we are speaking to
	hops    []*hop
	tried   []bool    // beside hops
	mx      *exchange // finds further hops; nil: they are those of a route
	t       transaction
}

var attempts = sync.Pool{New: func() any { return new(attempt) }}

func newAttempt(ctx context.Context, r *Relay, m *mail.Message, rcpts []int, done func(mail.Outcome)) *attempt {
	a := attempts.Get().(*attempt)
	*a = attempt{
		ctx: ctx, relay: r, state: r.state.Load(), m: m, rcpts: rcpts, done: done, begin: time.Now(),
		open: len(rcpts), settled: append(a.settled[:0], make([]bool, len(rcpts))...), tried: a.tried[:0],
		t: transaction{rcpts: a.t.rcpts[:0], accepted: a.t.accepted[:0]},
	}
	return a
}

// finish makes sure that everybody has an outcome.
func (a *attempt) finish() {
	if p := recover(); p != nil {
		a.relay.metrics.panics.Inc()
		a.log("panic in a delivery attempt", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
	a.deferOpen(mail.Reply{Enhanced: mail.EnhancedCode{4, 3, 0}, Text: "internal error in the relay"})
	if a.best != 0 {
		a.relay.metrics.attempt[a.best].Observe(time.Since(a.begin).Seconds())
	}
	a.t.content.close()
	if a.mx != nil {
		a.mx.end()
	}
	*a = attempt{settled: a.settled, tried: a.tried, t: transaction{rcpts: a.t.rcpts, accepted: a.t.accepted}}
	attempts.Put(a)
}

// settle gives the recipient at pos its outcome, the first time only.
func (a *attempt) settle(pos int, result mail.Result, r mail.Reply) {
	if a.settled[pos] {
		return
	}
	a.settled[pos] = true
	a.open--
	if a.best == 0 || result < a.best {
		a.best = result
	}
	o := mail.Outcome{Recipient: a.rcpts[pos], Result: result, NextHop: a.addr, Reply: r}
	o.Reports = result == mail.Relayed && a.t.c != nil && a.t.c.ext.dsn
	a.relay.metrics.outcome(o)
	a.done(o)
}

// deferOpen defers all that are not settled.
func (a *attempt) deferOpen(r mail.Reply) { a.settleOpen(mail.Deferred, r) }

func (a *attempt) settleOpen(result mail.Result, r mail.Reply) {
	for pos := range a.settled {
		a.settle(pos, result, r)
	}
}

// fault settles recipients for a reason that lies in the message or in us.
func (a *attempt) fault(pos []int, result mail.Result, r mail.Reply) {
	if result == mail.Failed {
		a.log("message cannot be relayed", "reason", r.Text)
	}
	for _, p := range pos {
		a.settle(p, result, r)
	}
}

func (a *attempt) log(msg string, args ...any) {
	a.state.Logger.Error(msg, append(args, "id", a.m.Envelope.ID.String(), "next_hop", a.addr)...)
}

// run tries the next hops of d until everybody is settled.
func (a *attempt) run(d mail.Destination) {
	if !a.find(d) {
		a.deferOpen(mail.Reply{Enhanced: mail.EnhancedCode{4, 4, 4}, Text: "no route"})
		return
	}
	var last *errNoService
	for a.open > 0 && a.ctx.Err() == nil {
		h, another := a.next()
		if h == nil {
			break
		}
		if last = a.try(h); last == nil || a.ctx.Err() != nil {
			break
		}
		a.state.Logger.Warn("next hop gave no service", "next_hop", h.name, "error", last.Error(),
			"id", a.m.Envelope.ID.String(), "failover", another)
		if another {
			a.relay.metrics.failovers.Inc()
		}
	}
	switch {
	case a.open == 0:
	case last != nil:
		a.deferOpen(last.outcome())
	case a.ctx.Err() == nil && a.mx != nil:
		a.settleOpen(a.mx.verdict())
	default:
		last = &errNoService{what: "relay", code: mail.EnhancedCode{4, 3, 0}, cause: errInterrupted}
		a.deferOpen(last.outcome())
	}
}

// find finds the next hops of d, or where they are to be looked up.
func (a *attempt) find(d mail.Destination) bool {
	if a.hops = a.state.routes[d]; a.hops != nil {
		a.tried = append(a.tried, make([]bool, len(a.hops))...)
		return true
	}
	if a.state.mx == nil || d == "" || ofRoute(d) {
		return false
	}
	a.mx = &exchange{s: a.state, domain: string(d)}
	a.mx.begin(a.ctx)
	return true
}

// more looks up further next hops, until there are any or no more.
func (a *attempt) more() bool {
	if a.mx == nil {
		return false
	}
	a.hops = a.mx.more(a.ctx, a.hops)
	added := len(a.hops) - len(a.tried)
	a.tried = append(a.tried, make([]bool, added)...)
	return added > 0
}

// next is the first next hop that was not tried and is not suspended; then the
// first suspended one. another tells that it is not the last.
func (a *attempt) next() (h *hop, another bool) {
	if a.mx != nil && time.Since(a.begin) > exchangeTime {
		return nil, false
	}
	choice, left := a.choose()
	for choice < 0 && a.more() {
		choice, left = a.choose()
	}
	for i := range a.hops {
		if choice < 0 && !a.tried[i] {
			choice = i
		}
	}
	if choice < 0 {
		return nil, false
	}
	a.tried[choice] = true
	return a.hops[choice], left > 1
}

// choose finds the first next hop that should be tried in its turn, -1 when
// there is none, and how many have not been tried. One without an alternative
// is tried in any case.
func (a *attempt) choose() (choice, left int) {
	choice = -1
	more := a.mx != nil && a.mx.unfinished()
	for i, h := range a.hops {
		if a.tried[i] {
			continue
		}
		left++
		if choice < 0 && (len(a.hops) == 1 && !more || h.available(a.state.HopRetry)) {
			choice = i
		}
	}
	if more {
		left++
	}
	return choice, left
}

// try gives h all recipients that are not settled. It returns nil when h has
// answered for all of them.
func (a *attempt) try(h *hop) *errNoService {
	if err := h.acquire(a.ctx); err != nil {
		code := mail.EnhancedCode{4, 3, 2}
		if err == errCrowded {
			code = mail.EnhancedCode{4, 4, 5}
		}
		return &errNoService{what: "waiting for a connection to " + h.name, code: code, cause: err}
	}
	defer h.release()
	for fresh := false; a.open > 0; {
		c, err := a.connection(h, fresh)
		if err != nil {
			h.suspend(a.state.HopRetry)
			return err
		}
		kept := c.messages > 0
		no := a.use(c)
		switch {
		case no == nil:
			fresh = false // the connection was used up, not dead
		case kept && !fresh && !a.t.answered && !a.t.sent && a.ctx.Err() == nil:
			// It had died, and nothing can have been taken on it. The others
			// that are kept are as old.
			h.metrics.stale.Inc()
			h.forget()
			fresh = true
		default:
			h.suspend(a.state.HopRetry)
			return no
		}
	}
	return nil
}

// connection takes a kept connection, or makes one.
func (a *attempt) connection(h *hop, fresh bool) (*conn, *errNoService) {
	a.addr = ""
	for !fresh {
		c := h.kept()
		if c == nil {
			break
		}
		if c.bind(a.ctx) {
			a.addr = c.addr
			return c, nil
		}
		c.close()
	}
	c, err := a.state.dial(a.ctx, h)
	if err == nil {
		a.addr = c.addr
	}
	return c, err
}

// use runs transactions over c until everybody is settled or c is used up, and
// keeps c when it is good for more. It returns an error when c gave no service.
func (a *attempt) use(c *conn) *errNoService {
	limit := a.state.MaxMessages
	if n := c.ext.maxMail; n > 0 {
		limit = min(limit, n)
	}
	good := false // until we get to the end: not in a panic either
	defer func() {
		if good && c.ctx.Err() == nil {
			c.hop.resume()
			c.hop.put(c, a.state.idleFor(c.hop), limit)
			return
		}
		c.close()
	}()
	for a.open > 0 && c.messages < limit {
		if !a.prepare(c) {
			continue
		}
		kind := min(c.messages, 1)
		a.relay.metrics.transactions[kind].Inc()
		err := a.t.run()
		a.t.content.close()
		if err != nil {
			no, _ := err.(*errNoService) // else errSettled
			return no
		}
		c.messages++
		c.usedAt = time.Now()
	}
	good = true
	return nil
}

// prepare makes the next transaction for c, of recipients that get the same
// header section. It settles those that c cannot serve, and reports whether
// any are left.
func (a *attempt) prepare(c *conn) bool {
	t := &a.t
	*t = transaction{a: a, c: c, rcpts: t.rcpts[:0], accepted: t.accepted[:0]}
	head := a.group(t, c.maxRcpt)
	stuff := !c.ext.chunking
	if err := t.content.open(head, a.m.Body, stuff); err != nil {
		t.failed("content", err)
		t.content.close()
		return false
	}
	if !t.admissible() {
		t.content.close()
		return false
	}
	small := t.content.stream == nil && t.content.size <= oneWrite
	t.eager = c.ext.pipelining && c.ext.chunking && small && c.messages > 0 && time.Since(c.usedAt) < freshFor && !c.hop.isWary()
	return true
}

// group collects up to limit open recipients with the header section of the
// first of them.
func (a *attempt) group(t *transaction, limit int) (head []byte) {
	index := -1
	for pos, settled := range a.settled {
		if settled || len(t.rcpts) == limit {
			continue
		}
		r := &a.m.Envelope.Recipients[a.rcpts[pos]]
		if index < 0 {
			index = r.Head
		}
		if r.Head == index {
			t.rcpts = append(t.rcpts, pos)
		}
	}
	return a.m.Heads[index]
}
