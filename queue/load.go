package queue

import (
	"fmt"

	"mailweir/mail"
)

// readRecord reads the record of id at a location, n bytes in all, or what its
// header says when n is 0. It fails with ErrDamaged when the bytes are not what
// was written. The caller holds q.mu, which is given up for the read.
func (q *Queue) readRecord(id mail.ID, at loc, n uint32) (record, error) {
	s := q.segments[uint64(at.seg)]
	if s == nil {
		return record{}, fmt.Errorf("%w: segment %d is gone", ErrDamaged, at.seg)
	}
	s.readers++
	q.mu.Unlock()
	r, err := s.read(at, n)
	q.mu.Lock()
	s.readers--
	if err == nil && r.id != id {
		err = ErrDamaged
	}
	return r, err
}

func (s *segment) read(at loc, n uint32) (record, error) {
	if n == 0 {
		var h [recordHeaderSize]byte
		if _, err := s.file.ReadAt(h[:], int64(at.off)); err != nil {
			return record{}, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		n = recordHeaderSize + le.Uint32(h[4:])
		if le.Uint16(h[:]) != recordMagic || n > maxRecord {
			return record{}, ErrDamaged
		}
	}
	b := make([]byte, n)
	if _, err := s.file.ReadAt(b, int64(at.off)); err != nil {
		return record{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r, ok := decodeRecord(b, s.epoch, int64(at.off))
	if !ok || int(n) != recordHeaderSize+len(r.payload) {
		return record{}, ErrDamaged
	}
	return r, nil
}

// load reads a message, from memory when it is still there. The caller holds
// q.mu, which may be given up meanwhile.
func (q *Queue) load(e *entry) (*stored, error) {
	b := e.cached()
	if b == nil {
		return q.loadStored(e)
	}
	e.chunk.shared.Store(true)
	s, err := q.decodeCopy(cachedRecord(b))
	if err == nil && e.chunk.pool == nil {
		s.content = content{} // that is not how it lies in the log
	}
	return s, err
}

// cachedRecord is the record that b holds, from memory: its checksum was made
// from there.
func cachedRecord(b []byte) record {
	return record{recordType(b[2]), b[3], mail.ID(b[8:24]), le.Uint32(b[24:]), b[recordHeaderSize:]}
}

// lend is load for an attempt, which says when it is done with the memory:
// the chunk that is returned, if any, is to be released then.
func (q *Queue) lend(e *entry) (*stored, *chunk, error) {
	b := e.cached()
	if b == nil {
		s, err := q.loadStored(e)
		return s, nil, err
	}
	c := e.chunk
	c.retain()
	s, err := q.decodeCopy(cachedRecord(b))
	return s, c, err
}

// loadStored reads a message from the log.
func (q *Queue) loadStored(e *entry) (*stored, error) {
	for {
		at := e.at
		r, err := q.readRecord(e.id, at, e.recLen)
		if e.at != at {
			continue // compaction moved it under our hands
		}
		if err != nil {
			return nil, err
		}
		if !r.isCopy() {
			return nil, ErrDamaged
		}
		return q.decodeCopy(r)
	}
}

// texts adds to the states in memory what only the log holds: next hop and
// reply. What cannot be read is left empty: it explains, it decides nothing.
// The caller holds q.mu, which is given up meanwhile.
func (q *Queue) texts(e *entry, s *stored) []rcptState {
	states := make([]rcptState, len(e.rcpts))
	for i := range e.rcpts {
		at := e.rcpts[i].state
		if at == e.at || at == (loc{}) {
			states[i] = s.states[i]
			continue
		}
		r, err := q.readRecord(e.id, at, 0)
		if err != nil {
			continue
		}
		if _, list, err := q.states(r); err == nil {
			for _, st := range list {
				if st.index == i {
					states[i] = st
				}
			}
		}
	}
	for i := range states {
		q.current(e, i, &states[i])
	}
	return states
}

// current overwrites the part of a state that memory knows better.
func (q *Queue) current(e *entry, i int, s *rcptState) {
	r := &e.rcpts[i]
	s.index, s.status, s.attempts, s.next = i, r.status, int(r.attempts), r.next
	s.hold, s.to, s.told = q.reasons[r.hold], r.dom.to, r.is(delayMark)
}

// message is what the relay and the DSNs work on.
func (q *Queue) message(e *entry, s *stored) *mail.Message {
	m := &mail.Message{Envelope: s.env, Heads: s.heads, Body: mail.Bytes(s.body)}
	m.Envelope.ID = e.id
	if s.big != nil {
		m.Body = &bigContent{fs: q.fs, name: q.bigName(e.id), ref: *s.big}
	}
	return m
}
