package queue

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"

	"mailweir/internal/fsx"
)

// TestBurstStopsAtTheLimit: a fast disk is filled in less than the second
// after which it is looked at again. What came meanwhile counts.
func TestBurstStopsAtTheLimit(t *testing.T) {
	for _, size := range []int{1000, 100 << 10} { // in the log, and in files of their own
		synctest.Test(t, func(t *testing.T) {
			mem := fsx.NewMem()
			const limit = 50 << 20
			mem.SetFree(fsx.Space{Bytes: 2 * limit, Inodes: 1 << 20})
			q := mustOpen(t, mem, "/spool", Options{SegmentSize: 8 << 20, SpillAt: 64 << 10, MinFreeBytes: limit})
			var err error
			body := bytes.Repeat([]byte("."), size)
			for err == nil {
				err = put(q, newMessage(nil, "a@d.example"), body)
			}
			if !errors.Is(err, ErrNoSpace) {
				t.Errorf("refused with %v", err)
			}
			// A segment more and what was not looked at yet may be gone.
			if free, _ := mem.Free("/"); free.Bytes < limit-8<<20-spaceBytes {
				t.Errorf("refused with %d bytes free, the limit is %d", free.Bytes, limit)
			}
			mustClose(t, q)
		})
	}
}

// TestOpenOnFullDisk: what is in the queue is relayed, and recorded once there
// is space.
func TestOpenOnFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := fsx.NewMem()
		space, _ := mem.Free("/")
		q := mustOpen(t, mem, "/spool", Options{})
		mustPut(t, q, []byte("x\r\n"), "a@d.example")
		mustClose(t, q)

		mem.SetFree(fsx.Space{Bytes: 100, Inodes: 1 << 20})
		q = mustOpen(t, mem, "/spool", Options{})
		if err := q.Health(); !errors.Is(err, ErrNoSpace) {
			t.Errorf("Health on a full disk: %v", err)
		}
		n := newNext()
		run(t, q, n, func() bool {
			if n.relayed() > 0 { // now there is space
				mem.SetFree(space)
				return q.Health() == nil
			}
			return false
		})
		mustPut(t, q, []byte("y\r\n"), "b@d.example")
		mustClose(t, q)

		q = mustOpen(t, mem, "/spool", Options{})
		if s := q.Stats(); s.Recipients != 1 || n.relayed() != 1 {
			t.Errorf("%d recipients after %d relayed", s.Recipients, n.relayed())
		}
		mustClose(t, q)
	})
}
