package queue

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// A message that crashes the process while it is handled would do so for ever:
// it is the first that is due after the next start. So spool/TRYING says which
// attempts are under way. What stands there at a start was in flight at a
// crash; a message that was so at three in a row is put on hold. An attempt
// that comes to its end clears it.
//
// The file is written and never synced: the page cache outlives the process,
// and what a power cut leaves behind counts for nothing, since the crash was
// not the message's doing. A failing disk is none of its business either.

const (
	maxCrashes      = 3
	heldAfterCrash  = "crash"
	tryingSlot      = 32 // bytes: ID [16], crashes u8, under way u8, zero [10], CRC32C u32
	maxTryingSlots  = 1 << 16
	bootIdentity    = "/proc/sys/kernel/random/boot_id"
	tryingMagic     = "mailweir trying 1 "
	tryingFirstSlot = 4 // before it: magic and boot identity
)

// suspects is what is known of crashes. Guarded by Queue.mu, but for the file.
type suspects struct {
	file    fsx.File
	writing sync.Mutex       // nothing else is written when a write fails
	slot    [tryingSlot]byte // what is written; guarded by writing
	broken  atomic.Bool      // one failed: the file is not used again
	free    []int64          // offsets of slots
	next    int64            // of the next slot when none is free
	crashed map[mail.ID]crashed
	// alone is held by the attempt that is a message's last before the hold:
	// of those in flight at the next crash only one can be the cause.
	alone sync.Mutex
}

// crashed is a message that was in flight at a crash.
type crashed struct {
	times uint8
	at    int64 // of the slot that remembers it
}

// bootID changes with each start of the machine.
func bootID() string {
	b, _ := os.ReadFile(bootIdentity)
	return strings.TrimSpace(string(b))
}

// openSuspects reads what was in flight when the process ended, and puts on
// hold what was so too often. It is called once the log works.
func (q *Queue) openSuspects() {
	name := q.dir + "/TRYING"
	f, err := q.fs.Open(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		q.o.Logger.Warn("queue: crashes will not be counted", "err", err)
		return
	}
	q.suspects.file = f
	old := q.readTrying(f)
	found := map[mail.ID]uint8{}
	for id, times := range old {
		if e := q.entries[id]; e == nil || e.live() == 0 {
			continue
		}
		if times >= maxCrashes && q.log.health() == nil && q.holdSuspect(id) {
			continue
		}
		found[id] = min(times, maxCrashes-1)
	}
	q.rewriteTrying(found)
}

// readTrying returns how many crashes in a row each message has seen.
func (q *Queue) readTrying(f fsx.File) map[mail.ID]uint8 {
	size, err := f.Size()
	if err != nil || size > maxTryingSlots*tryingSlot {
		return nil
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	head := q.tryingHead()
	if len(b) < len(head) || string(b[:len(head)]) != string(head) {
		return nil // of another start of the machine
	}
	counts := map[mail.ID]uint8{}
	for b = b[len(head):]; len(b) >= tryingSlot; b = b[tryingSlot:] {
		s := b[:tryingSlot]
		if le.Uint32(s[28:]) != crc32.Checksum(s[:28], castagnoli) || mail.ID(s[:16]).IsZero() {
			continue
		}
		counts[mail.ID(s[:16])] = max(counts[mail.ID(s[:16])], s[16]+s[17])
	}
	return counts
}

func (q *Queue) tryingHead() []byte {
	head := make([]byte, tryingFirstSlot*tryingSlot)
	copy(head, tryingMagic+q.o.hooks.boot())
	return head
}

func putTrying(s *[tryingSlot]byte, id mail.ID, times, underWay uint8) {
	*s = [tryingSlot]byte{16: times, 17: underWay}
	copy(s[:], id[:])
	le.PutUint32(s[28:], crc32.Checksum(s[:28], castagnoli))
}

func (q *Queue) holdSuspect(id mail.ID) bool {
	err := q.holdAll(id, heldAfterCrash)
	q.o.Logger.Error("queue: held, the process crashed each time that it was handled", "id", id, "crashes", maxCrashes, "err", err)
	return err == nil
}

// rewriteTrying starts the file anew, in one write: a crash leaves the one or
// the other.
func (q *Queue) rewriteTrying(found map[mail.ID]uint8) {
	b := q.tryingHead()
	s := &q.suspects
	s.crashed = map[mail.ID]crashed{}
	for id, times := range found {
		s.crashed[id] = crashed{times, int64(len(b))}
		putTrying(&s.slot, id, times, 0)
		b = append(b, s.slot[:]...)
		q.o.Logger.Warn("queue: the process crashed while a message was handled", "id", id, "crashes", times)
	}
	s.next = int64(len(b))
	if size, err := s.file.Size(); err == nil && size > s.next && size <= maxTryingSlots*tryingSlot {
		b = append(b, make([]byte, size-s.next)...)
	}
	q.writeTrying(b, 0)
}

// underWay is an attempt that TRYING tells of.
type underWay struct {
	at    int64 // of its slot; 0: it is not told of
	again bool  // its message was in flight at a crash
	alone bool  // it holds suspects.alone
}

// trying notes that an attempt begins; tried is to be called at its end. The
// caller holds q.mu, which is given up meanwhile.
func (q *Queue) trying(e *entry) underWay {
	s := &q.suspects
	if s.file == nil || s.broken.Load() {
		return underWay{}
	}
	t := underWay{at: s.next}
	if n := len(s.free); n > 0 {
		t.at, s.free = s.free[n-1], s.free[:n-1]
	} else {
		s.next += tryingSlot
	}
	suspect, again := s.crashed[e.id]
	t.again, t.alone = again, suspect.times == maxCrashes-1
	q.mu.Unlock()
	defer q.mu.Lock()
	if t.alone {
		s.alone.Lock()
	}
	q.writeSlot(t.at, e.id, suspect.times, 1)
	return t
}

// tried clears what trying wrote. The slot of a message that is over may stay:
// nobody looks for it.
func (q *Queue) tried(e *entry, t underWay) {
	if t.at == 0 {
		return
	}
	s := &q.suspects
	if t.alone {
		s.alone.Unlock()
	}
	q.mu.Lock()
	over := e.gone
	suspect := s.crashed[e.id]
	if t.again {
		delete(s.crashed, e.id)
	}
	q.mu.Unlock()
	if !over {
		q.clearSlot(t.at)
	}
	if t.again && suspect.at != 0 { // once: others of the same message may end, too
		q.clearSlot(suspect.at)
	}
	q.mu.Lock()
	s.free = append(s.free, t.at)
	q.mu.Unlock()
}

func (q *Queue) writeSlot(at int64, id mail.ID, times, underWay uint8) {
	s := &q.suspects
	s.writing.Lock()
	defer s.writing.Unlock()
	putTrying(&s.slot, id, times, underWay)
	q.writeTrying(s.slot[:], at)
}

func (q *Queue) clearSlot(at int64) {
	s := &q.suspects
	s.writing.Lock()
	defer s.writing.Unlock()
	s.slot = [tryingSlot]byte{}
	q.writeTrying(s.slot[:], at)
}

// writeTrying writes to the file. The caller holds suspects.writing, except at
// the start.
func (q *Queue) writeTrying(b []byte, at int64) {
	s := &q.suspects
	if s.broken.Load() {
		return
	}
	if _, err := s.file.WriteAt(b, at); err != nil {
		s.broken.Store(true)
		q.o.Logger.Warn("queue: crashes are not counted any more", "err", err)
	}
}
