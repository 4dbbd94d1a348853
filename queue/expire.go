package queue

import (
	"time"

	"mailweir/mail"
)

// expireAll gives up what no attempt will: messages whose destination is dead,
// held recipients that nobody released. And it tells of delays that no attempt
// meets.
func (q *Queue) expireAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	q.walk(func(e *entry) bool {
		if e.active == 0 {
			q.expire(e, now)
		}
		if e.active == 0 && !e.gone {
			q.warn(e, now)
		}
		return true
	})
}

// expire gives up the recipients of e whose time is over. A message that was
// never tried since the start gets its attempt first: the time that the
// gateway was down, or a clock that was wrong, is not the next hop's fault.
func (q *Queue) expire(e *entry, now time.Time) {
	since := time.UnixMilli(e.since)
	kept := now.Sub(since) >= q.o.QuarantineKeep
	late := now.Sub(since) >= q.o.Expire && e.tried && q.route != nil
	var overdue, unclaimed []int
	for i := range e.rcpts {
		switch r := &e.rcpts[i]; {
		case !r.pending():
		case r.phase == phaseHeld && kept:
			unclaimed = append(unclaimed, i)
		case (r.phase == phaseWait || r.phase == phaseReady) && late:
			overdue = append(overdue, i)
		}
	}
	if len(unclaimed) > 0 {
		q.dropHeld(e, unclaimed)
	}
	if len(overdue) > 0 && !e.gone {
		q.giveUp(e, overdue)
	}
}

// dropHeld deletes held recipients after QuarantineKeep.
func (q *Queue) dropHeld(e *entry, rcpts []int) {
	q.o.Logger.Info("queue: held for too long, deleted", "id", e.id, "recipients", len(rcpts), "reason", q.reasons[e.rcpts[rcpts[0]].hold])
	if len(rcpts) == e.live() {
		q.discard(e, statusDeleted)
		return
	}
	states := make([]rcptState, 0, len(rcpts))
	for _, i := range rcpts {
		e.rcpts[i].status = statusDeleted
		states = append(states, rcptState{index: i, status: statusDeleted, attempts: int(e.rcpts[i].attempts)})
	}
	q.recipients -= len(rcpts)
	q.ledger.Deleted += int64(len(rcpts))
	q.o.Metrics.deleted.Add(float64(len(rcpts)))
	q.append(appendix{e: e, kind: recDone, states: states})
}

// giveUp expires recipients without a further attempt: their destination is
// dead. What its last reply was goes into the DSN.
func (q *Queue) giveUp(e *entry, rcpts []int) {
	s, err := q.load(e)
	if err != nil || e.gone || e.active > 0 {
		return
	}
	states := q.texts(e, s)
	if e.gone || e.active > 0 {
		return
	}
	m := q.message(e, s)
	outs := make([]mail.Outcome, 0, len(rcpts))
	for _, i := range rcpts {
		if e.rcpts[i].pending() && e.rcpts[i].phase != phaseHeld {
			outs = append(outs, mail.Outcome{Recipient: i, Result: mail.Deferred, NextHop: states[i].nextHop, Reply: states[i].reply})
		}
	}
	_, report := q.conclude(e, m, outs, nil)
	q.mu.Unlock()
	q.observe(report, "", 0)
	q.mu.Lock()
}

// overdue tells whether it is time to tell the sender that a recipient waits.
func (q *Queue) overdue(e *entry, r *rcpt, now time.Time) bool {
	return q.o.DelayWarning > 0 && !e.dsn && !r.is(delayMark) && r.pending() && r.phase != phaseHeld &&
		now.Sub(time.UnixMilli(e.since)) >= q.o.DelayWarning
}

// warn tells of the delay of recipients that no attempt is made for: their
// destination is dead, or has too many before them. The caller holds q.mu,
// which may be given up meanwhile.
func (q *Queue) warn(e *entry, now time.Time) {
	due := func() (rcpts []int) {
		for i := range e.rcpts {
			if q.overdue(e, &e.rcpts[i], now) {
				rcpts = append(rcpts, i)
			}
		}
		return rcpts
	}
	if q.route == nil || len(due()) == 0 {
		return
	}
	s, err := q.load(e)
	if err != nil {
		return // who reads it for the relay deals with it
	}
	states := q.texts(e, s)
	if e.gone || e.active > 0 {
		return
	}
	c := &conclusion{q: q, e: e, m: q.message(e, s), now: now}
	for _, i := range due() {
		c.warn(&states[i])
		if states[i].told {
			c.deferred = append(c.deferred, states[i])
		}
	}
	if len(c.deferred) > 0 {
		c.record()
	}
}
