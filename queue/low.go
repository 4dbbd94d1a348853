package queue

import "time"

// Messages of our own that are in no hurry (mail.Envelope.Low: the aggregate
// reports of a day, thousands at midnight) are a class of their own. Each
// attempt for one gets a moment of its own, Options.LowRate a minute in all; and
// at its destination it stands behind the mail of people, with one turn in
// lowTurns while any of that is due. So it delays nobody, and is not delayed for
// ever.

const lowTurns = 20

// paced gives the due recipients of a message in no hurry, which share an
// attempt where they can, the next moment that nobody has. It returns that
// moment when it is later than now, else 0. The caller lists e for it.
func (q *Queue) paced(e *entry, now int64) (at int64) {
	if !e.low {
		return 0
	}
	var due []*rcpt
	waited := false
	for i := range e.rcpts {
		if r := &e.rcpts[i]; r.pending() && r.phase == phaseWait && r.next <= now {
			due = append(due, r)
			waited = waited || r.is(pacedMark)
			r.mark(pacedMark, false)
		}
	}
	if len(due) == 0 || waited {
		return 0
	}
	at = max(now, q.lowNext)
	q.lowNext = at + (time.Minute / time.Duration(q.o.LowRate)).Milliseconds()
	if at == now {
		return 0
	}
	for _, r := range due {
		r.mark(pacedMark, true)
		r.next = at
	}
	return at
}
