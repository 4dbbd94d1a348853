package smtpd

import (
	"context"
	"time"
)

// Shutdown stops listening, sends 421 to clients that are not inside a mail
// transaction at once and to the others when their transaction has ended, and
// returns when all connections are closed. When ctx ends first, the sessions'
// contexts are cancelled, what is left is closed, and ctx's error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopListening()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.wg.Wait()
	}()
	select {
	case <-gone:
		s.cancel()
		return nil
	case <-ctx.Done():
		s.closeConns()
	}
	select {
	case <-gone:
	case <-time.After(lastPatience):
		s.log.Error("sessions do not end", "wait_ms", lastPatience.Milliseconds())
	}
	return ctx.Err()
}

// lastPatience is how long a session may go on after its context has ended and
// its connection was closed. It is a bug when one takes it.
const lastPatience = 5 * time.Second

// Close ends everything at once: clients see their connection break, which
// they take for a transient failure.
func (s *Server) Close() error {
	s.stopListening()
	s.closeConns()
	s.wg.Wait()
	return nil
}

// stopListening lets no new connection and no new transaction start.
func (s *Server) stopListening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.CompareAndSwap(false, true) {
		close(s.done)
	}
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.wakeIfIdle()
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

// wakeIfIdle makes the blocked read of a client that owes us a command return,
// so that its goroutine sees that the server is closing. The goroutine stores
// idle before it looks at closing, and we the other way round: one of the two
// sees the other (conn.awaitCommand).
func (c *conn) wakeIfIdle() {
	if c.idle.Load() {
		c.tcp.SetReadDeadline(time.Unix(1, 0))
	}
}
