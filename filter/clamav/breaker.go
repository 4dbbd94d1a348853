package clamav

import (
	"sync"
	"time"
)

// breaker stops asking a scanner that keeps failing, so that a dead clamd costs
// each message a microsecond instead of its whole deadline. It opens after a
// number of failures in a row. While it is open, one caller a pause may try:
// with a probe, never with a message.
type breaker struct {
	limit int
	pause time.Duration

	mu       sync.Mutex
	failures int
	open     bool
	next     time.Time // of the next trial while open
}

type permission int

const (
	refuse permission = iota
	pass
	try // probe, record the result, and go on if it was good
)

func (b *breaker) ask(now time.Time) permission {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return pass
	case now.Before(b.next):
		return refuse
	}
	b.next = now.Add(b.pause)
	return try
}

// good records an answer, whatever it says. It reports whether that closed an
// open breaker.
func (b *breaker) good() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.open
	b.failures, b.open = 0, false
	return was
}

// bad records a failure. It reports whether that opened a closed breaker.
func (b *breaker) bad(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	if b.failures < b.limit {
		return false
	}
	was := b.open
	b.open, b.next = true, now.Add(b.pause)
	return !was
}

func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}
