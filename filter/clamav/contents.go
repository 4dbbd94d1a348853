package clamav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"mailweir/filter"
)

// Contents gives what clamd might not find in the raw message by itself: the
// decoded parts, in every way that clients could read them.
type Contents interface {
	// Next is the next content, and words for what it is; nil after the last
	// one. What it gave before is not read any more then.
	Next() (io.Reader, string, error)
	// Incomplete says why Next did not give all; "" when it did.
	Incomplete() string
}

const (
	// maxContents is how many contents of one message are scanned.
	maxContents = 2000
	// maxBeside is how many of them are scanned beside each other: while clamd
	// looks at one, the next ones are on their way.
	maxBeside = 4
)

// scanning is the scan of what a message holds, while it arrives.
type scanning struct {
	k      *Check
	tx     *filter.Transaction
	cancel context.CancelCauseFunc
	done   chan struct{}
	result outcome // when done is closed
	failed error   // a panic
}

// outcome is what became of one content, or of all together.
type outcome struct {
	number int // in the order of Contents
	where  string
	v      Verdict
	err    error
	scans  int // contents that were looked at
}

// errEnough ends the scan of the contents when nobody needs it any more.
var errEnough = errors.New("clamav: the message was judged without its contents")

// errSlowContents ends the scan of contents that take too long in all.
var errSlowContents = errors.New("clamav: the contents of the message take too long")

// begin starts the scan of the contents: each is a stream of its own, because in
// one stream a file would no longer begin where its type can be told.
func (k *Check) begin(ctx context.Context, tx *filter.Transaction) *scanning {
	s := &scanning{k: k, tx: tx, done: make(chan struct{}), result: outcome{v: Verdict{Clean: true}}}
	if k.contents == nil {
		s.cancel = func(error) {}
		close(s.done)
		return s
	}
	ctx, s.cancel = context.WithCancelCause(ctx)
	go func() {
		defer close(s.done)
		defer func() {
			if v := recover(); v != nil {
				s.failed = panicked(v)
			}
		}()
		s.result = s.run(ctx)
	}()
	return s
}

// panicked is a panic for who waits: it goes on there, where panics are counted.
func panicked(v any) error { return fmt.Errorf("%v\n%s", v, debug.Stack()) }

// end gives up, and waits until nothing reads the message any more.
func (s *scanning) end() {
	s.cancel(errEnough)
	s.join()
}

func (s *scanning) join() {
	<-s.done
	if s.failed != nil {
		panic(s.failed)
	}
}

// wait is for a message that is complete: its contents get a scan's time.
func (s *scanning) wait() outcome {
	timer := time.AfterFunc(s.k.client.o.Timeout, func() { s.cancel(errSlowContents) })
	defer timer.Stop()
	s.join()
	s.cancel(nil)
	return s.result
}

// run scans the contents as they arrive. A sender who is too slow gets them
// scanned after his final dot: a scan in progress holds a slot.
func (s *scanning) run(ctx context.Context) outcome {
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := s.pass(attempt, &impatience{left: s.k.patience, cancel: cancel})
	if out.err == nil || !errors.Is(context.Cause(attempt), errSlow) {
		return out
	}
	if _, err := io.Copy(io.Discard, s.tx.Follow(ctx)); err != nil {
		return outcome{err: fmt.Errorf("%w: %w", ErrAborted, err)}
	}
	return s.pass(ctx, nil)
}

// pass goes through the contents once.
func (s *scanning) pass(ctx context.Context, slow *impatience) outcome {
	p := &round{k: s.k, ctx: ctx, slots: make(chan struct{}, maxBeside), members: s.k.newMembers(ctx)}
	defer p.group.Wait()
	list := s.k.contents(s.tx, func() io.Reader { return s.tx.Follow(ctx) })
	for n := 0; !p.decided(); n++ {
		r, where, err := list.Next()
		switch {
		case err != nil && ctx.Err() != nil:
			p.add(outcome{number: n, err: abandoned(ctx)})
		case err != nil:
			p.add(outcome{number: n, err: fmt.Errorf("%w: %w", ErrAborted, err)})
		case r == nil && list.Incomplete() != "":
			p.add(outcome{number: n, err: fmt.Errorf("%w: %s", ErrUnscanned, list.Incomplete())})
		case r != nil && n >= maxContents:
			p.add(outcome{number: n, err: fmt.Errorf("%w: more than %d contents", ErrUnscanned, maxContents)})
		case r != nil:
			p.scan(n, where, slow.watch(r))
			continue
		}
		break
	}
	p.group.Wait()
	if p.failed != nil {
		panic(p.failed)
	}
	return p.sum()
}

// round is the state of one pass.
type round struct {
	k       *Check
	ctx     context.Context
	slots   chan struct{}
	members *members
	group   sync.WaitGroup

	mu       sync.Mutex
	outcomes []outcome
	over     bool  // an outcome ends the pass
	failed   error // a panic
}

// scan scans one content in the background, and returns when all of it was read.
func (p *round) scan(number int, where string, r io.Reader) {
	p.slots <- struct{}{}
	src := &source{r: r, read: make(chan struct{})}
	p.group.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				p.fail(panicked(v))
			}
			src.end()
			<-p.slots
		}()
		o := outcome{number: number, where: where, scans: 1}
		if o.v, o.err = p.k.client.scanContent(p.ctx, src); o.err == nil && !o.v.Clean || o.err != nil && !errors.Is(o.err, ErrOversize) {
			p.add(o)
			return
		}
		data := src.whole()
		src.end()
		p.add(p.members.scan(o, data))
	})
	<-src.read
}

func (p *round) add(o outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outcomes = append(p.outcomes, o)
	p.over = p.over || o.weight() > weightOversize
}

func (p *round) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed, p.over = err, true
}

func (p *round) decided() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

// The weights of outcomes: a virus counts whatever became of the others.
const (
	weightClean = iota
	weightOversize
	weightFailed
	weightVirus
)

func (o *outcome) weight() int {
	switch {
	case errors.Is(o.err, ErrOversize):
		return weightOversize
	case o.err != nil:
		return weightFailed
	case !o.v.Clean:
		return weightVirus
	}
	return weightClean
}

// sum is the weightiest outcome, the first of several, and the scans up to it: so
// that it does not matter which ended first.
func (p *round) sum() outcome {
	slices.SortFunc(p.outcomes, func(a, b outcome) int { return a.number - b.number })
	out := outcome{v: Verdict{Clean: true}}
	for i := range p.outcomes {
		if o := &p.outcomes[i]; o.weight() > out.weight() {
			out = *o
		}
	}
	last, scans := out.number, 0
	for _, o := range p.outcomes {
		if out.weight() <= weightOversize || o.number <= last {
			scans += o.scans
		}
	}
	out.scans = scans
	return out
}
