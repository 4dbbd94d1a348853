package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// hanging is next hops that keep each attempt waiting until they are told what
// comes of it.
type hanging struct {
	mu       sync.Mutex
	attempts []chan mail.Outcome
}

func (*hanging) Route(p mail.Path) mail.Destination { return mail.Destination(p.Domain()) }

func (h *hanging) Deliver(ctx context.Context, _ mail.Destination, _ *mail.Message, rcpts []int, done func(mail.Outcome)) {
	c := make(chan mail.Outcome, 1)
	h.mu.Lock()
	h.attempts = append(h.attempts, c)
	h.mu.Unlock()
	var o mail.Outcome
	select {
	case o = <-c:
	case <-ctx.Done():
		o = mail.Outcome{Result: mail.Deferred}
	}
	for _, i := range rcpts {
		o.Recipient = i
		done(o)
	}
}

// answer ends some attempt.
func (h *hanging) answer(r *rand.Rand) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.attempts) == 0 {
		return
	}
	k := r.IntN(len(h.attempts))
	h.attempts[k] <- []mail.Outcome{
		{Result: mail.Relayed}, {Result: mail.Relayed}, {Result: mail.Deferred, Reply: mail.Reply{Code: 451}},
		{Result: mail.Deferred}, {Result: mail.Failed, Reply: mail.Reply{Code: 550}},
	}[r.IntN(5)]
	h.attempts = slices.Delete(h.attempts, k, k+1)
}

// TestNobodyWaitsForNothing: whatever hangs, fails and comes, when all is at
// rest no attempt could be made that is not under way.
func TestNobodyWaitsForNothing(t *testing.T) {
	seeds := uint64(150)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { atRest(t, rand.New(rand.NewPCG(seed, 0)), seed) })
		if t.Failed() {
			return
		}
	}
}

func atRest(t *testing.T, r *rand.Rand, seed uint64) {
	q := mustOpen(t, fsx.NewMem(), "/spool", Options{MinFreeBytes: 1, Workers: 1 + r.IntN(12), PerDestination: 1 + r.IntN(4)})
	h := &hanging{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- q.Run(ctx, h) }()
	for step := range 120 {
		switch k := r.IntN(10); {
		case k < 4:
			mustPut(t, q, []byte("text\r\n"), mail.Path(fmt.Sprintf("a@d%d.example", r.IntN(5))))
		case k < 8:
			h.answer(r)
		case k < 9:
			q.Flush()
		default:
			time.Sleep(time.Duration(r.IntN(int(2 * time.Hour))))
		}
		time.Sleep(2 * lazySync) // and the clock's millisecond
		synctest.Wait()
		if what := q.idleness(); what != "" {
			t.Errorf("seed %d, step %d: %s", seed, step, what)
			break
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	mustClose(t, q)
}

// idleness names an attempt that could be made, and that nobody makes.
func (q *Queue) idleness() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.dests {
		if q.runnable(d) && !d.inRing {
			return fmt.Sprintf("%s may have an attempt and stands in no ring", d.name)
		}
	}
	if q.idle == 0 && q.workers == q.o.Workers {
		return ""
	}
	for i := range q.lanes {
		if l := &q.lanes[i]; len(l.ring) > 0 && l.active < l.most {
			return fmt.Sprintf("%s is due, with %d of %d workers idle, of %d at most", l.ring[0].name, q.idle, q.workers, q.o.Workers)
		}
	}
	return ""
}
