package queue

import (
	"time"
)

// Destinations that may have another attempt stand in one of three rings. Each
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
	laneOther                 // mail exchangers of strangers
	laneSlow                  // the same, whose last attempt took longer than slowAfter
	lanes
)

// slowAfter is how long an attempt for a stranger may take before the next one
// has to wait in the slow lane. Tarpits answer each command after minutes.
const slowAfter = time.Minute

// turns is who gets which, as long as there is somebody in the lane.
var turns = [...]laneName{laneOwn, laneOther, laneOwn, laneSlow, laneOwn, laneOther, laneOwn}

// most is the attempts at a time of a lane: together more than there are
// workers, and none can have all.
func (l laneName) most(workers int) int {
	switch l {
	case laneOther:
		return max(1, workers/4)
	case laneSlow:
		return max(1, workers/4)
	}
	return max(1, workers-workers/8)
}

func (q *Queue) lane(d *dest) laneName {
	switch {
	case q.near(d):
		return laneOwn
	case d.slow:
		return laneSlow
	}
	return laneOther
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
		l.ring = l.ring[1:]
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

// took notes how long an attempt took.
func (d *dest) took(t time.Duration) { d.slow = t > slowAfter }
