package queue

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"mailweir/mail"
)

// wal is the writing end of the log. Any goroutine appends records to the
// batch that is being filled; one goroutine, the writer, takes what is there,
// writes it, syncs once, and settles it. While it syncs, the next batch fills:
// that is the whole of group commit, there is no timer in it.
//
// Its laws:
//   - a batch is written to one segment, whole, starting at a block that holds
//     no other batch;
//   - done is closed only after the sync that covers the batch, or after it was
//     decided that the batch failed;
//   - a descriptor on which a write or a sync failed is never used again.
//
// Lock order: Queue.mu, then wal.mu.
type wal struct {
	q      *Queue
	wake   chan struct{} // one token: there is something to do
	nudged atomic.Bool   // wake gets one soon
	pace   pace
	done   chan struct{} // the writer ended

	mu      sync.Mutex
	chunks  chunkPool
	chunk   *chunk    // is being filled
	buf     []byte    // its memory, whether or not the cache still has it
	used    int       // of buf
	pending *batch    // is being filled
	ready   []*batch  // full, in order
	fixes   [][]fixup // of batches that are settled, for others
	closing bool      // the writer shall end
	ended   bool      // it did
	failed  error     // set for good after a second failure
	stalled error     // no segment could be made; tried again each second

	// The rest belongs to the writer.
	seg         *segment
	off         int64 // where the next frame goes
	seq         uint64
	durableSeg  uint64
	durableOff  int64
	covered     bool // some frame tells that the last acknowledged one is durable
	lastFailure time.Time
	made        chan madeSegment // from the maker; nil: segments are made in line
}

type madeSegment struct {
	seg *segment
	err error
}

const (
	idleMark    = 20 * time.Millisecond // after it an idle writer marks the last batch as durable
	secondFault = time.Minute           // a second failure within it stops the queue
)

// batch is one frame in the making: buf[start:end], in the memory of chunk.
type batch struct {
	chunk      *chunk
	start, end int
	records    int
	outcomes   int // records of delivery attempts
	fixes      []fixup
	at         int64 // where it was written
	buf        []byte

	err  error // valid once done is closed
	done chan struct{}
}

// fixup is what to do in memory once a record is durable.
type fixup struct {
	op  fixOp
	off uint32 // of the record in the batch
	len uint32
	e   *entry
	id  mail.ID // for fixTomb
	// clear is what memory keeps of a recent ACCEPT; nil: the record itself.
	clear *chunk
	own   bool // an ACCEPT of ours (a DSN): written again after a failure, nobody was told
	// generated is how many recipients of an ACCEPT no client named.
	generated int

	plain  bool        // it holds something in clear
	states []rcptState // of fixStates
	epoch  uint32      // of fixRelocate: whose key seals the copy before
}

type fixOp uint8

const (
	fixAccept   fixOp = iota + 1 // index the entry
	fixStates                    // the record is the current state of some recipients
	fixFinal                     // the entry is over
	fixRelocate                  // the record is the current copy
	fixTomb                      // the record is the current tombstone
)

func newWAL(q *Queue) *wal {
	l := &wal{q: q, wake: make(chan struct{}, 1), done: make(chan struct{}), covered: true, chunks: chunkPool{size: q.o.hooks.chunk}}
	l.pace.init()
	return l
}

// room returns the batch to append n bytes to. The caller holds l.mu.
func (l *wal) room(n int) *batch {
	if b := l.pending; b != nil && b.end+n <= len(b.buf) {
		return b
	}
	l.sealPending()
	if l.used+frameHeaderSize+n > len(l.buf) {
		l.chunk.release() // the claim of who fills it
		l.chunk, l.used = l.chunks.take(frameHeaderSize+n), 0
		l.buf = l.chunk.buf
	}
	l.chunk.retain() // until the batch is settled, or has failed
	l.pending = &batch{chunk: l.chunk, start: l.used, end: l.used + frameHeaderSize, buf: l.buf, done: make(chan struct{})}
	if n := len(l.fixes); n > 0 {
		l.pending.fixes, l.fixes = l.fixes[n-1], l.fixes[:n-1]
	}
	return l.pending
}

// Bounds of what is kept for batches to come.
const (
	spareFixes = 4
	fewFixes   = 64
)

// reuse takes the fixes of settled batches.
func (l *wal) reuse(batches []*batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range batches {
		if len(l.fixes) < spareFixes && cap(b.fixes) <= fewFixes {
			clear(b.fixes)
			l.fixes = append(l.fixes, b.fixes[:0])
		}
		b.fixes = nil
	}
}

func (l *wal) sealPending() {
	if b := l.pending; b != nil {
		l.used = int(roundUp(int64(b.end)))
		l.ready = append(l.ready, b)
		l.pending = nil
	}
}

// add counts the record that was appended to b up to end.
func (b *batch) add(dst []byte, fix fixup) {
	fix.off = uint32(b.end - b.start)
	fix.len = uint32(len(dst))
	if &dst[0] != &b.buf[b.end] {
		panic("queue: record outgrew its bound")
	}
	endRecord(dst)
	b.end += len(dst)
	b.records++
	b.fixes = append(b.fixes, fix)
}

// tail is where the next record of b goes: append to it.
func (b *batch) tail() []byte { return b.buf[b.end:b.end:len(b.buf)] }

func (l *wal) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// lazySync is how long a record that nobody waits for may wait for one that
// somebody does, whose sync then covers both. A crash in that time makes an
// attempt be repeated, as it does before the record is written at all.
const lazySync = 5 * time.Millisecond

// nudge is signal for records that nobody waits for, at ease. In the tests,
// where every step must repeat, the writer takes them with the next record
// that somebody waits for.
func (l *wal) nudge() {
	if l.q.inline || !l.nudged.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(lazySync, func() {
		l.nudged.Store(false)
		l.signal()
	})
}

// usable tells why nothing may be appended. The caller holds l.mu.
func (l *wal) usable() error {
	if l.failed != nil {
		return l.failed
	}
	if l.ended {
		return ErrClosed
	}
	return nil
}

// run is the writer.
func (l *wal) run() {
	defer close(l.done)
	for {
		work, ok := l.take()
		if len(work) > 0 {
			l.commit(work)
		}
		if !ok && l.end(len(work) == 0 || l.stalled != nil) {
			return
		}
	}
}

// end ends the writer when idle, unless something came in at the last moment.
func (l *wal) end(idle bool) bool {
	if !idle {
		return false
	}
	l.mark()
	l.mu.Lock()
	l.sealPending()
	rest := l.ready
	if l.ended = len(rest) == 0 || l.stalled != nil; l.ended {
		l.ready = nil
	}
	l.mu.Unlock()
	if l.ended {
		l.fail(rest, ErrClosed)
	}
	return l.ended
}

// take waits for batches; ok is false when there will be no more.
func (l *wal) take() (work []*batch, ok bool) {
	for {
		if !l.q.inline {
			runtime.Gosched() // who can run now may have a record too, and shares the sync
		}
		l.mu.Lock()
		if l.stalled == nil || l.closing {
			l.sealPending()
			work, l.ready = l.ready, nil
		}
		closing := l.closing
		l.mu.Unlock()
		if len(work) > 0 || closing {
			return work, !closing
		}
		l.idle()
	}
}

// idle waits for work. When none comes for a while it writes an empty frame,
// so that the last acknowledged batch is known as durable on the disk too: if
// it rots, recovery can tell that from a torn tail. The frame is a hint and
// needs no sync.
func (l *wal) idle() {
	if l.stalled == nil && (l.covered || l.q.inline) {
		<-l.wake
		return
	}
	wait := idleMark
	if l.stalled != nil {
		wait = time.Second
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-l.wake:
		if l.stalled == nil {
			return
		}
		<-t.C // sessions keep coming; the disk gets its second
	case <-t.C:
	}
	if l.stalled != nil {
		l.stall(nil)
		return
	}
	l.mark()
}

// mark writes the empty frame, best effort: where it does not fit the next
// segment's first frame says the same.
func (l *wal) mark() {
	l.covered = true
	if l.seg == nil || l.seg.poisoned || l.off+blockSize > l.seg.size || l.failed != nil {
		return
	}
	b := &batch{buf: make([]byte, blockSize), end: frameHeaderSize}
	if err := l.write(b); err != nil {
		l.poison(nil, err)
	}
}

// commit makes batches durable, in order, with as few syncs as there are
// segments.
func (l *wal) commit(work []*batch) {
	l.pace.begin()
	defer func() { l.pace.end(l.full()) }()
	first := 0 // work[first:] is not synced
	for i, b := range work {
		if l.failed != nil {
			l.fail(work[first:], l.failed)
			return
		}
		if l.seg == nil || l.seg.poisoned || !l.fits(b) {
			if !l.syncUpTo(work[first:i], work[first:]) {
				return
			}
			first = i
			if err := l.roll(); err != nil {
				l.refuse(work[first:], err)
				return
			}
		}
		if err := l.write(b); err != nil {
			l.poison(work[first:], err)
			return
		}
	}
	l.syncUpTo(work[first:], work[first:])
}

// syncUpTo syncs written batches and settles them; when the sync fails,
// nothing of affected is durable.
func (l *wal) syncUpTo(written, affected []*batch) bool {
	if len(written) == 0 {
		return true
	}
	start := time.Now()
	var err error
	if !l.q.o.hooks.ackBeforeSync || l.seq%2 == 0 { // the mutation leaves it to the next batch
		err = l.seg.file.Datasync()
	}
	if err != nil && l.q.o.hooks.retrySync {
		err = l.seg.file.Datasync()
	}
	if err != nil {
		l.poison(affected, err)
		return false
	}
	l.q.o.Metrics.fsync.Observe(time.Since(start).Seconds())
	l.durableSeg, l.durableOff, l.covered = l.seg.number, l.off, false
	l.q.settle(l.seg, written)
	l.acknowledge(written)
	return true
}

func (l *wal) acknowledge(batches []*batch) {
	records := 0
	for _, b := range batches {
		records += b.records
		close(b.done)
		b.chunk.release()
	}
	l.reuse(batches)
	l.q.o.Metrics.batchRecords.Observe(float64(records))
}

// full is how much of the active segment is used, 0 to 1.
func (l *wal) full() float64 {
	if l.seg == nil {
		return 0
	}
	return float64(l.off) / float64(l.seg.size)
}

// fits: an oversized batch may have a segment of its own, which grows.
func (l *wal) fits(b *batch) bool {
	n := roundUp(int64(b.end - b.start))
	return l.off+n <= l.seg.size || l.off == blockSize
}

// write puts a batch at the end of the active segment.
func (l *wal) write(b *batch) error {
	frameBytes := b.buf[b.start:roundUp(int64(b.end))]
	clear(b.buf[b.end:roundUp(int64(b.end))]) // an earlier batch was written from here
	f := frame{
		epoch: l.seg.epoch, segment: l.seg.number, seq: l.seq,
		durableSeg: l.durableSeg, durableOff: uint64(l.durableOff),
		time: time.Now().UnixMilli(), records: uint32(b.records), length: uint32(b.end - b.start),
	}
	f.seal(frameBytes, l.off)
	b.at = l.off
	if _, err := l.seg.file.WriteAt(frameBytes, l.off); err != nil {
		return err
	}
	l.seq++
	l.off += int64(len(frameBytes))
	l.q.o.Metrics.written.Add(float64(len(frameBytes)))
	return nil
}

// roll makes the next segment the active one.
func (l *wal) roll() error {
	n := l.pace.pause()
	defer l.pace.resume(n)
	var m madeSegment
	if l.made == nil {
		m.seg, m.err = l.q.makeSegment()
	} else {
		m = <-l.made
	}
	if m.err != nil {
		return m.err
	}
	l.q.mu.Lock()
	if l.seg != nil {
		l.seg.sealed = true
	}
	l.q.mu.Unlock()
	l.seg, l.off = m.seg, blockSize
	l.q.poke()
	return nil
}

// stall notes that no segment could be made.
func (l *wal) stall(err error) {
	l.mu.Lock()
	l.stalled = err
	l.mu.Unlock()
}

// fail ends batches without success: their new messages are not ours.
func (l *wal) fail(batches []*batch, err error) {
	for _, b := range batches {
		for i := range b.fixes {
			if f := &b.fixes[i]; f.op == fixAccept && !f.own {
				if b.at != 0 {
					// Its record may be on the disk all the same, and come
					// back after a crash: then it needs its body.
					f.e.big = false
					f.e.key = 0 // it still needs its key
				}
				f.clear.release()
				l.q.abandon(f.e)
			}
		}
		b.err = err
		close(b.done)
		b.chunk.release()
	}
}

// close lets the writer finish what was appended, and waits for it.
func (l *wal) close() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.signal()
	<-l.done
}

// lasting is the fault that ended the log.
func (l *wal) lasting() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// health is the present fault, if there is one.
func (l *wal) health() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	return l.stalled
}
