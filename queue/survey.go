package queue

import (
	"os"
	"runtime"
	"sync"

	"mailweir/internal/fsx"
)

// A start learns what a segment holds in one of three ways, the quickest first:
// from its digest; by a survey, which reads all of it and makes the same digest
// in memory, several segments at a time; or by the careful scan of scan.go, for
// those with anything that is not a whole batch, the unused rest aside.

// survey is what was learned of a segment: one of the two.
type survey struct {
	s  *segment
	d  *digest
	sc *scanned
}

// number of the segment, 0 for none.
func (v *survey) number() uint64 {
	if v.s == nil {
		return 0
	}
	return v.s.number
}

// saysDurable is the highest offset of segment number that this one says was
// durable.
func (v *survey) saysDurable(number uint64) int64 {
	switch {
	case v.sc != nil:
		return v.sc.durableTo(number)
	case v.d.durableSeg == number:
		return int64(v.d.durableOff)
	}
	return 0
}

// surveyors hand out digests of segments in order, and are some segments ahead.
type surveyors struct {
	q       *Queue
	segs    []*segment
	results []chan *digest
	begun   int
	working sync.WaitGroup
}

// surveyorsMost bounds what is in memory at a time: a window and a digest each.
const surveyorsMost = 8

func (q *Queue) surveyAll(segs []*segment) *surveyors {
	v := &surveyors{q: q, segs: segs, results: make([]chan *digest, len(segs))}
	if q.inline {
		return v // the order of calls is the same each time
	}
	for range min(runtime.GOMAXPROCS(0), surveyorsMost) {
		v.begin()
	}
	return v
}

func (v *surveyors) begin() {
	if v.begun == len(v.segs) {
		return
	}
	result, s := make(chan *digest, 1), v.segs[v.begun]
	v.results[v.begun] = result
	v.begun++
	v.working.Go(func() { result <- v.q.digestOf(s) })
}

// take returns the digest of segment i, nil when it needs a careful scan.
func (v *surveyors) take(i int) *digest {
	if v.q.inline {
		return v.q.digestOf(v.segs[i])
	}
	d := <-v.results[i]
	v.begin()
	return d
}

// wait is for the last of them: they read files that may be closed then.
func (v *surveyors) wait() { v.working.Wait() }

// digestOf reads the digest of s, or makes it.
func (q *Queue) digestOf(s *segment) *digest {
	if d := q.readDigest(s); d != nil {
		d.stored = true
		return d
	}
	if q.o.hooks.carefulScan {
		return nil
	}
	d, err := q.surveySegment(s)
	if err != nil {
		return nil
	}
	return d
}

// surveySegment makes the digest of a segment whose end is not known. It fails
// with ErrDamaged when something in it is neither a whole batch nor unused.
func (q *Queue) surveySegment(s *segment) (*digest, error) {
	// What a start reads goes past the page cache, as it was written: nobody
	// would read it from there again, and the copy costs more than all else here.
	f, err := q.fs.Open(segmentName(q.segDir(), s.number), os.O_RDONLY|fsx.Direct, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	whole := &segment{number: s.number, used: s.size, file: f}
	w := window{s: whole}
	defer w.free()
	head, err := w.at(0, segmentHeaderSize)
	if err != nil {
		return nil, err
	}
	h, ok := decodeSegmentHeader(head)
	if !ok || h.number != s.number {
		return nil, ErrDamaged
	}
	whole.epoch = h.epoch
	d, off := newDigest(whole), int64(blockSize)
	for off < s.size {
		fr, b, err := w.frame(off)
		if err != nil {
			return nil, err
		}
		if b == nil {
			break
		}
		if err := q.digestFrame(d, &fr, off, b); err != nil {
			return nil, err
		}
		off += roundUp(int64(fr.length))
	}
	d.used, d.index = uint64(min(off, s.size)), nil
	for ; off < s.size; off += blockSize {
		if b, err := w.at(off, frameHeaderSize); err != nil || begins(b, h.epoch, s.number) {
			return nil, ErrDamaged // torn, or rotten
		}
	}
	return d, nil
}

// digestFrame adds a batch at offset off.
func (q *Queue) digestFrame(d *digest, fr *frame, off int64, b []byte) error {
	d.frame(fr)
	return eachRecord(b, off, func(r record, at int64, n uint32) error {
		ev, err := q.eventOf(r, at, n)
		if err == nil && !(q.o.hooks.lossyDigest && r.flags&flagLast != 0) {
			d.add(ev)
		}
		return err
	})
}
