package queue

import (
	"slices"
	"sync"
	"sync/atomic"
)

// This file keeps recent messages in memory, so that the relay reads none of
// them from the disk while it keeps up. The cache is the very memory that the
// log was written from: nothing is copied. Of what is sealed or compressed there
// it has the record in clear instead, in a chunk of its own.

const (
	chunkSize   = 1 << 20
	chunksSpare = 4 // kept to be filled again
)

// chunk is the memory that batches are written from; the relay reads recent
// messages from it. It is filled again when nothing has a claim on it: it is
// not being filled, none of its batches is on its way to the disk, no message
// is cached in it, and no attempt reads from it. Where anybody else may look at
// its memory, or an attempt ended otherwise than well, it is left to the garbage
// collector: a reader that is slow to go away must not see another message.
type chunk struct {
	pool   *chunkPool // nil: it is a single record
	claims atomic.Int32
	shared atomic.Bool // never to be filled again
	memory []byte      // nil once evicted

	// Guarded by Queue.mu.
	buf    []byte // the memory while messages are read from it, else nil
	cached int    // messages in the queue that are read from it
	listed bool   // in the cache's list
}

// chunkPool has chunks to fill again.
type chunkPool struct {
	size  int // of a chunk
	mu    sync.Mutex
	spare []*chunk
}

// take returns a chunk of at least n bytes with one claim on it, the taker's.
func (p *chunkPool) take(n int) *chunk {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := len(p.spare); k > 0 && n <= p.size {
		c := p.spare[k-1]
		p.spare = p.spare[:k-1]
		c.claims.Store(1)
		return c
	}
	c := &chunk{pool: p, memory: make([]byte, max(p.size, int(roundUp(int64(n)))))}
	c.buf = c.memory
	c.claims.Store(1)
	return c
}

// newSingle makes a chunk of one record, in pooled memory, with one claim on it.
func newSingle(record []byte) *chunk {
	c := &chunk{memory: record, buf: record}
	c.claims.Store(1)
	return c
}

func (c *chunk) retain() { c.claims.Add(1) }

// release gives a claim back; a nil chunk has none.
func (c *chunk) release() {
	switch {
	case c == nil || c.claims.Add(-1) > 0 || c.shared.Load():
		return
	case c.pool == nil:
		putPooled(c.memory)
		return
	case len(c.memory) != c.pool.size:
		return
	}
	c.pool.mu.Lock()
	if len(c.pool.spare) < chunksSpare {
		c.pool.spare = append(c.pool.spare, &chunk{pool: c.pool, memory: c.memory, buf: c.memory})
	}
	c.pool.mu.Unlock()
}

// cache notes that a new message can be read from its batch, or from what is
// there in clear. The caller holds q.mu.
func (q *Queue) cache(f *fixup, b *batch) {
	e, c := f.e, b.chunk
	e.mem = uint32(b.start) + f.off
	if f.clear != nil {
		c, e.mem = f.clear, 0
		defer c.release() // the claim of who made it
	}
	if c.buf == nil {
		c.buf = b.buf
	}
	if !c.listed {
		c.listed = true
		q.chunks = append(q.chunks, c)
		q.cacheBytes += int64(cap(c.buf))
	}
	e.chunk = c
	c.cached++
	c.retain()
	for q.cacheBytes > q.o.MemoryLimit && len(q.chunks) > 0 {
		q.evict(q.chunks[0])
		q.chunks = q.chunks[1:]
	}
}

// uncache lets go of the memory of e: it is over, or deferred and at rest.
func (q *Queue) uncache(e *entry) {
	c := e.chunk
	if c == nil {
		return
	}
	e.chunk = nil
	if c.cached--; c.cached == 0 {
		q.dropChunk(c)
		q.trimChunks()
	}
	c.release()
}

// trimChunks forgets the chunks at the front of the list that are dropped, and all
// of them when they are most of it: one message that stays must not keep a place
// for each that came after it.
func (q *Queue) trimChunks() {
	for len(q.chunks) > 0 && !q.chunks[0].listed {
		q.chunks = q.chunks[1:]
	}
	if q.unlisted > 64 && q.unlisted > len(q.chunks)/2 {
		q.chunks = slices.DeleteFunc(q.chunks, func(c *chunk) bool { return !c.listed })
		q.unlisted = 0
	}
}

// evict lets go of a chunk with messages in it: they are read from the disk
// from now on. Their claims outlive the memory.
func (q *Queue) evict(c *chunk) {
	q.dropChunk(c)
	c.shared.Store(true)
	c.memory = nil
}

// dropChunk takes a chunk out of the cache; who reads it right now keeps it
// alive.
func (q *Queue) dropChunk(c *chunk) {
	if c.listed {
		c.listed = false
		q.cacheBytes -= int64(cap(c.buf))
		q.unlisted++
	}
	c.buf = nil
}

// cached is the current copy's record in memory, nil when it is only on disk.
func (e *entry) cached() []byte {
	switch {
	case e.chunk == nil || e.chunk.buf == nil:
		return nil
	case e.chunk.pool == nil:
		return e.chunk.buf
	}
	return e.chunk.buf[e.mem:][:e.recLen:e.recLen]
}
