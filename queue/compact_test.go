package queue

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// TestStuckMessagePinsNothing: one message that cannot be relayed stays, a
// thousand others pass; the log shrinks to what is live, and stays right.
func TestStuckMessagePinsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := fsx.NewMem()
		o := Options{SegmentSize: 64 << 10, MinFreeBytes: 1, Metrics: modelMetrics}
		q, err := Open(mem, "/spool", o)
		if err != nil {
			t.Fatal(err)
		}
		n := newNext()
		n.reply = func(d mail.Destination, _ *mail.Message, _ int) mail.Outcome {
			if d == "stuck.example" {
				return deferral("never mind")
			}
			return mail.Outcome{Result: mail.Relayed}
		}
		body := bytes.Repeat([]byte("0123456789\r\n"), 300)
		var stuck []mail.ID
		for round := range 10 {
			stuck = append(stuck, mustPut(t, q, body, "a@stuck.example", "b@d.example"))
			for i := range 100 {
				mustPut(t, q, body, mail.Path(fmt.Sprintf("u%d@d.example", i)))
			}
			want := (round + 1) * 101
			run(t, q, n, func() bool { time.Sleep(10 * time.Second); return n.relayed() == want })
		}
		time.Sleep(5 * time.Minute)
		s := q.Stats()
		// Live: ten messages of 4 KB; besides them the active segment, the
		// next one, and two kept to be written again.
		if s.Segments > 6 || s.Recipients != 10 {
			t.Errorf("after compaction: %+v", s)
		}
		mustClose(t, q)
		if q, err = Open(mem, "/spool", o); err != nil {
			t.Fatal(err)
		}
		for _, id := range stuck {
			it, ok := q.Get(id)
			if !ok || it.Recipients[1].State != Relayed || it.Recipients[0].Reply != "451 4.3.0 never mind" {
				t.Errorf("%+v", it)
			}
		}
		if s := q.Stats(); s.Recipients != 10 {
			t.Errorf("after restart: %+v", s)
		}
		mustClose(t, q)
	})
}

// TestSpaceAfterFullCompaction is I9: when nine messages in ten are over, the
// batches in all segments, the one that is written to included, come to 1.1 times
// the records of what is live at most. What compaction writes for that is logged:
// the copies, and the zeros that new segments begin with.
func TestSpaceAfterFullCompaction(t *testing.T) {
	written := 0
	disk := &fsx.Faulty{FS: fsx.NewMem(), Decide: func(_ int, op fsx.Op) error {
		if op.Kind == "write" && strings.HasSuffix(op.Name, ".log") {
			written += op.Len
		}
		return nil
	}}
	o := Options{SegmentSize: 64 << 10, SpillAt: 8 << 10, MinFreeBytes: 1, Metrics: modelMetrics}
	q, err := open(disk, "/spool", o, true)
	if err != nil {
		t.Fatal(err)
	}
	const messages, size = 3000, 3600
	for i := range messages {
		id := mustPut(t, q, make([]byte, size), "a@d.example")
		if i%10 != 0 {
			if err := q.Delete(id); err != nil {
				t.Fatal(err)
			}
		}
	}
	written = 0
	for range 3 {
		q.compact(91, func() bool { return q.flush() == nil })
		q.sweep()
	}
	var used, live int64
	for _, s := range q.segments {
		live += s.liveBytes
		if s.needed() {
			used += s.used - blockSize
		}
	}
	t.Logf("live %d, used %d: %.2f; compaction wrote %d: %.2f", live, used, float64(used)/float64(live), written, float64(written)/float64(live))
	if float64(used) > 1.1*float64(live) || live < messages/10*size {
		t.Errorf("%d bytes for %d live ones", used, live)
	}
	q.Close()
}

// TestMemoryPerMessage: at rest a message costs at most 300 bytes.
func TestMemoryPerMessage(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	n := sized(t, 20000, 200000)
	q, err := open(fsx.OS{}, t.TempDir(), Options{MinFreeBytes: 1, Metrics: modelMetrics}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	before := heapInUse()
	batch := make([]*entry, n)
	q.mu.Lock()
	s := q.log.seg
	for i := range n {
		m := newMessage(nil, "user@d.example")
		e := q.newEntry(m.Envelope.ID, &m.Envelope, 4096, q.nowMilli())
		q.insert(e)
		q.copyAt(s, e, loc{1, uint32(i)}, 4096)
		q.scheduleAll(e)
		batch[i] = e
	}
	q.mu.Unlock()
	batch = nil
	per := float64(heapInUse()-before) / float64(n)
	t.Logf("%.0f bytes a message", per)
	if per > 300 {
		t.Error("more than 300")
	}
	_ = batch
}
