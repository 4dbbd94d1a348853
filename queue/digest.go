package queue

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"mailweir/mail"
)

// A digest holds what recovery needs of a sealed segment, so that a start does
// not read every message: bodies are verified when they are read, and by the
// scrub. It is a copy of what the segment says and nothing else: one that is
// missing, damaged, or of another life of the file costs the time of a scan.
//
//	digest, integers little endian
//	 0  magic   u64  "MMWQDIG1"    40  batch  u64  the last one
//	 8  version u32  2             48  durable segment u64 } what its batches
//	12  key epoch u32  0: plain    56  durable offset  u64 } say of an earlier one
//	16  epoch   u64  of the        64  batches u32
//	24  number  u64    segment     68  copies  u32
//	32  used    u64  end of it     72  others  u32
//	76  checksum u32  CRC32C of 0..75 and the payload
//	80  payload, sealed as nonce [12], payload, tag [16]: strings: number uvarint, each length uvarint, octets
//	    records, as in the segment, in order
//
//	record: type u8, flags u8 (1 last, 2 big, 4 null reverse-path), ID [16],
//	        generation uvarint, key epoch uvarint, offset uvarint (less the one before's),
//	        length uvarint, since varint (less the one before's),
//	        of a copy: size uvarint; number of states uvarint, states
//	state:  domain's string (of a copy) or recipient uvarint, status u8 (with
//	        0x80: the last attempt did not reach the next hop), attempts uvarint, next varint ms, strings of hold, reroute uvarint
const (
	digestMagic      = 0x3147494451574d4d // "MMWQDIG1"
	digestVersion    = 2
	digestHeaderSize = 80
	digestSuffix     = ".digest"

	digestLast = flagLast
	digestBig  = 2
	digestNull = 4
	digestLow  = 8

	digestUnreached = 0x80

	// maxDigest bounds what is read: a segment's digest is far smaller than
	// the segment.
	maxDigest = 1 << 28
	// digestLag is how many sealed segments get no digest yet: while the relay
	// keeps up they are dead before it would be of use.
	digestLag = 2
)

func digestName(dir string, number uint64) string {
	return strings.TrimSuffix(segmentName(dir, number), ".log") + digestSuffix
}

// digest is one that was read, or is being made.
type digest struct {
	epoch, number, used    uint64
	seq                    uint64
	durableSeg, durableOff uint64
	batches                uint32
	copies, others         uint32

	stored bool // read from its file

	strings []string
	index   map[string]int // while it is being made
	records []byte
	off     uint32 // of the record before
	since   int64
}

func newDigest(s *segment) *digest {
	return &digest{epoch: s.epoch, number: s.number, used: uint64(s.used), strings: []string{""}, index: map[string]int{"": 0}}
}

func (d *digest) frame(f *frame) {
	d.seq = max(d.seq, f.seq)
	d.batches++
	if f.durableSeg != d.number && f.durableSeg >= d.durableSeg {
		d.durableSeg, d.durableOff = f.durableSeg, max(d.durableOff, f.durableOff)
	}
}

func (d *digest) string(s string) uint64 {
	n, ok := d.index[s]
	if !ok {
		n = len(d.strings)
		s = strings.Clone(s)
		d.strings = append(d.strings, s)
		d.index[s] = n
	}
	return uint64(n)
}

func (d *digest) add(ev *event) {
	flags := ev.flags & digestLast
	if ev.big {
		flags |= digestBig
	}
	if ev.dsn {
		flags |= digestNull
	}
	if ev.low {
		flags |= digestLow
	}
	b := append(d.records, byte(ev.kind), flags)
	b = append(b, ev.id[:]...)
	b = binary.AppendUvarint(b, uint64(ev.gen))
	b = binary.AppendUvarint(b, uint64(ev.epoch))
	b = binary.AppendUvarint(b, uint64(ev.off-d.off))
	b = binary.AppendUvarint(b, uint64(ev.len))
	b = binary.AppendVarint(b, ev.since-d.since)
	d.off, d.since = ev.off, ev.since
	if ev.isCopy() {
		b = binary.AppendUvarint(b, uint64(ev.size))
		d.copies++
	} else {
		d.others++
	}
	b = binary.AppendUvarint(b, uint64(len(ev.states)))
	for i := range ev.states {
		s := &ev.states[i]
		if ev.isCopy() {
			b = binary.AppendUvarint(b, d.string(ev.domains[i]))
		} else {
			b = binary.AppendUvarint(b, uint64(s.index))
		}
		status := s.status
		if s.unreached {
			status |= digestUnreached
		}
		b = append(b, status)
		b = binary.AppendUvarint(b, s.attemptsOnDisk())
		b = binary.AppendVarint(b, s.next)
		b = binary.AppendUvarint(b, d.string(s.hold))
		b = binary.AppendUvarint(b, d.string(string(s.to)))
	}
	d.records = b
}

func (d *digest) encode(k *epochKey) []byte {
	b := make([]byte, digestHeaderSize, digestHeaderSize+len(d.records)+64*len(d.strings))
	le.PutUint64(b[0:], digestMagic)
	le.PutUint32(b[8:], digestVersion)
	le.PutUint64(b[16:], d.epoch)
	le.PutUint64(b[24:], d.number)
	le.PutUint64(b[32:], d.used)
	le.PutUint64(b[40:], d.seq)
	le.PutUint64(b[48:], d.durableSeg)
	le.PutUint64(b[56:], d.durableOff)
	le.PutUint32(b[64:], d.batches)
	le.PutUint32(b[68:], d.copies)
	le.PutUint32(b[72:], d.others)
	b = binary.AppendUvarint(b, uint64(len(d.strings)))
	for _, s := range d.strings {
		b = appendString(b, s)
	}
	b = append(b, d.records...)
	if k != nil {
		le.PutUint32(b[12:], k.number)
		plain := slices.Clone(b[digestHeaderSize:])
		b = append(b[:digestHeaderSize], make([]byte, nonceSize)...)
		b = k.seal(append(b, plain...), digestHeaderSize+nonceSize, digestAAD(b))
	}
	le.PutUint32(b[76:], digestSum(b))
	return b
}

// digestAAD binds the payload of a sealed digest to its segment.
func digestAAD(b []byte) []byte { return append([]byte{aadDigest}, b[:76]...) }

func digestSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:76], castagnoli), castagnoli, b[digestHeaderSize:])
}

// decodeDigest reads the digest of the segment with that number and epoch.
func decodeDigest(b []byte, number, epoch uint64, keys *keyring) (*digest, error) {
	if len(b) < digestHeaderSize || le.Uint64(b) != digestMagic || le.Uint32(b[8:]) != digestVersion ||
		le.Uint32(b[76:]) != digestSum(b) {
		return nil, ErrDamaged
	}
	d := &digest{
		epoch: le.Uint64(b[16:]), number: le.Uint64(b[24:]), used: le.Uint64(b[32:]), seq: le.Uint64(b[40:]),
		durableSeg: le.Uint64(b[48:]), durableOff: le.Uint64(b[56:]),
		batches: le.Uint32(b[64:]), copies: le.Uint32(b[68:]), others: le.Uint32(b[72:]),
	}
	if d.number != number || d.epoch != epoch {
		return nil, ErrDamaged
	}
	payload := b[digestHeaderSize:]
	if n := le.Uint32(b[12:]); n != 0 {
		k := keys.get(n)
		if k == nil {
			return nil, veiledError{n}
		}
		var err error
		if payload, err = k.open(payload, digestAAD(b)); err != nil {
			return nil, err
		}
	}
	dec := decoder{b: payload}
	n := dec.count(1)
	d.strings = make([]string, 0, n)
	for range n {
		d.strings = append(d.strings, dec.string())
	}
	if d.records = dec.b; dec.failed {
		return nil, ErrDamaged
	}
	// All of it once, or what is wrong would be found when half is applied.
	return d, d.each(func(*event) {})
}

// each calls f for each record; the event is good until f returns.
func (d *digest) each(f func(*event)) error {
	dec := decoder{b: d.records}
	text := func() string {
		n := dec.int()
		if n >= len(d.strings) {
			dec.fail()
			return ""
		}
		return d.strings[n]
	}
	var ev event
	var copies, others uint32
	for len(dec.b) > 0 {
		ev.kind = recordType(dec.byte())
		flags := dec.byte()
		ev.flags, ev.big, ev.dsn = flags&digestLast, flags&digestBig != 0, flags&digestNull != 0
		ev.low = flags&digestLow != 0
		copy(ev.id[:], dec.bytes(len(mail.ID{})))
		ev.gen = uint32(dec.uvarint())
		ev.epoch = uint32(dec.uvarint())
		ev.off += uint32(dec.uvarint())
		ev.len = uint32(dec.uvarint())
		ev.since += dec.varint()
		if ev.isCopy() {
			ev.size = int64(dec.uvarint())
			copies++
		} else {
			others++
		}
		n := dec.count(6)
		ev.states, ev.domains = ev.states[:0], ev.domains[:0]
		for i := range n {
			s := rcptState{index: i}
			if ev.isCopy() {
				ev.domains = append(ev.domains, text())
			} else {
				s.index = dec.int()
			}
			s.status = dec.byte()
			s.setAttempts(dec.int())
			s.next = dec.varint()
			s.unreached = s.status&digestUnreached != 0
			s.status &^= digestUnreached
			s.hold, s.to = text(), mail.Destination(text())
			ev.states = append(ev.states, s)
		}
		if dec.failed || int64(ev.off)+int64(ev.len) > int64(d.used) {
			return ErrDamaged
		}
		f(&ev)
	}
	if copies != d.copies || others != d.others {
		return ErrDamaged
	}
	return nil
}

// readDigest returns the digest of s, nil when there is none that fits it.
func (q *Queue) readDigest(s *segment) *digest {
	f, err := q.fs.Open(digestName(q.segDir(), s.number), os.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size > maxDigest {
		return nil
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) || n < len(b) {
		return nil
	}
	head := make([]byte, segmentHeaderSize)
	if n, _ := s.file.ReadAt(head, 0); n < len(head) {
		return nil
	}
	h, ok := decodeSegmentHeader(head)
	if !ok || h.number != s.number {
		return nil
	}
	d, err := decodeDigest(b, s.number, h.epoch, &q.keys)
	if err != nil || int64(d.used) > s.size {
		q.o.Logger.Warn("queue: the digest of a segment is of no use, reading all of it", "segment", s.number)
		return nil
	}
	return d
}

// applyDigest replays a segment by its digest.
func (q *Queue) applyDigest(s *segment, d *digest, found *findings) {
	s.epoch, s.used, s.digested = d.epoch, int64(d.used), d.stored
	s.copies, s.ids = slices.Grow(s.copies, int(d.copies)), slices.Grow(s.ids, int(d.others))
	found.frames += int(d.batches)
	if d.stored {
		found.digests++
	}
	if d.batches > 0 {
		found.lastSeq = max(found.lastSeq, d.seq)
		found.lastSeg, found.lastEnd = s.number, s.used
	}
	d.each(func(ev *event) { q.happened(s, ev) }) // was read once without an error
}

// digestAll makes the digests that are worth it, oldest segment first.
func (q *Queue) digestAll() {
	if q.Health() != nil {
		return // what is left of the disk is for others
	}
	q.mu.Lock()
	var sealed []*segment
	for _, s := range q.segments {
		if s.sealed && !s.poisoned {
			sealed = append(sealed, s)
		}
	}
	slices.SortFunc(sealed, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	sealed = sealed[:max(0, len(sealed)-digestLag)]
	sealed = slices.DeleteFunc(sealed, func(s *segment) bool {
		return s.digested || s.damaged || s.live == 0 || s.liveBytes*100 < s.used*compactBelow
	})
	q.mu.Unlock()
	for _, s := range sealed {
		select {
		case <-q.stop:
			return
		default:
			q.makeDigest(s)
		}
	}
}

// makeDigest reads a sealed segment and writes its digest, best effort.
func (q *Queue) makeDigest(s *segment) {
	if !q.pin(s) {
		return
	}
	d := newDigest(s)
	err := s.walk(func(f *frame, off int64, b []byte) error { return q.digestFrame(d, f, off, b) })
	if err == nil {
		err = q.writeDigest(s.number, d.encode(q.keys.now()))
	}
	q.mu.Lock()
	s.readers--
	s.digested = true // or not to be tried again before the next start
	s.copies, s.ids = slices.Clone(s.copies), slices.Clone(s.ids)
	q.mu.Unlock()
	if err != nil {
		q.o.Logger.Warn("queue: no digest of a segment", "segment", s.number, "err", err)
	}
}

// writeDigest needs no care but the checksum: half a digest is none.
func (q *Queue) writeDigest(number uint64, b []byte) error {
	name := digestName(q.segDir(), number)
	f, err := q.fs.Open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		q.logRemove(q.fs.Remove(name), name)
	}
	return err
}

// removeDigest forgets the digest of a segment that is gone. One that stays is
// a stray.
func (q *Queue) removeDigest(number uint64) {
	name := digestName(q.segDir(), number)
	if err := q.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		q.logRemove(err, name)
		q.mu.Lock()
		q.strays = append(q.strays, number)
		q.mu.Unlock()
	}
}

// findStrays looks, at a start, for digests without a segment.
func (q *Queue) findStrays() {
	infos, err := q.fs.ReadDir(q.segDir())
	if err != nil {
		return
	}
	for _, info := range infos {
		if n, ok := digestNumber(info.Name); ok && q.segments[n] == nil {
			q.strays = append(q.strays, n)
		}
	}
}

// sweepStrays removes digests without a segment, and reports whether all are
// gone. They may be of a time before there were keys: what they name is
// overwritten first then. The janitor and Shred try again, one at a time: what
// one has taken up the other must not report as gone.
func (q *Queue) sweepStrays() bool {
	q.straying.Lock()
	defer q.straying.Unlock()
	q.mu.Lock()
	strays := q.strays
	q.strays = nil
	q.mu.Unlock()
	for _, n := range strays {
		if q.keys.on() {
			if err := q.wipeDigest(n); err != nil {
				q.o.Logger.Error("queue: cannot overwrite a digest without a segment", "segment", n, "err", err)
				q.mu.Lock()
				q.strays = append(q.strays, n)
				q.mu.Unlock()
				continue
			}
		}
		q.removeDigest(n)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.strays) == 0
}

// digestNumber is the number of the segment whose digest has that name.
func digestNumber(name string) (uint64, bool) {
	base, ok := strings.CutSuffix(name, digestSuffix)
	if !ok {
		return 0, false
	}
	return segmentNumber(base + ".log")
}
