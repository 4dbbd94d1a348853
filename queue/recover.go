package queue

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"mailweir/mail"
)

// Recovery reads the segments in order and applies their records. It tells two
// kinds of broken bytes apart by what later batches say was durable: a torn
// tail was never acknowledged and is ignored; damage to acknowledged data is
// kept in corrupt/, what is intact around it is used, and the rest is counted
// and said aloud. Recovery itself appends to no old segment and changes nothing
// that it would read again, so it may crash and start over at any point.

// findings is what recovery has to report, and to keep.
type findings struct {
	frames  int
	digests int // segments that were not read whole
	torn    int
	damaged int // records lost
	keep    []kept
	lastSeq uint64
	lastSeg uint64
	lastEnd int64
}

// kept are bytes that go to corrupt/.
type kept struct {
	name string
	data []byte
}

func (q *Queue) recover() error {
	found, err := q.readLog(os.O_RDWR)
	if err != nil {
		return err
	}
	if err := q.missed(found.damaged > 0); err != nil {
		return err
	}
	if err := q.syncOld(); err != nil {
		return err
	}
	l := q.log
	l.seq, l.durableSeg, l.durableOff = found.lastSeq+1, found.lastSeg, found.lastEnd
	q.keepBroken(found)
	q.findStrays()
	q.sweepStrays()
	if err := q.recoverBig(found.damaged > 0); err != nil {
		return err
	}
	q.rebuild()
	if err := q.openKeys(); err != nil {
		return err
	}
	q.o.Metrics.recovered.Add(float64(q.recipients))
	q.o.Logger.Info("queue: opened", "messages", len(q.entries), "recipients", q.recipients,
		"segments", len(q.segments), "digests", found.digests, "batches", found.frames, "torn_tails", found.torn, "damaged_records", found.damaged)
	return nil
}

// readLog builds the index; it writes nothing.
func (q *Queue) readLog(flag int) (*findings, error) {
	segs, err := q.openSegments(flag)
	if err != nil {
		return nil, err
	}
	found, ahead, careful := &findings{}, q.surveyAll(segs), &carefully{}
	defer ahead.wait()
	var prev survey
	for i, s := range segs {
		v := survey{s: s, d: ahead.take(i)}
		if v.d == nil {
			if v.sc, err = careful.scan(s); err != nil {
				return nil, err
			}
		}
		if err := q.replaySegment(&prev, v.saysDurable(prev.number()), found); err != nil {
			return nil, err
		}
		prev = v
	}
	return found, q.replaySegment(&prev, 0, found)
}

// carefully scans one segment after the other. What it found of one is good
// until the next but one.
type carefully struct{ last, other []byte }

func (c *carefully) scan(s *segment) (*scanned, error) {
	buf, err := readSegment(s, c.other)
	if err != nil {
		return nil, fmt.Errorf("queue: segment %016x: %w", s.number, err)
	}
	c.last, c.other = buf, c.last
	return scan(buf, s.number), nil
}

// replaySegment applies what is in one segment; durable is what the one after it knows about where
// its durable part ends. Where that is more than was found, the rest is damaged.
func (q *Queue) replaySegment(v *survey, durable int64, found *findings) (err error) {
	switch {
	case v.s == nil:
		return nil
	case v.d != nil && durable <= int64(v.d.used):
		q.applyDigest(v.s, v.d, found)
		return nil
	case v.d != nil:
		if v.sc, err = new(carefully).scan(v.s); err != nil {
			return err
		}
	}
	q.apply(v.s, v.sc, durable, found)
	return nil
}

func (q *Queue) openSegments(flag int) ([]*segment, error) {
	infos, err := q.fs.ReadDir(q.segDir())
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var segs []*segment
	for _, info := range infos {
		if n, ok := digestNumber(info.Name); ok {
			q.nextSegment = max(q.nextSegment, n+1) // a stray is nobody's
		}
		number, ok := segmentNumber(info.Name)
		if !ok {
			continue
		}
		f, err := q.fs.Open(segmentName(q.segDir(), number), flag, 0)
		if err != nil {
			return nil, err
		}
		s := &segment{number: number, file: f, size: info.Size, sealed: true}
		q.segments[number] = s
		q.nextSegment = max(q.nextSegment, number+1)
		q.nextSize = min(max(q.nextSize, info.Size), q.o.SegmentSize)
		segs = append(segs, s)
	}
	slices.SortFunc(segs, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return segs, nil
}

// apply replays one segment; durable is what the one after it knows about where
// its durable part ends.
func (q *Queue) apply(s *segment, sc *scanned, durable int64, found *findings) {
	durable = max(durable, sc.durableTo(s.number))
	s.epoch, s.used = sc.epoch, sc.end
	sc.settleTail(durable)
	bad := sc.bad
	for i := range sc.frames {
		f := &sc.frames[i]
		for len(bad) > 0 && bad[0].from < f.off {
			if !q.stretch(s, sc, bad[0], durable, found) {
				return
			}
			bad = bad[1:]
		}
		found.frames++
		found.lastSeq = max(found.lastSeq, f.seq)
		found.lastSeg, found.lastEnd = s.number, f.off+roundUp(int64(f.length))
		sc.records(f.frame, f.off, func(r record, off int64, n uint32) { q.replay(s, r, off, n) })
	}
	for _, st := range bad {
		if !q.stretch(s, sc, st, durable, found) {
			return
		}
	}
	if sc.broken && len(sc.frames) > 0 {
		s.damaged = true // its header; nothing is lost
	}
}

// stretch deals with broken bytes; false when nothing after them counts.
func (q *Queue) stretch(s *segment, sc *scanned, st stretch, durable int64, found *findings) bool {
	if st.from >= durable {
		found.torn++
		s.used = st.from
		found.keep = append(found.keep, kept{fmt.Sprintf("tail-%016x-%08x", s.number, st.from), slices.Clone(sc.buf[st.from:st.to])})
		return false
	}
	s.damaged = true
	if st.frame != nil {
		found.lastSeq = max(found.lastSeq, st.frame.seq)
	}
	st.to = min(st.to, max(durable, st.from+blockSize))
	lost := sc.salvage(st, func(r record, off int64, n uint32) { q.replay(s, r, off, n) })
	found.damaged += lost
	found.lastSeg, found.lastEnd = s.number, st.to
	s.used = max(s.used, st.to)
	found.keep = append(found.keep, kept{fmt.Sprintf("damaged-%016x-%08x", s.number, st.from), slices.Clone(sc.buf[st.from:st.to])})
	return true
}

// syncOld makes durable what was read: after a mere crash of the process some
// of it may only be in the page cache, and it counts from now on.
func (q *Queue) syncOld() error {
	for _, s := range q.sorted() {
		if err := s.file.Datasync(); err != nil {
			return err
		}
	}
	if err := q.syncDir(q.segDir()); err != nil {
		return err
	}
	return q.syncDir(q.bigDir())
}

// sorted is the segments in the order of their numbers.
func (q *Queue) sorted() []*segment {
	return slices.SortedFunc(maps.Values(q.segments), func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
}

// keepBroken saves broken bytes for the admin, once, and raises the alarm.
func (q *Queue) keepBroken(found *findings) {
	q.o.Metrics.damaged.Add(float64(found.damaged))
	for _, k := range found.keep {
		name := q.corruptDir() + "/" + k.name
		f, err := q.fs.Open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue // seen at an earlier start
		}
		if err == nil {
			_, err = f.WriteAt(k.data, 0)
			f.Close()
		}
		q.o.Logger.Error("queue: broken bytes in the log, kept in corrupt/", "file", k.name, "bytes", len(k.data), "err", err)
		if k.name[0] == 't' {
			q.o.Metrics.tornTails.Inc()
		}
	}
	if found.damaged > 0 {
		q.o.Logger.Error("queue: ACKNOWLEDGED DATA IS DAMAGED", "records", found.damaged)
	}
}

// recoverBig compares big/ with the index: what no message owns goes, or is
// kept when records were lost, since it may have been theirs; a message whose
// file is not what it should be is held for the admin.
func (q *Queue) recoverBig(damage bool) error {
	infos, err := q.fs.ReadDir(q.bigDir())
	if err != nil {
		return err
	}
	sizes := map[mail.ID]int64{}
	q.doomed = nil
	for _, info := range infos {
		name := q.bigDir() + "/" + info.Name
		id, err := mail.ParseID(info.Name)
		if e := q.entries[id]; err == nil && e != nil && e.big {
			sizes[id] = info.Size
			continue
		}
		if err == nil && damage {
			q.logRemove(q.fs.Rename(name, q.corruptDir()+"/"+info.Name), name)
			continue
		}
		if err == nil {
			q.removeBig(id)
			continue
		}
		q.logRemove(q.fs.Remove(name), name)
	}
	for _, e := range q.entries {
		if e.big && sizes[e.id] < e.size/2 && !q.bigComplete(e, sizes[e.id]) {
			q.o.Metrics.damaged.Inc()
			q.o.Logger.Error("queue: the file of a large message is not complete: held", "id", e.id)
			for i := range e.rcpts {
				if r := &e.rcpts[i]; r.pending() {
					r.hold, r.phase = q.reason(heldDamaged), phaseHeld
				}
			}
		}
	}
	return nil
}

// bigComplete looks closer: the exact size is in the record.
func (q *Queue) bigComplete(e *entry, size int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	s, err := q.load(e)
	return err == nil && s.big != nil && s.big.fileSize() == size
}

// rebuild puts the entries into the order of arrival and into the schedule.
func (q *Queue) rebuild() {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]*entry, 0, len(q.entries))
	for e := q.first; e != nil; e = e.next { // as the log has them: nearly in order
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.since, b.since), slices.Compare(a.id[:], b.id[:]))
	})
	q.first, q.last, q.recipients = nil, nil, 0
	q.due = slices.Grow(q.due, len(all))
	q.bytes = 0
	now := q.nowMilli()
	latest := now + int64(float64(q.o.Retry.Max.Milliseconds())*(1+q.o.Retry.Jitter))
	for _, e := range all {
		e.prev, e.next = nil, nil
		q.insert(e)
		for i := range e.rcpts {
			// A clock that was set back must not make anybody wait.
			e.rcpts[i].next = min(e.rcpts[i].next, latest)
		}
		e.since = min(e.since, now)
		q.scheduleAll(e)
	}
	q.ledger.Recovered = int64(q.recipients)
}
