package queue

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// What a person wants erased has to be unreadable, not just gone from the
// queue: Erase ends messages, Shred destroys the keys of all that is over.
// Without Shred the janitor does the same within a day (epochs.go).

// ErrPlain: the spool, or a part of it, is not sealed, so that no key can make
// unreadable what it holds.
var ErrPlain = errors.New("queue: the spool holds clear text")

// Erase removes a message because a person asked for it.
func (q *Queue) Erase(id mail.ID, only ...Filter) error { return q.end(id, only, statusErased) }

// Reports finds the DSNs of ours, still in the queue, that tell of one of the
// messages: they quote header sections and recipients.
func (q *Queue) Reports(ids ...mail.ID) []mail.ID {
	about := make(map[string]bool, len(ids))
	for _, id := range ids {
		about[id.String()] = true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var nulls []*entry
	q.walk(func(e *entry) bool {
		if e.dsn {
			nulls = append(nulls, e)
		}
		return true
	})
	var found []mail.ID
	for _, e := range nulls {
		if q.tells(e, about) {
			found = append(found, e.id)
		}
	}
	return found
}

// tells reports that e is a DSN of ours about one of them. One that strangers
// sent has another Message-ID than we would give it. The caller holds q.mu,
// which may be given up meanwhile.
func (q *Queue) tells(e *entry, about map[string]bool) bool {
	if e.gone {
		return false
	}
	s, err := q.load(e)
	if err != nil {
		return false // damaged: the relay and the scrub deal with it
	}
	defer s.discard()
	if !bytes.Contains(s.heads[0], []byte("\r\nMessage-ID: <"+e.id.String()+"@")) {
		return false
	}
	for rest := s.body; ; {
		_, after, found := bytes.Cut(rest, []byte("\r\nFinal-Log-ID: "))
		if !found {
			return false
		}
		id, _, _ := bytes.Cut(after, []byte("\r\n"))
		if about[string(id)] {
			return true
		}
		rest = after
	}
}

// Shred makes unreadable all that is over: relayed, failed, deleted, erased. A
// new epoch begins, what is still in the queue and in clear, or sealed by an
// epoch with something that is over, is relocated at the janitor's pace, and
// the keys of those epochs are destroyed: zeroed in place, synced, unlinked. It
// returns how many were. With ErrPlain all that keys can do was done; after the
// end of ctx the janitor does the rest.
func (q *Queue) Shred(ctx context.Context) (destroyed int, err error) {
	if !q.keys.on() {
		return 0, ErrPlain
	}
	if err := q.flush(); err != nil { // ends that are on their way
		return 0, err
	}
	q.keys.turn.Lock()
	defer q.keys.turn.Unlock()
	select {
	case <-q.stop:
		return 0, ErrClosed // another process may have the spool
	default:
	}
	if err := q.keys.begin(q); err != nil {
		return 0, err
	}
	pace := func() bool { return ctx.Err() == nil && q.pace() }
	var left []string
	for _, k := range q.spentKeys() {
		if err := q.clear(k, pace); err != nil {
			return destroyed, cmp.Or(context.Cause(ctx), err)
		}
		if q.destroyKeys(q.keys.now()); q.keys.get(k.number) != nil {
			left = append(left, q.keys.name(k.number))
			continue
		}
		destroyed++
	}
	if len(left) > 0 {
		return destroyed, fmt.Errorf("queue: keys that should be gone are still there: %s", strings.Join(left, " "))
	}
	q.compact(compactBelow, pace)
	if strays := !q.sweepStrays(); strays || q.holdsPlain() {
		return destroyed, ErrPlain
	}
	return destroyed, nil
}

// spentKeys are those, but for the current one, that seal something which is
// over.
func (q *Queue) spentKeys() (list []*epochKey) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, k := range q.keys.list() {
		if k != q.keys.now() && k.spent {
			list = append(list, k)
		}
	}
	return list
}

// clear relocates what needs the key of an epoch. What was on its way into the
// log when the epoch ended comes late.
func (q *Queue) clear(k *epochKey, pace func() bool) error {
	for range 50 {
		if !q.moveOn(k, pace) {
			return cmp.Or(q.log.health(), ErrClosed)
		}
		q.mu.Lock()
		live := k.live
		q.mu.Unlock()
		if live == 0 {
			break
		}
	}
	return nil
}

func (q *Queue) holdsPlain() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.segments {
		if s.plain {
			return true
		}
	}
	return false
}

// doubtKeyless takes for clear text, at a start, what holds no sealed record:
// the file may have been recycled before there were keys, and what its earlier
// life left behind, or the tail of a batch that was never whole, is no record.
// All others were made by a process with keys, from files without clear text.
func (q *Queue) doubtKeyless() {
	for _, s := range q.segments {
		s.plain = s.plain || !s.keyed
	}
}

// wipe overwrites a segment with clear text and its digest, before their blocks
// go back to the file system, where it would lie until others write there. An
// earlier life of the file may have written more than this one. It is disowned
// first: wherever this is cut short, and where the unlink fails, a start must not
// take what is left for damage.
func (q *Queue) wipe(s *segment) {
	err := s.disown()
	if err == nil {
		err = overwrite(s.file, blockSize, s.size)
	}
	if err == nil {
		err = q.wipeDigest(s.number)
	}
	if err != nil {
		q.o.Logger.Error("queue: cannot overwrite clear text, its blocks are given back as they are", "segment", s.number, "err", err)
	}
}

// disown says in the header of a dead segment, durably, that nothing in it is
// needed: no file has the number 0, and a start reads no further where header and
// name do not agree, as in one that is being recycled.
func (s *segment) disown() error {
	none := segmentHeader{epoch: s.epoch, size: uint64(s.size), created: time.Now().UnixMilli()}
	if _, err := s.file.WriteAt(none.encode(), 0); err != nil {
		return err
	}
	return s.file.Datasync()
}

func overwrite(f fsx.File, from, to int64) error {
	if err := writeZeros(f, from, to, nil); err != nil {
		return err
	}
	return f.Datasync()
}

// wipeDigest overwrites the domains and next hops that a digest names.
func (q *Queue) wipeDigest(number uint64) error {
	f, err := q.fs.Open(digestName(q.segDir(), number), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	return overwrite(f, 0, size)
}
