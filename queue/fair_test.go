package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// crowd brings n messages to each domain, many in a batch.
func crowd(t testing.TB, q *Queue, n int, domains ...string) {
	t.Helper()
	var list []*generated
	flush := func() {
		q.mu.Lock()
		b := q.appendWith(nil, list)
		q.mu.Unlock()
		if err := q.wait(b); err != nil {
			t.Fatal(err)
		}
		list = nil
	}
	for range n {
		for _, domain := range domains {
			g := &generated{since: q.nowMilli(), head: []byte("A: b\r\n\r\n")}
			g.env = mail.Envelope{ID: mail.NewID(q.now()), Arrived: q.now(), Recipients: []mail.Recipient{{Path: mail.Path("u@" + domain)}}}
			q.mu.Lock()
			g.e = q.newEntry(g.env.ID, &g.env, 8, g.since)
			q.mu.Unlock()
			if list = append(list, g); len(list) == 500 {
				flush()
			}
		}
	}
	flush()
}

// town is a Deliverer with next hops of our own and strangers, each of which
// takes its time. It counts what was relayed, by domain.
type town struct {
	own    map[string]mail.Destination // domains of ours
	takes  func(d mail.Destination) time.Duration
	result func(d mail.Destination) mail.Outcome // nil: relayed

	mu      sync.Mutex
	relayed map[string]int
	active  map[mail.Destination]int
	most    map[mail.Destination]int
	starts  map[mail.Destination][]time.Time
}

func newTown() *town {
	return &town{own: map[string]mail.Destination{}, relayed: map[string]int{}, active: map[mail.Destination]int{},
		most: map[mail.Destination]int{}, starts: map[mail.Destination][]time.Time{}}
}

func (o *town) Route(p mail.Path) mail.Destination {
	if d, ok := o.own[p.Domain()]; ok {
		return d
	}
	return mail.Destination(p.Domain())
}

func (o *town) Near(d mail.Destination) bool { return strings.Contains(string(d), ":") }

func (o *town) Deliver(ctx context.Context, d mail.Destination, m *mail.Message, rcpts []int, done func(mail.Outcome)) {
	o.mu.Lock()
	o.active[d]++
	o.most[d] = max(o.most[d], o.active[d])
	o.starts[d] = append(o.starts[d], time.Now())
	o.mu.Unlock()
	select {
	case <-time.After(o.takes(d)):
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.active[d]--
	for _, i := range rcpts {
		out := mail.Outcome{Result: mail.Relayed, NextHop: "x:25", Reply: mail.Reply{Code: 250}}
		if o.result != nil {
			out = o.result(d)
		}
		if out.Recipient = i; out.Result == mail.Relayed {
			o.relayed[m.Envelope.Recipients[i].Path.Domain()]++
		}
		done(out)
	}
}

func (o *town) count(domain string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.relayed[domain]
}

// begun is when attempts for d began.
func (o *town) begun(d mail.Destination) []time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.starts[d])
}

// live runs q until f returns. Time is virtual.
func live(t *testing.T, q *Queue, o *town, f func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx, o) }()
	f()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// until waits for something; it returns how long that took.
func until(t *testing.T, limit time.Duration, f func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !f() {
		if time.Since(start) > limit {
			t.Errorf("not within %v", limit)
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

// TestFairnessBetweenDomains: a domain with 100,000 messages delays the 600 of
// another one by a fifth at most, whether they share a next hop or not, and
// however many others there are like it.
func TestFairnessBetweenDomains(t *testing.T) {
	own := func(shared bool) *town {
		o := newTown()
		o.takes = func(mail.Destination) time.Duration { return 100 * time.Millisecond }
		o.own["few.example"], o.own["many.example"], o.own["more.example"] = "hop:25", "hop:25", "hop:25"
		if !shared {
			o.own["few.example"] = "few:25"
		}
		return o
	}
	measure := func(shared bool, crowds ...string) (took time.Duration) {
		timed(t, Options{}, func(t *testing.T, q *Queue) {
			o := own(shared)
			crowd(t, q, 100_000/max(1, len(crowds)), crowds...)
			crowd(t, q, 200, "warm.few.example") // the next hop of the few is known
			o.own["warm.few.example"] = o.own["few.example"]
			kept := newMessage(nil, "u@few.example") // and does not get forgotten
			kept.Envelope.Recipients[0].Hold = "quarantine:X"
			if err := put(q, kept, nil); err != nil {
				t.Fatal(err)
			}
			live(t, q, o, func() {
				until(t, time.Minute, func() bool { return o.count("warm.few.example") == 200 })
				crowd(t, q, 600, "few.example")
				took = until(t, time.Minute, func() bool { return o.count("few.example") == 600 })
				if n := q.Stats().Recipients; len(crowds) > 0 && n < 90_000 {
					t.Errorf("only %d were in the way", n)
				}
			})
		})
		return took
	}
	for _, shared := range []bool{true, false} {
		alone := measure(shared)
		for _, crowds := range [][]string{{"many.example"}, {"many.example", "more.example"}} {
			took := measure(shared, crowds...)
			t.Logf("shared next hop %v: alone %v, beside %v with 100,000 %v", shared, alone, crowds, took)
			if took > alone*12/10 {
				t.Errorf("shared next hop %v: delayed by more than a fifth", shared)
			}
		}
	}
}

// TestOutboundLeavesRoom: 3,000 domains elsewhere do not delay our own next hop
// by more than a fifth.
func TestOutboundLeavesRoom(t *testing.T) {
	measure := func(strangers int) (took time.Duration) {
		timed(t, Options{}, func(t *testing.T, q *Queue) {
			o := newTown()
			o.own["in.example"] = "hop:25"
			o.takes = func(d mail.Destination) time.Duration {
				if o.Near(d) {
					return 50 * time.Millisecond
				}
				return 2 * time.Second
			}
			for i := range strangers {
				crowd(t, q, 4, fmt.Sprintf("d%d.out.example", i))
			}
			live(t, q, o, func() {
				time.Sleep(5 * time.Second)
				crowd(t, q, 2000, "in.example")
				took = until(t, time.Minute, func() bool { return o.count("in.example") == 2000 })
			})
		})
		return took
	}
	alone, beside := measure(0), measure(3000)
	t.Logf("alone %v, beside 3,000 domains elsewhere %v", alone, beside)
	if beside > alone*12/10 {
		t.Error("delayed by more than a fifth")
	}
}

// TestTarpits: 400 domains that keep each attempt for five minutes do not stop
// mail to our own next hops, nor to others elsewhere that have answered before;
// once each was met, they do not stop mail to new ones.
func TestTarpits(t *testing.T) {
	timed(t, Options{}, func(t *testing.T, q *Queue) {
		o := newTown()
		o.own["in.example"] = "hop:25"
		tarpit := func(d mail.Destination) bool { return strings.HasSuffix(string(d), ".tar.example") }
		o.takes = func(d mail.Destination) time.Duration {
			if tarpit(d) {
				return 5 * time.Minute
			}
			return time.Second
		}
		o.result = func(d mail.Destination) mail.Outcome {
			if tarpit(d) {
				return deferral("still thinking")
			}
			return mail.Outcome{Result: mail.Relayed, NextHop: "x:25", Reply: mail.Reply{Code: 250}}
		}
		live(t, q, o, func() {
			crowd(t, q, 1, "known.example")
			until(t, time.Minute, func() bool { return o.count("known.example") == 1 })
			for i := range 400 {
				crowd(t, q, 3, fmt.Sprintf("d%d.tar.example", i))
			}
			time.Sleep(time.Minute)
			for _, domain := range []string{"in.example", "known.example"} {
				before := o.count(domain)
				crowd(t, q, 10, domain)
				if took := until(t, time.Minute, func() bool { return o.count(domain) == before+10 }); took > 10*time.Second {
					t.Errorf("%s waited %v", domain, took)
				}
			}
			time.Sleep(80 * time.Minute) // each is met once
			for i := range 50 {
				crowd(t, q, 2, fmt.Sprintf("d%d.good.example", i))
			}
			total := func() (n int) {
				for i := range 50 {
					n += o.count(fmt.Sprintf("d%d.good.example", i))
				}
				return n
			}
			took := until(t, time.Hour, func() bool { return total() == 100 })
			t.Logf("100 messages to 50 others were relayed after %v", took)
			if took > 30*time.Second {
				t.Error("tarpits stop them")
			}
		})
	})
}

// TestRampUp: when a next hop is back, its backlog comes step by step, never
// with more than the attempts at a time that it may have: no minute carries
// twice what these amount to.
func TestRampUp(t *testing.T) {
	const backlog, atATime = 6000, 20
	timed(t, Options{PerDestination: atATime}, func(t *testing.T, q *Queue) {
		o := newTown()
		o.own["in.example"] = "hop:25"
		o.takes = func(mail.Destination) time.Duration { return time.Second }
		back := time.Now().Add(3 * time.Hour)
		o.result = func(mail.Destination) mail.Outcome {
			if time.Now().Before(back) {
				return unreachable()
			}
			return mail.Outcome{Result: mail.Relayed, NextHop: "x:25", Reply: mail.Reply{Code: 250}}
		}
		crowd(t, q, backlog, "in.example")
		live(t, q, o, func() {
			time.Sleep(time.Until(back))
			until(t, 30*time.Minute, func() bool { return o.count("in.example") == backlog })
		})
		minutes, seconds := map[int]int{}, map[int]int{}
		first := time.Time{}
		for _, s := range o.begun("hop:25") {
			if s.Before(back) {
				continue
			}
			if first.IsZero() {
				first = s
			}
			minutes[int(s.Sub(first)/time.Minute)]++
			seconds[int(s.Sub(first)/time.Second)]++
		}
		t.Logf("relayed by minute %v; in the first seconds %d %d %d %d %d", minutes, seconds[0], seconds[1], seconds[2], seconds[3], seconds[4])
		for m, n := range minutes {
			if n > 2*60*atATime {
				t.Errorf("minute %d: %d", m, n)
			}
		}
		for s := range 15 {
			if seconds[s] > s+4 {
				t.Errorf("second %d: %d at once", s, seconds[s])
			}
		}
		if o.most["hop:25"] > atATime {
			t.Errorf("%d at a time", o.most["hop:25"])
		}
		if len(minutes) > 1+backlog/(60*atATime)*5/4 {
			t.Errorf("took %d minutes", len(minutes))
		}
	})
}

// TestDestinationsAreForgotten: a dead one too, when nothing is for it.
func TestDestinationsAreForgotten(t *testing.T) {
	timed(t, Options{}, func(t *testing.T, q *Queue) {
		o := newTown()
		o.own["in.example"] = "hop:25"
		o.takes = func(mail.Destination) time.Duration { return time.Second }
		o.result = func(mail.Destination) mail.Outcome { return unreachable() }
		crowd(t, q, 5, "in.example", "a.example", "b.example")
		live(t, q, o, func() {
			time.Sleep(6 * time.Hour)
			for id := range q.IDs(Filter{}) {
				if err := q.Delete(id); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(2 * deadKept)
			q.mu.Lock()
			if len(q.dests) > 0 || len(q.dead) > 0 || len(q.domains) > 0 {
				t.Errorf("left: %v, %v, %v", q.dests, q.dead, q.domains)
			}
			q.mu.Unlock()
		})
	})
}

// TestProbeAfterStart: mail that could not reach a next hop of ours is relayed
// soon after a start, not when it comes due; strangers keep to the schedule.
func TestProbeAfterStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := fsx.NewMem()
		options := Options{SegmentSize: 64 << 10, MinFreeBytes: 1}
		q, err := Open(mem, "/spool", options)
		if err != nil {
			t.Fatal(err)
		}
		o := newTown()
		o.own["in.example"] = "hop:25"
		o.takes = func(mail.Destination) time.Duration { return time.Millisecond }
		o.result = func(mail.Destination) mail.Outcome { return unreachable() }
		crowd(t, q, 3, "in.example", "out.example")
		live(t, q, o, func() { time.Sleep(5 * time.Hour) })
		mustClose(t, q)
		if q, err = Open(mem, "/spool", options); err != nil {
			t.Fatal(err)
		}
		before := len(o.begun("out.example"))
		live(t, q, o, func() {
			time.Sleep(2 * time.Second)
			if list := o.begun("hop:25"); len(list) == 0 || time.Since(list[len(list)-1]) > 2*time.Second {
				t.Error("our own next hop was not asked at once")
			}
			o.mu.Lock()
			o.result = nil
			o.mu.Unlock()
			until(t, 10*time.Second, func() bool { return o.count("in.example") == 3 })
			if n := len(o.begun("out.example")) - before; n > 1 {
				t.Errorf("strangers were asked %d times in seconds", n)
			}
		})
		mustClose(t, q)
	})
}
