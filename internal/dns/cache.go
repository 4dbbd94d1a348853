package dns

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Bounds of how long an answer is kept, whatever its TTL says.
const (
	minTTL = messageTime
	maxTTL = 24 * time.Hour
	// maxNegativeTTL bounds "not found" (RFC 2308 section 5 finds one to three
	// hours sensible).
	maxNegativeTTL = time.Hour
	// failureTTL is for temporary failures (RFC 9520 section 3.2: at least one
	// second, at most five minutes).
	failureTTL = messageTime
	// messageTime is what all look-ups of one message may take (RFC 7208
	// section 4.6.4). Whatever was found out, or could not be, holds for so
	// long, even with TTL 0: the checks of one message ask a name once, and do
	// not wait for a dead one each in its turn.
	messageTime = 20 * time.Second
)

const (
	cacheShards  = 32
	entryBytes   = 256  // overhead of an entry: structs, map and list
	averageBytes = 1024 // what Options.CacheSize counts on per entry
)

// key is a question. name is canonical.
type key struct {
	name string
	typ  Type
}

// answer is what is known about a key. It is immutable once it is in the
// cache, and shared by all who ask.
type answer struct {
	addrs []netip.Addr
	texts []string // TXT and PTR
	mx    []MX
	err   *Error
	ttl   time.Duration

	validated bool // with DNSSEC, says a server that is trusted to do so
}

// size estimates the memory that an answer holds.
func (a *answer) size(k key) int {
	n := entryBytes + len(k.name) + 24*len(a.addrs)
	for _, s := range a.texts {
		n += 16 + len(s)
	}
	for _, m := range a.mx {
		n += 24 + len(m.Host)
	}
	return n
}

// flight is a question that is being asked. Those who wait read answer after
// done is closed.
type flight struct {
	done   chan struct{}
	answer *answer
}

// entry is a cached answer in its shard's list, most recently used first.
type entry struct {
	key        key
	answer     *answer
	expires    time.Time
	size       int
	prev, next *entry
}

// shard is one part of the cache with a lock of its own. The flights stand
// beside the entries, so that "not cached" and "nobody asks" are one decision.
type shard struct {
	mu      sync.Mutex
	entries map[key]*entry
	flights map[key]*flight
	list    entry // sentinel: list.next is the most recently used
	bytes   int

	maxEntries, maxBytes int
	metrics              *Metrics
}

type cache struct {
	seed   maphash.Seed
	shards [cacheShards]shard
}

func newCache(size int, m *Metrics) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		s := &c.shards[i]
		s.entries, s.flights = map[key]*entry{}, map[key]*flight{}
		s.list.prev, s.list.next = &s.list, &s.list
		s.maxEntries = max(size/cacheShards, 1)
		s.maxBytes = s.maxEntries * averageBytes
		s.metrics = m
	}
	return c
}

// shard picks by a seeded hash: senders choose the names, so they must not be
// able to choose the shard.
func (c *cache) shard(k key) *shard {
	return &c.shards[maphash.String(c.seed, k.name)%cacheShards]
}

func (c *cache) clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for len(s.entries) > 0 {
			s.remove(s.list.prev)
		}
		s.mu.Unlock()
	}
}

// get returns a live answer or nil. The caller holds mu.
func (s *shard) get(k key, now time.Time) *answer {
	e := s.entries[k]
	if e == nil {
		return nil
	}
	if !now.Before(e.expires) {
		s.remove(e)
		return nil
	}
	if s.list.next != e {
		e.unlink()
		s.pushFront(e)
	}
	return e.answer
}

// put stores an answer and drops the least recently used ones until the bounds
// hold. The caller holds mu.
func (s *shard) put(k key, a *answer, now time.Time) {
	if old := s.entries[k]; old != nil {
		s.remove(old)
	}
	e := &entry{key: k, answer: a, expires: now.Add(a.ttl), size: a.size(k)}
	if a.ttl <= 0 || e.size > s.maxBytes {
		return
	}
	s.entries[k] = e
	s.pushFront(e)
	s.account(1, e.size)
	for len(s.entries) > s.maxEntries || s.bytes > s.maxBytes {
		s.remove(s.list.prev)
	}
}

func (s *shard) remove(e *entry) {
	delete(s.entries, e.key)
	e.unlink()
	s.account(-1, -e.size)
}

func (s *shard) account(entries, bytes int) {
	s.bytes += bytes
	s.metrics.entries.Add(float64(entries))
	s.metrics.bytes.Add(float64(bytes))
}

func (s *shard) pushFront(e *entry) {
	e.prev, e.next = &s.list, s.list.next
	e.prev.next, e.next.prev = e, e
}

func (e *entry) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
}
