package filter

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// run is one check at work on one transaction. The session that started it
// joins it; report is read only after that.
type run struct {
	name   string
	m      *Metrics
	begin  time.Time
	took   time.Duration
	report Report
	off    *CheckResult // of a check that is switched off: all there is to say

	done    chan struct{} // closed when a background check has returned; nil in line
	cancel  context.CancelFunc
	expired atomic.Bool // expire has cancelled it
	stream  Stream      // of a Streamer
}

// background starts c in the pool.
func (p *Pipeline) background(ctx context.Context, c Check, tx *Transaction, limit time.Duration) *run {
	r, off := p.newRun(c)
	if off {
		return r
	}
	r.done = make(chan struct{})
	ctx, r.cancel = context.WithTimeout(ctx, limit)
	go func() {
		growStack(false)
		defer close(r.done)
		err := p.pool.do(ctx, func() { r.protect(func() { r.report = c.Run(ctx, tx) }) })
		if err != nil {
			r.report = Report{State: Timeout, Cause: err}
		}
		r.took = time.Since(r.begin)
	}()
	return r
}

// growStack makes the stack of a goroutine that has just begun large enough for
// most checks at once. It begins with 2 KiB, and doubles whenever a call finds it
// full: each time all frames are copied and their pointers mended, which took
// longer than an SPF check whose answers are in the cache. Nobody says true: the
// frame has room that nothing touches.
//
//go:noinline
func growStack(touch bool) {
	if touch {
		var room [8 << 10]byte
		use(&room)
	}
}

//go:noinline
func use(*[8 << 10]byte) {}

// follow starts a check that pulls the message while it arrives. It holds no
// worker of the pool, or slow senders would use them up: its number is bounded
// by the sessions, and the scanner behind it has slots of its own. Its
// deadline begins at the final dot (Inspection.Judge); before that the
// session's own limits hold.
func (p *Pipeline) follow(ctx context.Context, c Check, tx *Transaction) *run {
	r, off := p.newRun(c)
	if off {
		return r
	}
	r.done = make(chan struct{})
	ctx, r.cancel = context.WithCancel(ctx)
	view := *tx // Content and Facts are set later, by the session alone
	go func() {
		defer close(r.done)
		r.protect(func() { r.report = c.Run(ctx, &view) })
		r.took = time.Since(r.begin)
	}()
	return r
}

// expire ends a following check that is not done limit from now. The returned
// function releases the timer.
func (r *run) expire(limit time.Duration) (release func()) {
	t := time.AfterFunc(limit, func() {
		r.expired.Store(true)
		r.cancel()
	})
	return func() { t.Stop() }
}

// inline runs c to its end on the caller's goroutine.
func (p *Pipeline) inline(ctx context.Context, c Check, tx *Transaction, limit time.Duration) *run {
	r, off := p.newRun(c)
	if off {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r.protect(func() { r.report = c.Run(ctx, tx) })
	r.took = time.Since(r.begin)
	return r
}

// start begins a Streamer. Its stream stays nil when it is switched off or
// failed already.
func (p *Pipeline) start(ctx context.Context, c Streamer, tx *Transaction) *run {
	r, off := p.newRun(c)
	if off {
		return r
	}
	r.protect(func() { r.stream = c.Start(ctx, tx) })
	r.took = time.Since(r.begin)
	return r
}

func (r *run) write(b []byte) {
	if r.stream == nil {
		return
	}
	begin := time.Now()
	r.protect(func() { r.stream.Write(b) })
	r.took += time.Since(begin)
}

// end finishes a stream, or waits for a background check.
func (r *run) end(ctx context.Context) {
	switch {
	case r.stream != nil:
		begin := time.Now()
		r.protect(func() { r.report = r.stream.End(ctx) })
		r.stream = nil
		r.took += time.Since(begin)
	case r.done != nil:
		<-r.done // the check returns soon after its own deadline
		if r.expired.Load() && r.report.State != OK {
			r.report.State = Timeout // it only knows that it was cancelled
		}
	}
	if r.cancel != nil {
		r.cancel()
	}
}

// abort ends the check without a report and waits until it has let go of the
// transaction.
func (r *run) abort() {
	if r.stream != nil {
		r.protect(r.stream.Abort)
		r.stream = nil
	}
	if r.cancel != nil {
		r.cancel()
	}
	if r.done != nil {
		<-r.done
	}
}

// protect turns a panic of a check into its Error state: one message that
// breaks a parser must neither end the process nor pass as clean.
func (r *run) protect(fn func()) {
	defer func() {
		if v := recover(); v != nil {
			r.m.panics.Inc()
			slog.Error("check panicked", "check", r.name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			if r.stream != nil { // the session reads it meanwhile, when the check is no Streamer
				r.stream = nil
			}
			r.report = Report{State: Error, Cause: fmt.Errorf("panic: %v", v)}
		}
	}()
	fn()
}

// newRun begins a run of c. That of a check which is switched off is over, and
// the same for all transactions.
func (p *Pipeline) newRun(c Check) (r *run, off bool) {
	if r, off = p.off[c.Name()]; off {
		return r, true
	}
	return &run{name: c.Name(), m: p.m, begin: time.Now()}, false
}

// observe counts the end of a check. One that forgot its state is an error; one
// that is switched off never began.
func (p *Pipeline) observe(r *run) {
	if r.off != nil {
		return
	}
	o, ok := p.durations[ending{r.name, r.report.State}]
	if !ok {
		o = p.durations[ending{r.name, Error}]
	}
	o.Observe(r.took.Seconds())
}
