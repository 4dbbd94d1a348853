package queue

import (
	"testing"
	"testing/synctest"
)

// TestPace: who makes the next segment waits while a batch is made durable, and
// when he is behind the writer, or the writer waits for him, he does not.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		p.init()
		p.wait(1) // nothing is under way
		p.begin()
		goes := make(chan struct{})
		turn := func(made float64, want bool, by func()) {
			t.Helper()
			go func() { p.wait(made); goes <- struct{}{} }()
			synctest.Wait()
			by()
			synctest.Wait()
			select {
			case <-goes:
				if !want {
					t.Error("it did not wait")
				}
			default:
				if want {
					t.Error("it waits")
				}
				n := p.pause()
				<-goes
				p.resume(n)
			}
		}
		n, nothing := 0, func() {}
		turn(0.1, false, nothing)
		turn(0.1, true, func() { p.end(0.1) })
		p.begin()
		turn(0.1, true, nothing)                           // as far as the writer
		turn(0.2, false, nothing)                          // ahead
		turn(0.2, true, func() { p.begin(); p.end(0.16) }) // not any more: the goal is three quarters
		turn(0.3, false, func() { p.begin(); p.end(0.2) }) // another commit, inside
		turn(0.3, true, func() { n = p.pause() })          // the writer waits
		turn(0.9, true, nothing)
		p.resume(n) // it got its segment
		turn(0.9, false, nothing)
		turn(0.9, true, func() { p.end(0) })
	})
}
