package queue

import (
	"fmt"
	"time"
)

// This file is what happens when the disk fails. After a failed fdatasync the
// kernel may have dropped the dirty pages and cleared the error: the same call
// again would return success over data that is lost (fsyncgate). So the
// descriptor is done for, and what it held is copied out of the file while
// that is still possible.

// poison gives up the active segment. batches were to become durable in it:
// their messages are refused, and what they recorded of messages that are ours
// is written again elsewhere, before anything that was appended since.
func (l *wal) poison(batches []*batch, cause error) {
	old, now := l.seg, time.Now()
	l.q.mu.Lock()
	old.poisoned, old.sealed = true, true
	l.q.mu.Unlock()
	l.q.o.Metrics.poisoned.Inc()
	l.q.o.Logger.Error("queue: the disk failed, segment given up", "segment", old.number, "err", cause)

	second := !l.lastFailure.IsZero() && now.Sub(l.lastFailure) < secondFault
	l.lastFailure = now
	l.salvage(batches)
	l.fail(batches, fmt.Errorf("%w: %w", ErrNotDurable, cause))
	if second {
		l.stop(cause)
		return
	}
	if err := l.roll(); err != nil {
		l.stop(err)
		return
	}
	old.file.DropCache()
	if l.q.evacuate(old, l.flush) && l.q.unneeded(old) {
		l.q.retire(old)
	}
}

// unneeded reports that nothing in s is needed any more.
func (q *Queue) unneeded(s *segment) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return s.removable(&q.o.hooks)
}

// salvage appends the records of failed batches again, but for new messages:
// those were refused. They come before what was appended since.
func (l *wal) salvage(batches []*batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealPending()
	later := l.ready
	l.ready = nil
	for _, b := range batches {
		for _, fix := range b.fixes {
			if fix.op == fixAccept && !fix.own {
				continue
			}
			raw := b.buf[b.start+int(fix.off):][:fix.len]
			to := l.room(len(raw))
			to.add(append(to.tail(), raw...), fix)
		}
	}
	l.sealPending()
	l.ready = append(l.ready, later...)
}

// flush makes durable what was appended so far; for the writer itself. It
// reports whether the log still works.
func (l *wal) flush() bool {
	l.mu.Lock()
	l.sealPending()
	work := l.ready
	l.ready = nil
	l.mu.Unlock()
	if len(work) > 0 {
		l.commit(work)
	}
	return l.failed == nil
}

// stop ends intake and delivery for good: a disk that failed twice is not to
// be trusted, and what cannot be recorded must not be sent, or it is sent
// again after the next start.
func (l *wal) stop(cause error) {
	l.mu.Lock()
	l.failed = fmt.Errorf("%w: %w", ErrPoisoned, cause)
	l.sealPending()
	rest := l.ready
	l.ready = nil
	l.mu.Unlock()
	l.fail(rest, l.failed)
	l.q.o.Logger.Error("queue: the disk failed again, intake and delivery are stopped", "err", cause)
	l.q.stopDelivery()
}

// refuse fails the new messages of batches because there is no segment to
// write them to; nothing was written. The other records wait.
func (l *wal) refuse(batches []*batch, cause error) {
	l.q.o.Logger.Error("queue: cannot make a segment", "err", cause)
	l.stall(fmt.Errorf("%w: %w", ErrNoSpace, cause))
	l.salvage(batches)
	l.fail(batches, l.stalled)
}

// retire puts a poisoned file away, once all that was needed of it is durable
// elsewhere.
func (q *Queue) retire(s *segment) {
	from := segmentName(q.segDir(), s.number)
	err := q.fs.Rename(from, segmentName(q.corruptDir(), s.number))
	if err == nil {
		err = q.syncDir(q.corruptDir())
	}
	if err == nil {
		err = q.syncDir(q.segDir())
	}
	if err != nil {
		// It stays, with copies that are no longer the current ones.
		q.o.Logger.Error("queue: cannot put a failed segment away", "segment", s.number, "err", err)
		return
	}
	if err := s.file.Close(); err != nil {
		q.o.Logger.Warn("queue: close of a failed segment", "segment", s.number, "err", err)
	}
	q.forget(s, nil)
}
