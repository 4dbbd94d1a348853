package queue

import (
	"bytes"
	"io"
	"os"
	"testing"

	"mailweir/internal/fsx"
)

// fuzzSegment is a segment with a message that waits and one that is over.
func fuzzSegment(f testing.TB) []byte {
	mem := fsx.NewMem()
	q, err := open(mem, "/spool", Options{SegmentSize: 16 << 10, MinFreeBytes: 1, Metrics: modelMetrics}, true)
	if err != nil {
		f.Fatal(err)
	}
	mustPut(f, q, []byte("body\r\n"), "a@example.org")
	q.Delete(mustPut(f, q, []byte("body\r\n"), "b@example.org"))
	q.Hold(mustPut(f, q, []byte("held\r\n"), "a@example.org", "b@example.org"))
	q.flush()
	q.Close()
	file, _ := mem.Open(segmentName("/spool/seg", 1), os.O_RDONLY, 0)
	seed := make([]byte, 16<<10)
	file.ReadAt(seed, 0)
	return seed
}

// spoolWith is a spool with one segment.
func spoolWith(segment []byte) *fsx.Mem {
	mem := fsx.NewMem()
	for _, dir := range []string{"/s/seg", "/s/big", "/s/corrupt"} {
		mem.MkdirAll(dir, 0o700)
	}
	format, _ := mem.Open("/s/FORMAT", os.O_CREATE, 0o600)
	io.WriteString(io.NewOffsetWriter(format, 0), formatText)
	file, _ := mem.Open(segmentName("/s/seg", 1), os.O_CREATE, 0o600)
	file.WriteAt(segment, 0)
	return mem
}

// FuzzSegment feeds a whole segment to recovery.
func FuzzSegment(f *testing.F) {
	seed := fuzzSegment(f)
	// What is fuzzed is short, or the engine is busy with making it shorter.
	f.Add(seed[4096:5000])
	f.Add(seed[4096:8300])
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := Inspect(spoolWith(append(bytes.Clone(seed[:4096]), b...)), "/s", Filter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			if a := it.Recipients[0].Address; a != "a@example.org" && a != "b@example.org" {
				t.Fatalf("an invented message: %+v", it)
			}
		}
	})
}

// reseal makes every checksum in the frames of b right, and every length fit,
// as they stand at off of a segment: what is fuzzed then is what they guard.
func reseal(b []byte, off int64, epoch, number uint64) {
	for start := 0; start+frameHeaderSize <= len(b); {
		fr := b[start:]
		if le.Uint32(fr) != frameMagic {
			start += blockSize
			continue
		}
		n := min(max(int(le.Uint32(fr[60:])), frameHeaderSize), len(fr))
		records, pos := 0, frameHeaderSize
		for ; pos+recordHeaderSize <= n; records++ {
			le.PutUint16(fr[pos:], recordMagic)
			size := min(int(le.Uint32(fr[pos+4:])), n-pos-recordHeaderSize)
			le.PutUint32(fr[pos+4:], uint32(size))
			pos += recordHeaderSize + size
		}
		h := frame{
			epoch: epoch, segment: number, seq: le.Uint64(fr[24:]), durableSeg: le.Uint64(fr[32:]), durableOff: le.Uint64(fr[40:]),
			time: int64(le.Uint64(fr[48:])), records: uint32(records), length: uint32(pos),
		}
		h.seal(fr, off+int64(start))
		start += int(roundUp(int64(pos)))
	}
}

// FuzzSealedSegment feeds recovery what only a bug of ours, or somebody with
// access to the spool, could write: nonsense under good checksums. Nothing
// panics, the accounts are even, a digest says the same, and the spool opens
// again.
func FuzzSealedSegment(f *testing.F) {
	seed := fuzzSegment(f)
	h, _ := decodeSegmentHeader(seed)
	f.Add(seed[4096:5000])
	f.Add(seed[4096:8300])
	f.Add(seed[8192:12600])
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(bytes.Clone(seed[:4096]), b...)
		reseal(b[4096:], 4096, h.epoch, 1)
		resealed(t, b)
	})
}

func resealed(t *testing.T, b []byte) {
	mem := spoolWith(b)
	o := Options{SegmentSize: 16 << 10, MinFreeBytes: 1, Metrics: modelMetrics}
	for range 2 {
		q, err := open(mem, "/s", o, true)
		if err != nil {
			t.Fatal(err)
		}
		for it := range q.List(Filter{}) {
			q.Why(it.ID)
			q.Show(it.ID, 0, io.Discard)
			q.Release(it.ID)
		}
		q.Summary(Filter{})
		if n := q.Stats().Ledger.Imbalance(); n != 0 {
			t.Fatalf("imbalance %d", n)
		}
		q.compact(100, func() bool { return q.flush() == nil })
		for _, s := range q.sorted() {
			if s.sealed && !s.damaged {
				q.makeDigest(s)
			}
		}
		q.Close()
		none := mem.Clone()
		for _, name := range digestsOf(none) {
			none.Remove(name)
		}
		with, without, careful := fuzzDump(t, mem.Clone(), false), fuzzDump(t, none.Clone(), false), fuzzDump(t, none, true)
		if with != without || without != careful {
			t.Fatalf("by digests\n%s\nby surveys\n%s\nby careful scans\n%s", with, without, careful)
		}
	}
}

func fuzzDump(t *testing.T, image *fsx.Mem, careful bool) string {
	o := digestOptions()
	o.setDefaults()
	o.hooks.carefulScan = careful
	q := newQueue(image, "/s", o, true)
	if _, err := q.readLog(os.O_RDONLY); err != nil {
		t.Fatal(err)
	}
	q.rebuild()
	return dumpAll(q)
}
