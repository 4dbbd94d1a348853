package queue

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// keptDisk opens a disk that somebody kept, with the keys that are left now.
func keptDisk(t *testing.T, kept, now *fsx.Mem) *Queue {
	t.Helper()
	infos, err := kept.ReadDir("/spool/keys")
	if err != nil {
		t.Fatal(err)
	}
	left := keyFiles(t, now)
	for _, info := range infos {
		kept.Remove("/spool/keys/" + info.Name)
		mustWrite(t, kept, "/spool/keys/"+strings.TrimSuffix(info.Name, keySuffix)+lostSuffix, "")
	}
	for name, text := range left {
		mustWrite(t, kept, name, text)
	}
	return openSealed(t, kept, testKeys)
}

// TestShred: a message that is erased, and the DSN that tells of it, cannot be
// read a moment later by who kept the whole disk and has the master key. What
// stays can.
func TestShred(t *testing.T) {
	mem := fsx.NewMem()
	q := openSealed(t, mem, testKeys)
	body := bytes.Repeat([]byte("never to be seen\r\n"), 4000)
	m := newMessage(nil, "a@d.example", "gone@d.example")
	m.Envelope.MayReturn = true
	if err := put(q, m, body); err != nil {
		t.Fatal(err)
	}
	erased := m.Envelope.ID
	stays, other := mustPut(t, q, []byte("stays\r\n"), "a@d.example"), newMessage(nil, "b@d.example")
	other.Envelope.MayReturn = true
	if err := put(q, other, []byte("other\r\n")); err != nil {
		t.Fatal(err)
	}
	// One recipient of each fails: the senders have DSNs on their way.
	for id, i := range map[mail.ID]int{erased: 1, other.Envelope.ID: 0} {
		q.mu.Lock()
		e := q.entries[id]
		s, err := q.load(e)
		if err != nil {
			t.Fatal(err)
		}
		o := refusal()
		o.Recipient = i
		q.conclude(e, q.message(e, s), []mail.Outcome{o}, nil)
		q.mu.Unlock()
	}
	if err := q.flush(); err != nil {
		t.Fatal(err)
	}
	dsns := q.Reports(erased)
	if len(dsns) != 1 || len(q.Reports(stays)) != 0 || len(q.Reports(erased, other.Envelope.ID)) != 2 {
		t.Fatalf("DSNs of the message: %v", dsns)
	}
	kept := mem.Clone()
	for _, id := range append(dsns, erased) {
		if err := q.Erase(id); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := q.Shred(context.Background()); n != 1 || err != nil {
		t.Fatalf("%d keys destroyed, %v", n, err)
	}
	wantContent(t, q, stays, []byte("stays\r\n"))
	old := keptDisk(t, kept, mem)
	for it := range old.List(Filter{}) {
		t.Errorf("%s can be read", it.ID)
	}
	old.Close()
	if n, err := q.Shred(context.Background()); n != 0 || err != nil {
		t.Errorf("once more: %d keys destroyed, %v", n, err)
	}
	q.Close()
	q = openSealed(t, mem, testKeys)
	wantContent(t, q, stays, []byte("stays\r\n"))
	if n := len(slices.Collect(q.IDs(Filter{Reverse: NullReverse}))); n != 1 {
		t.Errorf("%d DSNs, want the other one", n)
	}
	q.Close()
}

// TestShredPlain: keys can do nothing about clear text. Of a spool that had
// mail when it got its first key Shred seals what stays, and overwrites the
// rest.
func TestShredPlain(t *testing.T) {
	mem := fsx.NewMem()
	q := openSealed(t, mem, nil)
	gone, stays := mustPut(t, q, []byte("gone\r\n"), "a@d.example"), mustPut(t, q, []byte("stays\r\n"), "a@d.example")
	if err := q.Erase(gone); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Shred(context.Background()); !errors.Is(err, ErrPlain) {
		t.Errorf("without a key: %v", err)
	}
	q.Close()
	blocks := mem.Clone() // what it wrote lies here
	q = openSealed(t, mem, testKeys)
	wiped := watchWipe(q)
	if _, err := q.Shred(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantSilent(t, mem)
	wantContent(t, q, stays, []byte("stays\r\n"))
	wantWiped(t, wiped)
	if b, _ := readWhole(blocks, segmentName("/spool/seg", 1), 64<<10); !bytes.Contains(b, []byte("d.example")) || len(wiped) == 0 {
		t.Error("the test has shown nothing")
	}
	q.Close()
	q = openSealed(t, mem.Crash(rand.New(rand.NewPCG(1, 2))), testKeys)
	wantContent(t, q, stays, []byte("stays\r\n"))
	q.Close()
}

// TestShredLeftovers: what no record and no digest of now tells of speaks, too:
// a file that was recycled before there were keys holds what it held before, and
// a digest that a start could not read is none, and lies there.
func TestShredLeftovers(t *testing.T) {
	o := sealedOptions(nil)
	o.SegmentSize, o.SpillAt = 32<<10, 16<<10
	mem, ids := digested(t, o)
	q, err := open(mem, "/spool", o, true)
	if err != nil {
		t.Fatal(err)
	}
	stays := mustPut(t, q, []byte("stays\r\n"), "a@d.example")
	for _, id := range ids[1:] { // the first is over
		if err := q.Delete(id); err != nil && !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	}
	recycled, err := q.makeSegment()
	if err != nil {
		t.Fatal(err)
	}
	q.Close()
	if b, _ := readWhole(mem, segmentName("/spool/seg", recycled.number), int(recycled.size)); !bytes.Contains(b, []byte("d.example")) {
		t.Fatal("the segment was not written before")
	}
	digests := digestsOf(mem)
	for _, name := range digests {
		mem.Flip(name, 0, 1)
	}
	q = openSealed(t, mem, testKeys)
	wiped := watchWipe(q)
	for _, name := range digests {
		f, err := mem.Open(name, os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		wiped = append(wiped, f)
	}
	if len(digests) == 0 {
		t.Fatal("no digest")
	}
	if _, err := q.Shred(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantSilent(t, mem)
	wantWiped(t, wiped)
	if left := digestsOf(mem); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	wantContent(t, q, stays, []byte("stays\r\n"))
	q.Close()
	q = openSealed(t, mem.Crash(rand.New(rand.NewPCG(1, 2))), testKeys)
	wantContent(t, q, stays, []byte("stays\r\n"))
	q.Close()
}

// wantSilent looks for clear text in the log and in what was put away.
func wantSilent(t *testing.T, mem *fsx.Mem) {
	t.Helper()
	for _, dir := range []string{"/spool/seg", "/spool/corrupt"} {
		infos, _ := mem.ReadDir(dir)
		for _, info := range infos {
			if b, _ := readWhole(mem, dir+"/"+info.Name, int(info.Size)); bytes.Contains(b, []byte("d.example")) {
				t.Errorf("%s/%s speaks", dir, info.Name)
			}
		}
	}
}

// wantWiped looks into files that have no name any more.
func wantWiped(t *testing.T, files []fsx.File) {
	t.Helper()
	for _, f := range files {
		b := make([]byte, 64<<10)
		if n, _ := f.ReadAt(b, 0); n == 0 || bytes.Contains(b, []byte("d.example")) {
			t.Error("the blocks of a file went back with clear text")
		}
	}
}

// watchWipe keeps the files of the segments that there are now.
func watchWipe(q *Queue) (files []fsx.File) {
	for _, s := range q.sorted() {
		files = append(files, s.file)
	}
	return files
}

// TestWipeIsNoDamage: a segment that is being overwritten holds nothing of ours
// any more. Wherever the power is cut, or the disk fails, meanwhile, the next
// start finds no damage.
func TestWipeIsNoDamage(t *testing.T) {
	unlinks := func(_, _ int, op fsx.Op) bool { return op.Kind == "remove" }
	from := func(n, at int, _ fsx.Op) bool { return n >= at }
	one := func(n, at int, _ fsx.Op) bool { return n == at }
	for name, fails := range map[string]func(n, at int, op fsx.Op) bool{"no unlink": unlinks, "power cut": from, "one fault": one} {
		t.Run(name, func(t *testing.T) {
			points, disks := 1, 0
			if name != "no unlink" {
				synctest.Test(t, func(t *testing.T) { _, points = wipeWhile(t, math.MaxInt, fails) })
				if points < 10 {
					t.Errorf("only %d calls in the run", points)
				}
			}
			for at := 1; at <= points && !t.Failed(); at++ {
				synctest.Test(t, func(t *testing.T) {
					images, _ := wipeWhile(t, at, fails)
					for _, image := range images {
						wantNoDamage(t, image)
						disks++
					}
				})
			}
			t.Logf("%d points, %d disks", points, disks)
		})
	}
}

// TestStrayDigest: a digest from before there were keys, whose segment is gone,
// is overwritten and removed at a start. Where the disk fails at that, Shred says
// so or does it, and the next segment does not get its number.
func TestStrayDigest(t *testing.T) {
	for _, fails := range []string{"remove", "write", "nothing"} {
		t.Run(fails, func(t *testing.T) {
			o := sealedOptions(nil)
			o.SegmentSize, o.SpillAt = 32<<10, 16<<10
			mem, _ := digested(t, o)
			names := digestsOf(mem)
			stray := names[len(names)-1]
			number, _ := digestNumber(stray[len("/spool/seg/"):])
			held, err := mem.Open(stray, os.O_RDONLY, 0) // what is unlinked can be read by it
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			infos, _ := mem.ReadDir("/spool/seg")
			for _, info := range infos {
				if n, ok := segmentNumber(info.Name); ok && n >= number {
					mem.Remove(segmentName("/spool/seg", n))
				}
			}
			broken := true
			disk := &fsx.Faulty{FS: mem, Decide: func(_ int, op fsx.Op) error {
				if broken && op.Kind == fails && op.Name == stray {
					return errDisk
				}
				return nil
			}}
			q := openSealed(t, disk, testKeys)
			defer q.Close()
			mustPut(t, q, []byte("new\r\n"), "a@d.example")
			if _, err := mem.Open(segmentName("/spool/seg", number), os.O_RDONLY, 0); err == nil {
				t.Error("a new segment has the number of the stray")
			}
			if fails != "nothing" {
				if _, err := q.Shred(context.Background()); !errors.Is(err, ErrPlain) {
					t.Errorf("while it stays: %v", err)
				}
			}
			broken = false
			if _, err := q.Shred(context.Background()); err != nil {
				t.Error(err)
			}
			if _, err := mem.Open(stray, os.O_RDONLY, 0); err == nil {
				t.Error("it is still there")
			}
			size, _ := held.Size()
			b := make([]byte, size)
			if _, err := held.ReadAt(b, 0); size == 0 || err != nil && err != io.EOF || len(bytes.Trim(b, "\x00")) > 0 {
				t.Errorf("%d octets were given back as they were, %v", size, err)
			}
		})
	}
}

// wipeWhile lets calls of a Shred fail that overwrites the clear text of a
// spool, and tells how many there were.
func wipeWhile(t *testing.T, at int, fails func(n, at int, op fsx.Op) bool) (images []*fsx.Mem, calls int) {
	t.Helper()
	mem := fsx.NewMem()
	q := openSealed(t, mem, nil)
	gone := mustPut(t, q, bytes.Repeat([]byte("gone\r\n"), 4000), "a@d.example")
	mustPut(t, q, []byte("stays\r\n"), "stays@d.example")
	if err := q.Erase(gone); err != nil {
		t.Fatal(err)
	}
	q.Close()
	disk := &fsx.Faulty{FS: mem}
	q = openSealed(t, disk, testKeys)
	synctest.Wait() // what the start left to others is done
	before := disk.Calls()
	disk.Decide = func(n int, op fsx.Op) error {
		if fails(n-before, at, op) {
			return errDisk
		}
		return nil
	}
	q.Shred(context.Background()) // which may fail
	calls = disk.Calls() - before
	r := rand.New(rand.NewPCG(uint64(at), 1))
	images = []*fsx.Mem{mem.CrashImage(r), mem.CrashImage(r), mem.CrashImage(r), mem.CrashImage(r)}
	q.Close()
	return append(images, mem), calls
}

// wantNoDamage reads a spool that holds one message.
func wantNoDamage(t *testing.T, image *fsx.Mem) {
	t.Helper()
	o := sealedOptions(testKeys)
	o.setDefaults()
	q := newQueue(image, "/spool", o, true)
	if err := q.keys.read(); err != nil {
		t.Fatal(err)
	}
	found, err := q.readLog(os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.ContainsFunc(q.sorted(), func(s *segment) bool { return s.damaged })
	if found.damaged > 0 || damaged || len(q.entries) != 1 {
		t.Errorf("%d damaged records, a damaged segment: %t, %d messages", found.damaged, damaged, len(q.entries))
	}
	q = openSealed(t, image, testKeys)
	for it := range q.List(Filter{}) {
		wantContent(t, q, it.ID, []byte("stays\r\n"))
	}
	if _, err := q.Shred(context.Background()); err != nil { // what was left half done
		t.Error(err)
	}
	q.Close()
	wantSilent(t, image)
}
