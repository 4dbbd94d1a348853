package smtpd

import (
	"context"
	"time"
)

// The phases of a server. Each ends more of the reads that are blocked.
const (
	serving  int32 = iota
	closing        // no new connection and no new transaction
	hurrying       // no new data: a transaction that is no more than an envelope ends
	over           // data that is not complete ends
)

const (
	// envelopeGrace is how long a client that has sent an envelope may take
	// to begin with the data. It loses nothing: it has the message still.
	envelopeGrace = 2 * time.Second
	// lastWords is how long clients may take to receive their last 421.
	lastWords = lingerTime + time.Second
	// lastPatience is how long a session may go on after its context has ended
	// and its connection was closed. It is a bug when one takes it.
	lastPatience = 5 * time.Second
)

// Shutdown stops listening and sends 421 to clients that are not inside a mail
// transaction at once, to those that have not begun with its data after two
// seconds, and to the others when their transaction has ended. When ctx ends
// first, the sessions' contexts are cancelled and those that still send data
// get 421, too. It returns when all connections are closed: ctx's error when
// some had to be broken without a word.
func (s *Server) Shutdown(ctx context.Context) error {
	s.enter(closing)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.wg.Wait()
	}()
	hurry := time.AfterFunc(envelopeGrace, func() { s.enter(hurrying) })
	defer hurry.Stop()
	select {
	case <-gone:
		s.cancel()
		return nil
	case <-ctx.Done():
	}
	s.enter(over)
	s.cancel()
	if within(lastWords, gone) {
		return nil
	}
	s.closeConns()
	if !within(lastPatience, gone) {
		s.log.Error("sessions do not end", "wait_ms", lastPatience.Milliseconds())
	}
	return ctx.Err()
}

// within reports whether done was closed in time.
func within(d time.Duration, done <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// Close ends everything at once: clients see their connection break, which
// they take for a transient failure.
func (s *Server) Close() error {
	s.enter(closing)
	s.closeConns()
	s.wg.Wait()
	return nil
}

// reached reports whether a shutdown has come as far as phase.
func (s *Server) reached(phase int32) bool { return s.phase.Load() >= phase }

// enter begins a phase, and wakes all whose blocked read it ends.
func (s *Server) enter(phase int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reached(phase) {
		return
	}
	if !s.reached(closing) {
		close(s.done)
	}
	s.phase.Store(phase)
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.wake()
	}
}

func (s *Server) closeConns() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.tcp.Close()
	}
}

// interrupted reports whether the shutdown ends the read at hand.
func (c *conn) interrupted() bool {
	phase := c.yields.Load()
	return phase != serving && c.srv.reached(phase)
}

// wake makes a blocked read that the shutdown ends return, so that its
// goroutine sees it. The goroutine stores yields before it looks at the phase,
// and we the other way round: one of the two sees the other (conn.fill).
func (c *conn) wake() {
	if c.interrupted() {
		c.tcp.SetReadDeadline(time.Unix(1, 0))
	}
}
