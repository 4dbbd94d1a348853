package relay

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// hop is one next hop and its connections.
type hop struct {
	hopKey
	name    string // for logs and texts
	host    string // of addr, for the name in a certificate
	metrics *Metrics
	slots   chan struct{} // one for each connection in use; its capacity is the limit
	patient time.Duration // how long to wait for a slot; 0: as long as the attempt lasts
	spare   *quota        // of idle connections that all mail exchangers share; nil: no limit

	mu      sync.Mutex
	idle    []*conn     // the longest idle first; taken from the end
	timer   *time.Timer // runs expire when the first of idle is due; nil without idle ones
	retired bool        // nothing is kept any more
	wary    time.Time   // until then no content is sent before the replies to its envelope
	down    time.Time   // until then it comes last in its routes
	closing sync.WaitGroup
}

// quota is a bound on a number.
type quota struct {
	n   atomic.Int64
	max int64
}

// take and give may be called on nil, which has no bound.
func (q *quota) take() bool {
	if q == nil {
		return true
	}
	if q.n.Add(1) > q.max {
		q.n.Add(-1)
		return false
	}
	return true
}

func (q *quota) give(n int) {
	if q != nil {
		q.n.Add(int64(-n))
	}
}

var errCrowded = errors.New("as many as we allow ourselves are under way")

// acquire waits for a slot: as long as ctx lasts, or for patient if that is not
// zero.
func acquire(ctx context.Context, slots chan struct{}, patient time.Duration) error {
	select {
	case slots <- struct{}{}:
		return nil
	default:
	}
	var enough <-chan time.Time
	if patient > 0 {
		t := time.NewTimer(patient)
		defer t.Stop()
		enough = t.C
	}
	select {
	case slots <- struct{}{}:
		return nil
	case <-enough:
		return errCrowded
	case <-ctx.Done():
		return errInterrupted
	}
}

// acquire waits for the right to use a connection.
func (h *hop) acquire(ctx context.Context) error { return acquire(ctx, h.slots, h.patient) }

func (h *hop) release() { <-h.slots }

// kept takes the idle connection that was used last, nil when there is none.
// One that the next hop has closed, or said something on, is thrown away here:
// nothing can have been lost on it yet, and what was said without being asked
// would be taken for the reply to MAIL, and each reply for that of the command
// before.
func (h *hop) kept() *conn {
	for {
		c := h.pop()
		if c == nil || !c.readable() {
			return c
		}
		c.close()
	}
}

func (h *hop) pop() *conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.idle) - 1
	if n < 0 {
		return nil
	}
	c := h.idle[n]
	h.idle[n] = nil
	h.idle = h.idle[:n]
	h.spare.give(1)
	h.metrics.idle.Dec()
	return c
}

// put keeps c for the next message, or ends it when it has served enough.
func (h *hop) put(c *conn, idle time.Duration, maxMessages int) {
	if c.messages < maxMessages && h.push(c, idle) {
		return
	}
	c.quit()
}

func (h *hop) push(c *conn, idle time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.retired || !h.spare.take() {
		return false
	}
	c.expires = c.usedAt.Add(idle)
	h.idle = append(h.idle, c)
	h.metrics.idle.Inc()
	if h.timer == nil {
		h.timer = time.AfterFunc(idle, h.expire)
	}
	return true
}

// expire ends the connections that have been idle for too long. Under load the
// timer mostly finds none that is due, and sleeps again.
func (h *hop) expire() {
	h.mu.Lock()
	if h.retired {
		h.mu.Unlock()
		return
	}
	now := time.Now()
	n := 0
	for n < len(h.idle) && !h.idle[n].expires.After(now) {
		n++
	}
	due := h.cut(n)
	h.timer = nil
	if len(h.idle) > 0 {
		h.timer = time.AfterFunc(h.idle[0].expires.Sub(now), h.expire)
	}
	h.closing.Add(1)
	h.mu.Unlock()
	defer h.closing.Done()
	quitAll(due)
}

// cut takes the first n idle connections out. h.mu is held.
func (h *hop) cut(n int) []*conn {
	due := append([]*conn(nil), h.idle[:n]...)
	h.idle = append(h.idle[:0], h.idle[n:]...)
	clear(h.idle[len(h.idle):cap(h.idle)])
	h.spare.give(n)
	h.metrics.idle.Sub(float64(n))
	return due
}

// forget throws the idle connections away: one of them has just turned out to
// lead nowhere, so the others are not to be trusted either.
func (h *hop) forget() {
	h.mu.Lock()
	stale := h.cut(len(h.idle))
	h.mu.Unlock()
	for _, c := range stale {
		c.close()
	}
}

// retire ends all idle connections and waits for it.
func (h *hop) retire() {
	h.mu.Lock()
	h.retired = true
	due := h.cut(len(h.idle))
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
	h.mu.Unlock()
	quitAll(due)
	h.closing.Wait()
}

func quitAll(conns []*conn) {
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(c.quit)
	}
	wg.Wait()
}

// suspend makes h the last choice of its routes for a while, since it gave no
// service; resume undoes that.
func (h *hop) suspend(d time.Duration) {
	h.mu.Lock()
	h.down = time.Now().Add(d)
	h.mu.Unlock()
}

func (h *hop) resume() {
	h.mu.Lock()
	h.down = time.Time{}
	h.mu.Unlock()
}

// waryFor is how long the content waits for the replies to the envelope, after a
// message that went out with its envelope got no reply: some next hops close a
// connection without a word, and each time nobody knows whether they took it.
const waryFor = 10 * time.Minute

func (h *hop) beWary() {
	h.mu.Lock()
	h.wary = time.Now().Add(waryFor)
	h.mu.Unlock()
}

func (h *hop) isWary() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.wary.IsZero() && time.Now().Before(h.wary)
}

// disposable reports that nothing is lost when h is forgotten: it has no
// idle connection (then there would be the timer), and nothing to remember.
func (h *hop) disposable(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.timer == nil && !now.Before(h.down) && !now.Before(h.wary)
}

// available reports whether h should be tried in its turn. The first who asks
// after the suspension tries it; for the others it is suspended until that one
// knows more.
func (h *hop) available(d time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down.IsZero() {
		return true
	}
	now := time.Now()
	if now.Before(h.down) {
		return false
	}
	h.down = now.Add(d)
	return true
}
