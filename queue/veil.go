package queue

import (
	"fmt"
	"slices"

	"mailweir/mail"
)

// Copies whose key is destroyed lie in the log until their segments go. They
// are of messages that are over, or were relocated under another key: a start
// finds the tombstone, or the later copy, behind them. Where it finds neither,
// a key was lost that was still needed.

// veil is what a start knows of copies that it cannot read.
type veil struct {
	copies  uint8
	segment uint64 // of the last
	epoch   uint32
}

func (q *Queue) veil(s *segment, e *entry, ev *event) {
	s.copies = append(s.copies, ev.id)
	if e != nil { // an earlier copy can be read; a later one, or the end, follows
		e.copies++
		return
	}
	v := q.veils[ev.id]
	q.veils[ev.id] = veil{v.copies + 1, s.number, ev.epoch}
}

// unveil: a later copy can be read.
func (q *Queue) unveil(e *entry) {
	if v, ok := q.veils[e.id]; ok {
		e.copies = v.copies
		delete(q.veils, e.id)
	}
}

// buryVeiled is bury for a message of which no copy can be read; s has its
// tombstone. It reports whether there is one.
func (q *Queue) buryVeiled(s *segment, id mail.ID) bool {
	v, ok := q.veils[id]
	if !ok {
		return false
	}
	delete(q.veils, id)
	t := tomb{at: uint32(s.number), others: uint16(v.copies)}
	if v.segment == s.number {
		t.own = true
		t.others--
	}
	if t.others > 0 {
		q.tombs[id] = t
		s.tombs++
	}
	return true
}

// missed deals with messages whose key is gone though they are not over. Where
// the log is damaged their ends may have been among what was lost; where an
// admin says that the key is lost (keys/<epoch>.lost), they are. Else the spool
// stays as it is until the key is back.
func (q *Queue) missed(damaged bool) error {
	byEpoch := map[uint32]int{}
	for _, v := range q.veils {
		if !damaged && !q.keys.lost[v.epoch] {
			byEpoch[v.epoch]++
		}
	}
	for n, count := range byEpoch {
		return fmt.Errorf("%w: %s is missing or damaged, and %d messages need it: put it back, or make a file %s beside it to give them up",
			ErrKey, q.keys.name(n), count, fmt.Sprintf("%08x%s", n, lostSuffix))
	}
	for id, v := range q.veils {
		q.o.Metrics.damaged.Inc()
		q.o.Logger.Error("queue: message lost, its key is", "id", id, "epoch", v.epoch, "segment", v.segment)
		if s := q.segments[v.segment]; s != nil {
			s.damaged = true
		}
	}
	clear(q.veils)
	return nil
}

// sealWith gives a copy of e the key of the epoch. The caller holds q.mu.
func (q *Queue) sealWith(o *outgoing, e *entry) {
	if o.epoch = q.keys.now(); o.epoch == nil {
		return
	}
	o.epoch.live++
	if o.kind == recAccept {
		e.key = o.epoch.number
	}
}

// number of the epoch, 0 for a plain copy.
func (o *outgoing) number() uint32 {
	if o.epoch == nil {
		return 0
	}
	return o.epoch.number
}

// sealed notes, at a start, that a message needs the key of an epoch.
func (q *Queue) sealed(epoch uint32) {
	if k := q.keys.get(epoch); k != nil {
		k.live++
	}
}

// unseal notes that a message needs the key of an epoch no longer. The caller
// holds q.mu.
func (q *Queue) unseal(epoch uint32) {
	if k := q.keys.get(epoch); k != nil {
		k.live--
		k.spent = true
	}
}

// epochs of the spool, oldest first.
func (r *keyring) list() []*epochKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]*epochKey, 0, len(r.epochs))
	for _, k := range r.epochs {
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b *epochKey) int { return int(a.number) - int(b.number) })
	return list
}
