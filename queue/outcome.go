package queue

import (
	"time"

	"mailweir/mail"
)

// conclusion gathers what the outcomes of one attempt come to.
type conclusion struct {
	q   *Queue
	e   *entry
	m   *mail.Message
	now time.Time

	done, deferred, held []rcptState
	report               []rcptState // of which the sender is told: failed, delayed, relayed
	attempts             []Attempt
}

// conclude applies outcomes: it moves the recipients, writes DSNs, and records
// all of it in one batch. Recipients without a route are held. The caller
// holds q.mu.
func (q *Queue) conclude(e *entry, m *mail.Message, outs []mail.Outcome, unrouted []int) (*batch, []Attempt) {
	if e.gone {
		return nil, nil
	}
	c := &conclusion{q: q, e: e, m: m, now: q.now()}
	for _, o := range outs {
		c.outcome(o)
	}
	for _, i := range unrouted {
		c.hold(c.state(i), undeliverable)
	}
	return c.record(), c.attempts
}

// undeliverable is the hold reason of recipients that failed while their
// sender must not be told.
const undeliverable = "undeliverable"

func (c *conclusion) state(i int) rcptState {
	r := &c.e.rcpts[i]
	return rcptState{index: i, attempts: int(r.attempts), to: r.dom.to, told: r.is(delayMark)}
}

func (c *conclusion) outcome(o mail.Outcome) {
	if o.Recipient < 0 || o.Recipient >= len(c.e.rcpts) {
		return
	}
	r := &c.e.rcpts[o.Recipient]
	if r.attempts < 1<<16-1 {
		r.attempts++
	}
	s := c.state(o.Recipient)
	s.nextHop, s.reply = o.NextHop, o.Reply
	switch o.Result {
	case mail.Relayed:
		c.relayed(s, o.Reports)
		c.q.o.Metrics.attemptRelayed.Inc()
	case mail.Failed:
		c.fail(s, statusFailed)
		c.q.o.Metrics.attemptFailed.Inc()
	default:
		r.mark(unreachedMark, unreached(o))
		c.postpone(s)
		c.q.o.Metrics.attemptDeferred.Inc()
	}
	c.observe(o, r)
}

func (c *conclusion) observe(o mail.Outcome, r *rcpt) {
	a := Attempt{
		ID: c.e.id, ReversePath: c.m.Envelope.ReversePath, Recipient: c.m.Envelope.Recipients[o.Recipient].Path,
		Outcome: o, State: statusName(r.status), Hold: c.q.reasons[r.hold], Attempts: int(r.attempts),
		Delay: c.now.Sub(c.m.Envelope.Arrived),
	}
	if r.pending() && r.hold == 0 {
		a.Next = time.UnixMilli(r.next)
	}
	c.attempts = append(c.attempts, a)
}

// postpone defers a recipient, or gives it up when its time is over.
func (c *conclusion) postpone(s rcptState) {
	expires := c.q.expires(c.e)
	if !c.now.Before(expires) {
		c.fail(s, statusExpired)
		return
	}
	r := &c.e.rcpts[s.index]
	s.next = c.q.o.Retry.next(c.now, expires, s.attempts-int(r.probes), c.q.jitter()).UnixMilli()
	r.next, r.phase = s.next, phaseWait
	if c.q.overdue(c.e, r, c.now) {
		c.warn(&s)
	}
	c.deferred = append(c.deferred, s)
}

// relayed ends a recipient that the next hop has. A sender who asked to hear
// of success hears it from there, or else from us how far it is known (RFC 3461
// section 5.2.2).
func (c *conclusion) relayed(s rcptState, reports bool) {
	c.end(s, statusRelayed)
	if !reports && c.wants(s.index, mail.NotifySuccess) && c.mayReturn() {
		s.status = statusRelayed
		c.report = append(c.report, s)
	}
}

// warn tells the sender once that a recipient has to wait, unless he does not
// want to know, or must not be told.
func (c *conclusion) warn(s *rcptState) {
	r := &c.e.rcpts[s.index]
	r.mark(delayMark, true)
	asked := c.m.Envelope.Recipients[s.index].Notify
	// Who did not say leaves it to us (RFC 3461 section 4.1).
	if (asked == 0 || asked&mail.NotifyDelay != 0) && c.mayReturn() {
		s.told = true
		c.report = append(c.report, *s)
	}
}

// fail ends a recipient for good. The sender is told, or does not want to know
// (NOTIFY, RFC 3461 section 4.1), or must not be told: then it is kept for the
// admin to see.
func (c *conclusion) fail(s rcptState, status uint8) {
	switch {
	case !c.wants(s.index, mail.NotifyFailure):
		c.end(s, status)
	case c.mayReturn():
		c.end(s, status)
		s.status = status
		c.report = append(c.report, s)
	default:
		c.hold(s, undeliverable)
	}
}

// wants tells whether the sender asked for a DSN of that kind. Who did not say
// wants to hear of failure.
func (c *conclusion) wants(i int, n mail.Notify) bool {
	asked := c.m.Envelope.Recipients[i].Notify
	if asked == 0 {
		asked = mail.NotifyFailure
	}
	return asked&n != 0 && asked&mail.NotifyNever == 0
}

// mayReturn: never a DSN for a DSN (RFC 5321 section 6.1), never one to who
// may be forged.
func (c *conclusion) mayReturn() bool {
	return c.m.Envelope.MayReturn && !c.m.Envelope.ReversePath.IsNull()
}

func (c *conclusion) end(s rcptState, status uint8) {
	s.status = status
	c.e.rcpts[s.index].status = status
	c.done = append(c.done, s)
	c.q.recipients--
	if status == statusRelayed {
		c.q.ledger.Relayed++
		c.q.o.Metrics.relayed.Inc()
		return
	}
	c.q.ledger.Failed++
	c.q.o.Metrics.failed.Inc()
}

func (c *conclusion) hold(s rcptState, reason string) {
	r := &c.e.rcpts[s.index]
	r.hold, r.phase = c.q.reason(reason), phaseHeld
	s.hold = reason
	c.held = append(c.held, s)
	c.q.o.Metrics.undelivered.Inc()
	c.q.o.Logger.Error("queue: undeliverable, and no DSN may be sent: held", "id", c.e.id,
		"next_hop", s.nextHop, "code", s.reply.Code) // whom it is about, `gateway queue show` tells
}

// record appends it all in one batch, the DSNs first: a message never ends
// without the report of its failure.
func (c *conclusion) record() *batch {
	e := c.e
	last := e.live() == 0
	if last {
		c.q.remove(e)
	} else if e.active <= 1 {
		c.q.uncache(e) // at rest
	}
	var few [3]appendix
	list := few[:0]
	for _, a := range [...]appendix{{e, recHold, c.held, false}, {e, recDefer, c.deferred, false}, {e, recDone, c.done, last}} {
		if len(a.states) > 0 {
			list = append(list, a)
		}
	}
	dsns := c.q.reports(c.e, c.m, c.report, c.now)
	if len(c.deferred) > 0 {
		c.q.push(e, c.deferred[0].next)
	}
	return c.q.appendWith(list, dsns)
}

// observe tells the log and whoever asked of each outcome.
func (q *Queue) observe(list []Attempt, d mail.Destination, took time.Duration) {
	if q.o.Observe == nil {
		return
	}
	for i := range list {
		a := &list[i]
		a.Destination, a.Duration = d, took
		q.o.Observe(a)
	}
}
