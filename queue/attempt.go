package queue

import (
	"context"
	"slices"
	"sync"
	"time"

	"mailweir/mail"
)

// attempt makes one attempt and records what came of it. The caller holds
// q.mu, which is given up meanwhile.
func (q *Queue) attempt(u unit) {
	t := q.trying(u.e)
	s, memory, err := q.lend(u.e)
	if err != nil {
		memory.giveBack(nil, nil)
		q.unreadable(u.e, err)
		q.finish(u)
		q.mu.Unlock()
		q.tried(u.e, t)
		q.mu.Lock()
		return
	}
	m := q.message(u.e, s)
	groups := q.routes(u, m)
	ctx, d := q.attempts, q.deliver
	q.mu.Unlock()

	if m.Envelope.Sign {
		m.Heads[0] = append(q.o.Sign(m.Heads[0], s.body), m.Heads[0]...)
	}
	start := time.Now()
	c := collector{open: make([]bool, len(m.Envelope.Recipients)), outs: make([]mail.Outcome, 0, len(u.rcpts))}
	var unrouted []int
	for _, g := range groups {
		if g.to == "" {
			unrouted = append(unrouted, g.rcpts...)
			continue
		}
		c.deliver(ctx, d, g, m)
	}
	outs := c.outs
	took := time.Since(start)

	q.mu.Lock()
	if len(outs) > 0 {
		if !reached(outs) {
			u.d.fault = outs[0].Reply
			u.d.waits = u.e
		}
		q.learn(u.d, took, outs)
		q.feedback(u.d, outs)
	}
	b, report := q.conclude(u.e, m, outs, unrouted)
	q.finish(u)
	q.mu.Unlock()
	q.tried(u.e, t)
	memory.giveBack(s, outs)
	q.observe(report, u.d.name, took)
	if q.log.crowded(b) {
		// Deliveries that are not recorded are made again after a crash:
		// their number has a bound.
		q.wait(b)
	}
	q.mu.Lock()
}

// maxUnsynced bounds the outcomes in one batch.
const maxUnsynced = 128

func (l *wal) crowded(b *batch) bool {
	if b == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return b.outcomes > maxUnsynced
}

// group is recipients of a unit that go to one destination.
type group struct {
	to    mail.Destination
	rcpts []int
}

// routes asks again where the recipients go, now that their paths are at hand:
// the configuration may have changed since they were queued. A group ends where
// the next recipient goes elsewhere: mostly there is one.
func (q *Queue) routes(u unit, m *mail.Message) []group {
	var groups []group
	begin := 0 // of the last group
	for k, i := range u.rcpts {
		name := q.routeTo(u.e.rcpts[i].dom, m.Envelope.Recipients[i].Path)
		if name != u.d.name {
			q.setDest(u.e.rcpts[i].dom, q.dest(name))
		}
		if n := len(groups); n == 0 || groups[n-1].to != name {
			begin = k
			groups = append(groups, group{to: name})
		}
		groups[len(groups)-1].rcpts = u.rcpts[begin : k+1]
	}
	return groups
}

// collector holds a Deliverer to its contract: one outcome a recipient, the
// first one counts, and one that is missing is a deferral.
type collector struct {
	mu   sync.Mutex
	open []bool // by recipient: it is being delivered to, and has no outcome
	outs []mail.Outcome
}

// deliver has d deliver m to a group.
func (c *collector) deliver(ctx context.Context, d Deliverer, g group, m *mail.Message) {
	c.mu.Lock()
	for _, i := range g.rcpts {
		c.open[i] = true
	}
	c.mu.Unlock()
	d.Deliver(ctx, g.to, m, g.rcpts, c.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range g.rcpts {
		if c.open[i] {
			c.open[i] = false // who still calls done is too late
			c.outs = append(c.outs, mail.Outcome{Recipient: i, Result: mail.Deferred, Reply: mail.Reply{Text: "attempt ended without an outcome"}})
		}
	}
}

func (c *collector) done(o mail.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := o.Recipient; i >= 0 && i < len(c.open) && c.open[i] {
		c.open[i] = false
		c.outs = append(c.outs, o)
	}
}

// giveBack ends the claim of an attempt, and what s was opened into. One that
// did not go well may have been cut short, and left something behind that still
// reads.
func (c *chunk) giveBack(s *stored, outs []mail.Outcome) {
	well := len(outs) > 0 && !slices.ContainsFunc(outs, func(o mail.Outcome) bool { return o.Result != mail.Relayed })
	if c != nil && !well {
		c.shared.Store(true)
	}
	if s != nil && well {
		s.discard()
	}
	c.release()
}

// reached tells whether a next hop took part: an answer about a message, also
// a bad one, says that it lives. 421 says that it does not (RFC 5321 section
// 3.8).
func reached(outs []mail.Outcome) bool {
	for _, o := range outs {
		if o.Result != mail.Deferred || o.Reply.Code != 0 && o.Reply.Code != 421 {
			return true
		}
	}
	return false
}

// connected tells whether there was a connection that could have been used, as
// far as an attempt that did not reach its destination knows. A fault of ours
// says nothing about the next hop.
func connected(outs []mail.Outcome) bool {
	for _, o := range outs {
		if o.NextHop != "" || o.Reply.Enhanced == (mail.EnhancedCode{4, 3, 0}) {
			return true
		}
	}
	return false
}

func unreached(o mail.Outcome) bool { return !reached([]mail.Outcome{o}) }

// unreadable ends a message whose stored bytes are damaged: it cannot be
// relayed, and nothing else must be in its place. Its segment is kept.
func (q *Queue) unreadable(e *entry, cause error) {
	if q.halted() || e.gone {
		return
	}
	q.o.Metrics.damaged.Inc()
	q.o.Logger.Error("queue: message lost, its record is damaged", "id", e.id, "segment", e.at.seg, "offset", e.at.off, "err", cause)
	if s := q.segments[uint64(e.at.seg)]; s != nil {
		s.damaged = true
	}
	n, _ := q.endAll(e, statusDamaged)
	q.ledger.Damaged += int64(n)
	q.o.Metrics.damagedRcpts.Add(float64(n))
}

// endAll ends what is left of e with an ERASE record. It returns the number of
// recipients. The caller does the accounts.
func (q *Queue) endAll(e *entry, status uint8) (int, *batch) {
	n := e.live()
	states := make([]rcptState, 0, n)
	for i := range e.rcpts {
		if r := &e.rcpts[i]; r.pending() {
			r.status = status
			states = append(states, rcptState{index: i, status: status, attempts: int(r.attempts)})
		}
	}
	q.recipients -= n
	q.remove(e)
	return n, q.append(appendix{e: e, kind: recErase, states: states, last: true})
}

// appendix is one state record to append.
type appendix struct {
	e      *entry
	kind   recordType
	states []rcptState
	last   bool
}

func (a *appendix) size() int {
	n := recordHeaderSize + 20 + sealedStates
	for i := range a.states {
		n += a.states[i].size()
	}
	return n
}

func (a *appendix) write(b *batch, keys *keyring) {
	var flags uint8
	op := fixStates
	if a.last {
		flags, op = flagLast, fixFinal
	}
	k := keys.get(a.e.key)
	if k != nil {
		flags |= flagSealed
	}
	dst := appendRecordHeader(b.tail(), a.kind, flags, a.e.id, a.e.gen)
	dst = appendStates(dst, a.e.since, a.states)
	if k != nil {
		dst = k.sealStates(dst, recordHeaderSize, a.e.id, a.kind, flags)
	}
	b.add(dst, fixup{op: op, e: a.e, states: a.states, plain: k == nil && len(a.states) > 0})
	b.outcomes++
}

// append records states, and new messages of ours, in one batch: on the disk
// it is all of them or none. nil when the log has failed; memory goes on
// without it, and after a restart the disk is believed. The caller holds q.mu.
func (q *Queue) append(list ...appendix) *batch { return q.appendWith(list, nil) }

func (q *Queue) appendWith(list []appendix, dsns []*generated) *batch {
	n := 0
	for i := range list {
		n += list[i].size()
	}
	for _, g := range dsns {
		n += g.prepare(q)
	}
	if n == 0 {
		return nil
	}
	l := q.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.usable() != nil {
		return nil
	}
	b := l.room(n)
	for _, g := range dsns {
		g.write(b)
	}
	for i := range list {
		list[i].write(b, &q.keys)
	}
	l.nudge()
	return b
}
