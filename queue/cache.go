package queue

// This file keeps recent messages in memory, so that the relay reads none of
// them from the disk while it keeps up. The cache is the very memory that the
// log was written from: nothing is copied.

// cache notes that e can be read from its batch. The caller holds q.mu.
func (q *Queue) cache(e *entry, b *batch, off uint32) {
	c := b.chunk
	if c.buf == nil {
		c.buf = b.buf
	}
	if !c.listed {
		c.listed = true
		q.chunks = append(q.chunks, c)
		q.cacheBytes += int64(len(c.buf))
	}
	e.chunk, e.mem = c, uint32(b.start)+off
	c.cached++
	for q.cacheBytes > q.o.MemoryLimit && len(q.chunks) > 0 {
		q.dropChunk(q.chunks[0])
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
		for len(q.chunks) > 0 && !q.chunks[0].listed {
			q.chunks = q.chunks[1:]
		}
	}
}

// dropChunk forgets the memory; who reads it right now keeps it alive.
func (q *Queue) dropChunk(c *chunk) {
	if c.listed {
		c.listed = false
		q.cacheBytes -= int64(len(c.buf))
	}
	c.buf = nil
}

// cached is the current copy's record in memory, nil when it is only on disk.
func (e *entry) cached() []byte {
	if e.chunk == nil || e.chunk.buf == nil {
		return nil
	}
	return e.chunk.buf[e.mem:][:e.recLen:e.recLen]
}
