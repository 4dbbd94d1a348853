package main

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// sinkOptions say what the sink offers.
type sinkOptions struct {
	Address    string
	NoChunking bool
}

// sink is a next hop that takes everything and keeps nothing.
type sink struct {
	ln   net.Listener
	ehlo []byte

	messages    atomic.Int64
	octets      atomic.Int64 // of content, dots unstuffed or not
	connections atomic.Int64
	roll        atomic.Pointer[roll]

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// roll ticks off the numbers of the messages that are awaited.
type roll struct {
	first   int
	seen    []atomic.Bool
	missing atomic.Int64
	doubles atomic.Int64
	strange atomic.Int64 // no number, or one that is not awaited
	done    chan struct{}
	last    time.Time // when the last one came; read after done
}

func newSink(o sinkOptions) (*sink, error) {
	ln, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, err
	}
	ehlo := "250-sink.example\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
	if !o.NoChunking {
		ehlo += "250-CHUNKING\r\n"
	}
	s := &sink{ln: ln, ehlo: []byte(ehlo + "250 ENHANCEDSTATUSCODES\r\n"), conns: map[net.Conn]struct{}{}}
	s.expect(0, 0)
	s.wg.Go(s.accept)
	return s, nil
}

func (s *sink) addr() string { return s.ln.Addr().String() }

// expect begins a new count: n messages from number first on. Numbers must not
// be used again, or a late double of an old message would pass for a new one.
func (s *sink) expect(first, n int) *roll {
	r := &roll{first: first, seen: make([]atomic.Bool, n), done: make(chan struct{})}
	r.missing.Store(int64(n))
	s.roll.Store(r)
	return r
}

// tick notes one recipient of a message that came in whole.
func (r *roll) tick(number int) {
	k := number - r.first
	if k < 0 || k >= len(r.seen) {
		r.strange.Add(1)
		return
	}
	if r.seen[k].Swap(true) {
		r.doubles.Add(1)
		return
	}
	if r.missing.Add(-1) == 0 {
		r.last = time.Now()
		close(r.done)
	}
}

func (s *sink) accept() {
	for {
		nc, err := s.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files: the client retries
			time.Sleep(10 * time.Millisecond)
			continue
		}
		s.connections.Add(1)
		s.mu.Lock()
		s.conns[nc] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			c := sinkConn{sink: s, nc: nc, buf: make([]byte, sinkBuffer)}
			c.serve()
			_ = nc.Close()
			s.mu.Lock()
			delete(s.conns, nc)
			s.mu.Unlock()
		})
	}
}

// close ends all connections at once: what they were sending is lost, as it
// is with a next hop that dies.
func (s *sink) close() {
	_ = s.ln.Close()
	s.mu.Lock()
	for nc := range s.conns {
		_ = nc.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}
