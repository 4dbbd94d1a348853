package queue

import "mailweir/mail"

// Near may be implemented by a Deliverer. It tells the next hops of our own
// from strangers: only the former may be asked each minute whether they are
// back (RFC 5321 section 4.5.4.1 wants half an hour).
type Near interface {
	Near(d mail.Destination) bool
}

func (q *Queue) near(d *dest) bool {
	n, ok := q.deliver.(Near)
	return !ok || n.Near(d.name)
}

// probe brings one message forward when it is time to ask a dead destination
// again and nothing is due: else nobody would know that it is back before the
// first message comes due. It reports whether there is one.
func (q *Queue) probe(d *dest, now int64) bool {
	if d.waits == nil || !q.near(d) {
		return false
	}
	if now < d.probeAt || q.forward(d.waits, d) {
		return true
	}
	d.waits = nil // it is over, or an admin has it: another one?
	for _, item := range q.due {
		if q.forward(item.e, d) {
			d.waits = item.e
			return true
		}
	}
	return false
}

// waitsFor tells whether a recipient waits for d to come back.
func (r *rcpt) waitsFor(d *dest) bool {
	return r.pending() && r.phase == phaseWait && r.is(unreachedMark) && r.dom.dest == d
}

// forward makes the recipients of e ready that wait for d to come back.
func (q *Queue) forward(e *entry, d *dest) (done bool) {
	for i := range e.rcpts {
		if r := &e.rcpts[i]; !e.gone && r.waitsFor(d) {
			if r.probes < 1<<8-1 {
				r.probes++
			}
			q.makeReady(e, r)
			done = true
		}
	}
	return done
}

// revive brings forward what waits only because the destination could not be
// reached, oldest first. The lock is given up now and then.
func (q *Queue) revive(d *dest) {
	q.walk(func(e *entry) bool {
		for i := range e.rcpts {
			if r := &e.rcpts[i]; r.waitsFor(d) {
				r.next = q.nowMilli()
				q.makeReady(e, r)
			}
		}
		return !d.dead
	})
}

// remember takes up after a start what the states say of next hops of our own:
// those that mail could not reach are asked at once, and get the rest when they
// answer. Who starts a gateway has mended something.
func (q *Queue) remember() {
	for e := q.first; e != nil; e = e.next {
		for i := range e.rcpts {
			r := &e.rcpts[i]
			d := r.dom.dest
			if d.dead || !r.waitsFor(d) || !q.near(d) {
				continue
			}
			d.dead, d.waits, d.fails = true, e, 1
			d.fault = mail.Reply{Text: "before the gateway started"}
			d.delay, d.probeAt = firstProbe/2, q.nowMilli()
			q.dead[d] = struct{}{}
		}
	}
}
