package dns

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// earlyTime is the part of messageTime that look-ups about client and envelope may
// take. Whoever sends chooses these names, and how slowly they are answered: he
// must not be able to leave no time for the keys and the policy of the domain
// that he claims to write for.
const earlyTime = messageTime - 4*time.Second

// errSpent says why a look-up was not made, or not waited for any longer.
var errSpent = fmt.Errorf("DNS has kept this message waiting for as long as it may: %v in all, %v for its client and envelope", messageTime, earlyTime)

// Clock measures how long DNS look-ups keep a message waiting: the time in
// which at least one of them is under way, several at once counted once. What
// the cache answers at once does not touch it. When messageTime is used up, all
// look-ups end that have to wait, and further ones fail without asking anybody:
// temporarily, because nothing is known.
//
// The zero Clock is that of a connection. Each message on it has one of its own,
// which Message makes.
type Clock struct {
	mu      sync.Mutex
	waiting int           // look-ups under way
	since   time.Time     // from when on there has been one
	spent   time.Duration // before that
	message *Clock        // of the connection's latest message, which waits for its look-ups too
}

// allowance is what some look-ups may use of a clock.
type allowance struct {
	clock *Clock
	limit time.Duration
}

type clockKey struct{}

// limited is a context whose look-ups go by a clock: context.WithValue, in one
// allocation.
type limited struct {
	context.Context
	allowance
}

func (l *limited) Value(key any) any {
	if key == (clockKey{}) {
		return &l.allowance
	}
	return l.Context.Value(key)
}

// Context has look-ups under the returned context go by the clock.
func (c *Clock) Context(ctx context.Context) context.Context {
	return &limited{ctx, allowance{c, messageTime}}
}

// Early is Context for look-ups about client and envelope.
func (c *Clock) Early(ctx context.Context) context.Context {
	return &limited{ctx, allowance{c, earlyTime}}
}

// Message is the clock of the connection's next message. What the look-ups of
// the connection have taken is gone, for every message alike, so that a result
// does not depend on which one it is; those that are under way go on counting.
func (c *Clock) Message() *Clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.message = &Clock{waiting: c.waiting, since: now, spent: c.total(now)}
	return c.message
}

// total is the time used until now. The caller holds mu.
func (c *Clock) total(now time.Time) time.Duration {
	if c.waiting == 0 {
		return c.spent
	}
	return c.spent + now.Sub(c.since)
}

// start begins a wait, and tells how much was used before.
func (c *Clock) start() (used time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.waiting++; c.waiting == 1 {
		c.since = now
	}
	if c.message != nil {
		c.message.start()
	}
	return c.total(now)
}

// stop ends a wait.
func (c *Clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting--; c.waiting == 0 {
		c.spent += time.Since(c.since)
	}
	if c.message != nil {
		c.message.stop()
	}
}

// over reports that nothing is left.
func (a *allowance) over() bool {
	if a == nil {
		return false
	}
	a.clock.mu.Lock()
	defer a.clock.mu.Unlock()
	return a.clock.total(time.Now()) >= a.limit
}

// allowed is what look-ups under ctx go by; nil where nothing bounds them.
func allowed(ctx context.Context) *allowance {
	a, _ := ctx.Value(clockKey{}).(*allowance)
	return a
}

// Await waits for done as for a look-up: it stands for look-ups that others
// make. It returns why it did not wait to the end.
func Await(ctx context.Context, done <-chan struct{}) error {
	return await(ctx, allowed(ctx), done, math.MaxInt64)
}

// await waits for done, which is closed longest from now at the latest: as long
// as more than that is left no timer is needed.
func await(ctx context.Context, a *allowance, done <-chan struct{}, longest time.Duration) error {
	var end <-chan time.Time
	if a != nil {
		left := a.limit - a.clock.start()
		defer a.clock.stop()
		if left < longest {
			t := time.NewTimer(left)
			defer t.Stop()
			end = t.C
		}
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-end:
		return errSpent
	}
}
