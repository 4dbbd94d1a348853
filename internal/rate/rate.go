// Package rate counts events by key against a limit: so many in a time, in
// token buckets that fill evenly. A bucket is one number, the time when it will
// be full again (the generic cell rate algorithm), and keys are kept as hashes. A full
// bucket is as good as none, so that the fullest ones are forgotten when there
// are too many.
package rate

import (
	"hash/maphash"
	"sync"
	"time"
)

// Most is how many buckets there are at once, 4 MB of them. When there are more,
// one that is nearly full is forgotten.
const Most = 100_000

// Limit is a number of events in a time; so many may come at once.
type Limit struct {
	Events int
	Per    time.Duration
}

// Buckets are those of one limit. They are safe for concurrent use.
type Buckets struct {
	limit Limit
	each  int64 // nanoseconds in which one token comes
	seed  maphash.Seed

	mu   sync.Mutex
	full map[uint64]int64 // when a bucket is full again
}

// New makes buckets that are full. The limit must be at least one event.
func New(l Limit) *Buckets {
	return &Buckets{limit: l, each: max(1, int64(l.Per)/int64(l.Events)), seed: maphash.MakeSeed(), full: make(map[uint64]int64)}
}

// Wait tells how long the key has to wait until n events are within the limit;
// 0 when they are. More events than the limit count as many as it has, or they
// would wait for ever.
func (b *Buckets) Wait(key any, n int) time.Duration {
	now := time.Now().UnixNano()
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Duration(max(0, b.after(b.hash(key), n, now)-now-int64(b.limit.Per)))
}

// Take counts n events of the key.
func (b *Buckets) Take(key any, n int) {
	now := time.Now().UnixNano()
	k := b.hash(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	after := b.after(k, n, now)
	b.room(k, now)
	b.full[k] = after
}

// after is when the bucket will be full again when n events are taken from it.
func (b *Buckets) after(k uint64, n int, now int64) int64 {
	return max(b.full[k], now) + int64(min(n, b.limit.Events))*b.each
}

func (b *Buckets) hash(key any) uint64 { return maphash.Comparable(b.seed, key) }

// sample is how many buckets are looked at to find one to forget.
const sample = 8

// room makes room for k: of a few buckets, in a map's random order, all that
// are full go, or else the one that is the first to be.
func (b *Buckets) room(k uint64, now int64) {
	if _, there := b.full[k]; there || len(b.full) < Most {
		return
	}
	var fullest uint64
	n, at := 0, int64(-1)
	for k, t := range b.full {
		if t <= now {
			delete(b.full, k)
		}
		if at < 0 || t < at {
			fullest, at = k, t
		}
		if n++; n == sample {
			break
		}
	}
	delete(b.full, fullest)
}
