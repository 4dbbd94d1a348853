package dns

import (
	"context"
	"errors"
	"slices"
	"time"

	wire "github.com/miekg/dns"
)

// How many queries one look-up may send.
const (
	minAttempts = 3 // with one server: a datagram may get lost
	maxAttempts = 6
)

var (
	errLate     = errors.New("no reply in time")
	errServFail = errors.New("server failure")
	errRefused  = errors.New("refused")
)

// attempt is one query to one server, and what came of it.
type attempt struct {
	srv     *server
	started time.Time
	late    bool // it has been counted as a failure already
	answer  *answer
	err     error
}

// plan lists the servers to ask, in order and again until there are enough
// attempts: those that answer first, then those that are behind.
func (r *Resolver) plan(k key) []*server {
	now := time.Now()
	var good, bad, due []*server
	for _, s := range r.servers {
		behind, probe := s.state(now)
		if !behind {
			good = append(good, s)
			continue
		}
		bad = append(bad, s)
		if probe {
			due = append(due, s)
		}
	}
	if len(good) > 0 { // else the look-up itself is the probe
		for _, s := range due {
			r.spawn(func() { r.probe(s, k) })
		}
	}
	plan := append(good, bad...)
	n := min(max(len(plan), minAttempts), maxAttempts)
	for i := 0; len(plan) < n; i++ {
		plan = append(plan, plan[i])
	}
	return plan[:n]
}

// probe asks a server that is behind, beside the look-up and at nobody's cost,
// whether it answers again.
func (r *Resolver) probe(s *server, k key) {
	ctx, cancel := context.WithTimeout(r.ctx, r.timeout)
	defer cancel()
	a := attempt{srv: s, started: time.Now()}
	if _, a.err = r.query(ctx, s, k); r.ctx.Err() == nil {
		a.settle()
	}
}

// settle tells the server's breaker how the attempt ended.
func (a *attempt) settle() {
	switch {
	case a.err == nil:
		a.srv.ok()
	case !a.late:
		a.srv.failed(a.err, a.started)
	}
}

// overdue counts an attempt as failed that is still under way. If its answer
// comes after all, settle makes that good.
func (a *attempt) overdue() {
	if a != nil && !a.late {
		a.late = true
		a.srv.failed(errLate, a.started)
	}
}

// ask finds the answer to k. An attempt that takes too long gets company by
// the next one, but is still listened to: so a lost datagram and a dead server
// cost a fraction of the time-out, and a slow answer is not lost.
func (r *Resolver) ask(ctx context.Context, k key) *answer {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the attempts that lost; Close waits for them
	plan := r.plan(k)
	results := make(chan *attempt, len(plan))
	step := r.timeout / time.Duration(len(plan)+1)
	next := time.NewTimer(0)
	defer next.Stop()
	var latest *attempt // the one that is waited for
	var cause error
	for pending := 0; pending > 0 || len(plan) > 0; {
		select {
		case <-next.C:
			latest.overdue()
		case a := <-results:
			pending--
			a.settle()
			if a.err == nil {
				return a.answer
			}
			if cause = a.err; errors.Is(cause, errServFail) || errors.Is(cause, errRefused) {
				plan = without(plan, a.srv) // it said its last word
			}
		case <-ctx.Done():
			latest.overdue()
			if cause == nil {
				cause = errLate
			}
			return failed(k, Temporary, cause)
		}
		if len(plan) > 0 {
			latest = r.launch(ctx, plan[0], k, results)
			plan = plan[1:]
			pending++
			next.Reset(step)
		}
	}
	return failed(k, Temporary, cause)
}

// launch starts one attempt. Until it is in results, answer and err are its
// goroutine's, and late is the caller's.
func (r *Resolver) launch(ctx context.Context, s *server, k key, results chan<- *attempt) *attempt {
	a := &attempt{srv: s, started: time.Now()}
	run := func() {
		a.answer, a.err = r.query(ctx, s, k)
		results <- a // has room for all attempts: never blocks
	}
	if !r.spawn(run) {
		a.err = errClosed
		results <- a
	}
	return a
}

func without(plan []*server, s *server) []*server {
	return slices.DeleteFunc(slices.Clone(plan), func(p *server) bool { return p == s })
}

// query is the question as this server gets it.
func (s *server) query(k key, edns bool) *query {
	q := newQuery(k, edns)
	if s.trusted {
		q.askAD()
	}
	if s.tls && edns {
		q.pad()
	}
	return q
}

// query asks one server once; twice when it does not know EDNS (RFC 6891
// section 7).
func (r *Resolver) query(ctx context.Context, s *server, k key) (*answer, error) {
	q := s.query(k, true)
	reply, err := r.exchange(ctx, s, q)
	if err == nil && (rcode(reply) == wire.RcodeFormatError || rcode(reply) == wire.RcodeNotImplemented) {
		q = s.query(k, false)
		reply, err = r.exchange(ctx, s, q)
	}
	if err != nil {
		return nil, err
	}
	a, err := parse(q, reply)
	if err == nil && s.trusted && validated(reply) {
		a.validated = true
		r.metrics.validated.Inc()
	}
	return a, err
}
