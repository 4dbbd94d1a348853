package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// digested is a spool with every kind of record in sealed segments that have
// their digests.
func digested(t testing.TB, o Options) (*fsx.Mem, []mail.ID) {
	t.Helper()
	mem := fsx.NewMem()
	q, err := open(mem, "/spool", o, true)
	if err != nil {
		t.Fatal(err)
	}
	var ids []mail.ID
	for i := range 60 {
		m := newMessage(nil, mail.Path(fmt.Sprintf("u%d@d%d.example", i, i%7)), "second@d.example")
		m.Envelope.Recipients[1].Hold = "quarantine:X"
		if i%3 == 0 {
			m.Envelope.ReversePath = ""
		}
		if err := put(q, m, bytes.Repeat([]byte("x\r\n"), 50+i*30)); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.Envelope.ID)
	}
	for i, id := range ids {
		switch i % 5 {
		case 0:
			err = q.Delete(id)
		case 1:
			err = q.Reroute(id, "elsewhere:25")
		case 2:
			err = q.Release(id)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range q.sorted() {
		if s.sealed {
			q.makeDigest(s)
		}
	}
	q.Close()
	return mem, ids
}

func digestOptions() Options {
	return Options{SegmentSize: 32 << 10, SpillAt: 4 << 10, MinFreeBytes: 1, MinFreeInodes: 1, Metrics: modelMetrics}
}

func readImage(t testing.TB, image *fsx.Mem) (*findings, string) {
	t.Helper()
	return readImageWith(t, image, false)
}

func readImageWith(t testing.TB, image *fsx.Mem, careful bool) (*findings, string) {
	t.Helper()
	o := digestOptions()
	o.setDefaults()
	o.hooks.carefulScan = careful
	q := newQueue(image, "/spool", o, true)
	found, err := q.readLog(os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	q.rebuild()
	return found, dumpAll(q)
}

// A digest is believed when it is the segment's own and whole, and makes no
// difference but in time.
func TestDigest(t *testing.T) {
	mem, _ := digested(t, digestOptions())
	names := digestsOf(mem)
	found, with := readImage(t, mem.Clone())
	if len(names) < 3 || found.digests != len(names) {
		t.Fatalf("%d of %d digests were used", found.digests, len(names))
	}
	bare := mem.Clone()
	for _, name := range names {
		bare.Remove(name)
	}
	none, without := readImage(t, bare)
	if with != without || none.digests != 0 {
		t.Errorf("with digests\n%s\nwithout\n%s", with, without)
	}
	if found.lastSeq != none.lastSeq || found.lastEnd != none.lastEnd || found.frames > none.frames {
		t.Errorf("with digests %+v, without %+v", found, none)
	}
	for _, name := range names {
		f, _ := mem.Open(name, os.O_RDONLY, 0)
		size, _ := f.Size()
		f.Close()
		for off := int64(0); off < size; off += 1 + size/40 {
			image := mem.Clone()
			image.Flip(name, off, 0x10)
			if d, got := readImage(t, image); got != without || d.digests != len(names)-1 {
				t.Fatalf("%s, a flip at %d: %d digests used\n%s", name, off, d.digests, got)
			}
		}
	}
	// Of another segment, or another life of the same one.
	other := mem.Clone()
	copyFile(t, other, names[0], names[1])
	if d, got := readImage(t, other); got != without || d.digests != len(names)-1 {
		t.Errorf("the digest of another segment: %d used\n%s", d.digests, got)
	}
	f, _ := mem.Open(names[0], os.O_RDONLY, 0)
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if _, err := decodeDigest(b, le.Uint64(b[24:]), le.Uint64(b[16:]), &keyring{}); err != nil {
		t.Errorf("its own: %v", err)
	}
	if _, err := decodeDigest(b, le.Uint64(b[24:]), le.Uint64(b[16:])+1, &keyring{}); err == nil {
		t.Error("of another life of the file: believed")
	}
}

// TestSurvey: a segment without a digest is read by a survey, or carefully where
// the survey gives up. Whatever is flipped in it, also in the header of a batch
// that no later segment knows of, both ways find the same.
func TestSurvey(t *testing.T) {
	mem, _ := digested(t, digestOptions())
	for _, name := range digestsOf(mem) {
		mem.Remove(name)
	}
	list, err := mem.ReadDir("/spool/seg")
	if err != nil {
		t.Fatal(err)
	}
	compare := func(image *fsx.Mem, what string) *findings {
		quick, got := readImageWith(t, image.Clone(), false)
		careful, want := readImageWith(t, image.Clone(), true)
		if got != want || quick.damaged != careful.damaged || quick.torn != careful.torn || quick.frames != careful.frames ||
			quick.lastSeq != careful.lastSeq || quick.lastSeg != careful.lastSeg || quick.lastEnd != careful.lastEnd {
			t.Fatalf("%s: by a survey %+v\n%s\ncarefully %+v\n%s", what, quick, got, careful, want)
		}
		return quick
	}
	flips, damaged := 0, 0
	for _, info := range list {
		for off := int64(0); off < info.Size; off += blockSize {
			for _, at := range []int64{off, off + 9, off + 40, off + 100} {
				image := mem.Clone()
				image.Flip("/spool/seg/"+info.Name, at, 0x10)
				if compare(image, fmt.Sprintf("%s, a flip at %d", info.Name, at)).damaged > 0 {
					damaged++
				}
				flips++
			}
		}
	}
	compare(mem, "nothing flipped")
	t.Logf("%d flips, damage after %d of them", flips, damaged)
	if damaged == 0 || damaged == flips {
		t.Error("the flips say nothing")
	}
}

func copyFile(t *testing.T, image *fsx.Mem, from, to string) {
	t.Helper()
	f, _ := image.Open(from, os.O_RDONLY, 0)
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	g, err := image.Open(to, os.O_RDWR|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	g.WriteAt(b, 0)
}

// The janitor makes them as the log grows, and they go with their segments.
func TestDigestsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := fsx.NewMem()
		q := mustOpen(t, mem, "/spool", digestOptions())
		var ids []mail.ID
		for range 60 {
			ids = append(ids, mustPut(t, q, bytes.Repeat([]byte("y\r\n"), 900), "a@d.example"))
		}
		time.Sleep(2 * janitorPeriod)
		if n := len(digestsOf(mem)); n < 3 {
			t.Errorf("%d digests", n)
		}
		for _, id := range ids {
			if err := q.Delete(id); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * janitorPeriod)
		if names := digestsOf(mem); len(names) > 0 {
			t.Errorf("left: %v", names)
		}
		mustClose(t, q)
	})
}

// TestScrub: what rots while it waits is found within a day, though no digest
// tells; what is whole goes on, and nothing that is not is relayed.
func TestScrub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := fsx.NewMem()
		o := digestOptions()
		q := mustOpen(t, mem, "/spool", o)
		var ids []mail.ID
		for i := range 40 {
			ids = append(ids, mustPut(t, q, bytes.Repeat([]byte{byte('A' + i%26), '\r', '\n'}, 900), "a@d.example"))
		}
		big := mustPut(t, q, bytes.Repeat([]byte("big\r\n"), 2000), "a@d.example")
		sound := mustPut(t, q, bytes.Repeat([]byte("BIG\r\n"), 2000), "a@d.example")
		synctest.Wait()
		q.mu.Lock()
		bad := q.entries[ids[3]]
		at, name := bad.at, segmentName(q.segDir(), uint64(bad.at.seg))
		bad.chunk = nil // from the disk, as after a start
		q.mu.Unlock()
		mem.Flip(name, int64(at.off)+recordHeaderSize+500, 4)
		mem.Flip(q.bigName(big), 6000, 1)

		time.Sleep(scrubEvery + 5*time.Minute)
		if n := q.Stats().Ledger; n.Damaged != 1 || n.Imbalance() != 0 {
			t.Errorf("accounts %+v", n)
		}
		if it, _ := q.Get(big); it.State != Held || it.Reason != heldDamaged {
			t.Errorf("the damaged large message: %+v", it)
		}
		if it, _ := q.Get(sound); it.State != Queued {
			t.Errorf("the sound large message: %+v", it)
		}
		for i, id := range ids {
			var b bytes.Buffer
			err := q.Show(id, 0, &b)
			if i == 3 && !errors.Is(err, ErrNotFound) || i != 3 && (err != nil || !strings.HasSuffix(b.String(), string(bytes.Repeat([]byte{byte('A' + i%26), '\r', '\n'}, 900)))) {
				t.Errorf("message %d: %v, %d octets", i, err, b.Len())
			}
		}
		kept, _ := mem.ReadDir(q.corruptDir())
		if len(kept) != 1 || !strings.HasSuffix(name, kept[0].Name) {
			t.Errorf("in corrupt/: %v, want %s", kept, name)
		}
		mustClose(t, q)
	})
}

// FuzzDigest: hostile bytes under a good checksum.
func FuzzDigest(f *testing.F) {
	mem, _ := digested(f, digestOptions())
	for _, name := range digestsOf(mem)[:2] {
		file, _ := mem.Open(name, os.O_RDONLY, 0)
		b, _ := io.ReadAll(io.NewSectionReader(file, 0, 1<<20))
		f.Add(b[digestHeaderSize:min(len(b), 800)], uint32(20), uint32(20))
	}
	f.Fuzz(func(t *testing.T, payload []byte, copies, others uint32) {
		b := append(make([]byte, digestHeaderSize), payload...)
		le.PutUint64(b[0:], digestMagic)
		le.PutUint32(b[8:], digestVersion)
		le.PutUint64(b[16:], 7)
		le.PutUint64(b[24:], 1)
		le.PutUint64(b[32:], 32<<10)
		le.PutUint32(b[68:], copies%64)
		le.PutUint32(b[72:], others%64)
		le.PutUint32(b[76:], digestSum(b))
		d, err := decodeDigest(b, 1, 7, &keyring{})
		if err != nil {
			return
		}
		o := digestOptions()
		o.setDefaults()
		q := newQueue(fsx.NewMem(), "/spool", o, true)
		s := &segment{number: 1, size: 32 << 10, sealed: true}
		q.segments[1] = s
		q.applyDigest(s, d, &findings{})
		q.rebuild()
		again := newDigest(s)
		d.each(again.add)
		if twice, err := decodeDigest(again.encode(nil), 1, 7, &keyring{}); err != nil || !bytes.Equal(twice.records, again.records) {
			t.Fatalf("what was read is not what is written again: %v", err)
		}
	})
}

// BenchmarkDigest is what a digest costs, a message of 4 KiB: only messages
// that outlive two more segments pay it.
func BenchmarkDigest(b *testing.B) {
	q := mustOpen(b, fsx.OS{}, b.TempDir(), Options{SegmentSize: 64 << 20})
	defer q.Close()
	const n = 4000
	fill(b, q, n, "mixed", 4<<10)
	q.mu.Lock()
	s := q.segments[uint64(q.last.at.seg)]
	s.sealed = true // it is not written to any more
	q.mu.Unlock()
	b.ReportAllocs()
	start := cpu()
	for b.Loop() {
		q.makeDigest(s)
	}
	b.ReportMetric(float64((cpu()-start).Nanoseconds())/float64(b.N)/float64(s.live), "cpu-ns/message")
	q.mu.Lock()
	s.sealed = false
	q.mu.Unlock()
}
