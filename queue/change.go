package queue

import (
	"slices"

	"mailweir/mail"
)

// What an admin does to a message can be limited to what filters select: the
// message is looked at under the same lock that it is changed under. Who chose it
// some moments ago, as one that is held, must not delete it on its way, which
// somebody else has opened meanwhile.

// resting finds a message that an admin may change now. The caller holds q.mu.
func (q *Queue) resting(id mail.ID, only []Filter) (*entry, error) {
	e := q.entries[id]
	switch {
	case e == nil:
		return nil, ErrNotFound
	case slices.ContainsFunc(only, func(f Filter) bool { return !q.matcher(f).memory(e) }):
		return nil, ErrChanged
	case e.active > 0:
		return nil, ErrActive
	}
	return e, q.log.health()
}

// atHand is resting with the message and its states. The caller holds q.mu,
// which may be given up meanwhile.
func (q *Queue) atHand(id mail.ID, only []Filter) (*entry, *stored, []rcptState, error) {
	e, err := q.resting(id, only)
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := q.load(e)
	if err != nil {
		return nil, nil, nil, err
	}
	states := q.texts(e, s)
	if _, err := q.resting(id, only); err != nil { // it may have gone, or be on its way
		return nil, nil, nil, err
	}
	for _, f := range only {
		if it := describe(id, e.state(), e.size, s, states); !f.selects(&it) {
			return nil, nil, nil, ErrChanged
		}
	}
	return e, s, states, nil
}

// Hold keeps every recipient of a message until Release.
func (q *Queue) Hold(id mail.ID, only ...Filter) error { return q.holdAll(id, heldByAdmin, only...) }

// holdAll holds every recipient of a message that is not held yet.
func (q *Queue) holdAll(id mail.ID, reason string, only ...Filter) error {
	return q.change(id, only, recHold, func(_ *entry, r *rcpt) bool {
		if r.hold != 0 {
			return false
		}
		r.hold, r.phase = q.reason(reason), phaseHeld
		return true
	})
}

// heldByAdmin is the hold reason of Hold.
const heldByAdmin = "admin"

// Release queues the held recipients of a message again; once, however often
// it is asked. The time until expiry starts anew.
func (q *Queue) Release(id mail.ID, only ...Filter) error {
	return q.change(id, only, recRelease, func(e *entry, r *rcpt) bool {
		if r.hold == 0 {
			return false
		}
		e.since = q.nowMilli()
		r.hold, r.phase, r.next = 0, phaseWait, e.since
		return true
	})
}

// Reroute sends the recipients of a message to another destination from now
// on, whatever Route says, and makes them due; "" gives them back to Route.
// Held ones stay held. The new destination is durable with the message.
func (q *Queue) Reroute(id mail.ID, to mail.Destination, only ...Filter) error {
	return q.change(id, only, recDefer, func(e *entry, r *rcpt) bool {
		if r.dom.to == to {
			return false
		}
		q.redirect(r, to)
		if r.phase != phaseHeld {
			r.phase, r.next = phaseWait, q.nowMilli()
			r.mark(unreachedMark, false)
		}
		return true
	})
}

// Reroutes are the destinations that Reroute has given to messages which are
// still here: a Deliverer must serve them beside those that its Route names.
func (q *Queue) Reroutes() []mail.Destination {
	q.mu.Lock()
	defer q.mu.Unlock()
	seen := map[mail.Destination]bool{}
	var list []mail.Destination
	for _, d := range q.domains {
		if d.to != "" && !seen[d.to] {
			seen[d.to] = true
			list = append(list, d.to)
		}
	}
	return list
}

// change applies an admin's will to the pending recipients of a message and
// waits until that is durable.
func (q *Queue) change(id mail.ID, only []Filter, kind recordType, apply func(*entry, *rcpt) bool) error {
	q.mu.Lock()
	e, _, states, err := q.atHand(id, only)
	if err != nil {
		q.mu.Unlock()
		return err
	}
	var changed []rcptState
	for i := range e.rcpts {
		if r := &e.rcpts[i]; r.pending() && apply(e, r) {
			q.current(e, i, &states[i])
			changed = append(changed, states[i])
		}
	}
	var b *batch
	if len(changed) > 0 {
		b = q.append(appendix{e: e, kind: kind, states: changed})
		q.scheduleAll(e)
	}
	q.mu.Unlock()
	return q.wait(b)
}

// Bounce fails every recipient that is left, as if the next hop had refused
// it: the sender gets a DSN, does not want one, or must not be sent one. The
// last is ErrNoReturn: such recipients are held as undeliverable, those that
// were held for another reason stay so.
func (q *Queue) Bounce(id mail.ID, only ...Filter) error {
	q.mu.Lock()
	e, s, states, err := q.atHand(id, only)
	if err != nil {
		q.mu.Unlock()
		return err
	}
	c := &conclusion{q: q, e: e, m: q.message(e, s), now: q.now()}
	kept := 0
	for i := range e.rcpts {
		r := &e.rcpts[i]
		if !r.pending() {
			continue
		}
		returns := !c.wants(i, mail.NotifyFailure) || c.mayReturn()
		if !returns {
			kept++
		}
		if returns || r.phase != phaseHeld {
			c.giveBack(&states[i])
		}
	}
	b := c.record()
	q.mu.Unlock()
	if err := q.wait(b); err != nil {
		return err
	}
	if kept > 0 {
		return ErrNoReturn
	}
	return nil
}

// giveBack fails a recipient by an admin's will. What its last attempt met is
// what the sender wants to know.
func (c *conclusion) giveBack(last *rcptState) {
	s := c.state(last.index)
	s.nextHop = last.nextHop
	s.reply = mail.Reply{Enhanced: mail.EnhancedCode{5, 0, 0}, Text: "given up by the administrator"}
	if said := last.reply.String(); said != "" {
		s.reply.Text += "; the last attempt said: " + said
	}
	c.fail(s, statusFailed)
}
