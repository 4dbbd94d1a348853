package dns

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// world is a resolver whose only server takes delay for an answer; never
// without one. Time is synctest's.
type world struct {
	*testing.T
	r     *Resolver
	net   *script
	names atomic.Int64
}

func clocked(t *testing.T, delay time.Duration, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t}
		w.r, w.net = scripted(t, "server")
		defer w.r.Close()
		w.net.set("server:53", dead)
		if delay > 0 {
			w.net.set("server:53", func(_ context.Context, q *query) (*wire.Msg, error) {
				time.Sleep(delay)
				return message(t, q.key, q.key.name+". 60 TXT found"), nil
			})
		}
		f(w)
	})
}

// ask looks up a name that nobody has asked for, and tells how long it took.
func (w *world) ask(ctx context.Context) (time.Duration, error) {
	w.Helper()
	begin := time.Now()
	_, err := w.r.LookupTXT(ctx, fmt.Sprintf("n%d.example", w.names.Add(1)))
	if err != nil && !IsTimeout(err) {
		w.Errorf("%v: no time-out", err)
	}
	return time.Since(begin), err
}

// drain asks until the clock is used up, and tells how long that took.
func (w *world) drain(ctx context.Context) time.Duration {
	w.Helper()
	begin := time.Now()
	for range 100 {
		if _, err := w.ask(ctx); spent(err) {
			return time.Since(begin)
		}
	}
	w.Fatal("the clock does not end")
	return 0
}

func spent(err error) bool {
	return errors.Is(err, errSpent) && strings.Contains(err.Error(), "20s in all, 16s for its client and envelope")
}

func TestClockEndsLookups(t *testing.T) {
	clocked(t, 0, func(w *world) {
		ctx := new(Clock).Context(w.Context())
		for i := range 10 {
			if d, err := w.ask(ctx); d != 2*time.Second || spent(err) {
				w.Errorf("look-up %d: %v after %v", i, err, d)
			}
		}
		w.net.count()
		for range 3 {
			if d, err := w.ask(ctx); d != 0 || !spent(err) || IsNotFound(err) {
				w.Errorf("%v after %v", err, d)
			}
		}
		if n := w.net.count(); len(n) > 0 {
			w.Errorf("servers were asked: %v", n)
		}
		if n := testutil.ToFloat64(w.r.metrics.spent); n != 3 {
			w.Errorf("counted %v", n)
		}
		if d := w.drain(new(Clock).Context(w.Context())); d != messageTime {
			w.Errorf("another message had %v", d)
		}
	})
}

// A look-up that is under way when the time is used up ends right then; what
// the cache knows is still answered.
func TestClockCutsTheLast(t *testing.T) {
	clocked(t, 1500*time.Millisecond, func(w *world) {
		ctx := new(Clock).Context(w.Context())
		for range 13 { // 19.5 s
			if _, err := w.ask(ctx); err != nil {
				w.Fatal(err)
			}
		}
		if d, err := w.ask(ctx); d != 500*time.Millisecond || !spent(err) {
			w.Errorf("%v after %v", err, d)
		}
		time.Sleep(2 * time.Second) // the answer comes, for whoever wants it
		for _, name := range []string{"n1.example", "n14.example"} {
			if _, err := w.r.LookupTXT(ctx, name); err != nil {
				w.Error(err)
			}
		}
	})
}

// What is asked at once counts once, and a pause does not count.
func TestClockCountsWaiting(t *testing.T) {
	clocked(t, 0, func(w *world) {
		ctx, begin := new(Clock).Context(w.Context()), time.Now()
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 300 * time.Millisecond)
				w.drain(ctx)
			})
		}
		wg.Wait()
		if d := time.Since(begin); d != messageTime {
			w.Errorf("five at once had %v", d)
		}

		ctx = new(Clock).Context(w.Context())
		for range 9 {
			time.Sleep(time.Minute)
			if _, err := w.ask(ctx); spent(err) {
				w.Error(err)
			}
		}
		if d := w.drain(ctx); d != 2*time.Second {
			w.Errorf("after nine look-ups %v were left", d)
		}
	})
}

// What the sender can delay leaves time for the rest.
func TestClockReserve(t *testing.T) {
	clocked(t, 0, func(w *world) {
		conn := new(Clock)
		if d := w.drain(conn.Early(w.Context())); d != 16*time.Second {
			w.Errorf("the connection had %v", d)
		}
		m := conn.Message()
		if d := w.drain(m.Early(w.Context())); d != 0 {
			w.Errorf("the envelope had %v", d)
		}
		if d := w.drain(m.Context(w.Context())); d != 4*time.Second {
			w.Errorf("the message had %v", d)
		}
	})
}

// Each message starts with what the connection's look-ups have taken, and waits
// for those that are under way.
func TestClockOfConnection(t *testing.T) {
	clocked(t, 0, func(w *world) {
		conn := new(Clock)
		own := conn.Context(w.Context())
		w.ask(own) // 2 s for each message
		var asking sync.WaitGroup
		asking.Go(func() { // 4 s more
			w.ask(own)
			w.ask(own)
		})
		synctest.Wait()
		first := conn.Message().Context(w.Context())
		time.Sleep(3 * time.Second)
		w.ask(first) // 1 s beside that of the connection, and 1 s alone
		asking.Wait()
		if d := w.drain(first); d != 13*time.Second {
			w.Errorf("the first message had %v more", d)
		}
		if d := w.drain(conn.Message().Context(w.Context())); d != 14*time.Second {
			w.Errorf("the second message had %v", d)
		}

		asking.Go(func() { w.ask(own) }) // begins in one message, and ends in the next
		synctest.Wait()
		conn.Message()
		time.Sleep(time.Second)
		last := conn.Message().Context(w.Context())
		asking.Wait()
		if d := w.drain(last); d != 12*time.Second {
			w.Errorf("the last message had %v", d)
		}
	})
}

// To wait for what others look up counts, too.
func TestClockAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, begin := new(Clock).Context(t.Context()), time.Now()
		for range 2 { // at the second time nothing is left
			if err := Await(ctx, make(chan struct{})); !spent(err) || time.Since(begin) != messageTime {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		}
		done := make(chan struct{})
		close(done)
		if err := Await(t.Context(), done); err != nil {
			t.Error(err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := Await(ended, make(chan struct{})); err == nil {
			t.Error("an ended context was waited for")
		}
	})
}

// The hot path does not touch the clock: it would hang here.
func TestClockLeavesHitsAlone(t *testing.T) {
	clocked(t, time.Millisecond, func(w *world) {
		clock := new(Clock)
		ctx := clock.Context(w.Context())
		for range 2 {
			if _, err := w.r.LookupTXT(ctx, "x.example"); err != nil {
				w.Error(err)
			}
			if clock.mu.TryLock() {
				defer clock.mu.Unlock()
			}
		}
	})
}
