package queue

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"mailweir/mail"
)

// dispatch decides who is next. Recipients that wait for their time are in one
// heap; those that are due are in the list of their domain (dest.go), whose
// destination stands in one of the rings when it may have another attempt, and
// is served in turn (turns.go), one message each. So neither a domain with many
// messages nor a slow destination takes a turn from the others. Guarded by
// Queue.mu.
type dispatch struct {
	route    func(mail.Path) mail.Destination // nil before Run
	due      dueHeap
	serial   uint64
	dests    map[mail.Destination]*dest
	dead     map[*dest]struct{}
	known    map[mail.Destination]struct{} // strangers that have answered
	revived  []*dest                       // what waits for them is to be brought forward
	lanes    [lanes]lane
	turn     int
	lowNext  int64 // the next moment for a message in no hurry, Unix milliseconds
	stopping bool
	workers  int        // goroutines
	idle     int        // of them: they wait, and were not called
	work     *sync.Cond // something came into a ring
	alarm    chan struct{}
	attempts context.Context // of attempts; ends after the grace
	deliver  Deliverer
	running  sync.WaitGroup
}

type dueItem struct {
	at     int64
	serial uint64 // those of one moment stay in order
	e      *entry
}

type dueHeap []dueItem

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].serial < h[j].serial
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)   { *h = append(*h, x.(dueItem)) }
func (h *dueHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = dueItem{}
	*h = old[:len(old)-1]
	return x
}

// fifo is a list of entries; an entry may be in it after it is over.
type fifo struct {
	list []*entry
	head int
}

func (f *fifo) len() int      { return len(f.list) - f.head }
func (f *fifo) push(e *entry) { f.list = append(f.list, e) }
func (f *fifo) pop() *entry {
	e := f.list[f.head]
	f.list[f.head] = nil
	f.head++
	if f.head > 64 && f.head*2 > len(f.list) {
		f.list = append(f.list[:0], f.list[f.head:]...)
		f.head = 0
	}
	return e
}

func (d *dispatch) init(q *Queue) {
	d.dests, d.dead, d.known = map[mail.Destination]*dest{}, map[*dest]struct{}{}, map[mail.Destination]struct{}{}
	for i := range d.lanes {
		d.lanes[i].most = laneName(i).most(q.o.Workers)
	}
	d.work = sync.NewCond(&q.mu)
	d.alarm = make(chan struct{}, 1)
}

// scheduleAll gives every pending recipient of e its place.
func (q *Queue) scheduleAll(e *entry) {
	now := q.nowMilli()
	if q.route != nil {
		q.paced(e, now)
	}
	var listed int64 = -1
	for i := range e.rcpts {
		r := &e.rcpts[i]
		if !r.pending() || r.phase != phaseWait {
			continue
		}
		if q.route != nil && r.next <= now {
			q.makeReady(e, r)
		} else if r.next != listed { // recipients mostly wait together
			listed = r.next
			q.push(e, listed)
		}
	}
}

func (q *Queue) push(e *entry, at int64) {
	q.serial++
	heap.Push(&q.due, dueItem{at, q.serial, e})
	if q.due[0].e == e {
		q.wakeClock()
	}
}

// wakeClock: the earliest moment may have changed.
func (q *Queue) wakeClock() {
	select {
	case q.alarm <- struct{}{}:
	default:
	}
}

// makeReady puts a recipient that is due into the list of its domain.
func (q *Queue) makeReady(e *entry, r *rcpt) {
	r.phase = phaseReady
	d := r.dom.dest
	d.push(r.dom, e)
	q.offer(d)
}

func (q *Queue) needWorker() {
	if q.idle > 0 {
		q.idle-- // here, not when it wakes: the next call is for another one
		q.work.Signal()
		return
	}
	if q.deliver != nil && !q.stopping && q.workers < q.o.Workers {
		q.workers++
		q.running.Add(1)
		go q.worker()
	}
}

// follow lists an entry again whose recipients moved to another destination
// while it waited.
func (q *Queue) follow(e *entry) {
	if e.gone {
		return
	}
	for i := range e.rcpts {
		if r := &e.rcpts[i]; r.pending() && r.phase == phaseReady {
			q.makeReady(e, r)
		}
	}
}

// take makes the ready recipients for d active.
func (e *entry) take(d *dest) []int {
	if e.gone {
		return nil
	}
	var rcpts []int
	for i := range e.rcpts {
		if r := &e.rcpts[i]; r.phase == phaseReady && r.pending() && r.dom.dest == d {
			r.phase = phaseActive
			rcpts = append(rcpts, i)
		}
	}
	return rcpts
}

// Run delivers until ctx ends, and returns when the last attempt has: no new
// one starts then, and those in flight are cut after Options.Grace. It returns
// early, with the cause, when the disk failed for good.
func (q *Queue) Run(ctx context.Context, d Deliverer) error {
	attempts, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	q.begin(attempts, d)
	q.clock(ctx)

	q.mu.Lock()
	q.halt()
	q.mu.Unlock()
	grace := time.AfterFunc(q.o.Grace, cut)
	defer grace.Stop()
	q.running.Wait()

	q.mu.Lock()
	q.deliver, q.route = nil, nil
	q.mu.Unlock()
	if err := q.log.health(); err != nil {
		return err
	}
	return nil
}

// begin routes all that waits and lets workers start.
func (q *Queue) begin(attempts context.Context, d Deliverer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.attempts, q.deliver, q.stopping = attempts, d, false
	q.route = func(p mail.Path) mail.Destination { return d.Route(p) }
	for _, dom := range q.domains {
		q.setDest(dom, q.dest(q.routeTo(dom, dom.path())))
	}
	q.remember()
	for i := range q.lanes {
		for range q.lanes[i].ring {
			q.needWorker()
		}
	}
}

// clock moves recipients whose time has come, until ctx ends or the disk
// failed. It sleeps until the next such moment, never less than a millisecond.
func (q *Queue) clock(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-q.alarm:
		}
		if q.halted() {
			return
		}
		wait := q.pump()
		t.Reset(max(wait, time.Millisecond))
	}
}

// pump makes ready what is due, a portion at a time, and tells how long
// nothing else will be.
func (q *Queue) pump() time.Duration {
	const portion = 1024
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.nowMilli()
	for range portion {
		if len(q.due) == 0 || q.due[0].at > now {
			break
		}
		q.ripen(heap.Pop(&q.due).(dueItem).e, now)
	}
	wait := int64(time.Minute / time.Millisecond)
	if len(q.due) > 0 {
		wait = min(wait, q.due[0].at-now)
	}
	for d := range q.dead {
		switch {
		case d.active > 0:
		case d.domains == 0 && now-d.probeAt > deadKept.Milliseconds():
			q.dropDest(d)
		case d.waiting > 0 || q.probe(d, now):
			q.offer(d)
			if now < d.probeAt { // also when it is in its ring: a worker takes it out, and leaves it
				wait = min(wait, d.probeAt-now)
			}
		}
	}
	for len(q.revived) > 0 {
		d := q.revived[0]
		q.revived = q.revived[1:]
		q.revive(d)
	}
	return time.Duration(max(wait, 0)) * time.Millisecond
}

// ripen makes the due recipients of e ready. Others have an item of their own.
func (q *Queue) ripen(e *entry, now int64) {
	if e.gone {
		return
	}
	if at := q.paced(e, now); at > 0 {
		q.push(e, at)
		return
	}
	for i := range e.rcpts {
		if r := &e.rcpts[i]; r.pending() && r.phase == phaseWait && r.next <= now {
			q.makeReady(e, r)
		}
	}
}

// worker makes attempts, one at a time.
func (q *Queue) worker() {
	defer q.running.Done()
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.stopping {
		u, ok := q.pick()
		if !ok {
			q.idle++
			q.work.Wait()
			continue
		}
		q.attempt(u)
	}
	q.workers--
}

// halted: the disk failed for good.
func (q *Queue) halted() bool {
	q.log.mu.Lock()
	defer q.log.mu.Unlock()
	return q.log.failed != nil
}

// stopDelivery lets no further attempt start; for the writer.
func (q *Queue) stopDelivery() {
	q.mu.Lock()
	q.halt()
	q.mu.Unlock()
	q.wakeClock()
}

// halt lets the workers end. The caller holds q.mu.
func (q *Queue) halt() {
	q.stopping = true
	q.idle = 0
	q.work.Broadcast()
}

// expires is when recipients of e are given up.
func (q *Queue) expires(e *entry) time.Time {
	return time.UnixMilli(e.since).Add(q.o.Expire)
}

func (q *Queue) jitter() float64 { return rand.Float64() }
