package queue

import (
	"bytes"
	"io"
)

// scanned is what a segment file holds: the batches that are whole, and the
// stretches between them that are not.
type scanned struct {
	number uint64
	epoch  uint64
	buf    []byte
	frames []frameAt
	bad    []stretch
	end    int64 // of the last whole batch
	broken bool  // the segment's own header is damaged
}

type frameAt struct {
	frame
	off int64
}

// stretch is a part of a segment that is no whole batch.
type stretch struct {
	from, to int64
	frame    *frame // its header, when that is intact
	tail     bool   // nothing whole follows
}

// readSegment reads a whole file into buf, which it may replace by a larger.
func readSegment(s *segment, buf []byte) ([]byte, error) {
	if int64(cap(buf)) < s.size {
		buf = make([]byte, s.size)
	}
	buf = buf[:s.size]
	n, err := s.file.ReadAt(buf, 0)
	if err == io.EOF {
		err = nil
	}
	return buf[:n], err
}

// scan finds the batches of segment number in buf. It trusts nothing: every
// length is bounded by the buffer, every byte that counts is under a checksum.
func scan(buf []byte, number uint64) *scanned {
	sc := &scanned{number: number, buf: buf, end: blockSize}
	h, ok := decodeSegmentHeader(buf)
	switch {
	case ok && h.number != number:
		// A recycled file whose new name, or new header, was lost in a crash:
		// nothing in it was needed any more.
		return sc
	case ok:
		sc.epoch = h.epoch
	default:
		sc.broken = true // the frames bring their epoch along
	}
	for off := int64(blockSize); off < int64(len(buf)); {
		f, ok := decodeFrame(buf[off:], sc.epoch, number, off)
		if ok && f.intact(buf[off:], off) {
			sc.epoch = f.epoch
			sc.frames = append(sc.frames, frameAt{f, off})
			off += roundUp(int64(f.length))
			sc.end = min(off, int64(len(buf)))
			continue
		}
		off = sc.skip(off, f, ok)
	}
	return sc
}

// skip notes a stretch that starts at off, and returns where to go on.
func (sc *scanned) skip(off int64, f frame, headerOK bool) int64 {
	st := stretch{from: off}
	next := off + blockSize
	if headerOK {
		sc.epoch = f.epoch
		st.frame = &f
		next = off + roundUp(int64(f.length))
	}
	for next < int64(len(sc.buf)) {
		if _, ok := decodeFrame(sc.buf[next:], sc.epoch, sc.number, next); ok {
			break
		}
		if st.frame != nil { // what follows is a stretch of its own
			break
		}
		next += blockSize
	}
	st.to = min(next, int64(len(sc.buf)))
	sc.bad = append(sc.bad, st)
	return st.to
}

// settleTail tells apart, among the stretches, what is just unused space, and
// marks those after the last whole batch. Nothing below durable is unused,
// whatever it looks like.
func (sc *scanned) settleTail(durable int64) {
	kept := sc.bad[:0]
	for _, st := range sc.bad {
		st.tail = st.from >= sc.end
		if st.tail && st.frame == nil && !sc.begun(st.from) && durable <= st.from {
			continue
		}
		kept = append(kept, st)
	}
	sc.bad = kept
}

// begun reports traces of a batch of this life of the file at off.
func (sc *scanned) begun(off int64) bool {
	return sc.epoch != 0 && begins(sc.buf[off:], sc.epoch, sc.number)
}

// begins reports that b has the beginning of a batch of that life of a file.
func begins(b []byte, epoch, number uint64) bool {
	return len(b) >= frameHeaderSize && le.Uint32(b) == frameMagic && le.Uint64(b[8:]) == epoch && le.Uint64(b[16:]) == number
}

// durableTo is the highest offset of segment number that a frame here says was
// durable.
func (sc *scanned) durableTo(number uint64) int64 {
	var to int64
	for i := range sc.frames {
		if f := &sc.frames[i]; f.durableSeg == number {
			to = max(to, int64(f.durableOff))
		}
	}
	for _, st := range sc.bad {
		if st.frame != nil && st.frame.durableSeg == number {
			to = max(to, int64(st.frame.durableOff))
		}
	}
	return to
}

// records calls f for each record of the batch at off.
func (sc *scanned) records(fr frame, off int64, f func(record, int64, uint32)) {
	for pos := off + frameHeaderSize; pos < off+int64(fr.length); {
		r, ok := decodeRecord(sc.buf[pos:off+int64(fr.length)], sc.epoch, pos)
		if !ok {
			return // not after intact
		}
		n := recordHeaderSize + int64(len(r.payload))
		f(r, pos, uint32(n))
		pos += n
	}
}

// salvage calls f for each record of a damaged stretch that is itself intact,
// and returns how many are not: exactly, when the batch's header says how many
// there were, else the number of holes between those found.
func (sc *scanned) salvage(st stretch, f func(record, int64, uint32)) (lost int) {
	end := st.to
	if st.frame != nil {
		end = min(end, st.from+int64(st.frame.length))
	}
	found, holes, inHole := 0, 0, false
	for pos := st.from + frameHeaderSize; pos+recordHeaderSize <= end; {
		if r, ok := decodeRecord(sc.buf[pos:end], sc.epoch, pos); ok {
			n := recordHeaderSize + int64(len(r.payload))
			f(r, pos, uint32(n))
			pos += n
			found++
			inHole = false
			continue
		}
		if sc.padding(pos, end) {
			// The batch ends here; there may be another one, its header lost.
			pos = roundUp(pos+1) + frameHeaderSize
			inHole = false
			continue
		}
		if !inHole {
			holes, inHole = holes+1, true
		}
		i := bytes.Index(sc.buf[pos+1:end], []byte{recordMagic & 0xff, recordMagic >> 8})
		if i < 0 {
			break
		}
		pos += int64(i) + 1
	}
	if st.frame != nil {
		return max(int(st.frame.records)-found, 0)
	}
	return holes
}

// padding reports that there is nothing but zeros from pos to its block's end.
func (sc *scanned) padding(pos, end int64) bool {
	for _, c := range sc.buf[pos:min(roundUp(pos+1), end)] {
		if c != 0 {
			return false
		}
	}
	return true
}
