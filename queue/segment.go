package queue

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// segment is one file of the log. Its counters, guarded by Queue.mu, say what
// still needs it; they only follow records that are durable.
type segment struct {
	number uint64
	epoch  uint64
	size   int64 // of the file
	used   int64 // end of the last frame
	file   fsx.File

	sealed   bool // nothing will be appended
	damaged  bool // some record could not be read: the file is kept
	poisoned bool // a write or sync failed: no further one on this descriptor
	digested bool // has its digest, or shall have none
	plain    bool // some message, or state of one, lies there in clear, or may
	keyed    bool // a start has found something sealed there
	readers  int  // reads under way: the file must not be recycled

	copies    []mail.ID // of every message with a copy here, finished or not
	ids       []mail.ID // of every other record here
	live      int       // copies that are the current one of a live message
	liveBytes int64
	states    int // state records that are the current one of a live recipient
	tombs     int // tombstones of messages with copies in other segments
}

// loc is where a record starts.
type loc struct{ seg, off uint32 }

func (s *segment) at(off int64) loc { return loc{uint32(s.number), uint32(off)} }

// removable reports that nothing in s is needed any more. A tombstone is, as
// long as any other segment holds a copy of its message.
func (s *segment) removable(h *hooks) bool {
	return s.sealed && s.readers == 0 && s.live == 0 && s.states == 0 && (s.tombs == 0 || h.dropTombstone)
}

// needed reports that something in s is.
func (s *segment) needed() bool { return s.live > 0 || s.states > 0 || s.tombs > 0 }

// firstSegmentSize keeps a fresh spool small: segments grow fourfold up to
// Options.SegmentSize.
const firstSegmentSize = 4 << 20

func (q *Queue) segDir() string     { return q.dir + "/seg" }
func (q *Queue) bigDir() string     { return q.dir + "/big" }
func (q *Queue) corruptDir() string { return q.dir + "/corrupt" }

func segmentName(dir string, number uint64) string { return fmt.Sprintf("%s/%016x.log", dir, number) }

// segmentNumber is the inverse of segmentName for a name without directory.
func segmentNumber(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, ".log")
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	// Locations in memory hold 32 bits of it: 2^32 segments of 64 MiB.
	return n, err == nil && n > 0 && n < 1<<32
}

func newEpoch() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails
		if e := binary.LittleEndian.Uint64(b[:]); e != 0 {
			return e
		}
	}
}

// makeSegment makes the next segment usable: written over its whole length, so
// that later syncs change no metadata, and durable under its name. A dead
// segment is recycled when there is one.
func (q *Queue) makeSegment() (*segment, error) {
	q.mu.Lock()
	number := q.nextSegment
	size := q.nextSize
	old := q.recyclable()
	q.mu.Unlock()

	if old == nil {
		var err error
		if size, err = q.fitting(size); err != nil {
			return nil, err
		}
	}
	s := &segment{number: number, epoch: newEpoch(), size: size}
	var err error
	if old != nil {
		s.size = old.size
		err = q.recycle(old, s)
	} else {
		err = q.createSegment(s)
	}
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.nextSegment = number + 1
	q.nextSize = min(size*4, q.o.SegmentSize)
	q.segments[s.number] = s
	return s, nil
}

// fitting makes a new segment smaller where space is short: what is written
// ahead must not be what fills the disk. Where it does not fit at all nothing
// is written, or each try would take the last bytes from others.
func (q *Queue) fitting(size int64) (int64, error) {
	free, err := q.fs.Free(q.dir)
	if err != nil {
		return 0, err
	}
	for size > firstSegmentSize && size > free.Bytes/8 {
		size = max(size/4, firstSegmentSize)
	}
	if size > free.Bytes {
		return 0, &fs.PathError{Op: "create segment in", Path: q.segDir(), Err: syscall.ENOSPC}
	}
	return size, nil
}

func (s *segment) header() []byte {
	return segmentHeader{s.epoch, s.number, uint64(s.size), time.Now().UnixMilli()}.encode()
}

// segmentFlag opens a segment for writing. Batches are whole blocks in memory
// that begins at a page, so that they can go past the page cache. What is
// written so is on the loop device of a test before any sync: the mutation that
// acknowledges too early only shows through the page cache.
func (q *Queue) segmentFlag() int {
	if q.o.hooks.ackBeforeSync {
		return os.O_RDWR
	}
	return os.O_RDWR | fsx.Direct
}

func (q *Queue) createSegment(s *segment) (err error) {
	name := segmentName(q.segDir(), s.number)
	flag := q.segmentFlag() | os.O_CREATE | os.O_EXCL
	f, err := q.fs.Open(name, flag, 0o600)
	if errors.Is(err, fs.ErrExist) {
		// What an earlier attempt could not even remove. Nothing was ever
		// appended to it.
		if err = q.fs.Remove(name); err == nil {
			f, err = q.fs.Open(name, flag, 0o600)
		}
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			q.logRemove(q.fs.Remove(name), name)
		}
	}()
	if err = writeZeros(f, blockSize, s.size, q.log.pace.wait); err != nil {
		return err
	}
	if _, err = f.WriteAt(s.header(), 0); err != nil {
		return err
	}
	if err = f.Datasync(); err != nil {
		return err
	}
	if err = q.syncDir(q.segDir()); err != nil {
		return err
	}
	s.file = f
	return nil
}

// writeZeros writes a quarter of a megabyte at a time: as much as a full batch,
// so that a commit that meets it takes twice as long at most. Before each one it
// waits as long as wait does, which is told how much is done, 0 to 1; nil: it
// does not.
func writeZeros(f fsx.File, from, to int64, wait func(done float64)) error {
	zeros := make([]byte, min(256<<10, max(to-from, 0)))
	for start := from; from < to; {
		if wait != nil {
			wait(float64(from-start) / float64(to-start))
		}
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), to-from)], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

// recycle gives the file of a dead segment a new name and header. The name
// comes first: frames carry the number of their segment, so under a new name
// the old ones mean nothing, whichever of the two a crash leaves behind.
func (q *Queue) recycle(old, s *segment) error {
	name := segmentName(q.segDir(), s.number)
	err := q.fs.Rename(segmentName(q.segDir(), old.number), name)
	if err != nil {
		q.mu.Lock()
		old.readers-- // given back by recyclable
		q.mu.Unlock()
		return err
	}
	q.reopen(old, name)
	if _, err = old.file.WriteAt(s.header(), 0); err == nil {
		err = old.file.Datasync()
	}
	if err == nil {
		err = q.syncDir(q.segDir())
	}
	if err != nil {
		old.file.Close()
		q.logRemove(q.fs.Remove(name), name)
		q.forget(old, q.syncDir(q.segDir()))
		return err
	}
	s.file = old.file
	q.forget(old, nil)
	return nil
}

// reopen opens a segment that recovery found for writing: until then it was
// only read. Where that fails it is written as it is.
func (q *Queue) reopen(s *segment, name string) {
	f, err := q.fs.Open(name, q.segmentFlag(), 0)
	if err != nil {
		return
	}
	q.mu.Lock()
	old := s.file
	s.file = f
	q.mu.Unlock()
	old.Close()
}

// recyclable picks a dead segment of full size and reserves it. The caller
// holds q.mu.
func (q *Queue) recyclable() *segment {
	var oldest *segment
	for _, s := range q.segments {
		if s.removable(&q.o.hooks) && s.size == q.o.SegmentSize && !s.poisoned && !s.damaged && !q.clearText(s) && (oldest == nil || s.number < oldest.number) {
			oldest = s
		}
	}
	if oldest != nil {
		oldest.readers++
	}
	return oldest
}

// clearText: what lies in s has no place in a sealed spool.
func (q *Queue) clearText(s *segment) bool { return s.plain && q.keys.on() }

// forget drops a segment whose file is gone, err tells whether durably so.
// Only then are its copies, and the tombstones for them, of no more concern.
func (q *Queue) forget(s *segment, err error) {
	q.removeDigest(s.number) // also one that the last start could not read
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.segments, s.number)
	if err != nil {
		return
	}
	for _, id := range s.copies {
		q.copyGone(id)
	}
}

func (q *Queue) syncDir(dir string) error {
	if q.o.hooks.skipDirSync {
		return nil
	}
	return q.fs.SyncDir(dir)
}

// logRemove reports a failed unlink: it costs space, never mail.
func (q *Queue) logRemove(err error, name string) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		q.o.Logger.Error("queue: cannot remove file", "file", name, "err", err)
	}
}
