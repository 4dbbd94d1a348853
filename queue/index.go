package queue

import "mailweir/mail"

// entry is a message in memory: what scheduling and accounts need, and where
// the rest is. A million of them must fit, so there is no text in it.
// Guarded by Queue.mu.
type entry struct {
	id         mail.ID
	prev, next *entry // in the order of arrival
	chunk      *chunk // has the current copy at mem, unless evicted
	mem        uint32
	recLen     uint32 // of the current copy's record
	at         loc    // of it; the zero loc before it is durable
	since      int64  // Unix milliseconds that expiry counts from: arrival or release
	size       int64
	rcpts      []rcpt

	gen    uint32 // of the current copy
	key    uint32 // the epoch whose key seals what is appended of it, 0: plain
	copies uint8  // that exist in segments, dead ones included
	active uint8  // attempts under way
	big    bool   // the body is in big/<id>
	dsn    bool   // null reverse-path
	gone   bool   // over
	low    bool   // of our own, in no hurry
	tried  bool   // an attempt was made since the start
}

// rcpt is one recipient of an entry.
type rcpt struct {
	dom      *domain
	next     int64 // Unix milliseconds of the next attempt
	state    loc   // of the record with its last reply
	attempts uint16
	hold     uint16 // index into Queue.reasons, 0: not held
	status   uint8
	phase    phase
	marks    marks
	probes   uint8 // attempts that were made early, which the schedule does not count
}

// marks are what else is known of a recipient.
type marks uint8

const (
	// unreachedMark: the last attempt did not get as far as the next hop. It
	// is made again as soon as another one does.
	unreachedMark marks = 1 << iota
	// delayMark: the sender was told of the delay, or is not to be told.
	delayMark
	// pacedMark: next is a moment that paced gave it.
	pacedMark
)

func (r *rcpt) is(m marks) bool { return r.marks&m != 0 }

func (r *rcpt) mark(m marks, on bool) {
	r.marks &^= m
	if on {
		r.marks |= m
	}
}

// phase is where a pending recipient stands in the schedule.
type phase uint8

const (
	phaseWait   phase = iota // for its time, in the heap
	phaseReady               // for its turn, in its destination's list
	phaseActive              // for the outcome of an attempt
	phaseHeld                // for an admin
)

func (r *rcpt) pending() bool { return r.status == statusPending }

// domain is the domain of recipients. Their destination hangs on it: Route is
// asked for a path in it, and again with the real one when the message is at
// hand. Recipients that
// an admin rerouted, and those of messages in no hurry, have a domain of their
// own, with the same name.
type domain struct {
	name string
	to   mail.Destination // in place of what Route says; "" for that
	low  bool             // of messages in no hurry
	dest *dest            // nil before Run
	refs int

	ready fifo // what is due
}

// tomb remembers a message that is over while copies of it lie in segments
// other than the one with its tombstone.
type tomb struct {
	at     uint32 // segment of the tombstone
	others uint16 // copies elsewhere
	own    bool   // a copy in the same segment
}

func (e *entry) live() int {
	n := 0
	for i := range e.rcpts {
		if e.rcpts[i].pending() {
			n++
		}
	}
	return n
}

// makeEntry makes room for an entry and its recipients; mostly there is one,
// and it lies beside the entry.
func makeEntry(n int) *entry {
	if n == 1 {
		both := &struct {
			entry
			rcpt [1]rcpt
		}{}
		both.rcpts = both.rcpt[:]
		return &both.entry
	}
	return &entry{rcpts: make([]rcpt, n)}
}

// newEntry indexes nothing yet; that is for when its record is durable. The
// caller holds q.mu.
func (q *Queue) newEntry(id mail.ID, env *mail.Envelope, size, since int64) *entry {
	e := makeEntry(len(env.Recipients))
	e.id, e.since, e.size, e.dsn, e.low = id, since, size, env.ReversePath.IsNull(), env.Low
	for i := range e.rcpts {
		r := &e.rcpts[i]
		r.dom = q.intern(mail.CanonicalDomain(env.Recipients[i].Path.Domain()), env.Recipients[i].NextHop, e.low)
		if r.hold = q.reason(env.Recipients[i].Hold); r.hold != 0 {
			r.phase = phaseHeld
		}
	}
	return e
}

// restore sets a recipient to a state that was read from the log.
func (q *Queue) restore(r *rcpt, s *rcptState) {
	r.mark(unreachedMark, s.unreached)
	r.mark(delayMark, s.told)
	r.status, r.attempts, r.next = s.status, uint16(min(s.attempts, 1<<16-1)), s.next
	r.hold = q.reason(s.hold)
	q.redirect(r, s.to)
	r.phase = phaseWait
	if r.hold != 0 {
		r.phase = phaseHeld
	}
}

// intern finds or makes a domain; its name is canonical.
func (q *Queue) intern(name string, to mail.Destination, low bool) *domain {
	key := domainKey(name, to, low)
	d := q.domains[key]
	if d == nil {
		d = &domain{name: name, to: to, low: low}
		q.domains[key] = d
		if q.route != nil {
			q.setDest(d, q.dest(q.routeTo(d, d.path())))
		}
	}
	d.refs++
	return d
}

// path is one in d. Where a domain goes does not hang on the mailbox.
func (d *domain) path() mail.Path {
	if d.name == "" {
		return "postmaster"
	}
	return mail.Path("postmaster@" + d.name)
}

// domainKey: no domain has a space in it.
func domainKey(name string, to mail.Destination, low bool) string {
	if low {
		name += " low"
	}
	if to == "" {
		return name
	}
	return name + " " + string(to)
}

// routeTo is the destination of a recipient of d.
func (q *Queue) routeTo(d *domain, p mail.Path) mail.Destination {
	if d.to != "" {
		return d.to
	}
	return q.route(p)
}

// redirect sends a recipient elsewhere; "" is where Route says.
func (q *Queue) redirect(r *rcpt, to mail.Destination) {
	old := r.dom
	if old.to == to {
		return
	}
	r.dom = q.intern(old.name, to, old.low)
	q.releaseDomain(old)
}

func (q *Queue) releaseDomain(d *domain) {
	if d.refs--; d.refs == 0 {
		delete(q.domains, domainKey(d.name, d.to, d.low))
		q.setDest(d, nil)
	}
}

// reason interns a hold reason; there are as many as there are symbols.
func (q *Queue) reason(s string) uint16 {
	if s == "" {
		return 0
	}
	n, ok := q.reasonIndex[s]
	if !ok {
		if len(q.reasons) == 1<<16 {
			return q.reason("held")
		}
		n = uint16(len(q.reasons))
		q.reasons = append(q.reasons, s)
		q.reasonIndex[s] = n
	}
	return n
}

// insert puts e into the index and the accounts.
func (q *Queue) insert(e *entry) {
	q.entries[e.id] = e
	if q.last == nil {
		q.first = e
	} else {
		q.last.next, e.prev = e, q.last
	}
	q.last = e
	q.recipients += e.live()
	q.bytes += e.size
}

// remove takes e out of the index.
func (q *Queue) remove(e *entry) {
	e.gone = true
	delete(q.entries, e.id)
	q.dying[e.id] = e
	q.unlist(e)
	q.bytes -= e.size
	q.uncache(e)
	for i := range e.rcpts {
		q.releaseDomain(e.rcpts[i].dom)
	}
}

// settle follows batches that have become durable.
func (q *Queue) settle(s *segment, batches []*batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range batches {
		for i := range b.fixes {
			q.fix(s, b, &b.fixes[i])
		}
		s.used = b.at + roundUp(int64(b.end-b.start))
	}
}

func (q *Queue) fix(s *segment, b *batch, f *fixup) {
	at := s.at(b.at + int64(f.off))
	s.plain = s.plain || f.plain
	switch f.op {
	case fixAccept:
		q.insert(f.e)
		q.count(f)
		q.copyAt(s, f.e, at, f.len)
		q.cache(f, b)
		q.scheduleAll(f.e)
	case fixRelocate:
		q.uncache(f.e) // what lies in memory is the copy before
		q.copyAt(s, f.e, at, f.len)
		q.unseal(f.epoch)
		q.o.Metrics.compacted.Inc()
	case fixStates:
		s.ids = append(s.ids, f.e.id)
		for i := range f.states {
			q.stateAt(f.e, f.states[i].index, at)
		}
	case fixFinal:
		s.ids = append(s.ids, f.e.id)
		q.bury(s, f.e)
	case fixTomb:
		s.ids = append(s.ids, f.id)
		q.moveTomb(s, f.id)
	}
}

func (q *Queue) count(f *fixup) {
	accepted, generated := int64(len(f.e.rcpts)-f.generated), int64(f.generated)
	q.ledger.Generated += generated
	q.o.Metrics.generated.Add(float64(generated))
	q.ledger.Accepted += accepted
	q.o.Metrics.accepted.Add(float64(accepted))
}

// copyAt makes the record at the current copy of e, which carries the state of
// all its recipients.
func (q *Queue) copyAt(s *segment, e *entry, at loc, n uint32) {
	if old := q.segments[uint64(e.at.seg)]; old != nil {
		old.live--
		old.liveBytes -= int64(e.recLen)
	}
	for i := range e.rcpts {
		q.dropState(e, &e.rcpts[i])
	}
	e.at, e.recLen = at, n
	e.copies++
	s.live++
	s.liveBytes += int64(n)
	s.copies = append(s.copies, e.id)
	for i := range e.rcpts {
		e.rcpts[i].state = at
	}
}

// stateAt notes where the state of a recipient is. With the current copy it
// needs no account of its own.
func (q *Queue) stateAt(e *entry, i int, at loc) {
	if i >= len(e.rcpts) {
		return
	}
	r := &e.rcpts[i]
	q.dropState(e, r)
	r.state = at
	if s := q.segments[uint64(at.seg)]; s != nil {
		s.states++
	}
}

func (q *Queue) dropState(e *entry, r *rcpt) {
	if r.state == (loc{}) || r.state == e.at {
		return
	}
	if s := q.segments[uint64(r.state.seg)]; s != nil {
		s.states--
	}
	r.state = loc{}
}

// bury takes a finished entry out of the segments' accounts; s has its
// tombstone.
func (q *Queue) bury(s *segment, e *entry) {
	delete(q.dying, e.id)
	for i := range e.rcpts {
		q.dropState(e, &e.rcpts[i])
	}
	if old := q.segments[uint64(e.at.seg)]; old != nil {
		old.live--
		old.liveBytes -= int64(e.recLen)
	}
	t := tomb{at: uint32(s.number), others: uint16(e.copies)}
	if e.at.seg == t.at {
		t.own = true
		t.others--
	}
	if t.others > 0 {
		q.tombs[e.id] = t
		s.tombs++
	}
	if e.big {
		q.doomed = append(q.doomed, e.id)
	}
	q.unseal(e.key)
	q.poke()
}

// moveTomb makes s the home of a tombstone that was copied forward.
func (q *Queue) moveTomb(s *segment, id mail.ID) {
	t, ok := q.tombs[id]
	if !ok || t.at == uint32(s.number) {
		return
	}
	if old := q.segments[uint64(t.at)]; old != nil {
		old.tombs--
	}
	if t.own {
		t.own = false
		t.others++
	}
	t.at = uint32(s.number)
	q.tombs[id] = t
	s.tombs++
}

// copyGone follows the durable end of a segment with a copy of id.
func (q *Queue) copyGone(id mail.ID) {
	e := q.entries[id]
	if e == nil {
		e = q.dying[id] // over, but its tombstone is not durable yet
	}
	if e != nil {
		e.copies--
		return
	}
	t, ok := q.tombs[id]
	if !ok {
		return
	}
	if t.others--; t.others > 0 {
		q.tombs[id] = t
		return
	}
	delete(q.tombs, id)
	if s := q.segments[uint64(t.at)]; s != nil {
		s.tombs--
	}
}
