package queue

import (
	"cmp"
	"container/heap"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"mailweir/mail"
)

// dispatch decides who is next. Recipients that wait for their time are in one
// heap; those that are due are in the list of their destination, in order of
// arrival; destinations that may have another attempt stand in a ring and are
// served in turn, one message each. So a destination with many messages, or a
// slow one, takes no turn from the others. Guarded by Queue.mu.
type dispatch struct {
	route    func(mail.Path) mail.Destination // nil before Run
	due      dueHeap
	serial   uint64
	dests    map[mail.Destination]*dest
	ring     []*dest
	stopping bool
	workers  int        // goroutines
	idle     int        // of them
	work     *sync.Cond // something came into the ring
	alarm    chan struct{}
	attempts context.Context // of attempts; ends after the grace
	deliver  Deliverer
	running  sync.WaitGroup
}

// dest is a destination.
type dest struct {
	name    mail.Destination
	domains int
	ready   fifo
	active  int
	inRing  bool

	limit   int           // attempts at a time: grows with success
	fails   int           // attempts in a row that did not reach it
	fault   mail.Reply    // of the last of them
	dead    bool          // only probes
	probeAt int64         // Unix milliseconds
	delay   time.Duration // between probes
	waits   *entry        // the last one that did not reach it
}

const (
	slowStart  = 2 // attempts at a time to a destination that we know nothing of
	deadAfter  = 3 // attempts in a row that did not reach it, though something may be there
	firstProbe = 5 * time.Second
	maxProbe   = time.Minute
)

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
	d.dests = map[mail.Destination]*dest{}
	d.work = sync.NewCond(&q.mu)
	d.alarm = make(chan struct{}, 1)
}

// setDest moves a domain to a destination; nil when the domain is of no use
// any more.
func (q *Queue) setDest(dom *domain, to *dest) {
	if old := dom.dest; old != nil {
		if old.domains--; old.domains == 0 && old.active == 0 && old.ready.len() == 0 && !old.dead {
			delete(q.dests, old.name)
		}
	}
	dom.dest = to
	if to != nil {
		to.domains++
		q.dests[to.name] = to
	}
}

func (q *Queue) dest(name mail.Destination) *dest {
	d := q.dests[name]
	if d == nil {
		d = &dest{name: name, limit: min(slowStart, q.o.PerDestination)}
		q.dests[name] = d
	}
	return d
}

// scheduleAll gives every pending recipient of e its place.
func (q *Queue) scheduleAll(e *entry) {
	now := q.nowMilli()
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

// makeReady puts a recipient that is due into the list of its destination.
func (q *Queue) makeReady(e *entry, r *rcpt) {
	r.phase = phaseReady
	d := r.dom.dest
	if n := d.ready.len(); n == 0 || d.ready.list[len(d.ready.list)-1] != e {
		d.ready.push(e) // one entry for all recipients of the destination
	}
	q.offer(d)
}

// offer puts d into the ring when it may have another attempt.
func (q *Queue) offer(d *dest) {
	if d.inRing || !q.runnable(d) {
		return
	}
	d.inRing = true
	q.ring = append(q.ring, d)
	q.needWorker()
}

func (q *Queue) runnable(d *dest) bool {
	if d.ready.len() == 0 {
		return false
	}
	if d.dead {
		return d.active == 0 && q.nowMilli() >= d.probeAt
	}
	return d.active < d.limit
}

func (q *Queue) needWorker() {
	if q.idle > 0 {
		q.work.Signal()
		return
	}
	if q.deliver != nil && !q.stopping && q.workers < q.o.Workers {
		q.workers++
		q.running.Add(1)
		go q.worker()
	}
}

// unit is one attempt: the recipients of a message that go to one destination.
type unit struct {
	e     *entry
	d     *dest
	rcpts []int
}

// pick takes the next attempt off the ring.
func (q *Queue) pick() (unit, bool) {
	for len(q.ring) > 0 {
		d := q.ring[0]
		q.ring = q.ring[1:]
		d.inRing = false
		for q.runnable(d) {
			e := d.ready.pop()
			rcpts := e.take(d)
			if len(rcpts) == 0 {
				q.follow(e)
				continue
			}
			e.active++
			e.tried = true
			d.active++
			q.offer(d)
			return unit{e, d, rcpts}, true
		}
	}
	return unit{}, false
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
	q.stopping = true
	q.work.Broadcast()
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
	for range len(q.ring) {
		q.needWorker()
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
	for _, d := range q.dests {
		if d.dead && d.active == 0 && (d.ready.len() > 0 || q.probe(d, now)) {
			q.offer(d)
			if !d.inRing {
				wait = min(wait, d.probeAt-now)
			}
		}
	}
	return time.Duration(max(wait, 0)) * time.Millisecond
}

// ripen makes the due recipients of e ready. Others have an item of their own.
func (q *Queue) ripen(e *entry, now int64) {
	if e.gone {
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
			q.idle--
			continue
		}
		q.attempt(u)
	}
	q.workers--
}

// Near may be implemented by a Deliverer. It tells the next hops of our own
// from strangers: only the former may be asked each minute whether they are
// back (RFC 5321 section 4.5.4.1 wants half an hour).
type Near interface {
	Near(d mail.Destination) bool
}

func (q *Queue) near(d *dest) bool {
	n, ok := q.deliver.(Near)
	return !ok || n.Near(d.name)
}

// feedback adapts the concurrency of d to what an attempt met: it doubles each
// round of successes, and halves with each failure to reach the next hop. When
// there is no next hop, or after a few failures, only a probe goes out now and
// then.
func (q *Queue) feedback(d *dest, outs []mail.Outcome) {
	if !reached(outs) {
		d.fails++
		d.limit = max(1, d.limit/2)
		if d.fails >= deadAfter || !connected(outs) && q.near(d) {
			q.leaveToProbes(d)
		}
		return
	}
	revived := d.fails > 0
	d.fails, d.dead, d.waits = 0, false, nil
	d.limit = min(d.limit+1, q.o.PerDestination)
	if revived {
		q.revive(d)
	}
}

// leaveToProbes: the first one soon, each further one twice as late.
func (q *Queue) leaveToProbes(d *dest) {
	now := q.nowMilli()
	switch {
	case !d.dead:
		d.dead, d.delay = true, firstProbe
	case now < d.probeAt:
		return // not a probe: it was under way when the others failed
	default:
		d.delay = min(2*d.delay, maxProbe)
	}
	d.probeAt = now + d.delay.Milliseconds()
	q.wakeClock()
}

// probe brings one message forward when it is time to ask a dead destination
// again and nothing is due: else nobody would know that it is back before the
// first message comes due. It reports whether there is one.
func (q *Queue) probe(d *dest, now int64) bool {
	if d.waits == nil || !q.near(d) {
		return false
	}
	if now < d.probeAt || q.forward(d.waits, d) {
		return true
	}
	d.waits = nil // it is over, or an admin has it: another one?
	for _, item := range q.due {
		if q.forward(item.e, d) {
			d.waits = item.e
			return true
		}
	}
	return false
}

// forward makes the recipients of e ready that wait for d to come back.
func (q *Queue) forward(e *entry, d *dest) (done bool) {
	for i := range e.rcpts {
		r := &e.rcpts[i]
		if !e.gone && r.pending() && r.phase == phaseWait && r.unreached && r.dom.dest == d {
			if r.probes < 1<<8-1 {
				r.probes++
			}
			q.makeReady(e, r)
			done = true
		}
	}
	return done
}

// revive brings forward what waits only because the destination could not be
// reached.
func (q *Queue) revive(d *dest) {
	waiting := slices.SortedFunc(slices.Values(q.due), func(a, b dueItem) int { return cmp.Compare(a.serial, b.serial) })
	for _, item := range waiting {
		if item.e.gone {
			continue
		}
		for i := range item.e.rcpts {
			r := &item.e.rcpts[i]
			if r.pending() && r.phase == phaseWait && r.unreached && r.dom.dest == d {
				r.next = q.nowMilli()
				q.makeReady(item.e, r)
			}
		}
	}
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
	q.stopping = true
	q.work.Broadcast()
	q.mu.Unlock()
	q.wakeClock()
}

// expires is when recipients of e are given up.
func (q *Queue) expires(e *entry) time.Time {
	return time.UnixMilli(e.since).Add(q.o.Expire)
}

func (q *Queue) jitter() float64 { return rand.Float64() }
