package queue

import (
	"time"

	"mailweir/mail"
)

// Why tells why a message is still here.
type Why struct {
	ID    mail.ID `json:"id"`
	State State   `json:"state"`
	Waits []Wait  `json:"waits"` // one for all recipients that wait for the same
}

// Limit is what stands between a recipient and its next hop.
type Limit string

// The limits. A recipient has the one that it would hit first.
const (
	LimitHeld        Limit = "held"        // an admin must release it
	LimitActive      Limit = "active"      // none: it is being relayed
	LimitRate        Limit = "rate"        // it is in no hurry: few of its class a minute
	LimitSchedule    Limit = "schedule"    // the time of its next attempt
	LimitProbe       Limit = "probe"       // its destination is dead: one probe at a time
	LimitConcurrency Limit = "concurrency" // attempts at a time to its destination
	LimitWorkers     Limit = "workers"     // attempts at a time in all
	LimitStopped     Limit = "stopped"     // no deliveries are made at all
)

// Wait is what some recipients of a message wait for.
type Wait struct {
	Recipients  []mail.Path      `json:"recipients"`
	Text        string           `json:"text"` // all of this in a sentence
	Limit       Limit            `json:"limit"`
	Destination mail.Destination `json:"destination"`
	Rerouted    bool             `json:"rerouted"` // by an admin or a rule
	Hold        string           `json:"hold"`
	NextAttempt *time.Time       `json:"next_attempt"`
	Probe       *time.Time       `json:"probe"` // of a dead destination
	Until       *time.Time       `json:"until"` // when it is given up, or deleted when it is held
	Attempts    int              `json:"attempts"`
	NextHop     string           `json:"next_hop"`
	Reply       string           `json:"reply"`
	Fails       int              `json:"fails"`          // attempts in a row that did not reach the destination
	Fault       string           `json:"fault"`          // what the last of them met
	Concurrency int              `json:"concurrency"`    // attempts to it at a time, now
	Rate        int              `json:"rate,omitempty"` // attempts a minute of its class
	Ahead       int              `json:"ahead"`          // messages with their turn before
}

// Why explains one message.
func (q *Queue) Why(id mail.ID) (Why, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[id]
	if e == nil {
		return Why{}, false
	}
	s, err := q.load(e)
	if err != nil || e.gone {
		return Why{}, false
	}
	states := q.texts(e, s)
	if e.gone {
		return Why{}, false
	}
	w := Why{ID: id, State: e.state()}
	now := q.now()
	for i := range e.rcpts {
		if e.rcpts[i].pending() {
			wait := q.waits(e, &states[i])
			wait.Text = wait.sentence(now)
			w.add(wait, s.env.Recipients[i].Path)
		}
	}
	return w, true
}

// add puts recipients that wait for the same together. Their next attempts
// differ by the jitter: the first counts.
func (w *Why) add(wait Wait, p mail.Path) {
	for i := range w.Waits {
		other := &w.Waits[i]
		if !other.same(&wait) {
			continue
		}
		if wait.NextAttempt != nil && wait.NextAttempt.Before(*other.NextAttempt) {
			other.NextAttempt, other.Text = wait.NextAttempt, wait.Text
		}
		other.Recipients = append(other.Recipients, p)
		return
	}
	wait.Recipients = []mail.Path{p}
	w.Waits = append(w.Waits, wait)
}

func (w *Wait) same(o *Wait) bool {
	return w.Limit == o.Limit && w.Destination == o.Destination && w.Hold == o.Hold && w.Attempts == o.Attempts &&
		w.NextHop == o.NextHop && w.Reply == o.Reply && (w.NextAttempt == nil) == (o.NextAttempt == nil)
}

// waits tells what one recipient of e waits for.
func (q *Queue) waits(e *entry, s *rcptState) Wait {
	r := &e.rcpts[s.index]
	w := Wait{
		Rerouted: r.dom.to != "", Destination: r.dom.to, Hold: s.hold,
		Attempts: s.attempts, NextHop: s.nextHop, Reply: s.reply.String(),
	}
	w.Until = moment(q.expires(e).UnixMilli())
	if r.phase == phaseHeld {
		w.Limit = LimitHeld
		w.Until = moment(e.since + q.o.QuarantineKeep.Milliseconds())
		return w
	}
	if r.phase == phaseWait && r.next > 0 {
		w.NextAttempt = moment(r.next)
	}
	if q.route == nil || q.stopping || q.halted() {
		w.Limit = LimitStopped
		return w
	}
	q.limit(&w, e, r)
	return w
}

// limit finds the limit in force for a recipient of a running queue.
func (q *Queue) limit(w *Wait, e *entry, r *rcpt) {
	d := r.dom.dest
	w.Destination, w.Fails, w.Concurrency = d.name, d.fails, d.limit
	if d.fails > 0 {
		w.Fault = d.fault.String()
	}
	switch {
	case r.phase == phaseActive:
		w.Limit = LimitActive
	case d.dead && (r.phase == phaseReady || r.is(unreachedMark)):
		w.Limit, w.Concurrency = LimitProbe, 1
		if d.active == 0 {
			w.Probe = moment(d.probeAt)
		}
		w.Ahead = d.ahead(r.dom, e)
	case r.phase == phaseWait && r.is(pacedMark):
		w.Limit, w.Rate = LimitRate, q.o.LowRate
	case r.phase == phaseWait:
		w.Limit = LimitSchedule
	case d.active >= d.limit:
		w.Limit = LimitConcurrency
		w.Ahead = d.ahead(r.dom, e)
	default:
		w.Limit = LimitWorkers
		w.Ahead = d.ahead(r.dom, e)
	}
}

func moment(ms int64) *time.Time {
	t := time.UnixMilli(ms).UTC()
	return &t
}
