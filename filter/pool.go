package filter

import (
	"context"
	"errors"
)

// Pool bounds how many checks wait or work in the background at once, over all
// sessions, so that a slow scanner or dead DNS costs memory in proportion to
// the pool and not to the number of clients.
type Pool struct {
	slots chan struct{}
	m     *Metrics
}

// ErrNoWorker is the cause of a check's Timeout when the pool had no worker
// for it within its deadline.
var ErrNoWorker = errors.New("filter: no worker was free in time")

// NewPool makes a pool of n workers.
func NewPool(n int, m *Metrics) *Pool {
	m.workers.Set(float64(n))
	return &Pool{slots: make(chan struct{}, n), m: m}
}

// do runs fn with a slot, or reports ErrNoWorker when ctx ended first.
func (p *Pool) do(ctx context.Context, fn func()) error {
	select {
	case p.slots <- struct{}{}:
	default:
		p.m.waiting.Inc()
		select {
		case p.slots <- struct{}{}:
			p.m.waiting.Dec()
		case <-ctx.Done():
			p.m.waiting.Dec()
			return ErrNoWorker
		}
	}
	p.m.busy.Inc()
	defer func() { <-p.slots; p.m.busy.Dec() }()
	fn()
	return nil
}
