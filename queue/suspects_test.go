package queue

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// crashing is a relay that dies of one message: what the disk and the page
// cache hold at that moment is the next start's. Others stay in flight.
type crashing struct {
	*next
	poison mail.ID
	busy   time.Duration // how long the others are in flight
	mem    *fsx.Mem
	after  chan *fsx.Mem
}

func (c *crashing) Deliver(ctx context.Context, d mail.Destination, m *mail.Message, rcpts []int, done func(mail.Outcome)) {
	switch {
	case m.Envelope.ID == c.poison:
		time.Sleep(50 * time.Millisecond) // the others shall be in flight, or done
		c.after <- c.mem.Clone()
		<-ctx.Done()
	default:
		select {
		case <-time.After(c.busy):
			c.next.Deliver(ctx, d, m, rcpts, done)
		case <-ctx.Done():
		}
	}
}

// crash runs q until the poison kills it, and returns what is left.
func crash(t *testing.T, mem *fsx.Mem, o Options, c *crashing) *fsx.Mem {
	t.Helper()
	c.mem, c.after = mem, make(chan *fsx.Mem, 1)
	q := mustOpen(t, mem, "/spool", o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- q.Run(ctx, c) }()
	image := <-c.after
	cancel()
	<-ended
	mustClose(t, q)
	return image
}

func TestCrashingMessageIsHeld(t *testing.T) {
	boot := "1"
	o := Options{Grace: time.Millisecond, hooks: hooks{boot: func() string { return boot }}}
	mem := fsx.NewMem()
	q := mustOpen(t, mem, "/spool", o)
	var innocent []mail.ID
	poison := mustPut(t, q, []byte("x\r\n"), "poison@p.example")
	for range 5 {
		innocent = append(innocent, mustPut(t, q, []byte("y\r\n"), "a@d.example"))
	}
	mustClose(t, q)

	// Twice in a row everything that is in flight goes down with it; the
	// third time, and once a power cut came between, only it can be blamed.
	c := &crashing{next: newNext(), poison: poison, busy: time.Hour}
	mem = crash(t, mem, o, c)
	boot = "2"
	mem = crash(t, mem, o, c)
	mem = crash(t, mem, o, c)
	c.busy = 150 * time.Millisecond // longer than the poison takes
	mem = crash(t, mem, o, c)

	q = mustOpen(t, mem, "/spool", o)
	held := 0
	for it := range q.List(Filter{State: Held}) {
		if it.Reason != heldAfterCrash {
			t.Errorf("held as %q", it.Reason)
		}
		held++
	}
	if it, _ := q.Get(poison); it.State != Held || held != 1 {
		t.Fatalf("after three crashes the message is %s, %d are held", it.State, held)
	}
	n := newNext()
	run(t, q, n, func() bool { return n.relayed()+c.relayed() == len(innocent) })

	// Whoever releases it wants to see it fail, from the start.
	if err := q.Release(poison); err != nil {
		t.Fatal(err)
	}
	mustClose(t, q)
	mem = crash(t, mem, o, c)
	q = mustOpen(t, mem, "/spool", o)
	defer mustClose(t, q)
	if it, _ := q.Get(poison); it.State == Held {
		t.Error("held after one crash since its release")
	}
	run(t, q, n, func() bool { return q.Stats().Recipients == 0 })
}

// TestSurvivedAttemptClears: crashes count in a row only.
func TestSurvivedAttemptClears(t *testing.T) {
	o := Options{Grace: time.Millisecond, Retry: Schedule{First: time.Hour, Max: time.Hour}}
	mem := fsx.NewMem()
	q := mustOpen(t, mem, "/spool", o)
	id := mustPut(t, q, []byte("x\r\n"), "a@d.example")
	mustClose(t, q)
	c := &crashing{next: newNext(), poison: id}
	mem = crash(t, mem, o, c)
	mem = crash(t, mem, o, c)

	q = mustOpen(t, mem, "/spool", o)
	if n := len(q.suspects.crashed); n != 1 {
		t.Errorf("%d suspects", n)
	}
	n := newNext()
	n.reply = func(mail.Destination, *mail.Message, int) mail.Outcome {
		return mail.Outcome{Result: mail.Deferred, Reply: mail.Reply{Code: 451}}
	}
	deferred := func() bool { it, _ := q.Get(id); return it.State == Deferred && it.Attempts == 1 }
	run(t, q, n, deferred)
	mustClose(t, q)

	q = mustOpen(t, mem, "/spool", o)
	if n := len(q.suspects.crashed); n != 0 {
		t.Errorf("%d suspects after an attempt that came to its end", n)
	}
	mustClose(t, q)
}

// TestNoWriteAfterAFailedOne: when the file of attempts cannot be written it is
// let alone from then on, by those who are just about to write as well; mail goes
// on.
func TestNoWriteAfterAFailedOne(t *testing.T) {
	var failed, later atomic.Int32
	disk := &fsx.Faulty{FS: fsx.NewMem(), Decide: func(_ int, op fsx.Op) error {
		if op.Kind != "write" || op.Name != "/spool/TRYING" || op.Len != tryingSlot {
			return nil
		}
		if failed.Add(1) > 1 {
			later.Add(1)
		}
		time.Sleep(time.Millisecond) // others are about to write, too
		return syscall.ENOSPC
	}}
	q := mustOpen(t, disk, "/spool", Options{MinFreeBytes: 1})
	for i := range 20 {
		mustPut(t, q, []byte("text\r\n"), mail.Path(fmt.Sprintf("a@d%d.example", i)))
	}
	n := newNext()
	run(t, q, n, func() bool { return n.relayed() == 20 })
	mustClose(t, q)
	if failed.Load() == 0 || later.Load() > 0 {
		t.Errorf("%d writes, %d of them after one that failed", failed.Load(), later.Load())
	}
}
