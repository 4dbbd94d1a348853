// Package breaker stops asking a service that keeps failing, so that a dead one
// costs each message a microsecond instead of its whole deadline.
package breaker

import (
	"sync"
	"time"
)

// Breaker opens after Limit failures in a row. While it is open, one caller a
// Pause may try: with a probe, never with a message. It is safe for concurrent
// use.
type Breaker struct {
	Limit int
	Pause time.Duration

	mu       sync.Mutex
	failures int
	open     bool
	next     time.Time // of the next trial while open
}

// Permission is what Ask gives.
type Permission int

// The permissions.
const (
	Refuse Permission = iota
	Pass
	Try // probe, record the result, and go on if it was good
)

// Ask is called before the service is.
func (b *Breaker) Ask(now time.Time) Permission {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return Pass
	case now.Before(b.next):
		return Refuse
	}
	b.next = now.Add(b.Pause)
	return Try
}

// Good records an answer, whatever it says. It reports whether that closed an
// open breaker.
func (b *Breaker) Good() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.open
	b.failures, b.open = 0, false
	return was
}

// Bad records a failure. It reports whether that opened a closed breaker.
func (b *Breaker) Bad(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	if b.failures < b.Limit {
		return false
	}
	was := b.open
	b.open, b.next = true, now.Add(b.Pause)
	return !was
}

// IsOpen reports an open breaker.
func (b *Breaker) IsOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// Failures is how many there were in a row.
func (b *Breaker) Failures() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures
}
