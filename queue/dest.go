package queue

import (
	"slices"
	"time"

	"mailweir/mail"
)

// dest is a destination. What is due there stands in the lists of its domains,
// which take turns: one with many messages does not delay another that shares
// its next hop. Guarded by Queue.mu.
type dest struct {
	name    mail.Destination
	domains int
	active  int
	inRing  bool
	slow    bool // its last attempt took long

	waiting int       // entries in the lists of its domains
	few     []*domain // with something due, in the order of their turns
	many    []*domain // the same, with more than longList
	low     []*domain // the same, of messages in no hurry
	turn    int
	lowTurn int

	limit   int           // attempts at a time: grows with success
	gentle  bool          // it was dead: the limit grows by one a round
	won     int           // successes of this round
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
	deadKept   = 10 * time.Minute // how long a dead destination is remembered that nothing waits for

	// A domain with a long list gets one turn in longTurns while others have
	// something due: they are delayed by a ninth at most.
	longList  = 1000
	longTurns = 10
)

// push puts an entry into the list of its domain, once for all recipients.
func (d *dest) push(dom *domain, e *entry) {
	f := &dom.ready
	if n := f.len(); n > 0 && f.list[len(f.list)-1] == e {
		return
	}
	f.push(e)
	d.waiting++
	if f.len() == 1 {
		d.queue(dom)
	}
}

// queue gives a domain its next turn, after all others.
func (d *dest) queue(dom *domain) {
	if dom.low {
		d.low = append(d.low, dom)
	} else if dom.ready.len() > longList {
		d.many = append(d.many, dom)
	} else {
		d.few = append(d.few, dom)
	}
}

// pop takes the entry whose turn it is; there is one.
func (d *dest) pop() *entry {
	from := d.next()
	dom := (*from)[0]
	*from = behind(*from)
	e := dom.ready.pop()
	d.waiting--
	if dom.ready.len() > 0 {
		d.queue(dom)
	}
	return e
}

// behind is list without its first element. The last one leaves the memory as
// it was: mostly one destination, and one domain, comes and goes.
func behind[T any](list []T) []T {
	if len(list) == 1 {
		clear(list)
		return list[:0]
	}
	return list[1:]
}

// next is the list whose turn it is.
func (d *dest) next() *[]*domain {
	if len(d.low) > 0 {
		if d.lowTurn++; len(d.few)+len(d.many) == 0 || d.lowTurn%lowTurns == 0 {
			return &d.low
		}
	}
	if len(d.few) == 0 {
		return &d.many
	}
	if len(d.many) > 0 {
		if d.turn++; d.turn%longTurns == 0 {
			return &d.many
		}
	}
	return &d.few
}

// leave takes a domain with all that is due out of d.
func (d *dest) leave(dom *domain) {
	if n := dom.ready.len(); n > 0 {
		d.waiting -= n
		is := func(other *domain) bool { return other == dom }
		d.few, d.many, d.low = slices.DeleteFunc(d.few, is), slices.DeleteFunc(d.many, is), slices.DeleteFunc(d.low, is)
	}
}

func (d *dest) enter(dom *domain) {
	if n := dom.ready.len(); n > 0 {
		d.waiting += n
		d.queue(dom)
	}
}

// ahead is how many entries come before e, which is in the list of dom or not.
func (d *dest) ahead(dom *domain, e *entry) int {
	n := 0
	for _, other := range dom.ready.list[dom.ready.head:] {
		if other == e {
			break
		}
		if !other.gone {
			n++
		}
	}
	before := n // and as many of each other domain
	for _, list := range [][]*domain{d.few, d.many, d.low} {
		for _, other := range list {
			if other != dom {
				before += min(n, other.ready.len())
			}
		}
	}
	return before
}

// setDest moves a domain to a destination; nil when the domain is of no use
// any more.
func (q *Queue) setDest(dom *domain, to *dest) {
	old := dom.dest
	if old == to {
		return
	}
	if old != nil {
		old.leave(dom)
		old.domains--
	}
	dom.dest = to
	if to != nil {
		to.domains++
		to.enter(dom)
		q.dests[to.name] = to
		q.offer(to)
	}
	if old != nil && !old.dead {
		q.dropDest(old)
	}
}

// dropDest forgets a destination that nothing is for.
func (q *Queue) dropDest(d *dest) {
	if d.domains == 0 && d.active == 0 && q.dests[d.name] == d {
		delete(q.dests, d.name)
		delete(q.dead, d)
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

// feedback adapts the concurrency of d to what an attempt met: it doubles each
// round of successes, and halves with each failure to reach the next hop. When
// there is no next hop, or after a few failures, only a probe goes out now and
// then. One that was dead gets one more a round: it has a backlog, and may have
// a reason to be slow.
func (q *Queue) feedback(d *dest, outs []mail.Outcome) {
	if !reached(outs) {
		d.fails++
		d.limit = max(1, d.limit/2)
		if d.fails >= deadAfter || !connected(outs) && q.near(d) {
			q.leaveToProbes(d)
		}
		return
	}
	if d.fails > 0 {
		q.revived = append(q.revived, d)
		q.wakeClock()
	}
	if d.dead {
		d.dead, d.gentle, d.won = false, true, 0
		d.limit = min(d.limit, slowStart)
		delete(q.dead, d)
	}
	d.fails, d.waits = 0, nil
	d.grow(q.o.PerDestination)
}

func (d *dest) grow(most int) {
	if d.gentle {
		if d.won++; d.won < d.limit {
			return
		}
		d.won = 0
	}
	d.limit = min(d.limit+1, most)
	d.gentle = d.gentle && d.limit < most
}

// leaveToProbes: the first one soon, each further one twice as late.
func (q *Queue) leaveToProbes(d *dest) {
	now := q.nowMilli()
	switch {
	case !d.dead:
		d.dead, d.delay = true, firstProbe
		q.dead[d] = struct{}{}
	case now < d.probeAt:
		return // not a probe: it was under way when the others failed
	default:
		d.delay = min(2*d.delay, maxProbe)
	}
	d.probeAt = now + d.delay.Milliseconds()
	q.wakeClock()
}
