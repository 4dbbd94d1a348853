package queue

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

func TestSchedule(t *testing.T) {
	s := Schedule{First: 5 * time.Minute, Max: time.Hour, Jitter: 0.2}
	want := []time.Duration{5, 10, 20, 40, 60, 60}
	for i, w := range want {
		if got := s.Delay(i+1, 0.5); got != w*time.Minute {
			t.Errorf("after attempt %d: %v, want %v", i+1, got, w*time.Minute)
		}
	}
	if lo, hi := s.Delay(1, 0), s.Delay(1, math.Nextafter(1, 0)); lo != 4*time.Minute || hi < 6*time.Minute-time.Second || hi > 6*time.Minute {
		t.Errorf("jitter %v to %v", lo, hi)
	}
	if s.Delay(1<<30, 0.5) != time.Hour {
		t.Error("many attempts")
	}
	now := time.Unix(1e9, 0)
	if got := s.next(now, now.Add(time.Minute), 5, 0.5); !got.Equal(now.Add(time.Minute)) {
		t.Errorf("the last attempt is at %v", got)
	}
}

// timed opens a queue in a bubble where time costs nothing.
func timed(t *testing.T, o Options, f func(t *testing.T, q *Queue)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.SegmentSize, o.MinFreeBytes = 64<<10, 1
		q, err := Open(fsx.NewMem(), "/spool", o)
		if err != nil {
			t.Fatal(err)
		}
		f(t, q)
		mustClose(t, q)
	})
}

// TestRoutesOfOneDomain: the next hop may depend on the whole address. Recipients
// that go elsewhere than their neighbours are another delivery of the same attempt,
// and those without a next hop are held.
func TestRoutesOfOneDomain(t *testing.T) {
	var mu sync.Mutex
	var went []string
	timed(t, Options{}, func(t *testing.T, q *Queue) {
		n := newNext()
		n.route = func(p mail.Path) mail.Destination {
			switch p {
			case "b@d.example":
				return "second"
			case "c@d.example":
				return ""
			}
			return "first"
		}
		n.reply = func(d mail.Destination, m *mail.Message, i int) mail.Outcome {
			mu.Lock()
			defer mu.Unlock()
			went = append(went, fmt.Sprintf("%s to %s", m.Envelope.Recipients[i].Path, d))
			if i == 3 {
				return deferral("later")
			}
			return mail.Outcome{Result: mail.Relayed, Reply: mail.Reply{Code: 250}}
		}
		id := mustPut(t, q, []byte("x\r\n"), "a@d.example", "b@d.example", "c@d.example", "e@d.example", "f@d.example")
		run(t, q, n, func() bool { return n.relayed() == 3 })
		it, _ := q.Get(id)
		var states []string
		for _, r := range it.Recipients {
			states = append(states, strings.TrimSpace(r.State+" "+r.Hold))
		}
		if got := strings.Join(states, ", "); got != "relayed, relayed, pending undeliverable, pending, relayed" {
			t.Errorf("states %s", got)
		}
	})
	if got, want := strings.Join(went, ", "), "a@d.example to first, b@d.example to second, e@d.example to first, f@d.example to first"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

// TestTwoDaysDown: the next hop defers everything for 48 hours. Attempts keep
// to the schedule, nothing expires, and all is relayed when it is back.
func TestTwoDaysDown(t *testing.T) {
	var times []time.Time
	timed(t, Options{Retry: Schedule{Jitter: 0.2}, Observe: func(*Attempt) { times = append(times, time.Now()) }}, func(t *testing.T, q *Queue) {
		start := time.Now()
		id := mustPut(t, q, []byte("x\r\n"), "a@d.example")
		n := newNext()
		n.reply = func(mail.Destination, *mail.Message, int) mail.Outcome {
			if time.Since(start) < 48*time.Hour {
				return deferral("later")
			}
			return mail.Outcome{Result: mail.Relayed, Reply: mail.Reply{Code: 250}}
		}
		run(t, q, n, func() bool {
			time.Sleep(time.Minute)
			if it, ok := q.Get(id); ok && it.NextAttempt != nil && it.NextAttempt.After(time.Now().Add(72*time.Minute)) {
				t.Errorf("next attempt at %v, now %v", it.NextAttempt, time.Now())
			}
			return n.relayed() == 1
		})
		if d := time.Since(start); d > 49*time.Hour+15*time.Minute {
			t.Errorf("relayed after %v", d)
		}
	})
	for i := 1; i < len(times); i++ {
		want := Schedule{First: 5 * time.Minute, Max: time.Hour}.Delay(i, 0.5)
		if d := times[i].Sub(times[i-1]); d < want*8/10-time.Second || d > want*12/10+time.Second {
			t.Errorf("attempt %d came after %v, want %v ±20 %%", i+1, d, want)
		}
	}
	if len(times) < 45 || len(times) > 62 {
		t.Errorf("%d attempts in 48 hours", len(times))
	}
}

// TestExpiry is decided by the last attempt, at the end of the five days.
func TestExpiry(t *testing.T) {
	timed(t, Options{}, func(t *testing.T, q *Queue) {
		start := time.Now()
		m := newMessage(nil, "a@d.example")
		m.Envelope.MayReturn = false
		if err := put(q, m, []byte("x\r\n")); err != nil {
			t.Fatal(err)
		}
		n := newNext()
		n.reply = func(mail.Destination, *mail.Message, int) mail.Outcome { return deferral("later") }
		run(t, q, n, func() bool { time.Sleep(time.Minute); return q.Stats().Messages[Held] == 1 })
		if d := time.Since(start); d < 5*24*time.Hour || d > 5*24*time.Hour+15*time.Minute {
			t.Errorf("expired after %v", d)
		}
		// And the held one goes after the time for held ones, counted.
		run(t, q, n, func() bool { time.Sleep(time.Hour); return q.Stats().Recipients == 0 })
		if d := time.Since(start); d < 30*24*time.Hour || d > 30*24*time.Hour+2*time.Hour {
			t.Errorf("deleted after %v", d)
		}
		if l := q.Stats().Ledger; l.Deleted != 1 {
			t.Errorf("ledger %+v", l)
		}
	})
}

// TestClockSteps: the wall clock at start is off by years in either direction.
func TestClockSteps(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour, 10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := fsx.NewMem()
				o := Options{SegmentSize: 64 << 10, MinFreeBytes: 1}
				q, err := Open(mem, "/spool", o)
				if err != nil {
					t.Fatal(err)
				}
				id := mustPut(t, q, []byte("x\r\n"), "a@d.example")
				n := newNext()
				up := false
				attempts := 0
				n.reply = func(mail.Destination, *mail.Message, int) mail.Outcome {
					if attempts++; up {
						return mail.Outcome{Result: mail.Relayed}
					}
					return deferral("later")
				}
				run(t, q, n, func() bool { time.Sleep(time.Minute); it, _ := q.Get(id); return it.Attempts == 2 })
				mustClose(t, q)

				o.hooks.wall = func() time.Time { return time.Now().Add(step) }
				if q, err = Open(mem, "/spool", o); err != nil {
					t.Fatal(err)
				}
				up = true
				start := time.Now()
				run(t, q, n, func() bool { time.Sleep(time.Second); return q.Stats().Recipients == 0 })
				if d := time.Since(start); d > 75*time.Minute || n.relayed() != 1 || attempts > 3 {
					t.Errorf("relayed %d after %v and %d attempts", n.relayed(), d, attempts)
				}
				mustClose(t, q)
			})
		})
	}
}

// TestDeadDestination: after a few failures only probes go out; when one
// succeeds the rest follows at once, and others were never held up.
func TestDeadDestination(t *testing.T) {
	timed(t, Options{}, func(t *testing.T, q *Queue) {
		for i := range 200 {
			mustPut(t, q, []byte("x\r\n"), mail.Path(fmt.Sprintf("u%d@dead.example", i)))
		}
		for range 20 {
			mustPut(t, q, []byte("x\r\n"), "a@live.example")
		}
		n := newNext()
		up, tries := false, 0
		n.reply = func(d mail.Destination, _ *mail.Message, _ int) mail.Outcome {
			n.mu.Lock()
			defer n.mu.Unlock()
			if d == "dead.example" && !up {
				tries++
				return unreachable()
			}
			return mail.Outcome{Result: mail.Relayed, Reply: mail.Reply{Code: 250}}
		}
		run(t, q, n, func() bool { time.Sleep(time.Second); return n.relayed() >= 20 })
		start := time.Now()
		run(t, q, n, func() bool { time.Sleep(time.Minute); return time.Since(start) > 30*time.Minute })
		if tries > 45 {
			t.Errorf("%d attempts to a dead destination in half an hour", tries)
		}
		for it := range q.List(Filter{Domain: "DEAD.example"}) {
			if it.State != Deferred || it.NextAttempt == nil {
				t.Fatalf("%+v", it)
			}
		}
		up, start = true, time.Now()
		run(t, q, n, func() bool { time.Sleep(time.Second); return n.relayed() == 220 })
		if d := time.Since(start); d > time.Minute+5*time.Second {
			t.Errorf("drained after %v", d)
		}
	})
}

// TestFairness: one destination with 5,000 messages, each 100 ms; another one's
// messages are not delayed by them.
func TestFairness(t *testing.T) {
	timed(t, Options{Workers: 20}, func(t *testing.T, q *Queue) {
		for i := range 5000 {
			mustPut(t, q, []byte("x\r\n"), mail.Path(fmt.Sprintf("u%d@many.example", i)))
		}
		for range 20 {
			mustPut(t, q, []byte("x\r\n"), "a@few.example")
		}
		start := time.Now()
		var fewDone time.Duration
		n := newNext()
		few := 0
		n.reply = func(d mail.Destination, _ *mail.Message, _ int) mail.Outcome {
			time.Sleep(100 * time.Millisecond)
			n.mu.Lock()
			defer n.mu.Unlock()
			if d == "few.example" {
				if few++; few == 20 {
					fewDone = time.Since(start)
				}
			}
			return mail.Outcome{Result: mail.Relayed}
		}
		run(t, q, n, func() bool { time.Sleep(time.Second); return n.relayed() == 5020 })
		// Alone it would take 20 messages at 2, 3, 4 ... at a time: 0.6 s.
		if fewDone > time.Second {
			t.Errorf("the few were done after %v, the many after %v", fewDone, time.Since(start))
		}
	})
}

// TestOrderAndLimits: messages to one destination start in order of arrival,
// and never more at a time than allowed.
func TestOrderAndLimits(t *testing.T) {
	timed(t, Options{PerDestination: 3}, func(t *testing.T, q *Queue) {
		for i := range 60 {
			mustPut(t, q, []byte("x\r\n"), mail.Path(fmt.Sprintf("u%02d@d.example", i)))
		}
		n := newNext()
		now, most := 0, 0
		d := deliverFunc{n, func() { now++; most = max(most, now) }, func() { now-- }}
		run(t, q, d, func() bool { time.Sleep(time.Second); return n.relayed() == 60 })
		if most != 3 {
			t.Errorf("%d attempts at a time", most)
		}
		for i, p := range n.order {
			var k int
			fmt.Sscanf(p, "u%02d@", &k)
			if k < i-3 || k > i+3 {
				t.Fatalf("place %d: %s", i, p)
			}
		}
	})
}

type deliverFunc struct {
	*next
	begin, end func()
}

func (d deliverFunc) Deliver(ctx context.Context, name mail.Destination, m *mail.Message, rcpts []int, done func(mail.Outcome)) {
	d.mu.Lock()
	d.begin()
	d.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	d.next.Deliver(ctx, name, m, rcpts, done)
	d.mu.Lock()
	d.end()
	d.mu.Unlock()
}

// TestNoRoute: where nothing says where to send it, mail is held, not lost.
func TestNoRoute(t *testing.T) {
	timed(t, Options{}, func(t *testing.T, q *Queue) {
		id := mustPut(t, q, []byte("x\r\n"), "a@elsewhere.example", "b@d.example")
		n := newNext()
		routed := false
		n.route = func(p mail.Path) mail.Destination {
			if p.Domain() == "elsewhere.example" && !routed {
				return ""
			}
			return "d"
		}
		run(t, q, n, func() bool { time.Sleep(time.Second); return q.Stats().Messages[Held] == 1 && n.relayed() == 1 })
		routed = true
		if err := q.Release(id); err != nil {
			t.Fatal(err)
		}
		run(t, q, n, func() bool { time.Sleep(time.Second); return n.relayed() == 2 })
	})
}

// TestShutdown: no attempt starts after the end, those in flight get the grace
// and are cut then, and nothing is forgotten: the cut is a deferral on the disk.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := fsx.NewMem()
		o := Options{SegmentSize: 64 << 10, MinFreeBytes: 1}
		q, err := Open(mem, "/spool", o)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			mustPut(t, q, []byte("x\r\n"), "a@d.example")
		}
		n := newNext()
		n.block = make(chan struct{})
		n.reply = func(mail.Destination, *mail.Message, int) mail.Outcome { return unreachable() }
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- q.Run(ctx, n) }()
		synctest.Wait()
		cancel()
		start := time.Now()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("Run returned after %v", d)
		}
		mustClose(t, q)
		if q, err = Open(mem, "/spool", o); err != nil {
			t.Fatal(err)
		}
		if s := q.Stats(); s.Recipients != 5 || s.Messages[Deferred] != slowStart {
			t.Errorf("%+v", s)
		}
		mustClose(t, q)
	})
}

// TestFlush makes deferred mail due.
func TestFlush(t *testing.T) {
	timed(t, Options{}, func(t *testing.T, q *Queue) {
		id := mustPut(t, q, []byte("x\r\n"), "a@d.example")
		n := newNext()
		up := false
		n.reply = func(mail.Destination, *mail.Message, int) mail.Outcome {
			if up {
				return mail.Outcome{Result: mail.Relayed}
			}
			return deferral("come back")
		}
		run(t, q, n, func() bool { time.Sleep(time.Second); return q.Stats().Messages[Deferred] == 1 })
		it, _ := q.Get(id)
		if it.Attempts != 1 || !strings.Contains(it.Reason, "come back") || it.Recipients[0].NextHop != "mx.example.net:25" {
			t.Errorf("%+v", it)
		}
		up = true
		if q.Flush(id) != 1 || q.Flush(mail.ID{1}) != 0 {
			t.Error("Flush")
		}
		start := time.Now()
		run(t, q, n, func() bool { time.Sleep(time.Second); return n.relayed() == 1 })
		if time.Since(start) > 2*time.Second {
			t.Errorf("after %v", time.Since(start))
		}
	})
}

// TestReturnOfTheNextHop: a few messages that wait for a next hop to which no
// connection can be made are relayed within a minute of its return, whenever
// that is, and although none of them is due. Until then one of them is the
// probe, and the schedule does not count that.
func TestReturnOfTheNextHop(t *testing.T) {
	for _, down := range []time.Duration{3 * time.Second, 20 * time.Second, 4 * time.Minute, 3 * time.Hour} {
		t.Run(down.String(), func(t *testing.T) {
			timed(t, Options{}, func(t *testing.T, q *Queue) {
				ids := []mail.ID{mustPut(t, q, []byte("x\r\n"), "a@d.example"), mustPut(t, q, []byte("x\r\n"), "b@d.example", "c@d.example")}
				start := time.Now()
				n := newNext()
				n.reply = func(mail.Destination, *mail.Message, int) mail.Outcome {
					if time.Since(start) < down {
						return unreachable()
					}
					return mail.Outcome{Result: mail.Relayed, Reply: mail.Reply{Code: 250}}
				}
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error)
				go func() { ended <- q.Run(ctx, n) }()
				time.Sleep(down - time.Second)
				total := 0
				for _, id := range ids {
					it, _ := q.Get(id)
					total += it.Attempts
					if wait := time.Until(*it.NextAttempt); it.Attempts > 4+int(down/maxProbe) || wait > 75*time.Minute || down < time.Hour && wait > 6*time.Minute {
						t.Errorf("after %d attempts the next one is in %v", it.Attempts, wait)
					}
				}
				if most := 8 + int(down/maxProbe)*11/10; total > most {
					t.Errorf("%d attempts, want at most %d", total, most)
				}
				time.Sleep(time.Second + min(time.Minute, max(firstProbe, down)))
				if n.relayed() != 3 {
					t.Errorf("%d of 3 were relayed", n.relayed())
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestClockWaitsForTheProbe: a destination may die while it stands in its ring
// for a worker that has just started, who then leaves it. The clock looks
// between the two, and has to set itself for the probe all the same.
func TestClockWaitsForTheProbe(t *testing.T) {
	timed(t, Options{}, func(t *testing.T, q *Queue) {
		d := q.dest("mx.example.net:25")
		d.waiting, d.inRing = 1, true
		q.leaveToProbes(d)
		if wait := q.pump(); wait != firstProbe {
			t.Errorf("the clock sleeps for %v, want %v", wait, firstProbe)
		}
	})
}

// TestStrangersAreNotProbed: a mail exchanger of somebody else is asked by the
// schedule.
func TestStrangersAreNotProbed(t *testing.T) {
	timed(t, Options{}, func(t *testing.T, q *Queue) {
		id := mustPut(t, q, []byte("x\r\n"), "a@d.example")
		n := newNext()
		n.reply = func(mail.Destination, *mail.Message, int) mail.Outcome { return unreachable() }
		start := time.Now()
		run(t, q, stranger{n}, func() bool { time.Sleep(time.Minute); return time.Since(start) > time.Hour })
		if it, _ := q.Get(id); it.Attempts > 5 {
			t.Errorf("%d attempts in an hour", it.Attempts)
		}
	})
}

type stranger struct{ *next }

func (stranger) Near(mail.Destination) bool { return false }

// TestTwoDueAtOnce: one worker is idle, and two destinations become due in one
// step. The one that hangs must not have the only worker.
func TestTwoDueAtOnce(t *testing.T) {
	q := mustOpen(t, fsx.NewMem(), "/spool", Options{MinFreeBytes: 1})
	var again atomic.Bool
	release, quick := make(chan struct{}), make(chan struct{})
	d := reader(func(m *mail.Message) mail.Result {
		switch domain := m.Envelope.Recipients[0].Path.Domain(); {
		case !again.Load():
			return mail.Deferred
		case domain == "quick.example":
			close(quick)
		default:
			<-release
		}
		return mail.Relayed
	})
	oneIdle := func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, e := range q.entries {
			if e.rcpts[0].phase != phaseWait {
				return false
			}
		}
		return q.idle == 1 && q.workers == 1
	}
	step := 0
	run(t, q, d, func() bool {
		switch {
		case step < 2 && (step == 0 || oneIdle()):
			mustPut(t, q, []byte("text\r\n"), []mail.Path{"a@slow.example", "a@quick.example"}[step])
			step++
		case step == 2 && oneIdle():
			again.Store(true)
			q.Flush()
			step++
		case step == 3:
			select {
			case <-quick:
			case <-time.After(10 * time.Second):
				t.Error("a message waits behind another destination")
			}
			close(release)
			return true
		}
		return false
	})
	mustClose(t, q)
}
