package queue

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"time"

	"mailweir/mail"
)

// The janitor gives space back: dead segments are recycled or unlinked, those
// that are mostly dead are emptied by copying forward what is still needed.
// Live messages are copied with the state of their recipients; state records
// and tombstones of messages that lie elsewhere, as they are. So nothing pins a
// segment for longer than it takes to copy it.

const (
	sparesKept    = 2  // dead segments kept to be written again
	compactBelow  = 30 // per cent of a segment that is live
	compactRate   = 16 << 20
	compactPiece  = 1 << 20
	expireEvery   = 10 * time.Minute
	compactEvery  = time.Minute
	turnEvery     = time.Minute
	janitorPeriod = time.Minute
)

func (q *Queue) janitor() {
	defer q.tasks.Done()
	t := time.NewTicker(janitorPeriod)
	defer t.Stop()
	var compacted, expired, turned time.Time
	for {
		select {
		case <-q.stop:
			return
		case <-q.poked:
		case <-t.C:
		}
		q.sweep()
		q.digestAll()
		now := q.now()
		if now.Sub(compacted) >= compactEvery {
			compacted = now
			q.compact(compactBelow, q.pace)
		}
		if now.Sub(turned) >= turnEvery {
			turned = now
			q.turnKeys(now, q.pace)
		}
		if now.Sub(expired) >= expireEvery {
			expired = now
			q.expireAll()
		}
	}
}

// sweep removes files that nothing needs any more.
func (q *Queue) sweep() {
	q.mu.Lock()
	doomed := q.doomed
	q.doomed = nil
	var dead []*segment
	for _, s := range q.segments {
		if s.removable(&q.o.hooks) {
			dead = append(dead, s)
		}
	}
	slices.SortFunc(dead, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	// Those of full size are worth more than their space, up to a few.
	keep, gone := 0, dead[:0]
	for _, s := range dead {
		if s.size == q.o.SegmentSize && !s.damaged && !s.poisoned && !q.clearText(s) && keep < sparesKept {
			keep++
			continue
		}
		s.readers++ // nobody else takes it
		gone = append(gone, s)
	}
	q.mu.Unlock()
	for _, id := range doomed {
		q.removeBig(id)
	}
	for _, s := range gone {
		q.unlink(s)
	}
	q.sweepStrays()
}

// removeBig removes the file of a large message that is over, or has the next
// sweep try again.
func (q *Queue) removeBig(id mail.ID) {
	name := q.bigName(id)
	if err := q.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		q.logRemove(err, name)
		q.mu.Lock()
		q.doomed = append(q.doomed, id)
		q.mu.Unlock()
	}
}

func (q *Queue) unlink(s *segment) {
	if s.damaged || s.poisoned {
		q.retire(s)
		return
	}
	if q.clearText(s) {
		q.wipe(s)
	}
	name := segmentName(q.segDir(), s.number)
	if err := q.fs.Remove(name); err != nil {
		q.logRemove(err, name)
		q.mu.Lock()
		s.readers--
		q.mu.Unlock()
		return
	}
	err := q.syncDir(q.segDir())
	if cerr := s.file.Close(); cerr != nil {
		q.o.Logger.Warn("queue: close of a dead segment", "segment", s.number, "err", cerr)
	}
	q.forget(s, err)
}

// compact empties every segment of which less than percent is live, oldest
// first. pace is called after each piece; false ends it.
func (q *Queue) compact(percent int64, pace func() bool) {
	for _, s := range q.candidates(percent) {
		if !q.evacuate(s, pace) {
			return
		}
	}
	pace()
	q.sweep()
}

func (q *Queue) candidates(percent int64) []*segment {
	q.mu.Lock()
	defer q.mu.Unlock()
	var list []*segment
	for _, s := range q.segments {
		if s.sealed && s.needed() && (s.damaged || q.clearText(s) || s.liveBytes*100 < s.used*percent) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return list
}

// pace bounds the rate of copying, and waits until it is durable.
func (q *Queue) pace() bool {
	if q.flush() != nil {
		return false
	}
	select {
	case <-time.After(time.Second * compactPiece / compactRate):
		return true
	case <-q.stop:
		return false
	}
}

// flush waits until all that was appended so far is settled.
func (q *Queue) flush() error {
	l := q.log
	l.mu.Lock()
	b := l.pending
	if b == nil && l.usable() == nil {
		b = l.room(0)
	}
	l.mu.Unlock()
	if b == nil {
		return l.health()
	}
	l.signal()
	<-b.done
	return b.err
}

// evacuate copies forward all that is needed of s. piece is called each time
// that enough was appended; false ends it.
func (q *Queue) evacuate(s *segment, piece func() bool) bool {
	q.mu.Lock()
	ids := slices.Concat(s.copies, s.ids)
	q.mu.Unlock()
	size, seen := 0, make(map[mail.ID]struct{}, len(ids))
	for _, id := range ids {
		if _, again := seen[id]; again {
			continue
		}
		seen[id] = struct{}{}
		q.mu.Lock()
		size += q.carry(s, id)
		q.mu.Unlock()
		if size >= compactPiece {
			size = 0
			if !piece() {
				return false
			}
		}
	}
	return piece()
}

// carry appends again what s alone holds of a message. It returns how much
// that was. The caller holds q.mu, which may be given up meanwhile.
func (q *Queue) carry(s *segment, id mail.ID) int {
	e := q.entries[id]
	switch {
	case e == nil:
		if t, ok := q.tombs[id]; ok && t.at == uint32(s.number) {
			return q.appendTomb(id)
		}
	case e.at.seg == uint32(s.number):
		return q.relocate(e)
	case e.stateIn(uint32(s.number)):
		return q.restate(e, uint32(s.number))
	}
	return 0
}

func (e *entry) stateIn(seg uint32) bool {
	for i := range e.rcpts {
		if e.rcpts[i].state.seg == seg && e.rcpts[i].state != e.at {
			return true
		}
	}
	return false
}

// relocate appends a copy of e with the present state of its recipients.
func (q *Queue) relocate(e *entry) int {
	at := e.at
	s, err := q.load(e)
	if e.gone || e.at != at {
		return 0
	}
	if err != nil {
		q.unreadable(e, err)
		return 0
	}
	defer s.discard()
	states := q.texts(e, s)
	if e.gone || e.at != at || e.copies == 1<<8-1 {
		return 0
	}
	o := outgoing{
		kind: recRelocate, id: e.id, gen: e.gen + 1, env: &s.env, since: e.since, states: states,
		heads: s.heads, big: s.big, body: s.body, size: e.size, content: s.content, codecs: q.o.codec(),
	}
	q.sealWith(&o, e)
	o.prepare()
	l := q.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.usable() != nil {
		q.unseal(o.number())
		return 0
	}
	n := o.bound()
	b := l.room(n)
	e.gen++
	before := e.key
	e.key = o.number()
	b.add(o.append(b.tail()), fixup{op: fixRelocate, e: e, epoch: before, plain: o.epoch == nil})
	l.nudge()
	return n
}

// restate appends again the states that lie in segment seg.
func (q *Queue) restate(e *entry, seg uint32) int {
	s, err := q.load(e)
	if err != nil || e.gone {
		return 0
	}
	all := q.texts(e, s)
	if e.gone {
		return 0
	}
	var states []rcptState
	for i := range e.rcpts {
		if e.rcpts[i].state.seg == seg {
			states = append(states, all[i])
		}
	}
	if len(states) == 0 {
		return 0
	}
	a := appendix{e: e, kind: recDefer, states: states}
	q.append(a)
	return a.size()
}

// appendTomb appends a tombstone again.
func (q *Queue) appendTomb(id mail.ID) int {
	l := q.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.usable() != nil {
		return 0
	}
	b := l.room(recordHeaderSize + 2)
	dst := appendRecordHeader(b.tail(), recDone, flagLast, id, 0)
	b.add(appendStates(dst, 0, nil), fixup{op: fixTomb, id: id})
	l.nudge()
	return recordHeaderSize
}
