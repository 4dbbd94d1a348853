package queue

import "runtime"

// cursor stands in the list of messages between two steps of a walk. While the
// lock is given up messages may end; remove moves the cursors that stand on
// one. So a walk that is slow, or stands still because its reader does, keeps
// no message that is over in memory.
type cursor struct{ next *entry }

// walkPortion is how many messages a walk looks at before others get the lock.
const walkPortion = 1024

// walk calls f for each message, oldest first, until f returns false. The
// caller holds q.mu, which is given up now and then; f may give it up too.
// What arrives or leaves meanwhile may or may not be seen.
func (q *Queue) walk(f func(e *entry) bool) {
	c := q.openCursor()
	defer q.closeCursor(c)
	for steps := 1; ; steps++ {
		e := c.step()
		if e == nil || !f(e) {
			return
		}
		if steps%walkPortion == 0 {
			q.breathe()
		}
	}
}

// breathe gives up q.mu for whoever waits for it. Without the pause the lock
// would mostly be taken again before a waiter is awake.
func (q *Queue) breathe() {
	q.mu.Unlock()
	runtime.Gosched()
	q.mu.Lock()
}

func (q *Queue) openCursor() *cursor {
	c := &cursor{q.first}
	q.cursors[c] = struct{}{}
	return c
}

func (q *Queue) closeCursor(c *cursor) { delete(q.cursors, c) }

func (c *cursor) step() *entry {
	e := c.next
	if e != nil {
		c.next = e.next
	}
	return e
}

// unlist takes e out of the list. Its pointers are cut, or each message that
// is over would keep its neighbours in memory, and they theirs.
func (q *Queue) unlist(e *entry) {
	for c := range q.cursors {
		if c.next == e {
			c.next = e.next
		}
	}
	if e.prev == nil {
		q.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		q.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
}
