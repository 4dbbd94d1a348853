package queue

import (
	"time"

	"mailweir/mail"
)

// Destinations that may have another attempt stand in one of four rings. Each
// ring has its share of the turns, and a number of attempts at a time that it
// cannot exceed: thousands of domains elsewhere take little from our own next
// hops, and those that keep us waiting little from the others elsewhere.

// lane is a ring.
type lane struct {
	ring   []*dest
	active int // attempts under way
	most   int // of them
}

type laneName int

const (
	laneOwn   laneName = iota // next hops of our own
	laneKnown                 // exchangers of strangers that have answered before
	laneNew                   // others of strangers
	laneSlow                  // those of strangers whose last attempt took longer than slowAfter
	lanes
)

const (
	// slowAfter is how long an attempt for a stranger may take before the next
	// one has to wait in the slow lane. Tarpits answer each command after
	// minutes.
	slowAfter = time.Minute
	// maxKnown bounds how many strangers are known: who is forgotten is new.
	maxKnown = 8192
)

// turns is who gets which, as long as there is somebody in the lane.
var turns = [...]laneName{laneOwn, laneKnown, laneOwn, laneNew, laneOwn, laneKnown, laneOwn, laneSlow}

// most is the attempts at a time of a lane: together more than there are
// workers, and none can have all. Strangers have half of them at most.
func (l laneName) most(workers int) int {
	switch l {
	case laneOwn:
		return max(1, workers-workers/8)
	case laneKnown:
		return max(1, workers/4)
	}
	return max(1, workers/8)
}

func (q *Queue) lane(d *dest) laneName {
	if q.near(d) {
		return laneOwn
	}
	if d.slow {
		return laneSlow
	}
	if _, ok := q.known[d.name]; ok {
		return laneKnown
	}
	return laneNew
}

// learn notes how an attempt for a stranger went.
func (q *Queue) learn(d *dest, took time.Duration, outs []mail.Outcome) {
	if q.near(d) {
		return
	}
	d.slow = took > slowAfter
	if d.slow || !reached(outs) {
		return
	}
	if _, ok := q.known[d.name]; !ok && len(q.known) >= maxKnown {
		for other := range q.known { // any
			delete(q.known, other)
			break
		}
	}
	q.known[d.name] = struct{}{}
}

// offer puts d into its ring when it may have another attempt.
func (q *Queue) offer(d *dest) {
	if d.inRing || !q.runnable(d) {
		return
	}
	d.inRing = true
	l := &q.lanes[q.lane(d)]
	l.ring = append(l.ring, d)
	q.needWorker()
}

func (q *Queue) runnable(d *dest) bool {
	if d.waiting == 0 {
		return false
	}
	if d.dead {
		return d.active == 0 && q.nowMilli() >= d.probeAt
	}
	return d.active < d.limit
}

// unit is one attempt: the recipients of a message that go to one destination.
type unit struct {
	e     *entry
	d     *dest
	rcpts []int
	lane  laneName
}

// pick takes the next attempt: of the lane whose turn it is, or else of any.
func (q *Queue) pick() (unit, bool) {
	q.turn++
	first := turns[q.turn%len(turns)]
	if u, ok := q.pickFrom(first); ok {
		return u, true
	}
	for l := range lanes {
		if l != first {
			if u, ok := q.pickFrom(l); ok {
				return u, true
			}
		}
	}
	return unit{}, false
}

func (q *Queue) pickFrom(name laneName) (unit, bool) {
	l := &q.lanes[name]
	for len(l.ring) > 0 && l.active < l.most {
		d := l.ring[0]
		l.ring = behind(l.ring)
		d.inRing = false
		if q.lane(d) != name {
			q.offer(d)
			continue
		}
		for q.runnable(d) {
			e := d.pop()
			rcpts := e.take(d)
			if len(rcpts) == 0 {
				q.follow(e)
				continue
			}
			e.active++
			e.tried = true
			d.active++
			l.active++
			q.offer(d)
			return unit{e, d, rcpts, name}, true
		}
	}
	return unit{}, false
}

// finish ends a unit: its destination, and its lane, may have another attempt.
func (q *Queue) finish(u unit) {
	u.e.active--
	u.d.active--
	l := &q.lanes[u.lane]
	l.active--
	q.offer(u.d)
	if len(l.ring) > 0 {
		q.needWorker()
	}
	if u.d.dead {
		q.wakeClock()
	} else {
		q.dropDest(u.d)
	}
}
