package queue

import (
	"sync"
	"time"

	"mailweir/internal/fsx"
)

// space refuses intake before the disk is full: what is on its way in counts
// as written already, and what the log needs to record deliveries stays free.
type space struct {
	mu       sync.Mutex
	free     fsx.Space
	checked  time.Time
	reserved int64 // for messages that are on their way
	spent    int64 // on messages that came to their end since the last look
	low      bool
}

// The file system is looked at again after a second, or after so many bytes:
// a fast disk takes more than the limit in a second.
const (
	spaceEvery = time.Second
	spaceBytes = 4 << 20
	// Intake resumes a bit above the limit that stopped it.
	spaceSlack = 20 // one part in it
)

// reserve takes n bytes for a message, or fails with ErrNoSpace.
func (s *space) reserve(q *Queue, n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.checked.IsZero() || now.Sub(s.checked) >= spaceEvery || s.spent >= spaceBytes {
		free, err := q.fs.Free(q.dir)
		if err != nil {
			return err
		}
		s.free, s.checked, s.spent = free, now, 0
	}
	minBytes, minInodes := q.o.MinFreeBytes, q.o.MinFreeInodes
	if s.low {
		minBytes += minBytes / spaceSlack
		minInodes += minInodes / spaceSlack
	}
	s.low = s.free.Bytes-s.reserved-s.spent-n < minBytes || s.free.Inodes >= 0 && s.free.Inodes < minInodes
	if s.low {
		return ErrNoSpace
	}
	s.reserved += n
	return nil
}

func (s *space) add(n int64) {
	s.mu.Lock()
	s.reserved += n
	s.mu.Unlock()
}

// end gives back what a message had reserved, and counts what came of it as
// spent: whether it is on the disk only the next look tells.
func (s *space) end(reserved, spent int64) {
	s.mu.Lock()
	s.reserved -= reserved
	s.spent += spent
	s.mu.Unlock()
}

// health is ErrNoSpace while intake is stopped for want of space.
func (s *space) health(q *Queue) error {
	if err := s.reserve(q, 0); err != nil {
		return err
	}
	return nil
}
