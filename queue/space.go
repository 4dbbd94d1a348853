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
	reserved int64
	low      bool
}

const (
	spaceEvery = time.Second
	// Intake resumes a bit above the limit that stopped it.
	spaceSlack = 20 // one part in it
)

// reserve takes n bytes for a message, or fails with ErrNoSpace.
func (s *space) reserve(q *Queue, n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.checked.IsZero() || now.Sub(s.checked) >= spaceEvery {
		free, err := q.fs.Free(q.dir)
		if err != nil {
			return err
		}
		s.free, s.checked = free, now
	}
	minBytes, minInodes := q.o.MinFreeBytes, q.o.MinFreeInodes
	if s.low {
		minBytes += minBytes / spaceSlack
		minInodes += minInodes / spaceSlack
	}
	s.low = s.free.Bytes-s.reserved-n < minBytes || s.free.Inodes >= 0 && s.free.Inodes < minInodes
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

// health is ErrNoSpace while intake is stopped for want of space.
func (s *space) health(q *Queue) error {
	if err := s.reserve(q, 0); err != nil {
		return err
	}
	return nil
}
