package queue

import (
	"errors"
	"io"
	"slices"
	"time"

	"mailweir/mail"
)

// state is the state of the whole message: the most lively one.
func (e *entry) state() State {
	if e.active > 0 {
		return Active
	}
	state := Held
	for i := range e.rcpts {
		r := &e.rcpts[i]
		if !r.pending() {
			continue
		}
		switch {
		case r.phase == phaseReady && (r.dom.dest == nil || !r.dom.dest.dead), r.phase == phaseWait && r.attempts == 0:
			return Queued
		case r.phase != phaseHeld:
			state = Deferred
		}
	}
	return state
}

// item describes e. The caller holds q.mu, which may be given up meanwhile;
// false when the message ended or cannot be read.
func (q *Queue) item(e *entry) (Item, bool) {
	s, err := q.load(e)
	if err != nil || e.gone {
		return Item{}, false
	}
	states := q.texts(e, s)
	if e.gone {
		return Item{}, false
	}
	it := describe(e.id, e.state(), e.size, s, states)
	if it.State == Deferred || it.State == Queued {
		q.nextOf(e, &it)
	}
	return it, true
}

// nextOf sets the moment of the next attempt: the recipient's, or its dead
// destination's next probe. What waits for that, and had no attempt of its own,
// has the destination's fault as its reason.
func (q *Queue) nextOf(e *entry, it *Item) {
	var next int64 = -1
	for i := range e.rcpts {
		r := &e.rcpts[i]
		if !r.pending() || r.phase == phaseHeld {
			continue
		}
		at := r.next
		if r.phase == phaseReady && r.dom.dest != nil && r.dom.dest.dead {
			at = max(at, r.dom.dest.probeAt)
			if it.Reason == "" {
				it.Reason = r.dom.dest.fault.String()
			}
		}
		if next < 0 || at < next {
			next = at
		}
	}
	if next > 0 {
		t := time.UnixMilli(next).UTC()
		it.NextAttempt = &t
	}
}

// describe makes an Item of what is stored.
func describe(id mail.ID, state State, size int64, s *stored, states []rcptState) Item {
	it := Item{
		ID: id, State: state, Size: size, Arrived: s.env.Arrived.UTC(), ReversePath: s.env.ReversePath,
		Recipients: make([]ItemRecipient, len(states)),
	}
	if s.env.Low {
		it.Class = ClassLow
	}
	for i := range states {
		st := &states[i]
		it.Recipients[i] = ItemRecipient{
			Address: s.env.Recipients[i].Path, State: statusName(st.status),
			NextHop: st.nextHop, Reply: st.reply.String(), Hold: st.hold,
		}
		it.Attempts = max(it.Attempts, st.attempts)
		if st.status != statusPending || it.Reason != "" {
			continue
		}
		// Why it is still here: what holds it, or the last reply.
		if st.hold != "" {
			it.Reason = st.hold
		} else {
			it.Reason = st.reply.String()
		}
	}
	return it
}

// Get describes one message.
func (q *Queue) Get(id mail.ID) (Item, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[id]
	if e == nil {
		return Item{}, false
	}
	return q.item(e)
}

// Show writes the message as recipient number rcpt would get it.
func (q *Queue) Show(id mail.ID, rcpt int, w io.Writer) error {
	m, err := q.Message(id)
	if err != nil {
		return err
	}
	if rcpt < 0 || rcpt >= len(m.Envelope.Recipients) {
		return errors.New("queue: the message has no such recipient")
	}
	if _, err := w.Write(m.Heads[m.Envelope.Recipients[rcpt].Head]); err != nil {
		return err
	}
	r, err := m.Body.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

// Message reads a message from the spool.
func (q *Queue) Message(id mail.ID) (*mail.Message, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[id]
	if e == nil {
		return nil, ErrNotFound
	}
	s, err := q.load(e)
	if err != nil {
		return nil, err
	}
	return q.message(e, s), nil
}

// Flush makes deferred messages due now, all of them without arguments. It
// returns how many there were.
func (q *Queue) Flush(ids ...mail.ID) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	if len(ids) == 0 {
		q.walk(func(e *entry) bool { n += q.hasten(e); return true })
		return n
	}
	for _, id := range ids {
		if e := q.entries[id]; e != nil {
			n += q.hasten(e)
		}
	}
	return n
}

func (q *Queue) hasten(e *entry) int {
	now, found := q.nowMilli(), 0
	for i := range e.rcpts {
		r := &e.rcpts[i]
		if !r.pending() || r.phase != phaseWait && r.phase != phaseReady {
			continue
		}
		found = 1
		if d := r.dom.dest; d != nil && d.dead {
			d.probeAt = now // the admin knows something
			q.wakeClock()
		}
		if r.phase == phaseWait {
			r.next = now
			if q.route != nil {
				q.makeReady(e, r)
			} else {
				q.push(e, now)
			}
		}
	}
	return found
}

// wait waits until a batch is settled; nil is none. What fails is written
// again elsewhere: only a lasting failure is one.
func (q *Queue) wait(b *batch) error {
	if b == nil {
		return q.log.health()
	}
	q.log.signal()
	<-b.done
	return q.log.lasting()
}

// Delete removes a message for good.
func (q *Queue) Delete(id mail.ID, only ...Filter) error { return q.end(id, only, statusDeleted) }

func (q *Queue) end(id mail.ID, only []Filter, status uint8) error {
	q.mu.Lock()
	e, err := q.resting(id, only)
	if err == nil && slices.ContainsFunc(only, Filter.reads) {
		e, _, _, err = q.atHand(id, only)
	}
	if err != nil {
		q.mu.Unlock()
		return err
	}
	b := q.discard(e, status)
	q.mu.Unlock()
	return q.wait(b)
}

// discard ends e, and counts why.
func (q *Queue) discard(e *entry, status uint8) *batch {
	n, b := q.endAll(e, status)
	if status == statusErased {
		q.ledger.Erased += int64(n)
		q.o.Metrics.erased.Add(float64(n))
	} else {
		q.ledger.Deleted += int64(n)
		q.o.Metrics.deleted.Add(float64(n))
	}
	return b
}

// Stats counts. It walks over all messages, a portion at a time.
func (q *Queue) Stats() Stats {
	s := Stats{Messages: map[State]int{}, Oldest: map[State]time.Duration{}}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.nowMilli()
	q.walk(func(e *entry) bool {
		state := e.state()
		s.Messages[state]++
		if e.low {
			s.Low++
			return true
		}
		age := time.Duration(now-e.id.Time().UnixMilli()) * time.Millisecond
		s.Oldest[state] = max(s.Oldest[state], age)
		return true
	})
	s.Recipients, s.Bytes, s.Segments = q.recipients, q.bytes, len(q.segments)
	for _, seg := range q.segments {
		s.LogBytes += seg.size
	}
	s.Ledger = q.ledger
	s.Ledger.InQueue = int64(q.recipients)
	return s
}
