package queue

import (
	"errors"

	"mailweir/mail"
)

// event is what recovery needs of a record: who it is about and what became of
// them, without envelope, header sections, body and replies. It comes from the
// record itself, or from the digest of its segment.
type event struct {
	kind  recordType
	flags uint8
	id    mail.ID
	gen   uint32
	off   uint32 // where the record starts
	len   uint32 // with its header
	since int64

	epoch  uint32 // whose key seals it; 0: plain
	veiled bool   // and that is gone

	// Of a copy.
	size    int64 // of the message
	big     bool
	dsn     bool     // null reverse-path
	low     bool     // of our own, in no hurry
	domains []string // of its recipients, canonical

	states []rcptState // next hop and reply left out
}

func (ev *event) isCopy() bool { return ev.kind == recAccept || ev.kind == recRelocate }

// eventOf is the event of a record at offset off, n octets long. One whose key
// is gone says only whose it is, and whether it is the last.
func (q *Queue) eventOf(r record, off int64, n uint32) (*event, error) {
	ev := &event{kind: r.kind, flags: r.flags, id: r.id, gen: r.gen, off: uint32(off), len: n}
	var err error
	if ev.isCopy() {
		err = q.copyEvent(ev, r)
	} else {
		ev.epoch = r.epoch()
		ev.since, ev.states, err = q.states(r)
	}
	var gone veiledError
	if errors.As(err, &gone) {
		ev.epoch, err = gone.epoch, nil
	}
	return ev, err
}

func (q *Queue) copyEvent(ev *event, r record) error {
	st, err := q.copyMeta(r)
	if err == nil && st.key == nil {
		err = st.open(r.id) // the size is known when it is open
		defer st.discard()
	}
	if err != nil {
		return err
	}
	ev.since, ev.states, ev.epoch, ev.size = st.since, st.states, st.epoch, st.size
	ev.big = st.content.kind != bodyInline
	ev.dsn, ev.low = st.env.ReversePath.IsNull(), st.env.Low
	ev.domains = make([]string, len(st.env.Recipients))
	for i := range ev.domains {
		ev.domains[i] = mail.CanonicalDomain(st.env.Recipients[i].Path.Domain())
	}
	return nil
}

// replay applies one record. The order of the log is the order of events.
func (q *Queue) replay(s *segment, r record, off int64, n uint32) {
	ev, err := q.eventOf(r, off, n)
	switch {
	case err == nil:
		q.happened(s, ev)
	case r.isCopy():
		// Intact, and yet not to be read: a record of a later version, or a
		// seal that does not open.
		q.o.Metrics.damaged.Inc()
		q.o.Logger.Error("queue: a record cannot be understood", "id", r.id, "segment", s.number)
		s.damaged = true
	default:
		s.ids = append(s.ids, r.id)
		q.o.Metrics.damaged.Inc()
	}
}

// happened applies one event.
func (q *Queue) happened(s *segment, ev *event) {
	// A key that comes later must not be taken for one that was destroyed.
	q.keys.last = max(q.keys.last, ev.epoch)
	s.keyed = s.keyed || ev.epoch != 0
	s.plain = s.plain || ev.epoch == 0 && (ev.isCopy() || len(ev.states) > 0)
	// A digest may be older than the end of the key.
	if ev.veiled = ev.epoch != 0 && q.keys.get(ev.epoch) == nil; ev.veiled {
		ev.states = nil
	}
	if ev.isCopy() {
		q.copied(s, ev)
		return
	}
	s.ids = append(s.ids, ev.id)
	e := q.entries[ev.id]
	if e == nil {
		if ev.flags&flagLast == 0 || !q.buryVeiled(s, ev.id) {
			q.moveTomb(s, ev.id)
		}
		return
	}
	for i := range ev.states {
		if k := ev.states[i].index; k < len(e.rcpts) {
			q.restore(&e.rcpts[k], &ev.states[i])
			q.stateAt(e, k, s.at(int64(ev.off)))
		}
	}
	if !ev.veiled {
		e.since = ev.since
	}
	if ev.flags&flagLast != 0 {
		q.remove(e)
		q.bury(s, e)
	}
}

func (q *Queue) copied(s *segment, ev *event) {
	e := q.entries[ev.id]
	if ev.veiled {
		q.veil(s, e, ev)
		return
	}
	if e == nil {
		e = q.recoverEntry(ev)
		q.insert(e)
		q.unveil(e)
	} else if len(e.rcpts) == len(ev.states) {
		for i := range ev.states {
			q.restore(&e.rcpts[i], &ev.states[i])
		}
		e.since = ev.since
	}
	e.gen = ev.gen
	q.unseal(e.key)
	e.key = ev.epoch
	q.sealed(e.key)
	q.copyAt(s, e, s.at(int64(ev.off)), ev.len)
}

func (q *Queue) recoverEntry(ev *event) *entry {
	e := makeEntry(len(ev.states))
	e.id, e.since, e.size, e.dsn, e.big, e.low = ev.id, ev.since, ev.size, ev.dsn, ev.big, ev.low
	for i := range e.rcpts {
		e.rcpts[i].dom = q.intern(ev.domains[i], "", ev.low)
		q.restore(&e.rcpts[i], &ev.states[i])
	}
	return e
}
