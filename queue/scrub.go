package queue

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"mailweir/mail"
)

// The scrub reads all that is in the queue, slowly, and verifies it: a start
// reads digests, and messages may lie for days. A segment with rot is emptied
// as the janitor empties others: what is whole is copied forward, what is not
// is counted and said, and the file goes to corrupt/. A large message whose
// file rots is held.

const (
	scrubRate  = 8 << 20 // bytes a second
	scrubPiece = 1 << 20
	scrubEvery = 24 * time.Hour // from the end of a round to the next
)

// pin keeps s from being removed or written again until readers is counted
// down. It reports whether s is there, sealed and sound.
func (q *Queue) pin(s *segment) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.segments[s.number] != s || !s.sealed || s.damaged || s.poisoned {
		return false
	}
	s.readers++
	return true
}

// walk reads a sealed segment batch by batch, to the end of what was appended
// to it. It fails with ErrDamaged at the first batch that is not whole.
func (s *segment) walk(f func(fr *frame, off int64, b []byte) error) error {
	w := window{s: s}
	defer w.free()
	for off := int64(blockSize); off < s.used; {
		fr, b, err := w.frame(off)
		if err != nil {
			return err
		}
		if b == nil {
			return ErrDamaged
		}
		if err = f(&fr, off, b); err != nil {
			return err
		}
		off += roundUp(int64(fr.length))
	}
	return nil
}

// window is the part of a segment that was read last.
type window struct {
	s    *segment
	from int64
	buf  []byte
}

// at returns n octets that start at off, which begins a block. Whole blocks are
// read.
func (w *window) at(off, n int64) ([]byte, error) {
	if off < w.from || off+n > w.from+int64(len(w.buf)) {
		want := max(n, min(max(roundUp(n), scrubPiece), w.s.used-off))
		if int64(cap(w.buf)) < want {
			w.free()
			w.buf = pooled(int(want))
		}
		w.buf, w.from = w.buf[:want], off
		if got, err := w.s.file.ReadAt(w.buf, off); got < len(w.buf) {
			w.buf = w.buf[:0]
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return w.buf[off-w.from:][:n:n], nil
}

// free gives the memory back.
func (w *window) free() {
	putPooled(w.buf)
	w.buf = nil
}

// frame returns the batch at off, nil when none begins there.
func (w *window) frame(off int64) (frame, []byte, error) {
	b, err := w.at(off, frameHeaderSize)
	if err != nil || !begins(b, w.s.epoch, w.s.number) {
		return frame{}, nil, err
	}
	n := int64(le.Uint32(b[60:]))
	if n < frameHeaderSize || n > w.s.used-off {
		return frame{}, nil, ErrDamaged
	}
	if b, err = w.at(off, n); err != nil {
		return frame{}, nil, err
	}
	fr, ok := decodeFrame(b, w.s.epoch, w.s.number, off)
	if !ok || !fr.intact(b, off) {
		return frame{}, nil, ErrDamaged
	}
	return fr, b, nil
}

// eachRecord calls f for the records of a batch at offset off that was found
// intact.
func eachRecord(b []byte, off int64, f func(r record, at int64, n uint32) error) error {
	for pos := int64(frameHeaderSize); pos < int64(len(b)); {
		r, ok := recordIn(b[pos:])
		if !ok {
			return ErrDamaged
		}
		n := recordHeaderSize + int64(len(r.payload))
		if err := f(r, off+pos, uint32(n)); err != nil {
			return err
		}
		pos += n
	}
	return nil
}

// scrubber goes round for ever.
func (q *Queue) scrubber() {
	defer q.tasks.Done()
	for {
		q.scrub(func(n int64) bool { return q.rest(time.Second * time.Duration(n) / scrubRate) })
		if !q.rest(scrubEvery) {
			return
		}
	}
}

// rest waits; false when the queue ends.
func (q *Queue) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-q.stop:
		return false
	}
}

// scrub is one round. pace is told how much was read; false ends the round.
func (q *Queue) scrub(pace func(int64) bool) {
	q.mu.Lock()
	segs := make([]*segment, 0, len(q.segments))
	for _, s := range q.segments {
		if s.sealed && s.needed() {
			segs = append(segs, s)
		}
	}
	q.mu.Unlock()
	slices.SortFunc(segs, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	for _, s := range segs {
		if !q.scrubSegment(s, pace) {
			return
		}
	}
	q.mu.Lock()
	var big []mail.ID
	q.walk(func(e *entry) bool {
		if e.big {
			big = append(big, e.id)
		}
		return true
	})
	q.mu.Unlock()
	buf := make([]byte, min(len(big), 1)*scrubPiece)
	for _, id := range big {
		if !q.scrubBig(id, buf, pace) {
			return
		}
	}
}

var errStopped = errors.New("queue: stopped")

func (q *Queue) scrubSegment(s *segment, pace func(int64) bool) bool {
	if !q.pin(s) {
		return true
	}
	s.file.DropCache() // it is the disk that is asked
	var read int64
	err := s.walk(func(fr *frame, _ int64, _ []byte) error {
		if read += roundUp(int64(fr.length)); read < scrubPiece {
			return nil
		}
		q.o.Metrics.scrubbed.Add(float64(read))
		if !pace(read) {
			return errStopped
		}
		read = 0
		return nil
	})
	q.mu.Lock()
	s.readers--
	if err != nil && err != errStopped {
		s.damaged = true // the janitor empties it
	}
	q.mu.Unlock()
	if err == errStopped {
		return false
	}
	q.o.Metrics.scrubbed.Add(float64(read))
	if err != nil {
		q.o.Metrics.damagedSegments.Inc()
		q.o.Logger.Error("queue: the scrub found damage, the segment is emptied and kept in corrupt/", "segment", s.number, "err", err)
		q.poke()
	}
	return pace(read)
}

// scrubBig verifies the file of a large message.
func (q *Queue) scrubBig(id mail.ID, buf []byte, pace func(int64) bool) bool {
	m, err := q.Message(id)
	if err != nil {
		return true // over, or found damaged when it is handled
	}
	r, err := m.Body.Open()
	if err == nil {
		defer r.Close()
		for err == nil {
			var n int
			n, err = r.Read(buf)
			q.o.Metrics.scrubbed.Add(float64(n))
			if n > 0 && !pace(int64(n)) {
				return false
			}
		}
	}
	if err == io.EOF {
		return true
	}
	q.mu.Lock()
	gone := q.entries[id] == nil
	q.mu.Unlock()
	if !gone {
		q.o.Metrics.damaged.Inc()
		q.o.Logger.Error("queue: the scrub found the file of a large message damaged: held", "id", id, "err", err)
		q.holdAll(id, heldDamaged)
	}
	return true
}

// heldDamaged is the hold reason of messages whose bytes are not what was
// brought.
const heldDamaged = "damaged"
